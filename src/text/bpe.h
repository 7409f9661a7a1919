/*
 * bpe: merges the symbols of one piece by rank.
 *
 * The definition: start with one symbol per byte, or per character where the vocabulary
 * is one of characters; while some neighbours have a merge,
 * merge the pair of lowest rank, the leftmost on ties.  Short pieces do just that.  Long
 * ones (a piece may be a whole book without a space) keep a heap of (rank, position)
 * over doubly linked symbols and drop entries that later merges made untrue:
 * O(n log n).
 *
 * Ranks come from a list of merges, or from the scores of the tokens themselves (spm.h).
 * A character without a token is a loose symbol, MAX_VOCAB + code point, until merging is
 * done; then it becomes its byte tokens or the unknown token.
 */
#ifndef KEXA_TEXT_BPE_H
#define KEXA_TEXT_BPE_H

#include "text/pair_map.h"
#include "text/spm.h"
#include "text/vocab.h"

/* Whether merging all of a token's own bytes gives back just that token; found out at
 * first need, the same whoever finds out. */
enum { WHOLE_UNKNOWN, WHOLE_YES, WHOLE_NO };

/* A vocabulary token found by its bytes. */
struct whole {
    uint32_t hash, id1;                   /* id + 1; 0: free slot */
    uint32_t at, len;                     /* its bytes in vocab.blob */
};

struct bpe {
    const struct vocab *vocab;
    struct pair_map merges;               /* (left, right) -> (rank, merged) */
    uint32_t n_merges;
    struct whole *whole;                  /* whole_mask + 1 slots */
    uint64_t whole_mask;
    _Atomic uint8_t *whole_state;         /* WHOLE_*, per id */
    uint32_t stage_two;                   /* see bpe_finish(); 0: one stage */
    bool ignore_merges;                   /* a piece that is a token is that token */
    int64_t unk;                          /* for bytes without a token; NO_TOKEN: dropped */
    bool fuse_unk;                        /* characters: unknown ones in a row are one */
    int32_t ascii_id[128];                /* characters: the symbol of each */
    struct spm spm;                       /* ranks by score, after bpe_score() */
    bool inner_space[256];                /* bytes after which a token goes on with a space */
    bool words_apart;                     /* characters: words can be merged one by one */
};

bool bpe_init(struct bpe *b, const struct vocab *v, size_t n_merges, struct err *err);
void bpe_release(struct bpe *b);

/* Adds the next merge; ranks follow the order of calls.  Names what is missing. */
bool bpe_add_merge(struct bpe *b, struct bytes left, struct bytes right, struct err *err);

/* Instead of merges: each token's score, vocab->n of them, none NaN. */
bool bpe_score(struct bpe *b, const float *score, struct err *err);

/*
 * Characters, after the last merge and all settings: looks up their symbols, and finds
 * where a text may be cut because no token holds what stands on both sides.
 */
void bpe_finish_chars(struct bpe *b);

/* Where a piece that starts at `at` may end, by words_apart. */
size_t bpe_next_word(const struct bpe *b, const uint8_t *at, const uint8_t *end);

/* The merges by rank, n_merges of them (key: left << 32 | right; PAIR_EMPTY where a merge was
 * given again later); the caller gives them to mem_give.  NULL: out of memory. */
struct pair_slot *bpe_take_merges(const struct bpe *b);

/*
 * After the last merge.  Superword vocabularies are trained in two stages: first merges
 * inside words, then merges across them.  If no merge of rank below the first that
 * crosses words uses what a later merge makes, the first stage can be done word by word,
 * and words come from the cache; the result is the same.
 */
bool bpe_finish(struct bpe *b, struct err *err);

/*
 * What one caller keeps between pieces: memory for long ones, and for long texts a cache
 * of short pieces, one line of 64 bytes each, where the hash puts it.
 */
struct bpe_line {
    uint32_t id[8];
    uint8_t n, tag;                       /* tokens; bytes, | LINE_STAGE_ONE; 0: empty */
    uint8_t key[30];
};

enum { LINE_STAGE_ONE = 64 };             /* merged by the first stage only */

struct bpe_scratch {
    struct bpe_symbol *sym;
    uint64_t *heap;
    size_t cap;
    struct bpe_line *cache;               /* NULL: none */
    uint64_t cache_mask;
};

/* For a text of this length; without memory for a cache there is none. */
void bpe_scratch_init(struct bpe_scratch *s, size_t text_len);
void bpe_scratch_release(struct bpe_scratch *s);

/* Characters: appends the symbols of a piece, for which there is room; and what loose ones
 * in v->at[from, n) become after merging. */
void bpe_put_chars(const struct bpe *b, struct bytes piece, struct ids *out);
bool bpe_place_loose(const struct bpe *b, struct ids *v, size_t from, struct err *err);

/* Merges v->at[from, n) in place, by the merges of rank below limit. */
bool bpe_merge(const struct bpe *b, uint32_t limit, struct ids *v, size_t from,
               struct bpe_scratch *s, struct err *err);

/* Appends the tokens of one piece, len > 0. */
bool bpe_encode(const struct bpe *b, struct bytes piece, struct bpe_scratch *s,
                struct ids *out, struct err *err);

#endif
