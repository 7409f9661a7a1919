/*
 * bpe_ranks: the merges of words in a table that stays in a near cache.
 *
 * Merging is waiting for memory: each step asks for pairs that only the step before made known.
 * So a merge is 8 bytes here, in a table three quarters full, and it is found in one look: the
 * first half of the hash gives a number that was chosen when the table was filled so that the
 * second half of the hash and it lead each key to a place of its own (Belazzougui, Botelho and
 * Dietzfelbinger 2009, "Hash, displace, and compress").  No step of a search is guessed wrongly,
 * nor is whether it found something.
 *
 * Tokens have numbers of their own here: a byte is itself, and what merges make is 256 + the
 * lowest rank that makes it.
 */
#ifndef KEXA_TEXT_BPE_RANKS_H
#define KEXA_TEXT_BPE_RANKS_H

#include "text/pair_map.h"
#include "text/vocab.h"

enum { RANK_BITS = 20, RANK_MASK = (1 << RANK_BITS) - 1, RANKS_FEW = 48 };

#define RANKS_FREE UINT64_MAX             /* no pair is this */
#define NO_ORDER UINT32_MAX

struct bpe_ranks {
    uint64_t *slot;                       /* left << 40 | right << 20 | rank; NULL: unused */
    uint16_t *place;                      /* what leads keys to their slots */
    unsigned slot_shift, place_shift;     /* 64 - log2 of how many */
    uint32_t *id;                         /* of each number */
    uint32_t *made;                       /* by rank: the number; NULL: 256 + rank for all */
    uint32_t *number;                     /* of each id; UINT32_MAX */
};

/* From the merges of rank below stage_two.  Unused where they are too many.  false: out of
 * memory. */
bool bpe_ranks_build(struct bpe_ranks *r, const struct vocab *v, const struct pair_map *merges,
                     uint32_t n_merges, uint32_t stage_two);
void bpe_ranks_release(struct bpe_ranks *r);

static inline uint64_t ranks_slot(const struct bpe_ranks *r, uint64_t key)
{
    uint64_t x = key * 0x9E3779B97F4A7C15u;
    uint64_t place = 2 * (uint64_t)r->place[x >> r->place_shift] + 1;
    return (x ^ x >> 29) * place >> r->slot_shift;
}

/* rank << 8 of the merge of two numbers, or NO_ORDER. */
static inline uint32_t ranks_find(const struct bpe_ranks *r, uint32_t left, uint32_t right)
{
    uint64_t key = (uint64_t)left << RANK_BITS | right, s = r->slot[ranks_slot(r, key)];
    return ((uint32_t)s << 8 & RANK_MASK << 8) | -(uint32_t)(s >> RANK_BITS != key);
}

/* number[0, n), 2 <= n <= RANKS_FEW, becomes the ids of what it merges to; gives how many. */
size_t bpe_ranks_merge(const struct bpe_ranks *r, uint32_t *number, size_t n);

#endif
