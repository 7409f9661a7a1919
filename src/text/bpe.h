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
 * Five things make it fast, and none changes the ids: words are merged one by one where no
 * merge crosses them, or before those that do (bpe_stages.c); a word met again comes from a
 * cache (bpe_cache.h); the merges of words are in a small table (bpe_ranks.h); merging starts
 * from characters and pairs of letters where they must come about first (bpe_start.c); and runs
 * of symbols that nothing joins are merged apart (bpe_cuts.c).  Each is used only where the list
 * of merges shows that it is exact.
 *
 * A character without a token is a loose symbol, MAX_VOCAB + code point, until merging is
 * done; then it becomes its byte tokens or the unknown token.
 */
#ifndef KEXA_TEXT_BPE_H
#define KEXA_TEXT_BPE_H

#include "text/bpe_cache.h"
#include "text/bpe_ranks.h"
#include "text/pair_map.h"
#include "text/piece_words.h"
#include "text/spm.h"
#include "text/vocab.h"

/* A vocabulary token found by its bytes. */
struct whole {
    uint32_t hash, id1;                   /* id + 1; 0: free slot */
    uint32_t at, len;                     /* its bytes in vocab.blob */
};

/* Pairs of symbols that some merge may join; see bpe_cuts.c. */
struct bpe_cuts {
    uint64_t *joined;                     /* bits; NULL: any pair */
    unsigned shift;                       /* 64 - log2(bits) */
};

enum { BPE_N_START = 1 << 16 };
#define BPE_NO_START UINT32_MAX

/* Bytes that merging may start from as one symbol; see bpe_start.c. */
struct bpe_start {
    uint32_t number, rank;                /* BPE_NO_START; the last merge that makes it */
};

struct bpe_starts {
    struct bpe_start of[BPE_N_START];     /* by code point */
    struct bpe_start spaced[BPE_N_START]; /* the same with a space before it */
    uint32_t before[256][64];             /* least rank by the byte before and the first, - 0xC0 */
    uint32_t after[64][256];              /* by the last byte, - 0x80, and the byte after */
    /* By two bytes, 16 bits each, UINT16_MAX: none.  The rank of the two as one symbol; the
     * least that takes the second with what ends with the first; the least that takes the first
     * with what begins with the second. */
    uint64_t pair[256][256];
    bool some_missing;                    /* a byte has no token */
};

struct bpe {
    const struct vocab *vocab;
    struct pair_map merges;               /* (left, right) -> (rank, merged) */
    uint32_t n_merges;
    struct whole *whole;                  /* whole_mask + 1 slots */
    uint64_t whole_mask;
    bool ignore_merges;                   /* a piece that is a token is that token */
    int64_t unk;                          /* for bytes without a token; NO_TOKEN: dropped */
    bool fuse_unk;                        /* characters: unknown ones in a row are one */
    int32_t ascii_id[128];                /* characters: the symbol of each */
    struct spm spm;                       /* ranks by score, after bpe_score() */
    bool inner_space[256];                /* bytes after which a token goes on with a space */
    bool words_apart;                     /* characters: words can be merged one by one */

    /* After bpe_finish(). */
    bool by_word;                         /* pieces are cut into words */
    uint32_t stage_two;                   /* words: merges below it; UINT32_MAX: all */
    struct pair_map later;                /* the others, where there are any */
    bool later_inside;                    /* some of them make tokens inside a word */
    struct bpe_ranks ranks;               /* of the merges of words, where it can be used */
    struct bpe_starts *start;             /* with ranks */
    struct bpe_cuts word_cuts, later_cuts;
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
 * Byte-level, after the last merge and all settings.  Superword vocabularies are trained in
 * two stages: first merges inside words, then merges across them.  If no merge of rank below
 * the first that crosses words uses what a later merge makes, the first stage can be done
 * word by word, and words come from the cache; the result is the same.
 */
bool bpe_finish(struct bpe *b, struct err *err);

/* Fills b->start, from the merges of rank below b->stage_two.  false: out of memory. */
bool bpe_start_build(struct bpe *b);

/* Where merging that starts from b->start, or the merges from b->stage_two on, never join two
 * symbols.  Without bits where that is too much to find out.  false: out of memory. */
bool bpe_cuts_build(const struct bpe *b, bool later, struct bpe_cuts *cuts);
void bpe_cuts_release(struct bpe_cuts *cuts);

static inline uint64_t bpe_cuts_bit(const struct bpe_cuts *c, uint32_t left, uint32_t right)
{
    return ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u >> c->shift;
}

/* The numbers that merging a word may start from, one for each byte or character, for which
 * there is room; how many.  0: one of its bytes has no token. */
size_t bpe_put_start(const struct bpe *b, struct bytes word, uint32_t *number);

/* Appends the tokens of a word, for which there is room; 0 where one of its bytes has none. */
bool bpe_merge_word(const struct bpe *b, struct bytes word, struct bpe_scratch *s,
                    struct ids *out, struct err *err);

/* Characters: appends the symbols of a piece, for which there is room; and what loose ones
 * in v->at[from, n) become after merging. */
void bpe_put_chars(const struct bpe *b, struct bytes piece, struct ids *out);
bool bpe_place_loose(const struct bpe *b, struct ids *v, size_t from, struct err *err);

/* All merges, or those of a word, or the others. */
enum bpe_stage { STAGE_ALL, STAGE_WORD, STAGE_LATER };

/* Merges v->at[from, n) in place. */
bool bpe_merge(const struct bpe *b, enum bpe_stage stage, struct ids *v, size_t from,
               struct bpe_scratch *s, struct err *err);

/* Appends the tokens of the pieces of a text, len > 0 each: first begin, at last flush.  Bytes
 * before text_end can be read; NULL: only those of the pieces. */
void bpe_begin(struct bpe_scratch *s, const uint8_t *text_end);
bool bpe_flush(const struct bpe *b, struct bpe_scratch *s, struct ids *out, struct err *err);
bool bpe_encode(const struct bpe *b, struct bytes piece, struct bpe_scratch *s,
                struct ids *out, struct err *err);

/* The same for n <= QUEUE_WORDS words of pieces, or whole pieces where by_word is not set. */
bool bpe_encode_words(const struct bpe *b, const struct piece_word *w, size_t n,
                      struct bpe_scratch *s, struct ids *out, struct err *err);

#endif
