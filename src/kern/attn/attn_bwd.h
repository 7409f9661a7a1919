/*
 * attn_bwd: gradients of causal attention over one document, for one KV head and the n_q
 * query heads that share it.
 *
 *     q, out, dout, dq   f32 [n][n_q][hd]: row i, head g at q + i * q_stride + g * hd; out
 *                        and dout have out_stride.  dq has q's stride
 *     k, v, dk, dv       f32 [n][hd], all with kv_stride
 *     lse                f32 [n][n_q], row i at lse + i * lse_stride, from attn_rows_fwd
 *     dq, dk, dv are overwritten and overlap nothing; strides in floats
 *     n      positions 0 .. n-1 of the document; position i sees 0 .. i, and with
 *            window > 0 only the last `window` of them, its own counted
 *     hd     1 .. ATTN_HD_MAX
 *
 * With s_ij = scale q_i k_j, P_ij = exp(s_ij - lse_i) over the visible j:
 *     dP = dout V^T      D_i = sum_c dout_ic out_ic      dS = P (dP - D) scale
 *     dQ = dS K          dK = dS^T Q                      dV = P^T dout
 * dK and dV are sums over the heads, too.  Pairs that do not see each other contribute nothing.
 * Source: Dao et al., "FlashAttention", 2022, appendix B.4.
 *
 * attn_bwd, class f32.  Order:
 *     dot      one fma chain over c ascending from +0: for q k and for dout v
 *     D        16 chains and the tree of norm/chains.h; Ds = scale * D
 *     p        exp_f32(fma(scale, q k, -lse))
 *     ds       p * fma(scale, dout v, -Ds)
 *     dq_i     one fma chain over the visible j ascending
 *     dk_j dv_j  one fma chain over heads ascending, inside a head over the i that see j,
 *              ascending
 * NaN goes where the sums carry it, never across an invisible pair.
 *
 * attn_bwd_bf16, class bf16: the five products are those of TDPBF16PS (kern/qtype.h).  q, k,
 * v, dout, p and ds are rounded to bf16 before a product; D, p and ds are made as above, in
 * f32, from products in TDPBF16PS order.  Order:
 *     tiles    ATTN_BWD_TILE queries by as many keys, counted from position 0; a tile in
 *              which no query sees a key does not count.  In the others all pairs count,
 *              the invisible ones with p = ds = 0, and rows past the end as zeros
 *     dot      per 32 c an even and an odd fma chain from +0, then s += even + odd
 *     dq       tiles of keys ascending, each as one such block of 32
 *     dk dv    blocks of ATTN_BWD_BLOCK queries ascending, inside heads ascending, inside
 *              tiles of queries ascending, each as one block of 32
 * A NaN or infinity in a row of q, k or dout can reach the other rows of its tiles.  The
 * hardware flushes denormals always: levels agree where the caller flushes them, too.
 *
 * scratch: the stack, less than 1 MiB at any n.
 */
#ifndef KEXA_KERN_ATTN_BWD_H
#define KEXA_KERN_ATTN_BWD_H

#include <stddef.h>
#include <stdint.h>

enum { ATTN_BWD_TILE = 32, ATTN_BWD_BLOCK = 64 };

struct attn_bwd {
    const float *q, *k, *v, *out, *dout, *lse;
    float *dq, *dk, *dv;
    size_t q_stride, kv_stride, out_stride, lse_stride;
    size_t n, n_q, hd;
    uint32_t window;
    float scale;
};

typedef void attn_bwd_fn(const struct attn_bwd *a);
typedef attn_bwd_fn attn_bwd_bf16_fn;

attn_bwd_fn attn_bwd_c, attn_bwd_avx2, attn_bwd_avx512;
attn_bwd_fn attn_bwd_bf16_c, attn_bwd_bf16_avx2, attn_bwd_bf16_avx512, attn_bwd_bf16_amx;

#endif
