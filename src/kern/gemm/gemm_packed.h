/*
 * gemm_packed: bf16 weights rearranged once for many products, where the CPU has tiles (level
 * amx).  Below that the three functions are NULL in the table of kernels, and callers take
 * gemm_bf16 and gemm_bf16_dx, which give the same bits.
 *
 *   pack_y    what y[t][o] = sum_j x[t][j] w[o][j] multiplies x with: depth k, n columns
 *   pack_dx   what dx[t][j] = sum_o dy[t][o] w[o][j] multiplies dy with: depth n, k columns
 *
 *     w    n rows of k, row o at w + o * row_bytes, any alignment
 *     to   gemm_packed_bytes(n, k) bytes at a multiple of 64, all of them written; of which
 *          columns [32 i, 32 i + 32) lie at i * gemm_packed_bytes(depth, 32): a block of w's
 *          rows (pack_y) or columns (pack_dx) may be packed, and multiplied with, on its own if
 *          it begins at a multiple of 32 of them
 *
 *   packed    c[t][j] = sum_i a[t][i] b[i][j], or += with `add`, in the order of class bf16
 *             (gemm_bwd.h): the bits of gemm_bf16 and gemm_bf16_dx
 *
 *     c    f32, `rows` rows at c + t * c_stride, [0, cols)
 *     a    bf16, row t at a + t * a_stride, [0, depth): x or dy.  Fastest where a is 64-byte
 *          aligned, depth and a_stride are multiples of 32 and rows are dense: read in place
 *     b    packed, depth >= 1; b_bytes from 32 of its columns to the next 32, which is
 *          gemm_packed_bytes(depth, 32), or more where a's [0, depth) are not all that was
 *          packed: those from i on, a multiple of 32, begin 64 i bytes further
 *
 * Strides are in elements.  Outputs overlap no input; nothing is allocated; cannot fail.
 */
#ifndef KEXA_KERN_GEMM_PACKED_H
#define KEXA_KERN_GEMM_PACKED_H

#include <stdbool.h>
#include <stddef.h>

#include "kern/half_bits.h"

static inline size_t gemm_packed_bytes(size_t n, size_t k)
{
    return (n + 31) / 32 * ((k + 31) / 32) * 2048;
}

typedef void gemm_bf16_pack_fn(void *to, const void *w, size_t row_bytes, size_t n, size_t k);
typedef gemm_bf16_pack_fn gemm_bf16_pack_y_fn, gemm_bf16_pack_dx_fn;
typedef void gemm_bf16_packed_fn(float *c, size_t c_stride, const bf16 *a, size_t a_stride,
                                 const void *b, size_t b_bytes, size_t rows, size_t cols,
                                 size_t depth, bool add);

gemm_bf16_pack_fn gemm_bf16_pack_y_amx, gemm_bf16_pack_dx_amx;
gemm_bf16_packed_fn gemm_bf16_packed_amx;

#endif
