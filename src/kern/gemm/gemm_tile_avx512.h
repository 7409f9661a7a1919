/*
 * gemm_tile with AVX-512: lanes are 16 weight rows.  A block of weights is transposed
 * in registers once and then meets up to TOKENS tokens, whose sums wait on the stack.
 */
#ifndef KEXA_KERN_GEMM_TILE_AVX512_H
#define KEXA_KERN_GEMM_TILE_AVX512_H

#include <immintrin.h>
#include <stdbool.h>

#include "kern/gemm/gemm_tile.h"

enum { LANES = 16 };

/* 16 bytes of rows p, p + 4s, p + 8s, p + 12s side by side. */
static inline __m512i load_4_rows(const uint8_t *p, size_t s)
{
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)p));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p + 4 * s)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p + 8 * s)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p + 12 * s)), 3);
}

/* 16 bytes of 16 rows, s bytes apart, transposed: lane r of to[j] is dword j of row r. */
static inline void load_16x16(__m512i to[4], const uint8_t *p, size_t s)
{
    __m512i a = load_4_rows(p, s), b = load_4_rows(p + s, s);
    __m512i c = load_4_rows(p + 2 * s, s), d = load_4_rows(p + 3 * s, s);
    __m512i ab0 = _mm512_unpacklo_epi32(a, b), ab2 = _mm512_unpackhi_epi32(a, b);
    __m512i cd0 = _mm512_unpacklo_epi32(c, d), cd2 = _mm512_unpackhi_epi32(c, d);
    to[0] = _mm512_unpacklo_epi64(ab0, cd0);
    to[1] = _mm512_unpackhi_epi64(ab0, cd0);
    to[2] = _mm512_unpacklo_epi64(ab2, cd2);
    to[3] = _mm512_unpackhi_epi64(ab2, cd2);
}

/* The dword at p of each of 16 rows. */
static inline __m512i gather_rows(const uint8_t *p, size_t s)
{
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    at = _mm512_mullo_epi32(at, _mm512_set1_epi32((int)s));
    return _mm512_i32gather_epi32(at, p, 1);
}

/* Dwords 0 and 1 at p of each of 16 rows. */
static inline void gather_two(__m512i to[2], const uint8_t *p, size_t s)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28,
                                           30);
    __m256i at = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                                    _mm256_set1_epi32((int)s));
    __m512i a = _mm512_i32gather_epi64(at, p, 1), b = _mm512_i32gather_epi64(at, p + 8 * s, 1);
    to[0] = _mm512_permutex2var_epi32(a, even, b);
    to[1] = _mm512_permutex2var_epi32(_mm512_srli_epi64(a, 32), even, _mm512_srli_epi64(b, 32));
}

/* The dword that begins two bytes into `a` and goes on in `b`. */
static inline __m512i funnel_words(__m512i a, __m512i b)
{
    return _mm512_or_si512(_mm512_srli_epi32(a, 16), _mm512_slli_epi32(b, 16));
}

/* The even words first, then the odd ones: the lower and upper halves of 16 dwords. */
static inline __m512i split_words(__m512i v)
{
    const __m512i order = _mm512_set_epi16(
        31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1,
        30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    return _mm512_permutexvar_epi16(order, v);
}

/* The lower and the upper half of each dword, as f16. */
static inline __m512 low_f16(__m512i v)
{
    return _mm512_cvtph_ps(_mm512_castsi512_si256(split_words(v)));
}

static inline __m512 high_f16(__m512i v)
{
    return _mm512_cvtph_ps(_mm512_extracti64x4_epi64(split_words(v), 1));
}

static inline __m512i broadcast_4(const int8_t *x)
{
    return _mm512_set1_epi32(four_bytes(x));
}

/* sum + the products of 16 unsigned weights per lane with 16 activations. */
static inline __m512i dot_16(__m512i sum, const __m512i w[4], const int8_t *x)
{
    sum = _mm512_dpbusd_epi32(sum, w[0], broadcast_4(x));
    sum = _mm512_dpbusd_epi32(sum, w[1], broadcast_4(x + 4));
    sum = _mm512_dpbusd_epi32(sum, w[2], broadcast_4(x + 8));
    return _mm512_dpbusd_epi32(sum, w[3], broadcast_4(x + 12));
}

static inline __m512i dot_32(__m512i sum, const __m512i w[8], const int8_t *x)
{
    __m512i second = dot_16(_mm512_setzero_si512(), w + 4, x + 16);
    return _mm512_add_epi32(dot_16(sum, w, x), second);
}

/* Four dwords of nibbles per row: elements 0..15 are the low ones, 16..31 the high. */
static inline void split_nibbles(__m512i w[8], const __m512i v[4])
{
    __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        w[j] = _mm512_and_si512(v[j], low);
        w[j + 4] = _mm512_and_si512(_mm512_srli_epi16(v[j], 4), low);
    }
}

/* The codes of 32 nibbles per row, plus bias. */
static inline void load_codes(__m512i w[8], const uint8_t *qs, size_t row_bytes,
                              const int8_t code[16], int bias)
{
    __m128i table = _mm_loadu_si128((const __m128i *)code);
    __m512i to = _mm512_broadcast_i32x4(_mm_add_epi8(table, _mm_set1_epi8((char)bias))), v[4];
    load_16x16(v, qs, row_bytes);
    split_nibbles(w, v);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++)
        w[j] = _mm512_shuffle_epi8(to, w[j]);
}

/* w + value in the bytes where h has one of the bits. */
static inline __m512i add_where(__m512i w, __m512i h, __m512i bits, int value)
{
    return _mm512_mask_add_epi8(w, _mm512_test_epi8_mask(h, bits), w,
                                _mm512_set1_epi8((char)value));
}

/* One block of 32 per row, unsigned: value = d * (q - bias) + m, where there is an m. */
struct block {
    __m512i q[8];
    __m512 d, m;
};

/* Block b of every token.  The bias, times sum_x, is taken off where the sum starts. */
static inline __attribute__((always_inline)) void
add_block(__m512 *acc, const struct tile *g, const struct block *w, size_t b, int bias,
          bool has_min)
{
    size_t stride = g->k / 32, at = g->t * stride + b;
    for (size_t t = 0; t < g->n_tokens; t++, at += stride) {
        __m512 dx = _mm512_set1_ps(g->x->d[at]);
        __m512i start = _mm512_set1_epi32(-bias * g->x->sum[at]);
        __m512i isum = dot_32(start, w->q, g->x->q + 32 * at);
        acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(w->d, dx), _mm512_cvtepi32_ps(isum), acc[t]);
        if (has_min)
            acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(w->m, dx),
                                     _mm512_set1_ps((float)g->x->sum[at]), acc[t]);
    }
}

static inline void clear_tile(__m512 *acc, size_t n_tokens)
{
    for (size_t t = 0; t < n_tokens; t++)
        acc[t] = _mm512_setzero_ps();
}

static inline void store_tile(const struct tile *g, const __m512 *acc, size_t n_tokens)
{
    for (size_t t = 0; t < n_tokens; t++)
        _mm512_storeu_ps(g->y + t * g->y_stride, acc[t]);
}

#endif
