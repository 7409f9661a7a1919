/* Weights in super-blocks of 256 with a scale for each 32, in plain C: the definition. */
#include <math.h>

#include "kern/gemm/gemm_each_c.h"
#include "kern/quant/blocks.h"

/* acc after block b of activations, whose weights sum to isum under s, less m for each. */
static float add_scaled(float acc, float s, float m, int32_t isum, const struct acts *x, size_t b)
{
    acc = fmaf(s * x->d[b], (float)isum, acc);
    return fmaf(-m * x->d[b], (float)x->sum[b], acc);
}

/* acc after sub-block j of the Q4_K block at w; b is the activations' block. */
static float add_q4_k(float acc, const uint8_t *w, int j, const struct acts *x, size_t b)
{
    const uint8_t *qs = w + Q4_K_QS + j / 2 * 32;
    int sc, mn;
    int32_t isum = 0;
    q4_k_scale(w + Q4_K_SM, j, &sc, &mn);
    for (size_t i = 0; i < 32; i++)
        isum += (qs[i] >> j % 2 * 4 & 15) * x->q[32 * b + i];
    return add_scaled(acc, read_f16(w) * (float)sc, read_f16(w + 2) * (float)mn, isum, x, b);
}

static float dot_q4_k(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b += 8, w += Q4_K_BYTES)
        for (int j = 0; j < 8; j++)
            acc = add_q4_k(acc, w, j, x, b + (size_t)j);
    return acc;
}

static float add_q5_k(float acc, const uint8_t *w, int j, const struct acts *x, size_t b)
{
    int sc, mn;
    int32_t isum = 0;
    q4_k_scale(w + Q5_K_SM, j, &sc, &mn);
    for (int i = 0; i < 32; i++)
        isum += q5_k_value(w, j, i) * (x->q + 32 * b)[i];
    return add_scaled(acc, read_f16(w) * (float)sc, read_f16(w + 2) * (float)mn, isum, x, b);
}

static float dot_q5_k(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b += 8, w += Q5_K_BYTES)
        for (int j = 0; j < 8; j++)
            acc = add_q5_k(acc, w, j, x, b + (size_t)j);
    return acc;
}

static float dot_iq4_xs(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    float acc = 0;
    for (size_t b = t * (k / 32); b < (t + 1) * (k / 32); b += 8, w += IQ4_XS_BYTES)
        for (size_t j = 0; j < 8; j++) {
            float s = read_f16(w) * (float)iq4_xs_scale(w, (int)j);
            int32_t isum = dot_codes(iq4_codes, w + IQ4_XS_QS + 16 * j, x->q + 32 * (b + j));
            acc = fmaf(s * x->d[b + j], (float)isum, acc);
        }
    return acc;
}

GEMM_EACH(q4_k)
GEMM_EACH(q5_k)
GEMM_EACH(iq4_xs)
