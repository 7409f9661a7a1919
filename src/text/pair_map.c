#include "text/pair_map.h"

static bool take_slots(struct pair_map *m, unsigned log2_slots)
{
    size_t n = (size_t)1 << log2_slots;
    m->slot = mem_take(n, sizeof *m->slot);
    if (!m->slot)
        return false;
    for (size_t i = 0; i < n; i++)
        m->slot[i].key = PAIR_EMPTY;
    m->mask = n - 1;
    m->shift = 64 - log2_slots;
    return true;
}

bool pair_map_init(struct pair_map *m, size_t n_expected)
{
    unsigned log2_slots = 4;
    *m = (struct pair_map){ 0 };
    while (((size_t)1 << log2_slots) < n_expected * 2)
        log2_slots++;
    return take_slots(m, log2_slots);
}

void pair_map_release(struct pair_map *m)
{
    mem_give(m->slot);
    mem_give(m->may);
    *m = (struct pair_map){ 0 };
}

/* Where the key is or belongs. */
static struct pair_slot *slot_of(struct pair_map *m, uint64_t key)
{
    uint64_t i = key * 0x9E3779B97F4A7C15u >> m->shift;
    while (m->slot[i].key != PAIR_EMPTY && m->slot[i].key != key)
        i = (i + 1) & m->mask;
    return &m->slot[i];
}

static bool widen(struct pair_map *m)
{
    struct pair_map wide = { .n = m->n };
    if (!take_slots(&wide, 64 - m->shift + 1))
        return false;
    for (uint64_t i = 0; i <= m->mask; i++)
        if (m->slot[i].key != PAIR_EMPTY)
            *slot_of(&wide, m->slot[i].key) = m->slot[i];
    mem_give(m->slot);
    *m = wide;
    return true;
}

bool pair_map_put(struct pair_map *m, uint32_t left, uint32_t right, uint32_t a, uint32_t b)
{
    uint64_t key = (uint64_t)left << 32 | right;
    if ((m->n + 1) * 2 > m->mask + 1 && !widen(m))
        return false;
    struct pair_slot *s = slot_of(m, key);
    m->n += s->key == PAIR_EMPTY;
    *s = (struct pair_slot){ key, a, b };
    return true;
}

bool pair_map_seal(struct pair_map *m)
{
    m->may = mem_take((m->mask >> (6 - PAIR_BITS_LOG2)) + 1, sizeof *m->may);
    for (uint64_t i = 0; m->may && i <= m->mask; i++) {
        uint64_t bit = m->slot[i].key * 0x9E3779B97F4A7C15u >> (m->shift - PAIR_BITS_LOG2);
        if (m->slot[i].key != PAIR_EMPTY)
            m->may[bit >> 6] |= (uint64_t)1 << (bit & 63);
    }
    return m->may != NULL;
}
