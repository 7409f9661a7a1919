/*
 * bpe: merges the bytes of one piece by rank.
 *
 * The definition: start with one symbol per byte; while some neighbours have a merge,
 * merge the pair of lowest rank, the leftmost on ties.  Short pieces do just that.  Long
 * ones (a piece may be a whole book without a space) keep a heap of (rank, position)
 * over doubly linked symbols and drop entries that later merges made untrue:
 * O(n log n).
 */
#ifndef KEXA_TEXT_BPE_H
#define KEXA_TEXT_BPE_H

#include "text/pair_map.h"
#include "text/vocab.h"

/* Whether merging all of a token's own bytes gives back just that token; found out at
 * first need, the same whoever finds out. */
enum { WHOLE_UNKNOWN, WHOLE_YES, WHOLE_NO };

struct bpe {
    const struct vocab *vocab;
    struct pair_map merges;               /* (left, right) -> (rank, merged) */
    uint32_t n_merges;
    uint32_t *whole_slot;                 /* hash of bytes -> id + 1 of a vocabulary token */
    uint64_t whole_mask;
    _Atomic uint8_t *whole_state;         /* WHOLE_*, per id */
    bool ignore_merges;                   /* a piece that is a token is that token */
    int64_t unk;                          /* for bytes without a token; NO_TOKEN: dropped */
};

bool bpe_init(struct bpe *b, const struct vocab *v, size_t n_merges, struct err *err);
void bpe_release(struct bpe *b);

/* Adds the next merge; ranks follow the order of calls.  Names what is missing. */
bool bpe_add_merge(struct bpe *b, struct bytes left, struct bytes right, struct err *err);

/* Memory that long pieces need, kept between calls. */
struct bpe_scratch {
    struct bpe_symbol *sym;
    uint64_t *heap;
    size_t cap;
};

void bpe_scratch_release(struct bpe_scratch *s);

/* Appends the tokens of one piece, len > 0. */
bool bpe_encode(const struct bpe *b, struct bytes piece, struct bpe_scratch *s,
                struct ids *out, struct err *err);

#endif
