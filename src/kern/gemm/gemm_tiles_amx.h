/*
 * gemm_tiles_amx: blocks of 32 x 32 sums in tile registers, and how operands are laid out
 * for them: for each step of 32 k two tiles, of A rows 0..15 and 16..31 by k, of B the columns
 * 0..15 and 16..31 as pairs of k by column.  See README.md here.
 */
#ifndef KEXA_KERN_GEMM_TILES_AMX_H
#define KEXA_KERN_GEMM_TILES_AMX_H

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "kern/gemm/gemm_tile_avx512.h"
#include "kern/gemm/tiles_amx.h"

enum { SIDE = 32, STEP_BYTES = 2 * TILE_BYTES };

/* A block's operands, `steps` steps of 32 k. */
struct tile_sum {
    const uint8_t *a;
    size_t a_row, a_step;                 /* bytes to A's next row, to the next 32 k */
    const uint8_t *b;
    size_t steps;
    bool zero;                            /* sums start at +0 */
};

static inline __attribute__((always_inline)) void step_2x2(const uint8_t *a, size_t a_row,
                                                           const uint8_t *b, bool stream)
{
    if (stream)
        TILE_STREAM(6, b, 64);
    else
        TILE_LOAD(6, b, 64);
    TILE_LOAD(4, a, a_row);
    TILE_DOT(0, 4, 6);
    TILE_LOAD(5, a + TILE_ROWS * a_row, a_row);
    TILE_DOT(2, 5, 6);
    if (stream)
        TILE_STREAM(7, b + TILE_BYTES, 64);
    else
        TILE_LOAD(7, b + TILE_BYTES, 64);
    TILE_DOT(1, 4, 7);
    TILE_DOT(3, 5, 7);
}

/* Sums from +0 or from c, whose rows are c_bytes apart; two: of more than 16 rows. */
static inline void sums_begin(bool zero, const float *c, size_t c_bytes, bool two)
{
    const float *low = c + TILE_ROWS * (c_bytes / sizeof *c);
    if (zero) {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
        return;
    }
    TILE_LOAD(0, c, c_bytes);
    TILE_LOAD(1, c + TILE_ROWS, c_bytes);
    if (two) {
        TILE_LOAD(2, low, c_bytes);
        TILE_LOAD(3, low + TILE_ROWS, c_bytes);
    }
}

static inline void sums_end(float *c, size_t c_bytes, bool two)
{
    float *low = c + TILE_ROWS * (c_bytes / sizeof *c);
    TILE_STORE(0, c, c_bytes);
    TILE_STORE(1, c + TILE_ROWS, c_bytes);
    if (two) {
        TILE_STORE(2, low, c_bytes);
        TILE_STORE(3, low + TILE_ROWS, c_bytes);
    }
}

/* c[32][32] = or += A B, c's rows c_bytes apart.  stream: B is read once in a while, and not to
 * be kept in the first cache. */
static inline __attribute__((always_inline)) void sum_2x2(const struct tile_sum *s, float *c,
                                                          size_t c_bytes, bool stream)
{
    const uint8_t *a = s->a, *b = s->b;
    sums_begin(s->zero, c, c_bytes, true);
    for (size_t i = 0; i < s->steps; i++, a += s->a_step, b += STEP_BYTES)
        step_2x2(a, s->a_row, b, stream);
    sums_end(c, c_bytes, true);
}

/* As sum_2x2 for up to 16 rows. */
static inline void sum_1x2(const struct tile_sum *s, float *c, size_t c_bytes)
{
    const uint8_t *a = s->a, *b = s->b;
    sums_begin(s->zero, c, c_bytes, false);
    for (size_t i = 0; i < s->steps; i++, a += s->a_step, b += STEP_BYTES) {
        TILE_LOAD(4, a, s->a_row);
        TILE_LOAD(6, b, 64);
        TILE_DOT(0, 4, 6);
        TILE_LOAD(7, b + TILE_BYTES, 64);
        TILE_DOT(1, 4, 7);
    }
    sums_end(c, c_bytes, false);
}

/*
 * Packing one step: n <= 32 k of `width` <= 32 rows of A or columns of B.  The operand's rows are
 * `bytes` apart.  What lacks is filled with zeros.
 */

static inline __mmask32 first_words(size_t n)
{
    return n < 32 ? (1u << n) - 1 : ~0u;
}

