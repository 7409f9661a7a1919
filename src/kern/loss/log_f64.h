/*
 * log_f64: natural logarithm in f64 by our own series, so that every compiler, level and
 * machine gives the same bits.
 *
 *   x = 2^e m, m in [sqrt(1/2), sqrt(2))    t = (m - 1) / (m + 1), |t| <= 0.1716
 *   log x = e ln 2 + 2 (t + t^3/3 + t^5/5 + ... + t^21/21)
 *
 * The first term left out is below 2^-60 of t.  ln 2 comes in two parts, the first with 32
 * bits, so e times it is exact.  Error: below 2 ulp, near x = 1 too (tests/kern/
 * check_loss.c).  For normal x > 0; NaN gives NaN; anything else is the caller's mistake.
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
    double t = (x - 1) / (x + 1), tt = t * t, sum = 0;
    for (int k = 21; k >= 3; k -= 2)
        sum = (sum + 1.0 / k) * tt;
    return (double)e * LOG_LN2_HI + (2 * t + (2 * t * sum + (double)e * LOG_LN2_LO));
}

#endif
