/*
 * rope: rotary position embedding of one token's heads, in place.
 *
 * For each head of hd elements, the first 2*half of them rotate by the angles whose
 * cosine and sine are given (one pair per p < half):
 *   rope_half_fwd  pairs (p, p + half): NEOX order, Hugging Face files
 *   rope_pair_fwd  pairs (2p, 2p + 1): GPT-J order, llama-architecture GGUF files
 *     a' = a*c - b*s     as fma(-b, s, a*c)
 *     b' = b*c + a*s     as fma( a, s, b*c)
 *
 *     x     f32 [n_heads][hd]      cs    f32 [half] cosines      sn    f32 [half] sines
 *
 * rope_angles fills cs and sn for one position: angle = (float)pos * inv_freq[p] in
 * f32 as the reference implementations have it, then cos and sin in double, rounded.
 * Source: Su et al., "RoFormer", 2021, eq. 34.
 */
#ifndef KEXA_KERN_ROPE_H
#define KEXA_KERN_ROPE_H

#include <stddef.h>
#include <stdint.h>

typedef void rope_half_fwd_fn(float *x, const float *cs, const float *sn,
                              size_t n_heads, size_t hd, size_t half);
typedef rope_half_fwd_fn rope_pair_fwd_fn;

rope_half_fwd_fn rope_half_fwd_c, rope_half_fwd_avx2, rope_half_fwd_avx512;
rope_pair_fwd_fn rope_pair_fwd_c, rope_pair_fwd_avx2, rope_pair_fwd_avx512;

void rope_angles(float *cs, float *sn, uint32_t pos, const float *inv_freq, size_t half);

#endif
