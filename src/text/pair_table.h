/*
 * pair_table: the pairs of neighbouring tokens that may become merges: how often each
 * occurs, where, and which is next.
 *
 * A pair's places are a list of slot numbers, ascending.  They may be out of date: whoever
 * walks the list looks whether the pair is still there.  Counts are exact.
 *
 * The queue is a binary heap of (count, pair), highest count first, on ties the smaller pair
 * of ids.  An entry whose count is no longer its pair's is put back when it comes up.
 */
#ifndef KEXA_TEXT_PAIR_TABLE_H
#define KEXA_TEXT_PAIR_TABLE_H

#include "base/base.h"

enum { NO_PAIR = -1 };

struct pair_entry {
    uint32_t left, right;
    uint64_t count;
    uint32_t *place;
    uint32_t n_places;
    bool unsorted;                        /* places were added out of order, or twice */
};

struct pair_chunk {
    struct pair_chunk *next;
    uint32_t at[];
};

struct queue_entry {
    uint64_t count;
    uint32_t pair;
};

struct pair_table {
    struct pair_entry *pair;
    uint32_t n, cap;
    uint32_t *slot;                       /* by (left, right): pair + 1; 0: free */
    uint64_t mask;
    struct queue_entry *heap;
    size_t n_heap, cap_heap;
    struct pair_chunk *chunk;             /* where places are; all are given back at once */
    size_t chunk_left;                    /* slots left in the newest */
    size_t n_place_slots;                 /* in all chunks */
};

void pair_table_release(struct pair_table *t);      /* a zeroed struct is fine */
void pair_table_clear(struct pair_table *t);        /* no pairs, no places; tables kept */

int64_t pair_table_find(const struct pair_table *t, uint32_t left, uint32_t right);

/* Adds a pair that is not there. */
bool pair_table_add(struct pair_table *t, uint32_t left, uint32_t right, uint32_t *pair);

/* Room for n_more more places; those there are stay. */
bool pair_table_reach(struct pair_table *t, uint32_t pair, uint32_t n_more);

/* After places were added out of order: ascending, each once. */
void pair_table_sort(struct pair_entry *p);

bool pair_table_push(struct pair_table *t, uint32_t pair);

/* The pair of the highest count, taken out of the queue; NO_PAIR when there is none whose
 * count is `least` or more. */
int64_t pair_table_pop(struct pair_table *t, uint64_t least);

#endif
