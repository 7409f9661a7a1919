#include "text/span_table.h"

/* Whether a sequence of tokens has these bytes. */
static bool spells(const struct learnt *l, const uint32_t *key, struct bytes piece)
{
    size_t at = 0;
    for (uint32_t i = 1; i <= key[0]; i++) {
        struct bytes b = learnt_bytes(l, key[i]);
        if (b.len > piece.len - at || memcmp(b.at, piece.at + at, b.len) != 0)
            return false;
        at += b.len;
    }
    return at == piece.len;
}

static struct count_slot *slot_of(const struct span_shard *w, const struct learnt *l,
                                  struct bytes piece, uint64_t hash)
{
    const struct count_slots *t = &w->table;
    uint32_t tag = count_slots_tag(hash);
    for (uint64_t i = tag & t->mask;; i = (i + 1) & t->mask) {
        struct count_slot *s = &t->slot[i];
        if (!s->key1 || (s->tag == tag && spells(l, w->keys.at + s->key1 - 1, piece)))
            return s;
    }
}

static bool put_key(struct span_shard *w, struct count_slot *s, uint64_t hash)
{
    size_t n = w->room.n;
    if (w->keys.n + n + 1 >= UINT32_MAX || !ids_reach(&w->keys, n + 1))
        return false;
    s->tag = count_slots_tag(hash);
    s->key1 = (uint32_t)w->keys.n + 1;
    w->keys.at[w->keys.n] = (uint32_t)n;
    memcpy(w->keys.at + w->keys.n + 1, w->room.at, n * sizeof *w->room.at);
    w->keys.n += n + 1;
    w->table.n++;
    return true;
}

static bool add_span(struct span_shard *w, const struct counted_piece *p, const struct learnt *l,
                     segment_fn *segment, const void *arg)
{
    struct bytes piece = { p->at, p->len };
    if (!count_slots_reach(&w->table))
        return false;
    struct count_slot *s = slot_of(w, l, piece, p->hash);
    if (!s->key1) {
        w->room.n = 0;
        if (!segment(arg, piece, &w->room))
            return false;
        if (w->room.n < 2)
            return true;
        if (!put_key(w, s, p->hash))
            return false;
    }
    s->count += p->weight;
    return true;
}

void span_table_add(struct span_table *t, unsigned shard, const struct piece_count *chunk,
                    const struct learnt *l, segment_fn *segment, const void *arg)
{
    struct span_shard *w = &t->shard[shard];
    for (uint32_t k = chunk->first[shard]; k && !w->full; k = chunk->piece[k - 1].next)
        w->full = !add_span(w, &chunk->piece[k - 1], l, segment, arg);
}

bool span_table_full(const struct span_table *t)
{
    bool full = false;
    for (int i = 0; i < COUNT_SHARDS; i++)
        full |= t->shard[i].full;
    return full;
}

size_t span_table_slots(const struct span_table *t)
{
    size_t n = 0;
    for (int i = 0; i < COUNT_SHARDS; i++)
        n += t->shard[i].keys.n;
    return n;
}

size_t span_table_memory(const struct span_table *t)
{
    size_t n = 0;
    for (int i = 0; i < COUNT_SHARDS; i++)
        n += t->shard[i].keys.n * sizeof(uint32_t) +
             (t->shard[i].table.mask + 1) * sizeof(struct count_slot);
    return n;
}

static void release_shard(struct span_shard *w)
{
    count_slots_release(&w->table);
    ids_release(&w->keys);
    ids_release(&w->room);
    *w = (struct span_shard){ 0 };
}

void span_table_release(struct span_table *t)
{
    for (int i = 0; i < COUNT_SHARDS; i++)
        release_shard(&t->shard[i]);
}

static size_t n_spans(const struct span_table *t)
{
    size_t n = 0;
    for (int i = 0; i < COUNT_SHARDS; i++)
        n += t->shard[i].table.n;
    return n;
}

/* The order of counts; .slot becomes the place of the key. */
static struct count_order *order_of(struct span_table *t, size_t n)
{
    struct count_order *order = mem_grow(NULL, n + 1, sizeof *order);
    size_t k = 0;
    for (uint32_t i = 0; order && i < COUNT_SHARDS; i++) {
        struct span_shard *w = &t->shard[i];
        const struct count_slot *slot = w->table.slot;
        for (uint64_t s = 0; slot && s <= w->table.mask; s++)
            if (slot[s].key1)
                order[k++] = (struct count_order){ slot[s].count, i, slot[s].key1 - 1 };
        count_slots_release(&w->table);
    }
    if (order)
        count_order_sort(order, n);
    return order;
}

static bool put_spans(const struct span_table *t, const struct count_order *order, size_t n,
                      struct spans *out)
{
    uint32_t cap = 0;
    for (size_t k = 0; k < n; k++) {
        const uint32_t *key = t->shard[order[k].shard].keys.at + order[k].slot;
        if (!weight_run_put(out, &cap, out->n, order[k].count))
            return false;
        out->sym[out->n++] = SPAN_END;
        memcpy(out->sym + out->n, key + 1, key[0] * sizeof *key);
        out->n += key[0];
    }
    out->sym[out->n++] = SPAN_END;
    return n > 0 || weight_run_put(out, &cap, 0, 1);
}

bool span_table_take(struct span_table *t, struct spans *out, struct err *err)
{
    size_t n = n_spans(t), n_slots = span_table_slots(t) + 1;
    *out = (struct spans){ 0 };
    if (n_slots > UINT32_MAX / 2)
        return fail(err, ERR_LIMIT, "the different pieces have %zu tokens; at most %u can be "
                    "trained on", n_slots, UINT32_MAX / 2);
    struct count_order *order = order_of(t, n);
    out->sym = order ? mem_grow(NULL, n_slots, sizeof *out->sym) : NULL;
    bool ok = out->sym && put_spans(t, order, n, out);
    mem_give(order);
    span_table_release(t);
    return ok || fail(err, ERR_MEMORY, "no memory for %zu different pieces", n);
}
