/*
 * quant: activations in the form their product wants.
 *
 * quant_q8, one row of k (a multiple of 32), per block b of 32:
 *     amax = max |x|;  d[b] = amax / 127;  id = 127 / amax
 *     q[i] = (int8) rint(x[i] * id)  (nearest even, -127..127);  sum[b] = sum of its q
 *     A block with amax < 2^-100 counts as zeros (127 / amax could overflow): d, q = 0.
 *     A NaN or infinity in a block makes d[b] NaN and its q 0: the result is NaN.
 * round_bf16: y[i] = x[i] rounded to bf16 as half_bits.h says: nearest even; denormals are
 *     kept, whether the thread flushes them or not.
 * widen_bf16: y[i] = x[i] as f32, exactly; denormals and the bits of a NaN are kept.
 */
#ifndef KEXA_KERN_QUANT_H
#define KEXA_KERN_QUANT_H

#include <stddef.h>
#include <stdint.h>

#include "kern/half_bits.h"

typedef void quant_q8_fn(int8_t *q, float *d, int32_t *sum, const float *x, size_t k);
typedef void round_bf16_fn(bf16 *y, const float *x, size_t n);
typedef void widen_bf16_fn(float *y, const bf16 *x, size_t n);

quant_q8_fn quant_q8_c, quant_q8_avx2, quant_q8_avx512;
round_bf16_fn round_bf16_c, round_bf16_avx2, round_bf16_avx512, round_bf16_amx;
widen_bf16_fn widen_bf16_c, widen_bf16_avx2, widen_bf16_avx512;

#endif
