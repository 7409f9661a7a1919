/*
 * gemm: y[t][o] = sum_k w[o][k] * x[t][k] for `rows` tokens and `n` weight rows,
 * one function per weight type, straight from the file's layout.
 *
 *     y     f32, token t at y + t * y_stride; y[t][0..n) is overwritten
 *     w     n rows of row_bytes each (qtype_row_bytes(type, k)); alignment 1
 *     x     the tokens' activations in the class of the weight type:
 *             CLASS_F32   x.f32  [rows][k]
 *             CLASS_BF16  x.bf16 [rows][k]
 *             CLASS_Q8    x.q [rows][k], x.d and x.sum [rows][k/32]  (quant.h)
 *     k     a multiple of the type's block; for BF16 any k (the tail of a block of
 *           32 counts as zeros)
 *
 * Orders (kern/qtype.h says the classes; bits are equal at every level, for every
 * split of n and rows):
 *   Q4_0 Q5_0 Q8_0 IQ4_NL MXFP4
 *               per 32: acc = fma(dw * dx, (float)isum, acc); isum = sum q_w * q_x with q_w
 *               signed (nibble - 8, q - 16, q, the code); MXFP4's dw = 2^(e - 128), which
 *               flushed denormals make zero for e = 0 and 1
 *   Q4_1 Q5_1   per 32: acc = fma(dw * dx, (float)isum, acc), then
 *                       acc = fma(mw * dx, (float)sum_x, acc)
 *   Q4_K Q5_K   per 32: s = d * sc (exact), m = dmin * mn (exact):
 *                       acc = fma(s * dx, (float)isum, acc), then
 *                       acc = fma(-m * dx, (float)sum_x, acc)
 *   IQ4_XS      per 32: s = d * (ls - 32) (exact): acc = fma(s * dx, (float)isum, acc)
 *   Q3_K Q6_K   per 32: isum = sc0 * i0 + sc1 * i1 (exact int32, a scale per 16; q_w and
 *                       sc signed): acc = fma(d * dx, (float)isum, acc)
 *   Q2_K        per 32: isum = sc0 * i0 + sc1 * i1, msum = mn0 * sum0_x + mn1 * sum1_x:
 *                       acc = fma(d * dx, (float)isum, acc), then
 *                       acc = fma(-dmin * dx, (float)msum, acc)
 *   acc starts at +0.
 * No split of k, no allocation; cannot fail.  Pieces of n at multiples of 16 rows and of
 * 128 KB of weights or more are the fastest.
 */
#ifndef KEXA_KERN_GEMM_H
#define KEXA_KERN_GEMM_H

#include <stddef.h>
#include <stdint.h>

#include "kern/half_bits.h"

struct acts {
    const float *f32;
    const bf16 *bf16;
    const int8_t *q;
    const float *d;
    const int32_t *sum;
};

typedef void gemm_fn(float *y, size_t y_stride, const void *w, size_t row_bytes,
                     const struct acts *x, size_t rows, size_t n, size_t k);

typedef gemm_fn gemm_f32_fn, gemm_f16_fn, gemm_bf16_fn, gemm_q4_0_fn, gemm_q4_1_fn,
                gemm_q5_0_fn, gemm_q5_1_fn, gemm_q8_0_fn, gemm_iq4_nl_fn, gemm_mxfp4_fn,
                gemm_q2_k_fn, gemm_q3_k_fn, gemm_q4_k_fn, gemm_q5_k_fn, gemm_q6_k_fn,
                gemm_iq4_xs_fn;

gemm_fn gemm_f32_c, gemm_f16_c, gemm_bf16_c, gemm_q4_0_c, gemm_q4_1_c, gemm_q5_0_c,
        gemm_q5_1_c, gemm_q8_0_c, gemm_iq4_nl_c, gemm_mxfp4_c, gemm_q2_k_c, gemm_q3_k_c,
        gemm_q4_k_c, gemm_q5_k_c, gemm_q6_k_c, gemm_iq4_xs_c;
gemm_fn gemm_f32_avx2, gemm_f16_avx2, gemm_bf16_avx2, gemm_q4_0_avx2, gemm_q4_1_avx2,
        gemm_q5_0_avx2, gemm_q5_1_avx2, gemm_q8_0_avx2, gemm_iq4_nl_avx2, gemm_mxfp4_avx2,
        gemm_q2_k_avx2, gemm_q3_k_avx2, gemm_q4_k_avx2, gemm_q5_k_avx2, gemm_q6_k_avx2,
        gemm_iq4_xs_avx2;
gemm_fn gemm_f32_avx512, gemm_f16_avx512, gemm_bf16_avx512, gemm_q4_0_avx512, gemm_q4_1_avx512,
        gemm_q5_0_avx512, gemm_q5_1_avx512, gemm_q8_0_avx512, gemm_iq4_nl_avx512,
        gemm_mxfp4_avx512, gemm_q2_k_avx512, gemm_q3_k_avx512, gemm_q4_k_avx512,
        gemm_q5_k_avx512, gemm_q6_k_avx512, gemm_iq4_xs_avx512;
gemm_fn gemm_bf16_amx;

/* What gemm_f32 and gemm_bf16 of a level call for many rows. */
gemm_fn gemm_f32_rows_avx2, gemm_bf16_rows_avx2, gemm_f32_rows_avx512, gemm_bf16_rows_avx512;

#endif
