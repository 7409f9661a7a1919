#include "text/word_table.h"

#include <stdlib.h>

static struct bytes key_of(const struct word_shard *w, const struct count_slot *s)
{
    uint32_t len;
    const char *at = w->keys.at + s->key1 - 1;
    memcpy(&len, at, sizeof len);
    return (struct bytes){ (const uint8_t *)at + sizeof len, len };
}

static inline uint32_t tag_of_hash(uint64_t hash)
{
    return (uint32_t)(hash >> 28);
}

static bool widen(struct word_shard *w)
{
    uint64_t n = w->slot ? (w->mask + 1) * 2 : 1 << 12;
    struct count_slot *slot = mem_take(n, sizeof *slot);
    if (!slot)
        return false;
    for (uint64_t i = 0; w->slot && i <= w->mask; i++) {
        if (!w->slot[i].key1)
            continue;
        uint64_t k = w->slot[i].tag & (n - 1);
        while (slot[k].key1)
            k = (k + 1) & (n - 1);
        slot[k] = w->slot[i];
    }
    mem_give(w->slot);
    w->slot = slot;
    w->mask = n - 1;
    return true;
}

/* The slot of a word, or the free one where it belongs. */
static struct count_slot *slot_of(const struct word_shard *w, struct bytes word, uint64_t hash)
{
    uint32_t tag = tag_of_hash(hash);
    for (uint64_t i = tag & w->mask;; i = (i + 1) & w->mask) {
        struct count_slot *s = &w->slot[i];
        if (!s->key1 || (s->tag == tag && bytes_eq(key_of(w, s), word)))
            return s;
    }
}

static bool add_word(struct word_shard *w, const struct counted_piece *p)
{
    if ((!w->slot || (uint64_t)w->n * 4 > w->mask * 3) && !widen(w))
        return false;
    struct count_slot *s = slot_of(w, (struct bytes){ p->at, p->len }, p->hash);
    if (!s->key1) {
        if (w->keys.len + p->len + sizeof p->len >= UINT32_MAX)
            return false;
        s->key1 = (uint32_t)w->keys.len + 1;
        s->tag = tag_of_hash(p->hash);
        buf_put(&w->keys, &p->len, sizeof p->len);
        buf_put(&w->keys, p->at, p->len);
        w->n++;
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
        n += t->shard[i].n;
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
        n += t->shard[i].keys.len + (t->shard[i].mask + 1) * sizeof(struct count_slot);
    return n;
}

void word_table_release(struct word_table *t)
{
    for (int i = 0; i < COUNT_SHARDS; i++) {
        mem_give(t->shard[i].slot);
        buf_release(&t->shard[i].keys);
    }
    *t = (struct word_table){ 0 };
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

static struct count_order *order_of(const struct word_table *t, size_t n)
{
    struct count_order *order = mem_take(n + 1, sizeof *order);
    size_t k = 0;
    for (uint32_t i = 0; order && i < COUNT_SHARDS; i++)
        for (uint64_t s = 0; t->shard[i].slot && s <= t->shard[i].mask; s++)
            if (t->shard[i].slot[s].key1)
                order[k++] = (struct count_order){ t->shard[i].slot[s].count, i, (uint32_t)s };
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
        struct count_slot *s = &w->slot[order[k].slot];
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
    for (int i = 0; i < COUNT_SHARDS; i++)
        for (uint64_t j = 0; t->shard[i].slot && j <= t->shard[i].mask; j++)
            if (t->shard[i].slot[j].key1)
                t->shard[i].slot[j].count = from[t->shard[i].slot[j].count];
    mem_give(from);
    return true;
}

const uint32_t *word_table_tokens(const struct word_table *t, const struct spans *s,
                                  struct bytes word)
{
    uint64_t hash = hash_bytes(word, 0);
    const struct word_shard *w = &t->shard[shard_of_hash(hash)];
    const struct count_slot *slot = w->slot ? slot_of(w, word, hash) : NULL;
    return slot && slot->key1 ? s->sym + slot->count : NULL;
}
