/* f32, f16 and bf16 weights in plain C: the definition of classes f32 and bf16. */
#include <math.h>

#include "kern/gemm/gemm_each_c.h"
#include "kern/quant/blocks.h"

static float dot_f32(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    const float *xt = x->f32 + t * k;
    float acc = 0;
    for (size_t i = 0; i < k; i++)
        acc = fmaf(read_f32(w + 4 * i), xt[i], acc);
    return acc;
}

static float dot_f16(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    const float *xt = x->f32 + t * k;
    float acc = 0;
    for (size_t i = 0; i < k; i++)
        acc = fmaf(read_f16(w + 2 * i), xt[i], acc);
    return acc;
}

/* Element i of a row that is continued with zeros. */
static float bf16_at(const uint8_t *p, size_t i, size_t k)
{
    return i < k ? bf16_to_f32(read_u16(p + 2 * i)) : 0.0f;
}

/* What TDPBF16PS adds to its accumulator for 32 k, from k index b on. */
static float dot_bf16_block(const uint8_t *w, const uint8_t *x, size_t b, size_t k)
{
    float e = 0, o = 0;
    for (size_t i = b; i < b + 32; i += 2) {
        e = fmaf(bf16_at(w, i, k), bf16_at(x, i, k), e);
        o = fmaf(bf16_at(w, i + 1, k), bf16_at(x, i + 1, k), o);
    }
    return e + o;
}

static float dot_bf16(const uint8_t *w, const struct acts *x, size_t t, size_t k)
{
    const uint8_t *xt = (const uint8_t *)(x->bf16 + t * k);
    float acc = 0;
    for (size_t b = 0; b < k; b += 32)
        acc = acc + dot_bf16_block(w, xt, b, k);
    return acc;
}

void gemm_f32_c(float *y, size_t y_stride, const void *w, size_t row_bytes,
                const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_each(dot_f32, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_f16_c(float *y, size_t y_stride, const void *w, size_t row_bytes,
                const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_each(dot_f16, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_bf16_c(float *y, size_t y_stride, const void *w, size_t row_bytes,
                 const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_each(dot_bf16, y, y_stride, w, row_bytes, x, rows, n, k);
}
