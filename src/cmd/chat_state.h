/*
 * chat_state: what the chat command's files share.
 */
#ifndef KEXA_CMD_CHAT_STATE_H
#define KEXA_CMD_CHAT_STATE_H

#include "cmd/chat_line.h"
#include "cmd/chat_turns.h"
#include "cmd/engine_args.h"

struct chat_command_args {
    struct model_args model;
    struct chat_args chat;
    struct sampling_args sampling;
};

struct chat_speed {                       /* of one answer, or of all */
    size_t n_answers;
    size_t prompt_tokens, kept_tokens;    /* evaluated; already held from the turns before */
    size_t answer_tokens;
    uint64_t prompt_ns, answer_ns;
};

struct chat {
    const struct chat_command_args *args;
    struct kexa_model *model;
    struct kexa_session *session;
    struct kexa_model_info info;
    const struct chat_format *format;
    const char **stops;                   /* the format's and --stop, NULL-terminated */
    struct chat_turns turns;
    struct chat_line *line;
    bool think;
    size_t most_thinking;                 /* tokens, after which thinking is closed */
    bool terminal;                        /* standard input and output both are one */
    bool dim;                             /* show thinking by escape sequences */
    bool at_line_start;                   /* of what was shown last */
    bool quit;
    struct chat_text prompt;
    struct ids ids;
    struct chat_speed last, all;
};

/*
 * Answers the newest user message: streams to standard output and adds the assistant's
 * message.  On failure, and when Ctrl-C came before any text, the user's message is
 * dropped again, so that the conversation is as it was.
 */
bool chat_reply(struct chat *c, struct err *err);

/* Whether to think and how long: "on", "off", or the most tokens of it. */
bool chat_set_thinking(struct chat *c, const char *text, struct err *err);

/*
 * The last question again; taking it and its answer back; asking something else in its place
 * (text "": on a terminal, the old question is put into the line).  Where no answer comes,
 * the conversation stays as it was.
 */
bool chat_retry(struct chat *c, struct err *err);
bool chat_undo(struct chat *c, struct err *err);
bool chat_edit(struct chat *c, const char *text, struct err *err);

/* Runs "/word rest".  Failures are for showing; the chat goes on. */
bool chat_word(struct chat *c, const char *line, struct err *err);

/* Stops the answer that is running: set up around the whole chat on a terminal. */
void chat_catch_interrupt(struct kexa_session *s);

/* What to do about a full context, a sentence. */
#define CHAT_FULL_REMEDY "/new begins a new conversation, and `kexa chat --ctx N` gives more room"

#endif
