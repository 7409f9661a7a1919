/*
 * attn: softmax(q K^T scale) V for queries at consecutive positions, one KV head and the n_q
 * query heads that share it (grouped-query attention).
 *
 *     q, out   f32, row r and head g at q + r * q_stride + g * hd (out: out_stride);
 *              strides in floats; out may not overlap anything else
 *     k, v     position p lies at k + (p % ring) * kv_stride, kv_stride in bytes: in a KV
 *              ring kv_row_bytes(kv_type, hd), in a training batch the pitch of its rows
 *     first_pos  position of row 0; row r sees positions up to first_pos + r, its own; with
 *              window > 0 only the last `window` of them, its own counted
 *     ring     a multiple of ATTN_BLOCK, or UINT64_MAX: position p lies in row p.  What any
 *              of the rows sees must be there; no other row of k or v is read
 *     lse      NULL, or f32 [n_rows][n_q], row r at lse + r * lse_stride: m + log(sum) in
 *              f64, rounded once, for the backward (attn_bwd.h)
 *
 * Order (the class of attention): keys in blocks of ATTN_BLOCK positions counted
 * from position 0, blocks ascending; inside a block only visible keys count.
 *   s_j = scale * dot(q, k_j); the dot in 16 chains over hd and the tree of norm/chains.h
 *   m'  = max(m, max_j s_j)    c = exp(m - m')    (c = 0 for the first block)
 *   p_j = exp(s_j - m')        sum = fma(sum, c, t), t = the p_j in 16 chains by
 *                              j % 16 (j counted inside the block), same tree
 *   acc = acc * c, then acc = fma(p_j, v_j, acc) for j ascending
 *   out = acc / sum
 * So the bits depend on positions and values only: not on ring, strides, rows, chunk or thread.
 * NaN in a visible key or value gives NaN.
 * f16 and bf16 elements become f32 exactly.  A q8_0 element is d * q, rounded once to f32,
 * and then takes the same chains: the class of q8_0 is its storing, not its summing.
 * Source: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
 * scratch: the stack, less than 1 MiB; n_rows, n_q and hd are free (hd <= ATTN_HD_MAX).
 */
#ifndef KEXA_KERN_ATTN_H
#define KEXA_KERN_ATTN_H

#include <stddef.h>
#include <stdint.h>

enum { ATTN_BLOCK = 64, ATTN_HD_MAX = 512 };
enum kv_type { KV_F32, KV_F16, KV_BF16, KV_Q8_0 };

struct attn_rows {
    const float *q;
    const void *k, *v;
    enum kv_type kv_type;
    size_t q_stride, kv_stride;
    uint64_t first_pos, ring;
    size_t n_rows, n_q, hd;
    uint32_t window;
    float scale;
    float *lse;
    size_t lse_stride;
};

typedef void attn_rows_fwd_fn(float *out, size_t out_stride, const struct attn_rows *a);

attn_rows_fwd_fn attn_rows_fwd_c, attn_rows_fwd_avx2, attn_rows_fwd_avx512;

/*
 * KV_Q8_0: a row is blocks of 32 elements, each an f16 scale d and 32 int8 q, as in the weight
 * type Q8_0.  hd must be a multiple of KV_Q8_BLOCK.
 */
enum { KV_Q8_BLOCK = 32, KV_Q8_BYTES = 34 };

size_t kv_row_bytes(enum kv_type t, size_t n);      /* bytes of a row of n elements */

/*
 * f32 -> kv_type, n elements, to nearest, ties to even.  KV_Q8_0: d = f16(max |x| / 127),
 * q = x * (1 / d) rounded and held within -127 .. 127; d = 0 gives q = 0; NaN or infinity in
 * a block gives d = NaN, so that it shows in every element.
 */
typedef void kv_store_fn(void *row, enum kv_type t, const float *x, size_t n);

kv_store_fn kv_store_c, kv_store_avx2, kv_store_avx512;

#endif
