/*
 * rmsnorm: divide each row by its root mean square, then scale by a gain.
 *
 *     y[r][i] = (x[r][i] * s_r) * g[i]     s_r = 1 / sqrt(mean_i(x[r][i]^2) + eps)
 *
 *     x, y   f32 [rows][dim]   y may be x itself; no other overlap
 *     g      f32 [dim]
 *     eps    >= 0, inside the root
 *
 * The sum of squares runs in 16 chains: chain j takes i = j, j+16, ... by fma from
 * +0, and the chains meet in the fixed tree (j, j+8), (j, j+4), (j, j+2), (j, j+1).
 * The mean divides by (float)dim.  Rows are independent.  Cannot fail.
 * Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, eq. 4.
 * Difference: their equation has no eps; it stands where Llama's code puts it.
 */
#ifndef KEXA_KERN_NORM_H
#define KEXA_KERN_NORM_H

#include <stddef.h>

#include "kern/half_bits.h"

typedef void rmsnorm_fwd_fn(float *y, const float *x, const float *g,
                            size_t rows, size_t dim, float eps);

/* round_bf16 (quant.h) of what rmsnorm_fwd gives, to the bit; y overlaps nothing. */
typedef void rmsnorm_fwd_bf16_fn(bf16 *y, const float *x, const float *g, size_t rows, size_t dim,
                                 float eps);

/*
 * rmsnorm_bwd: the gradients of the above by x and by g.
 *
 *     xh[i] = x[i] * s_r      h[i] = dy[i] * g[i]      m = sum_i(h[i] x[i]) * s_r / dim
 *     dx[i]  = s_r * fma(-m, xh[i], h[i])              overwritten
 *     dg[i] += dy[i] * xh[i]                           one fma per row, rows ascending
 *
 *     dx, dy, x   f32 [rows][dim]   dx may be dy or x itself; no other overlap
 *     g           f32 [dim]
 *     dg          f32 [dim]; NULL: not wanted, and nothing else changes
 *
 * s_r is the forward's to the bit; the sum of h x runs in the same chains and tree.
 * Threads that share rows each need a dg of their own.  From ds/dx[i] = -s^3 x[i] / dim.
 */
typedef void rmsnorm_bwd_fn(float *dx, float *dg, const float *dy, const float *x, const float *g,
                            size_t rows, size_t dim, float eps);

rmsnorm_fwd_fn rmsnorm_fwd_c, rmsnorm_fwd_avx2, rmsnorm_fwd_avx512;
rmsnorm_fwd_bf16_fn rmsnorm_fwd_bf16_c, rmsnorm_fwd_bf16_avx2, rmsnorm_fwd_bf16_avx512;
rmsnorm_fwd_bf16_fn rmsnorm_fwd_bf16_amx;
rmsnorm_bwd_fn rmsnorm_bwd_c, rmsnorm_bwd_avx2, rmsnorm_bwd_avx512;

#endif
