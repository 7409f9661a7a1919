/* q8_scale: the scale of one block of 32 activations, shared by all levels. */
#ifndef KEXA_KERN_QUANT_Q8_SCALE_H
#define KEXA_KERN_QUANT_Q8_SCALE_H

#include "kern/half_bits.h"

/*
 * From the bits of the block's largest |x| (an integer maximum orders finite values,
 * infinity and NaN alike, whatever DAZ says) to *d; returns the factor from x to q,
 * 0 where all q are 0: a non-finite block (*d = NaN), or one below 2^-100 (*d = 0),
 * whose 127 / amax could overflow.
 */
static inline float q8_scale(uint32_t amax_bits, float *d)
{
    if (amax_bits >= 0x7f800000u || amax_bits < 0x0d800000u) {
        *d = amax_bits >= 0x7f800000u ? f32_from_bits(0x7fc00000u) : 0.0f;
        return 0.0f;
    }
    float amax = f32_from_bits(amax_bits);
    *d = amax / 127.0f;
    return 127.0f / amax;
}

#endif
