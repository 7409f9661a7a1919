/*
 * exp_f32: e^x in f32 by our own polynomial, so that every level gives the same
 * bits (exp_f32_avx2.h and exp_f32_avx512.h do the same operations in the same order).
 *
 *   n = rint(x / ln 2)    r = x - n ln 2, ln 2 in two parts, |r| <= 0.3466
 *   p = 1 + r + r^2 (c2 + c3 r + c4 r^2 + c5 r^3 + c6 r^4)    relative error 2^-28
 *   result = p with n added to its exponent
 *
 * n comes from adding 1.5 * 2^23: the sum's low mantissa bits are n, and what stands
 * above them is shifted out, so no conversion is needed.
 * x > EXP_HIGH gives +infinity and x < EXP_LOW gives +0: between the two the result is
 * finite and never subnormal, so flushing denormals to zero changes no bit.
 * NaN gives that NaN.  Error: below 1 ulp against float64 (tests/kern/check_act.c).
 * The coefficients are a minimax fit of (e^r - 1 - r) / r^2, weighted by r^2 / e^r.
 */
#ifndef KEXA_KERN_EXP_F32_H
#define KEXA_KERN_EXP_F32_H

#include <math.h>
#include <stdint.h>

#include "kern/half_bits.h"

#define EXP_HIGH    0x1.62e42ep+6f        /* 88.72283: the last x with a finite result */
#define EXP_LOW    -0x1.5d589ep+6f        /* -87.33654: the first with a normal one */
#define EXP_LOG2E   0x1.715476p+0f
#define EXP_LN2_HI  0x1.62e430p-1f
#define EXP_LN2_LO -0x1.05c610p-29f
#define EXP_ROUND   0x1.8p+23f
#define EXP_C2      0x1.fffffcp-2f
#define EXP_C3      0x1.555492p-3f
#define EXP_C4      0x1.5558f2p-5f
#define EXP_C5      0x1.123a20p-7f
#define EXP_C6      0x1.6a23d0p-10f

static inline float exp_f32(float x)
{
    if (x > EXP_HIGH)
        return INFINITY;
    if (x < EXP_LOW)
        return 0;
    if (isnan(x))
        return x;
    float t = fmaf(x, EXP_LOG2E, EXP_ROUND);
    float n = t - EXP_ROUND;
    float r = fmaf(n, -EXP_LN2_HI, x);
    r = fmaf(n, -EXP_LN2_LO, r);
    float p = fmaf(EXP_C6, r, EXP_C5);
    p = fmaf(p, r, EXP_C4);
    p = fmaf(p, r, EXP_C3);
    p = fmaf(p, r, EXP_C2);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    return f32_from_bits(f32_bits(p) + (f32_bits(t) << 23));
}

#endif
