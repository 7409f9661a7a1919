/* Weights in super-blocks of 256 (Q4_K, Q6_K) in plain C: the definition. */
#include <math.h>

#include "kern/gemm/gemm_each_c.h"
#include "kern/quant/blocks.h"

/* acc after sub-block j of the Q4_K block at w; b is the activations' block. */
static float add_q4_k(float acc, const uint8_t *w, int j, const struct acts *x, size_t b)
{
    const uint8_t *qs = w + Q4_K_QS + j / 2 * 32;
    int sc, mn;
    int32_t isum = 0;
    q4_k_scale(w + Q4_K_SM, j, &sc, &mn);
    float s = read_f16(w) * (float)sc, m = read_f16(w + 2) * (float)mn;
    for (size_t i = 0; i < 32; i++)
        isum += (qs[i] >> j % 2 * 4 & 15) * x->q[32 * b + i];
    acc = fmaf(s * x->d[b], (float)isum, acc);
    return fmaf(-m * x->d[b], (float)x->sum[b], acc);
}

static float dot_q4_k(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b += 8, w += Q4_K_BYTES)
        for (int j = 0; j < 8; j++)
            acc = add_q4_k(acc, w, j, x, b + (size_t)j);
    return acc;
}

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

void gemm_q4_k_c(float *y, size_t y_stride, const void *w, size_t row_bytes,
                 const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_each(dot_q4_k, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q6_k_c(float *y, size_t y_stride, const void *w, size_t row_bytes,
                 const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_each(dot_q6_k, y, y_stride, w, row_bytes, x, rows, n, k);
}
