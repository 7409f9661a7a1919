#include "kern/norm/norm.h"

#include <math.h>

#include "kern/norm/chains.h"

static float sum_squares(const float *x, size_t n)
{
    float c[CHAINS] = { 0 };
    for (size_t i = 0; i < n; i++)
        c[i % CHAINS] = fmaf(x[i], x[i], c[i % CHAINS]);
    return chains_sum(c);
}

void rmsnorm_fwd_c(float *y, const float *x, const float *g, size_t rows, size_t dim, float eps)
{
    for (size_t r = 0; r < rows; r++, x += dim, y += dim) {
        float s = 1.0f / sqrtf(sum_squares(x, dim) / (float)dim + eps);
        for (size_t i = 0; i < dim; i++)
            y[i] = x[i] * s * g[i];
    }
}

void rmsnorm_fwd_bf16_c(bf16 *y, const float *x, const float *g, size_t rows, size_t dim,
                        float eps)
{
    for (size_t r = 0; r < rows; r++, x += dim, y += dim) {
        float s = 1.0f / sqrtf(sum_squares(x, dim) / (float)dim + eps);
        for (size_t i = 0; i < dim; i++)
            y[i] = f32_to_bf16(x[i] * s * g[i]);
    }
}

static float dot_grad(const float *dy, const float *g, const float *x, size_t n)
{
    float c[CHAINS] = { 0 };
    for (size_t i = 0; i < n; i++)
        c[i % CHAINS] = fmaf(dy[i] * g[i], x[i], c[i % CHAINS]);
    return chains_sum(c);
}

void rmsnorm_bwd_c(float *dx, float *dg, const float *dy, const float *x, const float *g,
                   size_t rows, size_t dim, float eps)
{
    for (size_t r = 0; r < rows; r++, x += dim, dy += dim, dx += dim) {
        float s = 1.0f / sqrtf(sum_squares(x, dim) / (float)dim + eps);
        float m = dot_grad(dy, g, x, dim) * s / (float)dim;
        for (size_t i = 0; i < dim; i++) {
            float xh = x[i] * s, d = dy[i];
            if (dg)
                dg[i] = fmaf(d, xh, dg[i]);
            dx[i] = s * fmaf(-m, xh, d * g[i]);
        }
    }
}
