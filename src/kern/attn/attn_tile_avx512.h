/*
 * attn_tile_avx512: what tiles of attention share, forward and backward.
 * Rows are padded to multiples of 16 floats; keys in a block stand ATTN_BLOCK in a row.
 */
#ifndef KEXA_KERN_ATTN_TILE_AVX512_H
#define KEXA_KERN_ATTN_TILE_AVX512_H

#include <immintrin.h>
#include <stddef.h>

#include "kern/attn/attn.h"
#include "kern/norm/chains_avx512.h"

/* GROUP: rows that are worked on together; LANES: floats in a register. */
enum { LANES = 16, GROUP = 4, PAD_MAX = ATTN_HD_MAX };

#define INLINE static inline __attribute__((always_inline))

static inline size_t padded(size_t hd)
{
    return (hd + LANES - 1) / LANES * LANES;
}

/* gcc would load x again for each fma that uses it, and the loads would bound the loop. */
INLINE __m512 in_register(__m512 x)
{
    __asm__("" : "+v"(x));
    return x;
}

/* 16 bytes of rows x, x + 4s, x + 8s, x + 12s side by side. */
INLINE __m512 four_rows(const float *x, size_t s)
{
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(x));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(x + 4 * s), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(x + 8 * s), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(x + 12 * s), 3);
}

/* y[i][r] = x[r][i] for 16 rows r, s floats apart, and four columns i. */
INLINE void transpose_four(__m512d y[4], const float *x, size_t s)
{
    __m512 v0 = four_rows(x, s), v1 = four_rows(x + s, s);
    __m512 v2 = four_rows(x + 2 * s, s), v3 = four_rows(x + 3 * s, s);
    __m512d low01 = _mm512_castps_pd(_mm512_unpacklo_ps(v0, v1));
    __m512d high01 = _mm512_castps_pd(_mm512_unpackhi_ps(v0, v1));
    __m512d low23 = _mm512_castps_pd(_mm512_unpacklo_ps(v2, v3));
    __m512d high23 = _mm512_castps_pd(_mm512_unpackhi_ps(v2, v3));
    y[0] = _mm512_unpacklo_pd(low01, low23);
    y[1] = _mm512_unpackhi_pd(low01, low23);
    y[2] = _mm512_unpacklo_pd(high01, high23);
    y[3] = _mm512_unpackhi_pd(high01, high23);
}

/* to[c][r] = x[r][c] for 16 rows r, s floats apart, and c < wide, a multiple of 16; rows of
 * `to` have ATTN_BLOCK floats. */
static inline void transpose_16_rows(float *to, const float *x, size_t s, size_t wide)
{
    for (size_t c = 0; c < wide; c += 4) {
        __m512d y[4];
        transpose_four(y, x + c, s);
        for (size_t i = 0; i < 4; i++)
            _mm512_store_pd((double *)(to + (c + i) * ATTN_BLOCK), y[i]);
    }
}

#endif
