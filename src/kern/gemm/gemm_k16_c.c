/* Weights in super-blocks of 256 with a scale for each 16, in plain C: the definition. */
#include <math.h>

#include "kern/gemm/gemm_each_c.h"
#include "kern/quant/blocks.h"

static float add_q6_k(float acc, const uint8_t *w, int j, const struct acts *x, size_t b)
{
    const int8_t *sc = (const int8_t *)(w + Q6_K_SC + 2 * j), *q = x->q + 32 * b;
    int32_t i0 = 0, i1 = 0;
    for (int i = 0; i < 16; i++) {
        i0 += q6_k_value(w, j, i) * q[i];
        i1 += q6_k_value(w, j, i + 16) * q[i + 16];
    }
    return fmaf(read_f16(w + Q6_K_D) * x->d[b], (float)(sc[0] * i0 + sc[1] * i1), acc);
}

static float dot_q6_k(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b += 8, w += Q6_K_BYTES)
        for (int j = 0; j < 8; j++)
            acc = add_q6_k(acc, w, j, x, b + (size_t)j);
    return acc;
}

static float add_q3_k(float acc, const uint8_t *w, int j, const struct acts *x, size_t b)
{
    const int8_t *q = x->q + 32 * b;
    int32_t isum = 0;
    for (int h = 0; h < 2; h++) {
        int32_t part = 0;
        for (int i = 16 * h; i < 16 * h + 16; i++)
            part += q3_k_value(w, j, i) * q[i];
        isum += q3_k_scale(w + Q3_K_SC, 2 * j + h) * part;
    }
    return fmaf(read_f16(w + Q3_K_D) * x->d[b], (float)isum, acc);
}

static float dot_q3_k(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b += 8, w += Q3_K_BYTES)
        for (int j = 0; j < 8; j++)
            acc = add_q3_k(acc, w, j, x, b + (size_t)j);
    return acc;
}

static float add_q2_k(float acc, const uint8_t *w, int j, const struct acts *x, size_t b)
{
    const int8_t *q = x->q + 32 * b;
    int32_t isum = 0, msum = 0;
    for (int h = 0; h < 2; h++) {
        int32_t part = 0, sum_x = 0;
        for (int i = 16 * h; i < 16 * h + 16; i++) {
            part += q2_k_value(w + Q2_K_QS, j, i) * q[i];
            sum_x += q[i];
        }
        isum += (w[2 * j + h] & 15) * part;
        msum += (w[2 * j + h] >> 4) * sum_x;
    }
    acc = fmaf(read_f16(w + Q2_K_D) * x->d[b], (float)isum, acc);
    return fmaf(-read_f16(w + Q2_K_D + 2) * x->d[b], (float)msum, acc);
}

static float dot_q2_k(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b += 8, w += Q2_K_BYTES)
        for (int j = 0; j < 8; j++)
            acc = add_q2_k(acc, w, j, x, b + (size_t)j);
    return acc;
}

GEMM_EACH(q2_k)
GEMM_EACH(q3_k)
GEMM_EACH(q6_k)
