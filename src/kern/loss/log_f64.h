/*
 * log_f64: natural logarithm in f64 by our own series, so that every compiler, level and
 * machine gives the same bits.
 *
 *   x = 2^e (1 + f), 1 + f in [sqrt(1/2), sqrt(2))    t = f / (2 + f), |t| <= 0.1716
 *   log x = e ln 2 + 2 (t + t^3/3 + t^5/5 + ... + t^21/21)
 *
 * The first term left out is below 2^-60 of t.  2 t is taken as f - f^2/2 + t f^2/2, of which
 * f is exact: so the error is below 1 ulp near x = 1 too (measured against libm's, itself
 * below 1: tests/kern/check_loss.c).  ln 2 comes in two parts, the first with 32 bits, so e
 * times it is exact.  For normal x > 0; NaN gives NaN; anything else is the caller's mistake.
 * The rearrangement is the one of Sun's fdlibm.
 */
#ifndef KEXA_KERN_LOG_F64_H
#define KEXA_KERN_LOG_F64_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LOG_LN2_HI 0x1.62e42feep-1        /* 32 bits */
#define LOG_LN2_LO 0x1.a39ef35793c76p-33

static inline double log_f64(double x)
{
    uint64_t bits;
    if (isnan(x))
        return x;
    memcpy(&bits, &x, sizeof bits);
    int64_t e = (int64_t)((bits - 0x3fe6a09e667f3bcdu) >> 52);     /* 0x3fe6...: sqrt(1/2) */
    if (e >= 2048)
        e -= 4096;
    bits -= (uint64_t)e << 52;
    memcpy(&x, &bits, sizeof x);
    double f = x - 1, t = f / (2 + f), half = 0.5 * f * f, sum = 0;
#pragma GCC unroll 10
    for (int k = 21; k >= 3; k -= 2)
        sum = (sum + 2.0 / k) * (t * t);
    return (double)e * LOG_LN2_HI - (half - (t * (half + sum) + (double)e * LOG_LN2_LO) - f);
}

#endif
