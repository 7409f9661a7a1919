/*
 * attn_lse: log(sum of exponentials) = m + log(sum), in f64 and rounded once to f32.  Additions,
 * products and one division in a fixed order, so that no libm decides the bits.
 *
 *     sum = 2^e a, a in (0.7, 1.42)     z = (a - 1) / (a + 1), |z| < 0.172
 *     log(sum) = e ln 2 + 2 z (1 + z^2/3 + z^4/5 + ... + z^16/17)     error below 2^-50
 *
 * sum is 1 or more (the largest score has weight 1) or NaN, which shows.
 */
#ifndef KEXA_KERN_ATTN_LSE_H
#define KEXA_KERN_ATTN_LSE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float attn_lse(float max, float sum)
{
    double a = (double)sum;
    if (isnan(sum))
        return sum;
    uint64_t bits;
    memcpy(&bits, &a, sizeof bits);
    int e = (int)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | (uint64_t)1023 << 52;
    memcpy(&a, &bits, sizeof a);
    if (a > 1.4140625) {
        a *= 0.5;
        e++;
    }
    double z = (a - 1) / (a + 1), w = z * z, series = 0;
    for (int n = 17; n > 0; n -= 2)
        series = series * w + 1.0 / n;
    return (float)((double)max + ((double)e * 0.693147180559945309417 + 2 * z * series));
}

#endif
