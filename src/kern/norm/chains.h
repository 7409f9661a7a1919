/*
 * chains: the order of every row reduction.  Chain j takes elements j, j + 16, ...;
 * the 16 chains meet in the tree (j, j+8), (j, j+4), (j, j+2), (j, j+1).  One 512-bit
 * register holds the chains, or two of 256 bits, so no level has to reorder.  Sums in f64
 * keep the same 16 chains and tree, in two or four registers.  The maximum has no order to
 * keep; it skips NaN and is -infinity for an empty row.
 */
#ifndef KEXA_KERN_CHAINS_H
#define KEXA_KERN_CHAINS_H

#include <math.h>
#include <stddef.h>

enum { CHAINS = 16 };

static inline float chains_sum(float c[CHAINS])
{
    for (int step = CHAINS / 2; step; step /= 2)
        for (int j = 0; j < step; j++)
            c[j] += c[j + step];
    return c[0];
}

static inline double chains_sum_f64(double c[CHAINS])
{
    for (int step = CHAINS / 2; step; step /= 2)
        for (int j = 0; j < step; j++)
            c[j] += c[j + step];
    return c[0];
}

static inline float row_max(const float *x, size_t n)
{
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

#endif
