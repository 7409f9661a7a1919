/*
 * gemm_bwd: the two products that training takes backwards through y[t][o] = sum_j x[t][j] *
 * w[o][j] (gemm.h), of `rows` tokens, n outputs and k inputs:
 *
 *   dx   dx[t][j]  = sum_o dy[t][o] * w[o][j]     dx f32, row t at dx + t * dx_stride, [0, k);
 *                                                 with `add` it is += instead
 *   dw   dw[o][j] += sum_t dy[t][o] * x[t][j]     dw f32, row o at dw + o * dw_stride, [0, k)
 *
 *     dy    row t at dy + t * dy_stride, [0, n)   f32, or bf16 in class bf16
 *     w     row o at w + o * row_bytes, [0, k)    f32 or bf16, any alignment
 *     x     row t at x + t * x_stride, [0, k)     f32 or bf16
 *
 * Strides are in elements.  Orders (i is the index that is summed over: o in dx, t in dw):
 *   f32    one fma chain over i ascending, from +0, or from what the output held (dw, add)
 *   bf16   per 32 i an even and an odd fma chain from +0 over its 16 pairs, then
 *          c += e + o, the last 32 continued with zeros; c from +0 or what the output held
 * so that bits are the same at every level and however a caller cuts the outputs into blocks
 * of rows and columns (move the pointers, keep the strides).  The summed index must not be cut,
 * except dw's at multiples of 32, in order.
 *
 * n = 0 gives dx = 0 (with add: as it was); rows = 0 leaves dw as it is.  Outputs overlap no
 * input.  No allocation; cannot fail.  Operands are rearranged in memory of the thread, up to
 * 830 KB of it where there are tiles; blocks of 256 by 256 outputs or more are the fastest, for
 * they are rearranged once in each.
 */
#ifndef KEXA_KERN_GEMM_BWD_H
#define KEXA_KERN_GEMM_BWD_H

#include <stdbool.h>
#include <stddef.h>

#include "kern/half_bits.h"

typedef void gemm_f32_dx_fn(float *dx, size_t dx_stride, const float *dy, size_t dy_stride,
                            const void *w, size_t row_bytes, size_t rows, size_t n, size_t k,
                            bool add);
typedef void gemm_f32_dw_fn(float *dw, size_t dw_stride, const float *dy, size_t dy_stride,
                            const float *x, size_t x_stride, size_t rows, size_t n, size_t k);
typedef void gemm_bf16_dx_fn(float *dx, size_t dx_stride, const bf16 *dy, size_t dy_stride,
                             const void *w, size_t row_bytes, size_t rows, size_t n, size_t k,
                             bool add);
typedef void gemm_bf16_dw_fn(float *dw, size_t dw_stride, const bf16 *dy, size_t dy_stride,
                             const bf16 *x, size_t x_stride, size_t rows, size_t n, size_t k);

gemm_f32_dx_fn gemm_f32_dx_c, gemm_f32_dx_avx2, gemm_f32_dx_avx512;
gemm_f32_dw_fn gemm_f32_dw_c, gemm_f32_dw_avx2, gemm_f32_dw_avx512;
gemm_bf16_dx_fn gemm_bf16_dx_c, gemm_bf16_dx_avx2, gemm_bf16_dx_avx512, gemm_bf16_dx_amx;
gemm_bf16_dw_fn gemm_bf16_dw_c, gemm_bf16_dw_avx2, gemm_bf16_dw_avx512, gemm_bf16_dw_amx;

#endif
