#include "text/bpe_ranks.h"

#include <stdlib.h>

enum { N_BYTES = 256, KEYS_A_PLACE = 4, MAX_PLACE = UINT16_MAX };

/* The keys of one place, while the table is filled. */
struct bucket {
    uint32_t n, place, at;                /* its keys are from `at` on */
};

static int most_first(const void *a, const void *b)
{
    const struct bucket *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n) - (x->n > y->n) : (x->place > y->place) -
                                                          (x->place < y->place);
}

static bool take_tables(struct bpe_ranks *r, size_t n_ids, size_t n_numbers, size_t n)
{
    unsigned log2_slots = 6, log2_places = 4;
    while (((size_t)3 << log2_slots) / 4 < n)
        log2_slots++;
    while (((size_t)KEYS_A_PLACE << log2_places) < n)
        log2_places++;
    r->slot_shift = 64 - log2_slots;
    r->place_shift = 64 - log2_places;
    r->slot = mem_take((size_t)1 << log2_slots, sizeof *r->slot);
    r->place = mem_take((size_t)1 << log2_places, sizeof *r->place);
    r->id = mem_take(n_numbers, sizeof *r->id);
    r->made = mem_take(n_numbers, sizeof *r->made);
    r->number = mem_take(n_ids, sizeof *r->number);
    return r->slot && r->place && r->id && r->made && r->number;
}

/* Numbers the tokens; merge: by rank, PAIR_EMPTY where there is none. */
static void put_numbers(struct bpe_ranks *r, const struct vocab *v, const struct pair_slot *merge,
                        uint32_t n)
{
    bool once = true;
    memset(r->number, 255, v->n * sizeof *r->number);
    for (uint32_t c = 0; c < N_BYTES; c++)
        if (v->byte_id[c] != NO_TOKEN) {
            r->number[v->byte_id[c]] = c;
            r->id[c] = (uint32_t)v->byte_id[c];
        }
    for (uint32_t rank = 0; rank < n; rank++) {
        uint32_t id = merge[rank].b;
        if (merge[rank].key == PAIR_EMPTY)
            continue;
        if (r->number[id] == UINT32_MAX)
            r->number[id] = N_BYTES + rank;
        r->made[rank] = r->number[id];
        r->id[N_BYTES + rank] = id;
        once = once && r->made[rank] == N_BYTES + rank;
    }
    if (once) {
        mem_give(r->made);
        r->made = NULL;
    }
}

/* Finds a number for the bucket's place that leads its keys to free slots; false: none does. */
static bool settle(struct bpe_ranks *r, const struct bucket *b, const uint64_t *entry)
{
    for (unsigned try = 0; try <= MAX_PLACE; try++) {
        r->place[b->place] = (uint16_t)try;
        uint32_t k = 0;
        for (; k < b->n; k++) {
            uint64_t *s = &r->slot[ranks_slot(r, entry[b->at + k] >> RANK_BITS)];
            if (*s != RANKS_FREE)
                break;
            *s = entry[b->at + k];
        }
        if (k == b->n)
            return true;
        while (k-- > 0)
            r->slot[ranks_slot(r, entry[b->at + k] >> RANK_BITS)] = RANKS_FREE;
    }
    return false;
}

/* Fills the slots; entry and sorted: room for n each.  false: some key found no slot. */
static bool put_slots(struct bpe_ranks *r, uint64_t *entry, uint64_t *sorted, uint32_t n,
                      struct bucket *b)
{
    uint32_t n_places = (uint32_t)(UINT64_MAX >> r->place_shift) + 1;
    memset(r->slot, 255, ((UINT64_MAX >> r->slot_shift) + 1) * sizeof *r->slot);
    for (uint32_t i = 0; i < n; i++)
        b[(entry[i] >> RANK_BITS) * 0x9E3779B97F4A7C15u >> r->place_shift].n++;
    for (uint32_t p = 0, at = 0; p < n_places; at += b[p++].n) {
        b[p].place = p;
        b[p].at = at;
    }
    for (uint32_t i = 0; i < n; i++)
        sorted[b[(entry[i] >> RANK_BITS) * 0x9E3779B97F4A7C15u >> r->place_shift].at++] = entry[i];
    for (uint32_t p = 0; p < n_places; p++)
        b[p].at -= b[p].n;
    qsort(b, n_places, sizeof *b, most_first);
    for (uint32_t i = 0; i < n_places && b[i].n; i++)
        if (!settle(r, &b[i], sorted))
            return false;
    return true;
}

/* The entries of the table, from the merges by rank; gives how many. */
static uint32_t list_entries(const struct bpe_ranks *r, const struct pair_slot *merge, uint32_t n,
                             uint64_t *entry)
{
    uint32_t n_entries = 0;
    for (uint32_t rank = 0; rank < n; rank++) {
        if (merge[rank].key == PAIR_EMPTY)
            continue;
        uint64_t left = r->number[merge[rank].key >> 32];
        uint64_t right = r->number[merge[rank].key & UINT32_MAX];
        if (left != UINT32_MAX && right != UINT32_MAX)
            entry[n_entries++] = left << 2 * RANK_BITS | right << RANK_BITS | rank;
    }
    return n_entries;
}

