/*
 * gemm_tile with AVX2: lanes are 8 weight rows.  A block of weights is transposed in
 * registers once and then meets up to TOKENS tokens, whose sums wait on the stack.
 *
 * There is no VNNI here.  VPMADDUBSW adds two products u8 * s8 into 16 bits and
 * saturates, so each use states why it cannot: activations are at most 127 in size.
 */
#ifndef KEXA_KERN_GEMM_TILE_AVX2_H
#define KEXA_KERN_GEMM_TILE_AVX2_H

#include <immintrin.h>

#include "kern/gemm/gemm_tile.h"

enum { LANES = 8 };

/* 16 bytes of rows p and p + 4s side by side. */
static inline __m256i load_2_rows(const uint8_t *p, size_t s)
{
    __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p));
    return _mm256_inserti128_si256(v, _mm_loadu_si128((const __m128i *)(p + 4 * s)), 1);
}

/* 16 bytes of 8 rows, s bytes apart, transposed: lane r of to[j] is dword j of row r. */
static inline void load_8x16(__m256i to[4], const uint8_t *p, size_t s)
{
    __m256i a = load_2_rows(p, s), b = load_2_rows(p + s, s);
    __m256i c = load_2_rows(p + 2 * s, s), d = load_2_rows(p + 3 * s, s);
    __m256i ab0 = _mm256_unpacklo_epi32(a, b), ab2 = _mm256_unpackhi_epi32(a, b);
    __m256i cd0 = _mm256_unpacklo_epi32(c, d), cd2 = _mm256_unpackhi_epi32(c, d);
    to[0] = _mm256_unpacklo_epi64(ab0, cd0);
    to[1] = _mm256_unpackhi_epi64(ab0, cd0);
    to[2] = _mm256_unpacklo_epi64(ab2, cd2);
    to[3] = _mm256_unpackhi_epi64(ab2, cd2);
}

/* The dword at p of each of 8 rows. */
static inline __m256i gather_rows(const uint8_t *p, size_t s)
{
    __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    at = _mm256_mullo_epi32(at, _mm256_set1_epi32((int)s));
    return _mm256_i32gather_epi32((const int *)(const void *)p, at, 1);
}

/* The upper and the lower half of each dword, as f16. */
static inline __m256 high_f16(__m256i v)
{
    v = _mm256_srli_epi32(v, 16);
    v = _mm256_permute4x64_epi64(_mm256_packus_epi32(v, v), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(v));
}

static inline __m256 low_f16(__m256i v)
{
    return high_f16(_mm256_slli_epi32(v, 16));
}

static inline __m256i broadcast_4(const int8_t *x)
{
    return _mm256_set1_epi32(four_bytes(x));
}

static inline __m256i sum_pairs(__m256i words)
{
    return _mm256_madd_epi16(words, _mm256_set1_epi16(1));
}

static inline void clear_tile(__m256 *acc, size_t n_tokens)
{
    for (size_t t = 0; t < n_tokens; t++)
        acc[t] = _mm256_setzero_ps();
}

static inline void store_tile(const struct tile *g, const __m256 *acc, size_t n_tokens)
{
    for (size_t t = 0; t < n_tokens; t++)
        _mm256_storeu_ps(g->y + t * g->y_stride, acc[t]);
}

#endif
