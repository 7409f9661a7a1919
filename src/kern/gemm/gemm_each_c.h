/* gemm_each: the scalar products' loop, one call of dot per output. */
#ifndef KEXA_KERN_GEMM_EACH_C_H
#define KEXA_KERN_GEMM_EACH_C_H

#include "kern/gemm/gemm.h"

/* Token t of x times one weight row. */
typedef float dot_fn(const uint8_t *w, const struct acts *x, size_t t, size_t k);

/* Sum of code[nibble] * x over 16 bytes: byte i has elements i and i + 16. */
static inline int32_t dot_codes(const int8_t code[16], const uint8_t *qs, const int8_t *x)
{
    int32_t sum = 0;
    for (int i = 0; i < 16; i++)
        sum += code[qs[i] & 15] * x[i] + code[qs[i] >> 4] * x[i + 16];
    return sum;
}

static inline void gemm_each(dot_fn *dot, float *y, size_t y_stride, const void *w,
                             size_t row_bytes, const struct acts *x, size_t rows, size_t n,
                             size_t k)
{
    for (size_t t = 0; t < rows; t++)
        for (size_t o = 0; o < n; o++)
            y[t * y_stride + o] = dot((const uint8_t *)w + o * row_bytes, x, t, k);
}

/* gemm_<type>_c: dot_<type> for every output. */
#define GEMM_EACH(type)                                                                      \
    void gemm_##type##_c(float *y, size_t y_stride, const void *w, size_t row_bytes,         \
                         const struct acts *x, size_t rows, size_t n, size_t k)              \
    {                                                                                        \
        gemm_each(dot_##type, y, y_stride, w, row_bytes, x, rows, n, k);                     \
    }

#endif
