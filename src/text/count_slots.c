#include "text/count_slots.h"

#include <stdlib.h>

static bool widen(struct count_slots *t)
{
    uint64_t n = t->slot ? (t->mask + 1) * 2 : 1 << 12;
    struct count_slot *slot = mem_take(n, sizeof *slot);
    if (!slot)
        return false;
    for (uint64_t i = 0; t->slot && i <= t->mask; i++) {
        if (!t->slot[i].key1)
            continue;
        uint64_t k = t->slot[i].tag & (n - 1);
        while (slot[k].key1)
            k = (k + 1) & (n - 1);
        slot[k] = t->slot[i];
    }
    mem_give(t->slot);
    t->slot = slot;
    t->mask = n - 1;
    return true;
}

bool count_slots_reach(struct count_slots *t)
{
    return (t->slot && (uint64_t)t->n * 4 <= t->mask * 3) || widen(t);
}

void count_slots_release(struct count_slots *t)
{
    mem_give(t->slot);
    *t = (struct count_slots){ 0 };
}

static int compare_counts(const void *a, const void *b)
{
    const struct count_order *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    if (x->shard != y->shard)
        return x->shard < y->shard ? -1 : 1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

void count_order_sort(struct count_order *at, size_t n)
{
    qsort(at, n, sizeof *at, compare_counts);
}

bool weight_run_put(struct spans *s, uint32_t *cap, uint32_t from, uint64_t weight)
{
    if (s->n_runs && s->run[s->n_runs - 1].weight == weight)
        return true;
    if (s->n_runs == *cap) {
        uint32_t more = *cap ? *cap * 2 : 256;
        struct weight_run *run = mem_grow(s->run, more, sizeof *run);
        if (!run)
            return false;
        s->run = run;
        *cap = more;
    }
    s->run[s->n_runs++] = (struct weight_run){ from, weight };
    return true;
}
