/* The products of training in plain C: the definition. */
#include <math.h>

#include "kern/gemm/gemm_bwd.h"
#include "kern/quant/blocks.h"

void gemm_f32_dx_c(float *dx, size_t dx_stride, const float *dy, size_t dy_stride,
                   const void *w, size_t row_bytes, size_t rows, size_t n, size_t k, bool add)
{
    const uint8_t *bytes = w;
    for (size_t t = 0; t < rows; t++)
        for (size_t j = 0; j < k; j++) {
            float acc = add ? dx[t * dx_stride + j] : 0;
            for (size_t o = 0; o < n; o++)
                acc = fmaf(dy[t * dy_stride + o], read_f32(bytes + o * row_bytes + 4 * j), acc);
            dx[t * dx_stride + j] = acc;
        }
}

void gemm_f32_dw_c(float *dw, size_t dw_stride, const float *dy, size_t dy_stride,
                   const float *x, size_t x_stride, size_t rows, size_t n, size_t k)
{
    for (size_t o = 0; o < n; o++)
        for (size_t j = 0; j < k; j++) {
            float acc = dw[o * dw_stride + j];
            for (size_t t = 0; t < rows; t++)
                acc = fmaf(dy[t * dy_stride + o], x[t * x_stride + j], acc);
            dw[o * dw_stride + j] = acc;
        }
}

/* A line of bf16 that is summed over: element i is `stride` bytes after element i - 1. */
struct line {
    const uint8_t *p;
    size_t stride, n;
};

static float line_at(const struct line *l, size_t i)
{
    return i < l->n ? bf16_to_f32(read_u16(l->p + i * l->stride)) : 0.0f;
}

/* acc plus the products of two lines of equal length, in TDPBF16PS's order. */
static float add_dot(float acc, const struct line *a, const struct line *b)
{
    for (size_t at = 0; at < a->n; at += 32) {
        float e = 0, o = 0;
        for (size_t i = at; i < at + 32; i += 2) {
            e = fmaf(line_at(a, i), line_at(b, i), e);
            o = fmaf(line_at(a, i + 1), line_at(b, i + 1), o);
        }
        acc = acc + (e + o);
    }
    return acc;
}

void gemm_bf16_dx_c(float *dx, size_t dx_stride, const bf16 *dy, size_t dy_stride,
                    const void *w, size_t row_bytes, size_t rows, size_t n, size_t k, bool add)
{
    for (size_t t = 0; t < rows; t++)
        for (size_t j = 0; j < k; j++) {
            struct line a = { (const uint8_t *)(dy + t * dy_stride), 2, n };
            struct line b = { (const uint8_t *)w + 2 * j, row_bytes, n };
            float *c = dx + t * dx_stride + j;
            *c = add_dot(add ? *c : 0, &a, &b);
        }
}

void gemm_bf16_dw_c(float *dw, size_t dw_stride, const bf16 *dy, size_t dy_stride,
                    const bf16 *x, size_t x_stride, size_t rows, size_t n, size_t k)
{
    for (size_t o = 0; o < n; o++)
        for (size_t j = 0; j < k; j++) {
            struct line a = { (const uint8_t *)(dy + o), 2 * dy_stride, rows };
            struct line b = { (const uint8_t *)(x + j), 2 * x_stride, rows };
            dw[o * dw_stride + j] = add_dot(dw[o * dw_stride + j], &a, &b);
        }
}
