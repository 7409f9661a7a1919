#include "text/word_table.h"

static struct bytes key_of(const struct word_shard *w, const struct count_slot *s)
{
    uint32_t len;
    const char *at = w->keys.at + s->key1 - 1;
    memcpy(&len, at, sizeof len);
    return (struct bytes){ (const uint8_t *)at + sizeof len, len };
}

/* The slot of a word, or the free one where it belongs. */
static struct count_slot *slot_of(const struct word_shard *w, struct bytes word, uint64_t hash)
{
    const struct count_slots *t = &w->table;
    uint32_t tag = count_slots_tag(hash);
    for (uint64_t i = tag & t->mask;; i = (i + 1) & t->mask) {
        struct count_slot *s = &t->slot[i];
        if (!s->key1 || (s->tag == tag && bytes_eq(key_of(w, s), word)))
            return s;
    }
}

static bool add_word(struct word_shard *w, const struct counted_piece *p)
{
    if (!count_slots_reach(&w->table))
        return false;
    struct count_slot *s = slot_of(w, (struct bytes){ p->at, p->len }, p->hash);
    if (!s->key1) {
        if (w->keys.len + p->len + sizeof p->len >= UINT32_MAX)
            return false;
        s->key1 = (uint32_t)w->keys.len + 1;
        s->tag = count_slots_tag(p->hash);
        buf_put(&w->keys, &p->len, sizeof p->len);
        buf_put(&w->keys, p->at, p->len);
        w->table.n++;
    }
    s->count += p->weight;
    return !w->keys.failed;
}

void word_table_add(struct word_table *t, unsigned shard, const struct piece_count *chunk)
{
    struct word_shard *w = &t->shard[shard];
    for (uint32_t k = chunk->first[shard]; k && !w->full; k = chunk->piece[k - 1].next)
        w->full = !add_word(w, &chunk->piece[k - 1]);
}

bool word_table_full(const struct word_table *t)
{
    bool full = false;
    for (int i = 0; i < COUNT_SHARDS; i++)
        full |= t->shard[i].full;
    return full;
}

size_t word_table_words(const struct word_table *t)
{
    size_t n = 0;
    for (int i = 0; i < COUNT_SHARDS; i++)
        n += t->shard[i].table.n;
    return n;
}

size_t word_table_key_bytes(const struct word_table *t)
{
    size_t n = 0;
    for (int i = 0; i < COUNT_SHARDS; i++)
        n += t->shard[i].keys.len;
    return n;
}

size_t word_table_memory(const struct word_table *t)
{
    size_t n = 0;
    for (int i = 0; i < COUNT_SHARDS; i++)
        n += t->shard[i].keys.len + (t->shard[i].table.mask + 1) * sizeof(struct count_slot);
    return n;
}

void word_table_release(struct word_table *t)
{
    for (int i = 0; i < COUNT_SHARDS; i++) {
        count_slots_release(&t->shard[i].table);
        buf_release(&t->shard[i].keys);
    }
    *t = (struct word_table){ 0 };
}

static struct count_order *order_of(const struct word_table *t, size_t n)
{
    struct count_order *order = mem_take(n + 1, sizeof *order);
    size_t k = 0;
    for (uint32_t i = 0; order && i < COUNT_SHARDS; i++) {
        const struct count_slots *w = &t->shard[i].table;
        for (uint64_t s = 0; w->slot && s <= w->mask; s++)
            if (w->slot[s].key1)
                order[k++] = (struct count_order){ w->slot[s].count, i, (uint32_t)s };
    }
    if (order)
        count_order_sort(order, n);
    return order;
}

static bool put_words(struct word_table *t, const struct learnt *l,
                      const struct count_order *order, size_t n, struct spans *out)
{
    uint32_t cap = 0;
    for (size_t k = 0; k < n; k++) {
        struct word_shard *w = &t->shard[order[k].shard];
        struct count_slot *s = &w->table.slot[order[k].slot];
        struct bytes key = key_of(w, s);
        if (!weight_run_put(out, &cap, out->n, order[k].count))
            return false;
        s->count = k;
        out->sym[out->n++] = SPAN_END;
        for (size_t i = 0; i < key.len; i++)
            out->sym[out->n++] = l->byte_id[key.at[i]];
    }
    out->sym[out->n++] = SPAN_END;
    return n > 0 || weight_run_put(out, &cap, 0, 1);
}

bool word_table_spans(struct word_table *t, const struct learnt *l, struct spans *out,
                      struct err *err)
{
    size_t n = word_table_words(t), n_slots = word_table_key_bytes(t) - 3 * n + 1;
    *out = (struct spans){ 0 };
    if (n_slots > UINT32_MAX / 2)
        return fail(err, ERR_LIMIT, "the different words have %zu bytes; at most %u can be "
                    "trained on", n_slots, UINT32_MAX / 2);
    struct count_order *order = order_of(t, n);
    out->sym = order ? mem_grow(NULL, n_slots, sizeof *out->sym) : NULL;
    bool ok = out->sym && put_words(t, l, order, n, out);
    mem_give(order);
    return ok || fail(err, ERR_MEMORY, "no memory for %zu different words", n);
}

bool word_table_place(struct word_table *t, const struct spans *s, struct err *err)
{
    size_t n = word_table_words(t), k = 0;
    uint32_t *from = mem_grow(NULL, n + 1, sizeof *from);
    if (!from)
        return fail(err, ERR_MEMORY, "no memory for the places of %zu words", n);
    for (uint32_t p = 0; p + 1 < s->n; p++)
        if (s->sym[p] == SPAN_END)
            from[k++] = p + 1;
    check(k == n);
    for (int i = 0; i < COUNT_SHARDS; i++) {
        struct count_slots *w = &t->shard[i].table;
        for (uint64_t j = 0; w->slot && j <= w->mask; j++)
            if (w->slot[j].key1)
                w->slot[j].count = from[w->slot[j].count];
    }
    mem_give(from);
    return true;
}

const uint32_t *word_table_tokens(const struct word_table *t, const struct spans *s,
                                  struct bytes word)
{
    uint64_t hash = hash_bytes(word, 0);
    const struct word_shard *w = &t->shard[shard_of_hash(hash)];
    const struct count_slot *slot = w->table.slot ? slot_of(w, word, hash) : NULL;
    return slot && slot->key1 ? s->sym + slot->count : NULL;
}
