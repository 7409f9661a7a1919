/*
 * chains: the order of every row reduction.  Chain j takes elements j, j + 16, ...;
 * the 16 chains meet in the tree (j, j+8), (j, j+4), (j, j+2), (j, j+1).  One 512-bit
 * register holds the chains, or two of 256 bits, so no level has to reorder.
 */
#ifndef KEXA_KERN_CHAINS_H
#define KEXA_KERN_CHAINS_H

enum { CHAINS = 16 };

static inline float chains_sum(float c[CHAINS])
{
    for (int step = CHAINS / 2; step; step /= 2)
        for (int j = 0; j < step; j++)
            c[j] += c[j + step];
    return c[0];
}

#endif
