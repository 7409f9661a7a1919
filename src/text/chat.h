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

/*
 * A rendered prompt.  `special` marks the control-token texts that the format itself wrote,
 * in ascending order, none touching another's bytes.  All other text is encoded with control
 * tokens off (chat_text_encode), so "<|im_end|>" typed by a user stays seven plain pieces
 * and can never end a turn.  The text between two marks is encoded in one go, role names,
 * newlines and content together: the ids are those of the official template for any
 * content without control tokens.
 */
struct chat_span {
    size_t at, len;
};

struct chat_text {                        /* start with { 0 } */
    struct buf text;
    struct chat_span *special;
    size_t n_special, cap_special;
};

void chat_text_clear(struct chat_text *x);      /* empty, memory kept */
void chat_text_release(struct chat_text *x);
void chat_text_special(struct chat_text *x, const char *token); /* a control token's text */
/* (text.failed also stands for a failed growth of `special`.) */

/*
 * Encodes one run of text, appending to *out.  special: the text is one control token's, and
 * the result is that one id; if the vocabulary has no such token, append nothing.
 */
typedef bool chat_encode_fn(void *arg, struct bytes text, bool special, struct ids *out,
                            struct err *err);
/* A special text that the vocabulary does not know joins the plain text around it. */
bool chat_text_encode(const struct chat_text *x, chat_encode_fn *fn, void *arg,
                      struct ids *out, struct err *err);

/* Appends JSON text as Python's json.dumps(json.loads(json), ensure_ascii=False) writes it,
 * keys in their order: what chat templates call tojson.  what: named in errors. */
bool chat_json_normal(const char *json, const char *what, struct buf *out, struct err *err);
void chat_json_quote(const char *text, struct buf *out);   /* text as a JSON string */

/* One format; the list is in chat.c. */
struct chat_format {
    const char *name;                     /* "smollm2", "chatml", ... */
    const char *about;                    /* one line for help */
    bool (*recognise)(const char *chat_template);
    /* Called through chat_render. */
    bool (*render)(const struct chat_prompt *p, struct chat_text *out, struct err *err);
    bool tools;                           /* can declare and call tools */
    bool thinks;                          /* has a thinking mode */
    bool think_default;
    bool opens_thinking;                  /* with thinking on, the answer starts inside it */
    const char *think_end;                /* "</think>" or NULL */
    const char *tool_call_begin, *tool_call_end; /* or NULL */
    const char *const *stops;             /* end-of-turn texts, NULL-terminated */
    float temperature, top_p;             /* what kexa chat takes when not told */
    uint32_t top_k;                       /* 0: off */
    const char *system;                   /* what `kexa chat` says when the user says nothing;
                                             NULL: leave it to the template */
};

extern const struct chat_format chat_smollm2, chat_chatml, chat_k_exaone, chat_exaone4, chat_gemma;

extern const struct chat_format *const chat_formats[];       /* NULL-terminated */
const struct chat_format *chat_format_find(const char *name); /* by --format; NULL if none */
/* NULL if the template is unknown or NULL. */
const struct chat_format *chat_format_recognise(const char *chat_template);

/* Appends to *out.  What the format cannot say (tools without a tool syntax) is an
 * ERR_UNSUPPORTED, bad JSON in tools or calls an ERR_FORMAT. */
bool chat_render(const struct chat_format *f, const struct chat_prompt *p,
                 struct chat_text *out, struct err *err);
void chat_format_names(struct buf *out);  /* "k-exaone, exaone4, ...", for messages */

#endif
