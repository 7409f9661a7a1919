/*
 * added: finds added tokens (control and user-defined) in text, leftmost and longest.
 *
 * A trie over bytes in one pair_map: (node, byte) -> (node, token that ends there).
 * Looking costs at most the longest token's length per position; a bitmap of first
 * bytes skips the rest.
 */
#ifndef KEXA_TEXT_ADDED_H
#define KEXA_TEXT_ADDED_H

#include "text/pair_map.h"

enum { ADDED_LSTRIP = 1, ADDED_RSTRIP = 2, ADDED_SINGLE_WORD = 4, ADDED_CONTROL = 8 };

enum { MAX_ADDED_BYTES = 1024 };

struct added_token {
    uint32_t id;
    unsigned flags;                       /* ADDED_* */
};

struct added {
    struct pair_map trie;
    uint32_t n_nodes;
    struct added_token *tok;
    uint32_t n, cap;
    bool first[256];
    bool any_user;                        /* some are no control tokens */
};

bool added_put(struct added *a, struct bytes text, struct added_token tok, struct err *err);
void added_release(struct added *a);      /* a zeroed struct is fine */

/* Walks a text: start with { .text = ... }. */
struct added_walk {
    struct bytes text;
    size_t looked, given;                 /* searched up to; handed out up to */
    bool parse_control;                   /* else control tokens are text */
};

/*
 * Gives the text before the next added token, which may be empty, and the token; at the
 * end the rest of the text and NO_TOKEN.  After that, false.
 */
bool added_next(const struct added *a, struct added_walk *w, struct bytes *before,
                int64_t *id);

#endif
