/*
 * chat_turns: the messages of a conversation, owned, and as a file.
 *
 * The file is a JSON array of {"role", "content"} objects in UTF-8, an assistant's thinking
 * in "reasoning_content"; an object with such an array under "messages" is read too.
 */
#ifndef KEXA_CMD_CHAT_TURNS_H
#define KEXA_CMD_CHAT_TURNS_H

#include "text/text.h"

struct chat_turns {                       /* start with { 0 } */
    struct chat_message *at;              /* strings owned; never calls */
    size_t n, cap;
};

void chat_turns_release(struct chat_turns *t);
/* Adds a message; reasoning may be NULL. */
bool chat_turns_add(struct chat_turns *t, enum chat_role role, const char *content,
                    const char *reasoning, struct err *err);
void chat_turns_drop_last(struct chat_turns *t);

/* The last message, which the caller owns now; and back to where it was taken from, before
 * anything else is added there. */
struct chat_message chat_turns_take_last(struct chat_turns *t);
void chat_turns_give_back(struct chat_turns *t, struct chat_message m);
void chat_message_release(struct chat_message *m);
/* The system message in front: NULL takes it away. */
bool chat_turns_system(struct chat_turns *t, const char *content, struct err *err);
const char *chat_turns_system_text(const struct chat_turns *t);  /* NULL if none */

/*
 * save: written beside the path and renamed over it, readable by its owner only; a file
 * that is there and is not a conversation is refused, as the path may be a slip.
 * load: replaces *t, which stays as it was on failure.
 */
bool chat_turns_save(const struct chat_turns *t, const char *path, struct err *err);
bool chat_turns_load(struct chat_turns *t, const char *path, struct err *err);

#endif
