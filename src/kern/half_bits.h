/*
 * half_bits: f16 and bf16 <-> f32 in portable C; the definition of both.
 * To f32 is exact.  From f32 rounds to nearest, ties to even; overflow gives
 * infinity; NaN stays NaN (quiet, payload truncated); f16 subnormals are kept.
 */
#ifndef KEXA_KERN_HALF_BITS_H
#define KEXA_KERN_HALF_BITS_H

#include <stdint.h>
#include <string.h>

typedef uint16_t f16;
typedef uint16_t bf16;

static inline float f32_from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint32_t f32_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float bf16_to_f32(bf16 h)
{
    return f32_from_bits((uint32_t)h << 16);
}

static inline bf16 f32_to_bf16(float f)
{
    uint32_t u = f32_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (bf16)((u >> 16) | 0x40);
    return (bf16)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

static inline float f16_to_f32(f16 h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = (h >> 10) & 31, m = h & 1023;
    if (e == 31)
        return f32_from_bits(sign | 0x7f800000u | m << 13 | (m ? 0x400000u : 0));
    if (e)
        return f32_from_bits(sign | (e + 112) << 23 | m << 13);
    float v = (float)m * f32_from_bits(0x33800000u);      /* m * 2^-24, exact */
    return f32_from_bits(f32_bits(v) | sign);
}

static inline f16 f32_to_f16(float f)
{
    uint32_t u = f32_bits(f), sign = (u >> 16) & 0x8000, a = u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (f16)(sign | 0x7e00 | ((a >> 13) & 0x3ff));
    if (a >= 0x477ff000u)                                 /* rounds to 65536 or more */
        return (f16)(sign | 0x7c00);
    if (a < 0x38800000u) {                                /* f16 subnormal: 2^-24 steps */
        if (a < 0x33000000u)                              /* below 2^-25 */
            return (f16)sign;
        uint32_t shift = 126 - (a >> 23), m = (a & 0x7fffff) | 0x800000;
        uint32_t q = m >> shift, rest = m & ((1u << shift) - 1), half = 1u << (shift - 1);
        return (f16)(sign | (q + (rest > half || (rest == half && (q & 1)))));
    }
    uint32_t r = a - 0x38000000u;
    return (f16)(sign | ((r + 0xfff + ((r >> 13) & 1)) >> 13));
}

#endif
