/* Weights in blocks of 32 in plain C: the definition. */
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

static int32_t dot_q5(const uint8_t *qh, const uint8_t *qs, const int8_t *x)
{
    int32_t sum = 0;
    for (int i = 0; i < 32; i++)
        sum += q5_value(qh, qs, i) * x[i];
    return sum;
}

static float dot_q5_0(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b++, w += Q5_0_BYTES) {
        int32_t isum = dot_q5(w + 2, w + 6, x->q + 32 * b) - 16 * x->sum[b];
        acc = fmaf(read_f16(w) * x->d[b], (float)isum, acc);
    }
    return acc;
}

static float dot_q5_1(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b++, w += Q5_1_BYTES) {
        int32_t isum = dot_q5(w + 4, w + 8, x->q + 32 * b);
        acc = fmaf(read_f16(w) * x->d[b], (float)isum, acc);
        acc = fmaf(read_f16(w + 2) * x->d[b], (float)x->sum[b], acc);
    }
    return acc;
}

static float dot_iq4_nl(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b++, w += IQ4_NL_BYTES)
        acc = fmaf(read_f16(w) * x->d[b], (float)dot_codes(iq4_codes, w + 2, x->q + 32 * b), acc);
    return acc;
}

static float dot_mxfp4(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b++, w += MXFP4_BYTES) {
        int32_t isum = dot_codes(mxfp4_codes, w + 1, x->q + 32 * b);
        acc = fmaf(mxfp4_scale(w[0]) * x->d[b], (float)isum, acc);
    }
    return acc;
}

GEMM_EACH(q4_0)
GEMM_EACH(q4_1)
GEMM_EACH(q5_0)
GEMM_EACH(q5_1)
GEMM_EACH(q8_0)
GEMM_EACH(iq4_nl)
GEMM_EACH(mxfp4)
