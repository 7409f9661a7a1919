/*
 * rng: counter-based random numbers.  The n-th number of (seed, stream) is a pure
 * function of the three (Philox4x32-10, Salmon et al. 2011), so a state is a few
 * words that can be saved, forked and replayed on any machine.
 */
#ifndef KEXA_BASE_RNG_H
#define KEXA_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t seed, stream, at;
};

uint64_t rng_u64_at(uint64_t seed, uint64_t stream, uint64_t at);

static inline uint64_t rng_u64(struct rng *r)
{
    return rng_u64_at(r->seed, r->stream, r->at++);
}

/* Uniform in [0, 1) with 53 bits. */
static inline double rng_unit(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

#endif
