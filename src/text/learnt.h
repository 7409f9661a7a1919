/*
 * learnt: the tokens and merges of a tokenizer while it is being trained.
 *
 * Ids count up: first the special tokens, which are no more than a number here, then the 256
 * bytes in the order of the byte-level alphabet, then the results of the merges.  A merge
 * whose result has the bytes of a token gives that token and takes no id.  No merge may make what
 * would be spelled like a special token: a vocabulary in JSON has one id for a spelling.
 *
 * Words: a text is cut before each space that follows a byte above the space itself, as
 * word_end() cuts it.  A token of more than one word is a superword.
 */
#ifndef KEXA_TEXT_LEARNT_H
#define KEXA_TEXT_LEARNT_H

#include "text/pair_map.h"

enum { MAX_LEARNT_BYTES = 1024 };         /* of one token */

struct learnt_token {
    uint32_t at;                          /* in bytes */
    uint16_t len, words;
};

struct learnt_merge {
    uint32_t left, right, id;
};

struct learnt {
    uint32_t n_special;
    struct learnt_token *tok;             /* by id - n_special */
    uint32_t n, cap;                      /* ids are below n_special + n */
    struct learnt_merge *merge;
    uint32_t n_merges, cap_merges;
    struct pair_map rank;                 /* of the merges: (left, right) -> (rank, id) */
    uint32_t n_superwords;
    struct buf bytes;
    uint32_t *by_bytes;                   /* id - n_special + 1; 0: free */
    uint64_t mask;
    uint32_t byte_id[256];
    struct buf never;                     /* what no merge may make: two bytes of length, bytes */
    bool never_first[256];                /* whether one begins with this byte */
};

bool learnt_init(struct learnt *l, uint32_t n_special, struct err *err);
void learnt_release(struct learnt *l);

static inline uint32_t learnt_ids(const struct learnt *l)
{
    return l->n_special + l->n;
}

struct bytes learnt_bytes(const struct learnt *l, uint32_t id);
int64_t learnt_find(const struct learnt *l, struct bytes b);    /* its id, or -1 */

/* Words in the two joined. */
unsigned learnt_words(const struct learnt *l, uint32_t left, uint32_t right);

/* Whether the right one begins a word that the left one does not go on into. */
bool learnt_meet_at_word(const struct learnt *l, uint32_t left, uint32_t right);

/* From now on no merge may make these bytes, 2 to MAX_LEARNT_BYTES. */
bool learnt_forbid(struct learnt *l, struct bytes b, struct err *err);
/* Whether one must not be made of the two. */
bool learnt_is_forbidden(const struct learnt *l, struct bytes left, struct bytes right);

/* Adds the merge, if it is not there; its result in *id. */
bool learnt_merge(struct learnt *l, uint32_t left, uint32_t right, uint32_t *id,
                  struct err *err);

#endif
