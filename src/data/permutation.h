/*
 * permutation: every number below n once, in an order that a key decides.
 *
 * A Feistel network of 8 rounds over the smallest even number of bits that holds n - 1, and
 * cycle walking: what falls outside [0, n) goes through again until it is inside (Black and
 * Rogaway, Ciphers with Arbitrary Finite Domains, 2002).  The round function is the finaliser
 * of splitmix64 (Steele, Lea and Flood, 2014).  Nothing is stored but n and the key, and any
 * place is found at once; less than four passes through the network on average.  For shuffling,
 * not for secrets.
 */
#ifndef KEXA_DATA_PERMUTATION_H
#define KEXA_DATA_PERMUTATION_H

#include <stdint.h>

struct permutation {
    uint64_t n, key;
    unsigned half_bits;                   /* of each half of the network */
};

/* n >= 1. */
struct permutation permutation_make(uint64_t n, uint64_t key);

/* i < n -> a number below n; one to one. */
uint64_t permutation_at(const struct permutation *p, uint64_t i);

/* One 64-bit number from two, for keys. */
uint64_t key_mix(uint64_t a, uint64_t b);

#endif
