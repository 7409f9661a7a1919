/*
 * count_slots: an open-addressing table of keys with counts, for the tables of words and of
 * pieces; what the keys are and where they lie is theirs.  And the order of counts in which
 * both give what they counted.
 */
#ifndef KEXA_TEXT_COUNT_SLOTS_H
#define KEXA_TEXT_COUNT_SLOTS_H

#include "text/merge_learn.h"

struct count_slot {
    uint64_t count;                       /* or, in words after stage one, where the tokens are */
    uint32_t tag;                         /* of the hash */
    uint32_t key1;                        /* where the key is, + 1; 0: free */
};

struct count_slots {
    struct count_slot *slot;              /* NULL: none yet */
    uint64_t mask;                        /* slots - 1 */
    uint32_t n;                           /* keys */
};

/* The part of a hash that a slot keeps; a search begins at tag & mask. */
static inline uint32_t count_slots_tag(uint64_t hash)
{
    return (uint32_t)(hash >> 28);
}

/* Room for one more key; slots may move.  false: out of memory. */
bool count_slots_reach(struct count_slots *t);
void count_slots_release(struct count_slots *t);

/* The order of counts, highest first; equal ones by shard and slot. */
struct count_order {
    uint64_t count;
    uint32_t shard, slot;
};
void count_order_sort(struct count_order *at, size_t n);

/* Appends to the runs that slots from `from` on have this weight. */
bool weight_run_put(struct spans *s, uint32_t *cap, uint32_t from, uint64_t weight);

#endif
