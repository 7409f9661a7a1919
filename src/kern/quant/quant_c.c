/* quant.h in plain C: the definition. */
#include "kern/quant/quant.h"

#include <math.h>

#include "kern/quant/q8_scale.h"

static void quant_q8_block(int8_t *q, float *d, int32_t *sum, const float *x)
{
    uint32_t amax = 0;
    for (int i = 0; i < 32; i++) {
        uint32_t a = f32_bits(x[i]) & 0x7fffffffu;
        amax = a > amax ? a : amax;
    }
    float id = q8_scale(amax, d);
    *sum = 0;
    for (int i = 0; i < 32; i++) {
        q[i] = id > 0 ? (int8_t)rintf(x[i] * id) : 0;
        *sum += q[i];
    }
}

void quant_q8_c(int8_t *q, float *d, int32_t *sum, const float *x, size_t k)
{
    for (size_t b = 0; b < k / 32; b++)
        quant_q8_block(q + 32 * b, d + b, sum + b, x + 32 * b);
}

void round_bf16_c(bf16 *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = f32_to_bf16(x[i]);
}

void widen_bf16_c(float *y, const bf16 *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = bf16_to_f32(x[i]);
}
