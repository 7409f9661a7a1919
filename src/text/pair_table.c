#include "text/pair_table.h"

#include <stdlib.h>

enum { CHUNK_SLOTS = 1 << 20 };

static void give_chunks(struct pair_table *t)
{
    for (struct pair_chunk *c = t->chunk, *next; c; c = next) {
        next = c->next;
        mem_give(c);
    }
    t->chunk = NULL;
    t->chunk_left = t->n_place_slots = 0;
}

void pair_table_release(struct pair_table *t)
{
    give_chunks(t);
    mem_give(t->pair);
    mem_give(t->slot);
    mem_give(t->heap);
    *t = (struct pair_table){ 0 };
}

void pair_table_clear(struct pair_table *t)
{
    give_chunks(t);
    if (t->slot)
        memset(t->slot, 0, (t->mask + 1) * sizeof *t->slot);
    t->n = 0;
    t->n_heap = 0;
}

/* Where the pair is or belongs. */
static uint64_t slot_of(const struct pair_table *t, uint32_t left, uint32_t right)
{
    uint64_t i = (((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u >> 20) & t->mask;
    for (; t->slot[i]; i = (i + 1) & t->mask) {
        const struct pair_entry *p = &t->pair[t->slot[i] - 1];
        if (p->left == left && p->right == right)
            break;
    }
    return i;
}

int64_t pair_table_find(const struct pair_table *t, uint32_t left, uint32_t right)
{
    return t->slot ? (int64_t)t->slot[slot_of(t, left, right)] - 1 : NO_PAIR;
}

static bool widen(struct pair_table *t)
{
    uint64_t n = t->slot ? (t->mask + 1) * 2 : 4096;
    uint32_t *slot = mem_take(n, sizeof *slot);
    struct pair_entry *pair = slot ? mem_grow(t->pair, n / 2, sizeof *pair) : NULL;
    if (!pair) {
        mem_give(slot);
        return false;
    }
    mem_give(t->slot);
    t->slot = slot;
    t->mask = n - 1;
    t->pair = pair;
    t->cap = (uint32_t)(n / 2);
    for (uint32_t k = 0; k < t->n; k++)
        slot[slot_of(t, pair[k].left, pair[k].right)] = k + 1;
    return true;
}

bool pair_table_add(struct pair_table *t, uint32_t left, uint32_t right, uint32_t *pair)
{
    if (t->n == t->cap && !widen(t))
        return false;
    *pair = t->n++;
    t->pair[*pair] = (struct pair_entry){ .left = left, .right = right };
    t->slot[slot_of(t, left, right)] = *pair + 1;
    return true;
}

static uint32_t *take_places(struct pair_table *t, size_t n)
{
    if (n > t->chunk_left) {
        size_t size = n > CHUNK_SLOTS ? n : CHUNK_SLOTS;
        struct pair_chunk *c = mem_grow(NULL, sizeof *c + size * sizeof c->at[0], 1);
        if (!c)
            return NULL;
        c->next = t->chunk;
        t->chunk = c;
        t->chunk_left = size;
        t->n_place_slots += size;
    }
    t->chunk_left -= n;
    return t->chunk->at + t->chunk_left;
}

bool pair_table_reach(struct pair_table *t, uint32_t pair, uint32_t n_more)
{
    struct pair_entry *p = &t->pair[pair];
    uint32_t *place = take_places(t, (size_t)p->n_places + n_more);
    if (!place)
        return false;
    if (p->n_places)
        memcpy(place, p->place, p->n_places * sizeof *place);
    p->place = place;
    return true;
}

static int compare_places(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void pair_table_sort(struct pair_entry *p)
{
    uint32_t n = 0;
    qsort(p->place, p->n_places, sizeof *p->place, compare_places);
    for (uint32_t i = 0; i < p->n_places; i++)
        if (!n || p->place[n - 1] != p->place[i])
            p->place[n++] = p->place[i];
    p->n_places = n;
    p->unsorted = false;
}

/* Whether a comes before b. */
static bool before(const struct pair_table *t, struct queue_entry a, struct queue_entry b)
{
    if (a.count != b.count)
        return a.count > b.count;
    const struct pair_entry *p = &t->pair[a.pair], *q = &t->pair[b.pair];
    return p->left != q->left ? p->left < q->left : p->right < q->right;
}

bool pair_table_push(struct pair_table *t, uint32_t pair)
{
    if (t->n_heap == t->cap_heap) {
        size_t cap = t->cap_heap ? t->cap_heap * 2 : 4096;
        struct queue_entry *heap = mem_grow(t->heap, cap, sizeof *heap);
        if (!heap)
            return false;
        t->heap = heap;
        t->cap_heap = cap;
    }
    struct queue_entry x = { t->pair[pair].count, pair };
    size_t i = t->n_heap++;
    for (; i > 0 && before(t, x, t->heap[(i - 1) / 2]); i = (i - 1) / 2)
        t->heap[i] = t->heap[(i - 1) / 2];
    t->heap[i] = x;
    return true;
}

/* Puts x at the top and lets it sink. */
static void sink(struct pair_table *t, struct queue_entry x)
{
    size_t i = 0;
    for (size_t c; (c = 2 * i + 1) < t->n_heap; i = c) {
        if (c + 1 < t->n_heap && before(t, t->heap[c + 1], t->heap[c]))
            c++;
        if (!before(t, t->heap[c], x))
            break;
        t->heap[i] = t->heap[c];
    }
    t->heap[i] = x;
}

int64_t pair_table_pop(struct pair_table *t, uint64_t least)
{
    while (t->n_heap) {
        struct queue_entry top = t->heap[0];
        uint64_t count = t->pair[top.pair].count;
        if (top.count == count && count >= least) {
            if (--t->n_heap)
                sink(t, t->heap[t->n_heap]);
            return top.pair;
        }
        if (count >= least)
            sink(t, (struct queue_entry){ count, top.pair });
        else if (--t->n_heap)
            sink(t, t->heap[t->n_heap]);
    }
    return NO_PAIR;
}
