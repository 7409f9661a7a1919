/*
 * chat_answer: the text of one answer as it streams: token bytes in, whole characters out,
 * thinking apart from the answer, ending before the first stop text.
 *
 * Text that might be the beginning of a stop text or of the end of thinking is held back
 * until it is known not to be.
 */
#ifndef KEXA_CMD_CHAT_ANSWER_H
#define KEXA_CMD_CHAT_ANSWER_H

#include "text/text.h"

/* Shows a piece of UTF-8 text, not NUL-terminated. */
typedef void chat_show_fn(void *arg, struct bytes text, bool thinking);

struct chat_answer {                      /* set the first four; the rest { 0 } */
    const char *const *stops;             /* NULL-terminated; "" never matches */
    const char *think_end;                /* used while thinking */
    chat_show_fn *show;
    void *arg;
    bool thinking;                        /* set: the text begins inside thinking */
    bool ended;                           /* a stop text came; what follows is dropped */
    bool after_thinking;                  /* line breaks before the answer are dropped */
    struct detok detok;
    struct buf held;
    struct buf reasoning, content;        /* all that was shown */
};

void chat_answer_put(struct chat_answer *a, struct bytes piece);
void chat_answer_end(struct chat_answer *a);       /* gives out what is held back */
void chat_answer_release(struct chat_answer *a);

#endif
