/* Weights in blocks of 32 (Q4_0, Q4_1, Q8_0) in plain C: the definition. */
#include <math.h>

#include "kern/gemm/gemm_each_c.h"
#include "kern/quant/blocks.h"

/* Sum of nibble * x over a block: byte i has elements i and i + 16. */
static int32_t dot_nibbles(const uint8_t *qs, const int8_t *x)
{
    int32_t sum = 0;
    for (int i = 0; i < 16; i++)
        sum += (qs[i] & 15) * x[i] + (qs[i] >> 4) * x[i + 16];
    return sum;
}

static float dot_q4_0(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b++, w += Q4_0_BYTES) {
        int32_t isum = dot_nibbles(w + 2, x->q + 32 * b) - 8 * x->sum[b];
        acc = fmaf(read_f16(w) * x->d[b], (float)isum, acc);
    }
    return acc;
}

static float dot_q4_1(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b++, w += Q4_1_BYTES) {
        int32_t isum = dot_nibbles(w + 4, x->q + 32 * b);
        acc = fmaf(read_f16(w) * x->d[b], (float)isum, acc);
        acc = fmaf(read_f16(w + 2) * x->d[b], (float)x->sum[b], acc);
    }
    return acc;
}

static float dot_q8_0(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b++, w += Q8_0_BYTES) {
        int32_t isum = 0;
        for (size_t i = 0; i < 32; i++)
            isum += (int8_t)w[2 + i] * x->q[32 * b + i];
        acc = fmaf(read_f16(w) * x->d[b], (float)isum, acc);
    }
    return acc;
}

void gemm_q4_0_c(float *y, size_t y_stride, const void *w, size_t row_bytes,
                 const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_each(dot_q4_0, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q4_1_c(float *y, size_t y_stride, const void *w, size_t row_bytes,
                 const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_each(dot_q4_1, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q8_0_c(float *y, size_t y_stride, const void *w, size_t row_bytes,
                 const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_each(dot_q8_0, y, y_stride, w, row_bytes, x, rows, n, k);
}
