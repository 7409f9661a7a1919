/*
 * chat_message: what several formats do with a message.  Private to src/text.
 */
#ifndef KEXA_TEXT_CHAT_MESSAGE_H
#define KEXA_TEXT_CHAT_MESSAGE_H

#include "text/chat.h"

/* Without white space around it, as Python's str.strip() sees it. */
struct bytes chat_trim(struct bytes b);

void chat_put_bytes(struct chat_text *out, struct bytes b);

/*
 * Reasoning and answer of an assistant's message: given apart, or together in the content
 * with </think> between them.  Both trimmed.
 */
void chat_split_thinking(const struct chat_message *m, struct bytes *reasoning,
                         struct bytes *answer);

/* <think>, newline, reasoning, newline, </think>, empty line. */
void chat_put_thinking(struct chat_text *out, struct bytes reasoning);

/* <tool_call>{"name": ..., "arguments": {...}}</tool_call> */
bool chat_put_call(struct chat_text *out, const struct chat_call *call, struct err *err);

/* Fails if tools are declared or called. */
bool chat_refuse_tools(const struct chat_prompt *p, const char *format, struct err *err);

#endif
