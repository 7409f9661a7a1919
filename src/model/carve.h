/*
 * carve: one block of memory handed out piece by piece, each at a multiple of 64 bytes.  With
 * base NULL it only adds up, so the same code says how much and gives it.
 */
#ifndef KEXA_MODEL_CARVE_H
#define KEXA_MODEL_CARVE_H

#include "base/base.h"

struct carver {
    uint8_t *base;
    uint64_t at;
    bool overflow;
};

static inline void *carve(struct carver *c, uint64_t n, uint64_t size)
{
    uint64_t bytes, begin = c->at;
    if (!mul_u64(n, size, &bytes) || !add_u64(bytes, 63, &bytes)
        || !add_u64(c->at, bytes & ~63ull, &c->at))
        c->overflow = true;
    return c->base && !c->overflow ? c->base + begin : NULL;
}

#endif
