/* gemm at level avx512: the scalar products until the vector ones stand. */
#if defined(__x86_64__)

#include "kern/gemm/gemm.h"

void gemm_f32_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
    const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_f32_c(y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_f16_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
    const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_f16_c(y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_bf16_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
    const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_bf16_c(y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q4_0_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
    const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_q4_0_c(y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q4_1_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
    const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_q4_1_c(y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q8_0_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
    const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_q8_0_c(y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q4_k_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
    const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_q4_k_c(y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q6_k_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
    const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_q6_k_c(y, y_stride, w, row_bytes, x, rows, n, k);
}

#endif
