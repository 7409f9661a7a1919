/*
 * piece_count: the distinct pieces of one chunk of text, with their weights.
 *
 * First of two steps of counting.  A chunk's table fits the cache, and what is equal inside
 * the chunk is looked up in the large table once.
 */
#ifndef KEXA_TEXT_PIECE_COUNT_H
#define KEXA_TEXT_PIECE_COUNT_H

#include "text/pretok.h"
#include "text/train_batch.h"

enum { COUNT_SHARDS = 16 };

struct counted_piece {
    uint64_t hash;
    const uint8_t *at;                    /* in the chunk's text */
    uint32_t len;
    uint32_t next;                        /* of the same shard: index + 1; 0: none */
    uint64_t weight;
};

struct piece_count {
    struct counted_piece *piece;
    uint32_t n, cap;
    uint32_t *slot;                       /* index + 1; 0: free */
    uint32_t mask;
    uint32_t first[COUNT_SHARDS], last[COUNT_SHARDS];     /* index + 1, in order of meeting */
    struct buf nfc;
};

static inline unsigned shard_of_hash(uint64_t hash)
{
    return (unsigned)(hash >> 60);
}

/* What a chunk is cut into. */
enum piece_kind {
    PIECE_WORD,                           /* the pieces of the pre-tokenizer, cut into words */
    PIECE_WHOLE                           /* the pieces, of more than one byte */
};

/* Brings the chunk to NFC and counts its pieces; what was counted before is forgotten.
 * false: out of memory. */
bool piece_count_chunk(struct piece_count *t, struct text_chunk *c, const struct pretok *pre,
                       enum piece_kind kind);
void piece_count_release(struct piece_count *t);

#endif
