/* gemm_each: the scalar products' loop, one call of dot per output. */
#ifndef KEXA_KERN_GEMM_EACH_C_H
#define KEXA_KERN_GEMM_EACH_C_H

#include "kern/gemm/gemm.h"

/* Token t of x times one weight row. */
typedef float dot_fn(const uint8_t *w, const struct acts *x, size_t t, size_t k);

static inline void gemm_each(dot_fn *dot, float *y, size_t y_stride, const void *w,
                             size_t row_bytes, const struct acts *x, size_t rows, size_t n,
                             size_t k)
{
    for (size_t t = 0; t < rows; t++)
        for (size_t o = 0; o < n; o++)
            y[t * y_stride + o] = dot((const uint8_t *)w + o * row_bytes, x, t, k);
}

#endif
