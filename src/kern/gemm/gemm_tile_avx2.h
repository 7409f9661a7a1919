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
#include <stdbool.h>

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

/* The dword that begins two bytes into `a` and goes on in `b`. */
static inline __m256i funnel_words(__m256i a, __m256i b)
{
    return _mm256_or_si256(_mm256_srli_epi32(a, 16), _mm256_slli_epi32(b, 16));
}

/* 16 nibbles of each of 8 rows: elements 0..15 are the low ones, 16..31 the high. */
static inline void load_nibbles(__m256i w[8], const uint8_t *qs, size_t row_bytes)
{
    __m256i low = _mm256_set1_epi8(15), v[4];
    load_8x16(v, qs, row_bytes);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        w[j] = _mm256_and_si256(v[j], low);
        w[j + 4] = _mm256_and_si256(_mm256_srli_epi16(v[j], 4), low);
    }
}

/* The codes of 32 nibbles per row, plus bias. */
static inline void load_codes(__m256i w[8], const uint8_t *qs, size_t row_bytes,
                              const int8_t code[16], int bias)
{
    __m128i table = _mm_loadu_si128((const __m128i *)code);
    __m256i to = _mm256_broadcastsi128_si256(_mm_add_epi8(table, _mm_set1_epi8((char)bias)));
    load_nibbles(w, qs, row_bytes);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++)
        w[j] = _mm256_shuffle_epi8(to, w[j]);
}

/* w + value in the bytes where h has `bits`, one bit in each byte. */
static inline __m256i add_where(__m256i w, __m256i h, __m256i bits, int value)
{
    __m256i has = _mm256_cmpeq_epi8(_mm256_and_si256(h, bits), bits);
    return _mm256_add_epi8(w, _mm256_and_si256(has, _mm256_set1_epi8((char)value)));
}

typedef __m256i dot_fn(const __m256i w[8], const int8_t *x);

/* Sums of 32 products of numbers 0..15: in 16 bits at most 8 * 2 * 15 * 127 = 30480. */
static inline __m256i dot_four_bits(const __m256i w[8], const int8_t *x)
{
    __m256i sum = _mm256_maddubs_epi16(w[0], broadcast_4(x));
#pragma GCC unroll 8
    for (int j = 1; j < 8; j++)
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w[j], broadcast_4(x + 4 * j)));
    return sum_pairs(sum);
}

/* Of numbers 0..31: two sums of at most 4 * 2 * 31 * 127 = 31496. */
static inline __m256i dot_five_bits(const __m256i w[8], const int8_t *x)
{
    __m256i a = _mm256_maddubs_epi16(w[0], broadcast_4(x));
    __m256i b = _mm256_maddubs_epi16(w[4], broadcast_4(x + 16));
#pragma GCC unroll 4
    for (int j = 1; j < 4; j++) {
        a = _mm256_add_epi16(a, _mm256_maddubs_epi16(w[j], broadcast_4(x + 4 * j)));
        b = _mm256_add_epi16(b, _mm256_maddubs_epi16(w[j + 4], broadcast_4(x + 4 * j + 16)));
    }
    return _mm256_add_epi32(sum_pairs(a), sum_pairs(b));
}

/* Of signed bytes, as |w| * (x with w's sign): 2 * 128 * 127 = 32512. */
static inline __m256i dot_bytes(const __m256i w[8], const int8_t *x)
{
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        __m256i signed_x = _mm256_sign_epi8(broadcast_4(x + 4 * j), w[j]);
        __m256i words = _mm256_maddubs_epi16(_mm256_abs_epi8(w[j]), signed_x);
        sum = _mm256_add_epi32(sum, sum_pairs(words));
    }
    return sum;
}

/* One block of 32 per row: value = d * (q - bias) + m, where there is an m. */
struct block {
    __m256i q[8];
    __m256 d, m;
};

/* Block b of every token. */
static inline __attribute__((always_inline)) void
add_block(__m256 *acc, const struct tile *g, const struct block *w, size_t b, dot_fn *dot,
          int bias, bool has_min)
{
    size_t stride = g->k / 32, at = g->t * stride + b;
    for (size_t t = 0; t < g->n_tokens; t++, at += stride) {
        __m256 dx = _mm256_set1_ps(g->x->d[at]);
        __m256i isum = dot(w->q, g->x->q + 32 * at);
        if (bias)
            isum = _mm256_sub_epi32(isum, _mm256_set1_epi32(bias * g->x->sum[at]));
        acc[t] = _mm256_fmadd_ps(_mm256_mul_ps(w->d, dx), _mm256_cvtepi32_ps(isum), acc[t]);
        if (has_min)
            acc[t] = _mm256_fmadd_ps(_mm256_mul_ps(w->m, dx),
                                     _mm256_set1_ps((float)g->x->sum[at]), acc[t]);
    }
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
