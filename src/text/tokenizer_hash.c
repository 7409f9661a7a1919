#include "text/tokenizer_parts.h"
#include "text/pretok_pattern.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static void put(XXH3_state_t *h, uint64_t number)
{
    XXH3_64bits_update(h, &number, sizeof number);
}

static void put_bytes(XXH3_state_t *h, struct bytes b)
{
    put(h, b.len);
    XXH3_64bits_update(h, b.at, b.len);
}

static void put_vocab(XXH3_state_t *h, const struct vocab *v)
{
    put(h, v->n);
    put(h, v->chars);
    for (uint32_t id = 0; id < v->n; id++) {
        const struct token *t = &v->tok[id];
        put(h, (uint64_t)t->kind << 3 | (uint64_t)t->used << 2 | (uint64_t)t->added << 1 | t->byte);
        put_bytes(h, vocab_text(v, id));
        put_bytes(h, vocab_bytes(v, id));
    }
}

/* A sum over the slots of a table, which lie in no order that means anything. */
static uint64_t sum_slots(const void *slot, size_t n, size_t size)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += hash_bytes((struct bytes){ (const uint8_t *)slot + i * size, size }, 0);
    return sum;
}

static uint64_t sum_merges(const struct pair_map *m)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; m->slot && i <= m->mask; i++)
        if (m->slot[i].key != PAIR_EMPTY)
            sum += sum_slots(&m->slot[i], 1, sizeof *m->slot);
    return sum;
}

static uint64_t sum_scores(const struct spm *m)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; m->slot && i <= m->mask; i++)
        if (m->slot[i].id1)
            sum += sum_slots(&m->slot[i], 1, sizeof *m->slot);
    return sum;
}

static void put_added(XXH3_state_t *h, const struct added *a)
{
    put(h, a->n);
    put(h, sum_slots(a->tok, a->n, sizeof *a->tok));
}

_Static_assert(sizeof(struct pair_slot) == 16 && sizeof(struct spm_slot) == 16
               && sizeof(struct added_token) == 8, "no padding, which would be hashed");

uint64_t tokenizer_hash(const struct tokenizer *t)
{
    XXH3_state_t h;
    XXH3_64bits_reset(&h);
    put_vocab(&h, &t->vocab);
    put(&h, t->bpe.n_merges);
    put(&h, sum_merges(&t->bpe.merges));
    put(&h, sum_scores(&t->bpe.spm));
    put(&h, (uint64_t)t->bpe.ignore_merges << 1 | t->bpe.fuse_unk);
    put(&h, (uint64_t)t->bpe.unk);
    put_bytes(&h, bytes_of(t->pre->name));
    put(&h, t->pattern ? pretok_pattern_hash(t->pattern) : 0);
    put(&h, (uint64_t)t->nfc << 1 | t->space_prefix);
    put_added(&h, &t->raw);
    put_added(&h, &t->normal);
    return XXH3_64bits_digest(&h);
}
