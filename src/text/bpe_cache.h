/*
 * bpe_cache: what one caller at a time keeps between pieces and between texts: memory for
 * long pieces, and the tokens of words met before.
 *
 * A word of at most 31 bytes that became few tokens has one line of 64 bytes, where its hash
 * puts it; another word with that place takes it over.  So memory is bounded, and no text can
 * make looking slow.  What is in the cache never changes the ids.
 *
 * The lines are more than the nearest caches hold.  So words wait in a short queue while theirs
 * are fetched.
 *
 * A tokenizer keeps a pool of these: a call takes one out, so that no two threads ever share
 * one, and puts it back.
 */
#ifndef KEXA_TEXT_BPE_CACHE_H
#define KEXA_TEXT_BPE_CACHE_H

#include "base/base.h"

enum {
    LINE_BYTES = 31,
    WIDE_IDS = 7, NARROW_IDS = 14,        /* tokens in a line: any ids; ids below 2^16 */
    CACHE_LINES_LOG2 = 17,                /* 8 MB for each idle or working caller */
    QUEUE_WORDS = 16,
    MAX_IDLE = 16                         /* callers whose memory is kept */
};

struct bpe_line {
    uint64_t key[4];                      /* the bytes, then zeros; the last byte: how many */
    uint16_t n, narrow[NARROW_IDS + 1];   /* wide: from narrow[1] on, as 32 bits */
};

struct bpe_word {
    struct bytes text;
    bool ends_piece;
    struct bpe_line *line;                /* where it is or belongs; NULL: nowhere */
    uint64_t key[4];
};

struct bpe_scratch {
    struct bpe_symbol *sym;
    uint64_t *heap;
    size_t cap;
    struct bpe_line *line;                /* NULL: no cache */
    void *line_block;                     /* what `line` is an aligned part of */
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

/* Puts a word into the queue, which has room, and has its line fetched. */
void bpe_cache_queue(struct bpe_scratch *s, struct bytes text, bool ends_piece);

/* Appends the tokens of a queued word, if the cache has them. */
bool bpe_cache_find(const struct bpe_scratch *s, const struct bpe_word *w, struct ids *out);

/* Keeps out->at[from, n) as the tokens of a queued word. */
void bpe_cache_keep(const struct bpe_scratch *s, const struct bpe_word *w,
                    const struct ids *out, size_t from);

#endif
