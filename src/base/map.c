#include "base/base.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_bytes(struct bytes b, uint64_t seed)
{
    return XXH3_64bits_withSeed(b.at, b.len, seed);
}

/* The slot that holds key, or the empty one where it belongs. */
static struct map_slot *slot_of(const struct map *m, struct bytes key)
{
    size_t i = (size_t)hash_bytes(key, 0) & (m->cap - 1);
    while (m->slot[i].key.at && !bytes_eq(m->slot[i].key, key))
        i = (i + 1) & (m->cap - 1);
    return &m->slot[i];
}

static bool map_widen(struct map *m)
{
    struct map wide = { .cap = m->cap ? m->cap * 2 : 64 };
    wide.slot = mem_take(wide.cap, sizeof *wide.slot);
    if (!wide.slot)
        return false;
    for (size_t i = 0; i < m->cap; i++)
        if (m->slot[i].key.at)
            *slot_of(&wide, m->slot[i].key) = m->slot[i];
    wide.n = m->n;
    mem_give(m->slot);
    *m = wide;
    return true;
}

bool map_put(struct map *m, struct bytes key, uint32_t value)
{
    if (!key.at)
        key.at = (const uint8_t *)"";
    if (m->n * 4 >= m->cap * 3 && !map_widen(m))
        return false;
    struct map_slot *s = slot_of(m, key);
    m->n += !s->key.at;
    *s = (struct map_slot){ key, value };
    return true;
}

bool map_find(const struct map *m, struct bytes key, uint32_t *value)
{
    if (!m->cap)
        return false;
    if (!key.at)
        key.at = (const uint8_t *)"";
    const struct map_slot *s = slot_of(m, key);
    if (s->key.at)
        *value = s->value;
    return s->key.at != NULL;
}

void map_release(struct map *m)
{
    mem_give(m->slot);
    *m = (struct map){ 0 };
}
