/*
 * span_table: the distinct pieces of a corpus as sequences of tokens, with their counts.
 * Sixteen shards by hash, so that threads can fill it without locks.  A piece of one token
 * has no pair to merge and is not kept.
 */
#ifndef KEXA_TEXT_SPAN_TABLE_H
#define KEXA_TEXT_SPAN_TABLE_H

#include "text/count_slots.h"
#include "text/piece_count.h"

struct span_shard {
    struct count_slots table;
    struct ids keys;                      /* each: how many tokens, the tokens */
    struct ids room;                      /* for one piece */
    bool full;                            /* out of memory, or of 32-bit places */
};

struct span_table {
    struct span_shard shard[COUNT_SHARDS];
};

/* Appends the tokens of a piece. */
typedef bool segment_fn(const void *arg, struct bytes piece, struct ids *out);

/* Adds the pieces of one shard of a chunk.  Failure is kept in `full`. */
void span_table_add(struct span_table *t, unsigned shard, const struct piece_count *chunk,
                    const struct learnt *l, segment_fn *segment, const void *arg);

bool span_table_full(const struct span_table *t);
size_t span_table_slots(const struct span_table *t);  /* of all sequences, one end each */
size_t span_table_memory(const struct span_table *t);
void span_table_release(struct span_table *t);

/* All sequences, those of high count first.  The table is given back on the way. */
bool span_table_take(struct span_table *t, struct spans *out, struct err *err);

#endif
