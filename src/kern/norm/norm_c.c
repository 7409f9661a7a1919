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
