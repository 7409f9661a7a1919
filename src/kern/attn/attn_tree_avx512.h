/* attn_tree_avx512: 16 rows of 16 reduced together by transposing: the chains of dot products to
 * their sums, scores to their maxima. */
#ifndef KEXA_KERN_ATTN_TREE_AVX512_H
#define KEXA_KERN_ATTN_TREE_AVX512_H

#include <immintrin.h>

#include "kern/norm/chains_avx512.h"

/* Each step joins the upper and the lower halves of what is left of two rows and packs both
 * results in one register; MAX or ADD. */
enum tree_op { TREE_ADD, TREE_MAX };

#define TREE_STEP static inline __attribute__((always_inline)) __m512

TREE_STEP tree_join(__m512 a, __m512 b, enum tree_op op)
{
    return op == TREE_ADD ? _mm512_add_ps(a, b) : _mm512_max_ps(a, b);
}

TREE_STEP tree_halves(__m512 x, __m512 y, enum tree_op op)
{
    return tree_join(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee), op);
}

TREE_STEP tree_quarters(__m512 x, __m512 y, enum tree_op op)
{
    return tree_join(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd), op);
}

TREE_STEP tree_pairs(__m512 x, __m512 y, enum tree_op op)
{
    return tree_join(_mm512_shuffle_ps(x, y, 0x44), _mm512_shuffle_ps(x, y, 0xee), op);
}

TREE_STEP tree_singles(__m512 x, __m512 y, enum tree_op op)
{
    return tree_join(_mm512_shuffle_ps(x, y, 0x88), _mm512_shuffle_ps(x, y, 0xdd), op);
}

/* Rows i, i+4, i+8, i+12 down to four partial results each, one row per 128 bits. */
TREE_STEP tree_four(const __m512 *part, int i, enum tree_op op)
{
    return tree_quarters(tree_halves(part[i], part[i + 4], op),
                         tree_halves(part[i + 8], part[i + 12], op), op);
}

TREE_STEP tree_rows(const __m512 part[16], enum tree_op op)
{
    return tree_singles(tree_pairs(tree_four(part, 0, op), tree_four(part, 1, op), op),
                        tree_pairs(tree_four(part, 2, op), tree_four(part, 3, op), op), op);
}

/* Lane j of the result is the tree of chains.h over part[j]. */
static inline __m512 tree_x16(const __m512 part[16])
{
    return tree_rows(part, TREE_ADD);
}

#endif
