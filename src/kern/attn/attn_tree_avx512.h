/* attn_tree_avx512: the chains of 16 dot products, added up together by transposing. */
#ifndef KEXA_KERN_ATTN_TREE_AVX512_H
#define KEXA_KERN_ATTN_TREE_AVX512_H

#include <immintrin.h>

#include "kern/norm/chains_avx512.h"

/* Each step adds the upper to the lower half of two registers and packs both sums in one. */
static inline __m512 tree_halves(__m512 x, __m512 y)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
}

static inline __m512 tree_quarters(__m512 x, __m512 y)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
}

static inline __m512 tree_pairs(__m512 x, __m512 y)
{
    return _mm512_add_ps(_mm512_shuffle_ps(x, y, 0x44), _mm512_shuffle_ps(x, y, 0xee));
}

static inline __m512 tree_singles(__m512 x, __m512 y)
{
    return _mm512_add_ps(_mm512_shuffle_ps(x, y, 0x88), _mm512_shuffle_ps(x, y, 0xdd));
}

/* Rows i, i+4, i+8, i+12 down to four partial sums each, one row per 128 bits. */
static inline __m512 tree_four(const __m512 *part, int i)
{
    return tree_quarters(tree_halves(part[i], part[i + 4]),
                         tree_halves(part[i + 8], part[i + 12]));
}

/* Lane j of the result is the tree of chains.h over part[j]. */
static inline __m512 tree_x16(const __m512 part[16])
{
    return tree_singles(tree_pairs(tree_four(part, 0), tree_four(part, 1)),
                        tree_pairs(tree_four(part, 2), tree_four(part, 3)));
}

#endif
