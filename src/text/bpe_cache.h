/*
 * bpe_cache: what one caller at a time keeps between pieces and between texts: memory for
 * long pieces, and the tokens of words met before.
 *
 * A word of at most 15 bytes is one of the two in a set of 64 bytes, which its hash chooses; one
 * that became many tokens has the set for itself.  A new word takes the second place, and the
 * first when it is met again while still there: words that are met once push out only each other.
 * A word of at most 31 bytes that became few tokens has a line of 64 bytes, which another word
 * with the same place takes over.  So memory is bounded, and no text can make looking slow.  What
 * is in the cache never changes the ids.
 *
 * Sets and lines are more than the nearest caches hold.  So words wait in a short queue while
 * theirs are fetched.
 *
 * Words are looked up and kept by bpe_cache_words.h.
 *
 * A tokenizer keeps a pool of these: a call takes one out, so that no two threads ever share
 * one, and puts it back.
 */
#ifndef KEXA_TEXT_BPE_CACHE_H
#define KEXA_TEXT_BPE_CACHE_H

#include "text/piece_words.h"

enum {
    SHORT_BYTES = 15, LONG_BYTES = 31,
    WAY_NARROW = 8, WAY_WIDE = 4,         /* tokens: ids below 2^16; any ids */
    LINE_NARROW = 14, LINE_WIDE = 7,
    SETS_LOG2 = 18, LINES_LOG2 = 16,      /* 16 and 4 MB for each idle or working caller */
    QUEUE_WORDS = 16,
    MAX_IDLE = 8                          /* callers whose memory is kept */
};

/* Its key: the bytes, then zeros, and in the last byte how many they are, and above that how many
 * tokens there are, less 1.  More than fit go on in the other place, which has no key then. */
struct bpe_way {
    uint64_t key[2];
    uint16_t narrow[WAY_NARROW];          /* wide: as 32 bits */
};

struct bpe_set {
    struct bpe_way way[2];
};

/* Its key: the bytes, then zeros; the last byte: how many. */
struct bpe_line {
    uint64_t key[4];
    uint16_t n, narrow[LINE_NARROW + 1];  /* wide: from narrow[1] on, as 32 bits */
};

struct bpe_word {
    struct piece_word word;
    struct bpe_set *set;                  /* of a short word; NULL: it has none */
    struct bpe_line *line;                /* of any other */
    uint64_t key[4];
};

struct bpe_scratch {
    struct bpe_symbol *sym;
    uint64_t *heap;
    size_t cap;
    struct bpe_set *set;                  /* NULL: no cache */
    struct bpe_line *line;                /* behind the sets */
    void *cache_block;                    /* what they are an aligned part of */
    bool narrow;
    const uint8_t *text_end;              /* bytes before it may be read; NULL: only the word */
    struct bpe_word word[QUEUE_WORDS];
    unsigned n_words;
    bool inside;                          /* words of the piece before the queue are done */
    size_t piece_from, piece_words;       /* its first token; how many words so far */
};

struct bpe_pool {
    _Atomic(struct bpe_scratch *) idle[MAX_IDLE];
};

/* Never fails: `own`, which must be zero, is for want of memory, and has no cache.  narrow: all
 * ids are below 2^16; the same for all calls with one pool. */
struct bpe_scratch *bpe_pool_take(struct bpe_pool *p, bool narrow, struct bpe_scratch *own);
void bpe_pool_give(struct bpe_pool *p, struct bpe_scratch *s, struct bpe_scratch *own);
void bpe_pool_release(struct bpe_pool *p);

void bpe_scratch_release(struct bpe_scratch *s);

#endif
