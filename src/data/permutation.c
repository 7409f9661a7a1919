#include "data/permutation.h"

#include "base/base.h"

enum { ROUNDS = 8 };

static uint64_t finalise(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

uint64_t key_mix(uint64_t a, uint64_t b)
{
    return finalise(finalise(a + 0x9E3779B97F4A7C15u) + b);
}

struct permutation permutation_make(uint64_t n, uint64_t key)
{
    check(n >= 1);
    struct permutation p = { .n = n, .key = key, .half_bits = 1 };
    while (p.half_bits < 32 && (n - 1) >> 2 * p.half_bits)
        p.half_bits++;
    return p;
}

/* One pass: (left, right) -> (right, left ^ f(right)) in each round. */
static uint64_t pass(const struct permutation *p, uint64_t x)
{
    uint64_t mask = ((uint64_t)1 << p->half_bits) - 1;
    uint64_t left = x >> p->half_bits, right = x & mask;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint64_t next = left ^ (key_mix(p->key + round, right) & mask);
        left = right;
        right = next;
    }
    return left << p->half_bits | right;
}

uint64_t permutation_at(const struct permutation *p, uint64_t i)
{
    check(i < p->n);
    do
        i = pass(p, i);
    while (i >= p->n);
    return i;
}