bool bpe_ranks_build(struct bpe_ranks *r, const struct vocab *v, const struct pair_map *merges,
                     uint32_t n_merges, uint32_t stage_two)
{
    uint32_t n = n_merges < stage_two ? n_merges : stage_two;
    if (n > RANK_MASK - N_BYTES)
        return true;
    struct pair_slot *merge = mem_take(n + 1u, sizeof *merge);
    uint64_t *entry = mem_take(n + 1u, 2 * sizeof *entry);
    struct bucket *b = NULL;
    bool ok = merge && entry && take_tables(r, v->n, n + (size_t)N_BYTES, n), settled = false;
    if (ok)
        b = mem_take((UINT64_MAX >> r->place_shift) + 1, sizeof *b);
    ok = ok && b;
    if (ok) {
        memset(merge, 255, n * sizeof *merge);
        for (uint64_t i = 0; i <= merges->mask; i++)
            if (merges->slot[i].key != PAIR_EMPTY && merges->slot[i].a < n)
                merge[merges->slot[i].a] = merges->slot[i];
        put_numbers(r, v, merge, n);
        settled = put_slots(r, entry, entry + n, list_entries(r, merge, n, entry), b);
    }
    if (!settled)
        bpe_ranks_release(r);
    mem_give(merge);
    mem_give(entry);
    mem_give(b);
    return ok;
}

void bpe_ranks_release(struct bpe_ranks *r)
{
    mem_give(r->slot);
    mem_give(r->place);
    mem_give(r->id);
    mem_give(r->made);
    mem_give(r->number);
    *r = (struct bpe_ranks){ 0 };
}

/* A word while it is merged: symbols stay where they are, and gone ones are skipped. */
struct row {
    uint32_t order[RANKS_FEW + 8];        /* rank << 8 | place; or NO_ORDER */
    uint8_t next[RANKS_FEW + 1], prev[RANKS_FEW + 1];
};

static inline uint32_t order_at(const struct bpe_ranks *r, const uint32_t *number, size_t i,
                                size_t j)
{
    return ranks_find(r, number[i], number[j]) | (uint32_t)i;
}

static inline uint32_t less(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Of eight at a time, so that most words take one step.  order: up to n + 7. */
static inline uint32_t least(const uint32_t *order, size_t n)
{
    uint32_t all = NO_ORDER;
    for (size_t i = 0; i < n; i += 8) {
        const uint32_t *o = order + i;
        uint32_t a = less(less(o[0], o[1]), less(o[2], o[3]));
        uint32_t b = less(less(o[4], o[5]), less(o[6], o[7]));
        all = less(all, less(a, b));
    }
    return all;
}

/* The number that the merge of a rank makes. */
static inline uint32_t made_by(const struct bpe_ranks *r, uint32_t rank)
{
    return r->made ? r->made[rank] : N_BYTES + rank;
}

/* The same as below for n = 2, as most runs of bytes are that merge little. */
static size_t merge_two(const struct bpe_ranks *r, uint32_t *number)
{
    uint32_t order = ranks_find(r, number[0], number[1]);
    if (order == NO_ORDER) {
        number[0] = r->id[number[0]];
        number[1] = r->id[number[1]];
        return 2;
    }
    number[0] = r->id[made_by(r, order >> 8)];
    return 1;
}

size_t bpe_ranks_merge(const struct bpe_ranks *r, uint32_t *number, size_t n)
{
    struct row w;
    if (n == 2)
        return merge_two(r, number);
    for (size_t i = 0; i + 1 < n; i++) {
        w.next[i] = (uint8_t)(i + 1);
        w.prev[i] = (uint8_t)(i - 1);
        w.order[i] = order_at(r, number, i, i + 1);
    }
    w.next[n - 1] = (uint8_t)n;
    w.prev[n - 1] = (uint8_t)(n - 2);
    w.prev[0] = 0;                        /* at the ends something is looked up for nothing */
    memset(w.order + n - 1, 255, 8 * sizeof *w.order);
    uint32_t best = least(w.order, n);
    while (best < RANK_MASK << 8) {
        size_t at = best & 255, gone = w.next[at], after = w.next[gone], before = w.prev[at];
        number[at] = made_by(r, best >> 8);
        w.next[at] = (uint8_t)after;
        w.prev[after] = (uint8_t)at;
        w.order[gone] = w.order[at] = w.order[before] = NO_ORDER;
        uint32_t others = least(w.order, n);          /* while the two are on their way */
        uint32_t x = order_at(r, number, before, at) | -(uint32_t)(at == 0);
        uint32_t y = order_at(r, number, at, after < n ? after : at) | -(uint32_t)(after == n);
        w.order[before] = x;
        w.order[at] = y;
        best = less(others, less(x, y));
    }
    size_t left = 0;
    for (size_t i = 0; i < n; i = w.next[i])
        number[left++] = r->id[number[i]];
    return left;
}
