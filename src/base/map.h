/*
 * map: text -> u32, open addressing.  Keys are borrowed: the caller keeps them
 * alive and unchanged.  map_put() returns false when out of memory.
 */
#ifndef KEXA_BASE_MAP_H
#define KEXA_BASE_MAP_H

#include "base/bytes.h"

struct map_slot {
    struct bytes key;                     /* at == NULL: empty */
    uint32_t value;
};

struct map {
    struct map_slot *slot;
    size_t n, cap;                        /* cap is 0 or a power of two */
};

bool map_put(struct map *m, struct bytes key, uint32_t value); /* replaces */
bool map_find(const struct map *m, struct bytes key, uint32_t *value);
void map_release(struct map *m);

uint64_t hash_bytes(struct bytes b, uint64_t seed); /* XXH3-64; for tables, not security */

#endif
