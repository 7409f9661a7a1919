/*
 * pair_map: (u32, u32) -> (u32, u32), open addressing, for merges and for tries.
 *
 * Most pairs that BPE asks for are absent.  A sealed map says so from a table of bits, eight
 * for each slot, which stays in a cache where the slots do not.
 */
#ifndef KEXA_TEXT_PAIR_MAP_H
#define KEXA_TEXT_PAIR_MAP_H

#include "base/base.h"

struct pair_slot {
    uint64_t key;                         /* left << 32 | right; PAIR_EMPTY: free */
    uint32_t a, b;
};

struct pair_map {
    struct pair_slot *slot;
    size_t n;
    uint64_t mask;                        /* slots - 1 */
    unsigned shift;                       /* 64 - log2(slots) */
    uint64_t *may;                        /* after pair_map_seal(); else NULL */
};

#define PAIR_EMPTY UINT64_MAX             /* no pair of token ids or trie nodes is this */

bool pair_map_init(struct pair_map *m, size_t n_expected); /* false: out of memory */
void pair_map_release(struct pair_map *m);
bool pair_map_put(struct pair_map *m, uint32_t left, uint32_t right, uint32_t a, uint32_t b);

/* After the last put: makes looking for absent pairs cheap.  false: out of memory. */
bool pair_map_seal(struct pair_map *m);

enum { PAIR_BITS_LOG2 = 3 };              /* bits for each slot */

/* NULL if absent. */
static inline const struct pair_slot *pair_map_find(const struct pair_map *m, uint32_t left,
                                                    uint32_t right)
{
    uint64_t key = (uint64_t)left << 32 | right;
    uint64_t hash = key * 0x9E3779B97F4A7C15u;            /* Fibonacci hashing */
    uint64_t bit = hash >> (m->shift - PAIR_BITS_LOG2), i = hash >> m->shift;
    if (m->may && !(m->may[bit >> 6] >> (bit & 63) & 1))
        return NULL;
    for (; m->slot[i].key != PAIR_EMPTY; i = (i + 1) & m->mask)
        if (m->slot[i].key == key)
            return &m->slot[i];
    return NULL;
}

#endif
