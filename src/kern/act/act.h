/*
 * act: elementwise pieces between the matrix products, and the exponential that
 * all of them share.  exp_f32 (kern/act/exp_f32.h) is our own polynomial: scalar and
 * vector forms do the same operations, so every level gives the same bits.
 *
 * swiglu_fwd: y[i] = silu(g) * u, silu(g) = g / (1 + exp(-g)).  With limit > 0
 *     (K-EXAONE 2.0's clamped SwiGLU) g = min(gate[i], limit) and
 *     u = clamp(up[i], -limit, limit); limit 0 means no clamp.  y may be gate or up.
 * geglu_fwd: y[i] = gelu(gate[i]) * up[i] with GELU's tanh form (Hendrycks and Gimpel,
 *     "Gaussian Error Linear Units", 2016): g/2 (1 + tanh(z)), z = sqrt(2/pi) (g + 0.044715
 *     g^3).  As (1 + tanh(z)) / 2 = 1 / (1 + exp(-2 z)), it is computed as
 *     g / (1 + exp(-(g * fma(g * g, GELU_C1, GELU_C0)))).  y may be gate or up.
 * add_fwd: y[i] += x[i].
 * scale_add_fwd: y[i] = fma(a, x[i], y[i]).
 * softmax_fwd: in place over one row of n: x[i] = exp(x[i] - max) / sum; the sum in
 *     16 chains and the fixed tree of norm.h.  n = 0 does nothing.
 * sigmoid_fwd: y[i] = 1 / (1 + exp(-x[i])); NaN gives that NaN.  y may be x.
 *
 * Backward, for y = f(gate) * up and dy = dL/dy.  dgate and dup are overwritten; each may be
 * dy, gate or up itself, but not both the same.
 *
 * swiglu_bwd: with g and u after the clamp, s = 1 / (1 + exp(-g)):
 *     dgate[i] = (dy u) (s fma(g, 1 - s, 1))     dup[i] = dy (g s)
 *     +0 where the clamp cut: gate > limit, |up| > limit.  At the limit itself the gradient
 *     passes, as in torch.clamp.  A NaN was not cut and stays NaN.
 * geglu_bwd: with c = clamp(g, -GELU_FLAT, GELU_FLAT), s = 1 / (1 + exp(-2 z(c))),
 *     w = c * fma(c * c, GELU_3C1, GELU_C0), which is 2 c dz/dc:
 *     dgate[i] = (dy u) (s fma(w, 1 - s, 1))     dup[i] = dy (g s)
 *     Beyond GELU_FLAT s is exactly 0 or 1, so the clamp only keeps w finite.
 * swiglu_bwd_bf16, geglu_bwd_bf16: round_bf16 (quant.h) of those results, to the bit; dgate and
 *     dup overlap nothing.
 * Where 1 - s cancels it is added to 1: the error of dgate is relative to |dy u| s.
 *
 * scale_add_bwd, for y += a x: dx[i] = a dy[i], overwritten; *da = sum_i dy[i] x[i] by fma in
 *     the 16 chains and the tree of norm/chains.h, overwritten.  dx may be dy or x.
 */
#ifndef KEXA_KERN_ACT_H
#define KEXA_KERN_ACT_H

#include <stddef.h>

#include "kern/half_bits.h"

typedef void swiglu_fwd_fn(float *y, const float *gate, const float *up, size_t n, float limit);
#define GELU_C0 0x1.988454p+0f            /* 2 sqrt(2/pi) */
#define GELU_C1 0x1.2444f2p-4f            /* 0.044715 of that */
#define GELU_3C1 0x1.b6676cp-3f           /* 3 GELU_C1 */
#define GELU_FLAT 16.0f

typedef void geglu_fwd_fn(float *y, const float *gate, const float *up, size_t n);
typedef void swiglu_bwd_fn(float *dgate, float *dup, const float *dy, const float *gate,
                           const float *up, size_t n, float limit);
typedef void geglu_bwd_fn(float *dgate, float *dup, const float *dy, const float *gate,
                          const float *up, size_t n);
typedef void swiglu_bwd_bf16_fn(bf16 *dgate, bf16 *dup, const float *dy, const float *gate,
                                const float *up, size_t n, float limit);
typedef void geglu_bwd_bf16_fn(bf16 *dgate, bf16 *dup, const float *dy, const float *gate,
                               const float *up, size_t n);
typedef void add_fwd_fn(float *y, const float *x, size_t n);
typedef void scale_add_fwd_fn(float *y, float a, const float *x, size_t n);
typedef void scale_add_bwd_fn(float *dx, float *da, const float *dy, const float *x, float a,
                              size_t n);
typedef void softmax_fwd_fn(float *x, size_t n);
typedef void sigmoid_fwd_fn(float *y, const float *x, size_t n);

swiglu_fwd_fn swiglu_fwd_c, swiglu_fwd_avx2, swiglu_fwd_avx512;
add_fwd_fn add_fwd_c, add_fwd_avx2, add_fwd_avx512;
geglu_fwd_fn geglu_fwd_c, geglu_fwd_avx2, geglu_fwd_avx512;
scale_add_fwd_fn scale_add_fwd_c, scale_add_fwd_avx2, scale_add_fwd_avx512;
scale_add_bwd_fn scale_add_bwd_c, scale_add_bwd_avx2, scale_add_bwd_avx512;
softmax_fwd_fn softmax_fwd_c, softmax_fwd_avx2, softmax_fwd_avx512;
sigmoid_fwd_fn sigmoid_fwd_c, sigmoid_fwd_avx2, sigmoid_fwd_avx512;
swiglu_bwd_fn swiglu_bwd_c, swiglu_bwd_avx2, swiglu_bwd_avx512;
geglu_bwd_fn geglu_bwd_c, geglu_bwd_avx2, geglu_bwd_avx512;
swiglu_bwd_bf16_fn swiglu_bwd_bf16_c, swiglu_bwd_bf16_avx2, swiglu_bwd_bf16_avx512;
swiglu_bwd_bf16_fn swiglu_bwd_bf16_amx;
geglu_bwd_bf16_fn geglu_bwd_bf16_c, geglu_bwd_bf16_avx2, geglu_bwd_bf16_avx512;
geglu_bwd_bf16_fn geglu_bwd_bf16_amx;

#endif
