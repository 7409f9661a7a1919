/*
 * chat: conversations to prompt text, in the formats compiled in.
 *
 * The format is recognised from the model's chat template text, and can be named with
 * --format.  Rendering is checked byte for byte against the official template where it
 * can be had (tests/gold/chat).
 */
#ifndef KEXA_TEXT_CHAT_H
#define KEXA_TEXT_CHAT_H

#include "base/base.h"

enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT, CHAT_TOOL };

struct chat_call {
    const char *name;
    const char *arguments;                /* JSON object text */
};

struct chat_message {
    enum chat_role role;
    const char *content;                  /* UTF-8, may be "" */
    const char *reasoning;                /* assistant only; NULL if none */
    const struct chat_call *calls;        /* assistant only */
    size_t n_calls;
};

struct chat_prompt {
    const struct chat_message *messages;
    size_t n_messages;
    const char *const *tools;             /* each the JSON text of one declaration */
    size_t n_tools;
    bool think;                           /* ask for thinking, where the format has it */
    bool add_generation;                  /* end with the opening of the assistant's turn */
};

/* One format; the list is in chat.c. */
struct chat_format {
    const char *name;                     /* "chatml", "k-exaone" */
    const char *about;                    /* one line for help */
    bool (*recognise)(const char *chat_template);
    bool (*render)(const struct chat_prompt *p, struct buf *out, struct err *err);
    bool thinks;                          /* has a thinking mode */
    bool think_default;
    bool opens_thinking;                  /* with thinking on, the answer starts inside it */
    const char *think_end;                /* "</think>" or NULL */
    const char *tool_call_begin, *tool_call_end; /* or NULL */
    const char *const *stops;             /* end-of-turn texts, NULL-terminated */
};

extern const struct chat_format *const chat_formats[];       /* NULL-terminated */
const struct chat_format *chat_format_find(const char *name); /* by --format; NULL if none */
/* NULL if the template is unknown or NULL. */
const struct chat_format *chat_format_recognise(const char *chat_template);

#endif