/* The first n words of the first `rows` of 32 rows, 64 bytes apart. */
static inline void fill_step(uint8_t to[STEP_BYTES], const uint8_t *p, size_t bytes, size_t rows,
                             size_t n)
{
    __mmask32 some = first_words(n);
    for (size_t q = 0; q < SIDE; q++, to += 64)
        _mm512_store_si512(to, q < rows ? _mm512_maskz_loadu_epi16(some, p + q * bytes)
                                        : _mm512_setzero_si512());
}

/* B from rows that lie along k, one for each column: the weights of y = x W^T. */
static inline void pack_along(uint8_t *to, const uint8_t *p, size_t bytes, size_t n, size_t width)
{
    _Alignas(64) uint8_t step[STEP_BYTES];
    if (n < TILE_K || width < SIDE) {
        fill_step(step, p, bytes, width, n);
        p = step;
        bytes = 64;
    }
    for (size_t q = 0; q < SIDE; q += TILE_ROWS, p += TILE_ROWS * bytes)
        for (size_t i = 0; i < 4; i++, to += 256)
            load_16x16((__m512i *)(void *)to, p + 16 * i, bytes);
}

/* A from rows that lie along k, as they are. */
static inline void pack_rows(uint8_t *to, const uint8_t *p, size_t bytes, size_t n, size_t width)
{
    for (size_t q = 0; q < width; q++, p += bytes, to += 64)
        _mm512_store_si512(to, _mm512_maskz_loadu_epi16(first_words(n), p));
}

/* Rows i and i + 1 at p, of which n are there at all. */
static inline void load_pair(__m512i v[2], const uint8_t *p, size_t bytes, size_t n,
                             __mmask32 some)
{
    v[0] = n > 0 ? _mm512_maskz_loadu_epi16(some, p) : _mm512_setzero_si512();
    v[1] = n > 1 ? _mm512_maskz_loadu_epi16(some, p + bytes) : _mm512_setzero_si512();
}

/* A pair of rows across k as a line of B's two tiles. */
static inline void pair_rows(uint8_t *line, const uint8_t *p, size_t bytes, size_t n,
                             __mmask32 some)
{
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    __m512i v[2];
    load_pair(v, p, bytes, n, some);
    v[0] = _mm512_permutexvar_epi64(order, v[0]);
    v[1] = _mm512_permutexvar_epi64(order, v[1]);
    _mm512_store_si512(line, _mm512_unpacklo_epi16(v[0], v[1]));
    _mm512_store_si512(line + TILE_BYTES, _mm512_unpackhi_epi16(v[0], v[1]));
}

/* B from rows that lie across k: row i holds k = i of all columns. */
static inline void pack_across(uint8_t *to, const uint8_t *p, size_t bytes, size_t n, size_t width)
{
    for (size_t i = 0; i < TILE_K; i += 2, p += 2 * bytes)
        pair_rows(to + 32 * i, p, bytes, n > i ? n - i : 0, first_words(width));
}

/* 8 words of rows 0 and 8. */
static inline __m256i load_2_rows(const uint8_t *p, size_t bytes)
{
    __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p));
    return _mm256_inserti128_si256(v, _mm_loadu_si128((const __m128i *)(p + 8 * bytes)), 1);
}

/* 8 words of 16 rows: row by row, 64 bytes apart, what were columns. */
static inline void turn_8x16(uint8_t *to, const uint8_t *p, size_t bytes)
{
    __m256i v[8], a[8], b[8];
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++)
        v[i] = load_2_rows(p + i * bytes, bytes);
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        a[i] = _mm256_unpacklo_epi16(v[2 * i], v[2 * i + 1]);
        a[i + 4] = _mm256_unpackhi_epi16(v[2 * i], v[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_epi32(a[i], a[i + 1]);
    }
    __m256i *row = (__m256i *)(void *)to;
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        size_t at = i / 2 * 4 + i % 2;
        _mm256_store_si256(row + 4 * i, _mm256_unpacklo_epi64(b[at], b[at + 2]));
        _mm256_store_si256(row + 4 * i + 2, _mm256_unpackhi_epi64(b[at], b[at + 2]));
    }
}

/* A from rows that lie across k: columns become rows.  Half registers, for there are two units
 * that shuffle these. */
static inline void pack_turned(uint8_t *to, const uint8_t *p, size_t bytes, size_t n, size_t width)
{
    _Alignas(64) uint8_t step[STEP_BYTES];
    if (n < TILE_K || width < SIDE) {
        fill_step(step, p, bytes, n, width);
        p = step;
        bytes = 64;
    }
    for (size_t i = 0; i < TILE_K; i += 16, p += 16 * bytes, to += 32)
        for (size_t j = 0; j < SIDE / 8; j++)
            turn_8x16(to + j * 512, p + 16 * j, bytes);
}

#endif
