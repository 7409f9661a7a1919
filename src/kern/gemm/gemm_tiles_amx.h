/*
 * gemm_tiles_amx: blocks of 32 x 32 sums in tile registers, and how operands are laid out
 * for them.  The columns' operand B becomes a panel of tiles on the stack: for each step of 32
 * k two tiles, columns 0..15 and 16..31, each 16 pairs of k by column.  See README.md here.
 */
#ifndef KEXA_KERN_GEMM_TILES_AMX_H
#define KEXA_KERN_GEMM_TILES_AMX_H

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "kern/gemm/gemm_tile_avx512.h"
#include "kern/gemm/tiles_amx.h"

enum { SIDE = 32, STEP_BYTES = 2 * TILE_BYTES };

/* c[r][width] of one block = (or += if not zero) A B over `steps` steps of 32 k; in both
 * operands a step is two tiles. */
struct tile_sum {
    float *c;
    size_t stride, r, width;              /* r and width: 1..SIDE */
    const uint8_t *a, *b;
    size_t steps;
    bool zero;
};

static inline __attribute__((always_inline)) void step_2x2(const uint8_t *a,
                                                           const uint8_t *b)
{
    TILE_STREAM(6, b, 64);
    TILE_LOAD(4, a, 64);
    TILE_DOT(0, 4, 6);
    TILE_LOAD(5, a + TILE_BYTES, 64);
    TILE_DOT(2, 5, 6);
    TILE_STREAM(7, b + TILE_BYTES, 64);
    TILE_DOT(1, 4, 7);
    TILE_DOT(3, 5, 7);
}

static inline __attribute__((always_inline)) void step_1x2(const uint8_t *a,
                                                           const uint8_t *b)
{
    TILE_LOAD(4, a, 64);
    TILE_STREAM(6, b, 64);
    TILE_DOT(0, 4, 6);
    TILE_STREAM(7, b + TILE_BYTES, 64);
    TILE_DOT(1, 4, 7);
}

/* Up to 32 rows; c has SIDE columns. */
static inline void sum_2x2(const struct tile_sum *s)
{
    const uint8_t *a = s->a, *b = s->b;
    float *low = s->c + TILE_ROWS * s->stride;
    size_t bytes = s->stride * sizeof *s->c;
    if (s->zero) {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
    } else {
        TILE_LOAD(0, s->c, bytes);
        TILE_LOAD(1, s->c + TILE_ROWS, bytes);
        TILE_LOAD(2, low, bytes);
        TILE_LOAD(3, low + TILE_ROWS, bytes);
    }
    for (size_t i = 0; i < s->steps; i++, a += STEP_BYTES, b += STEP_BYTES)
        step_2x2(a, b);
    TILE_STORE(0, s->c, bytes);
    TILE_STORE(1, s->c + TILE_ROWS, bytes);
    TILE_STORE(2, low, bytes);
    TILE_STORE(3, low + TILE_ROWS, bytes);
}

/* Up to 16 rows. */
static inline void sum_1x2(const struct tile_sum *s)
{
    const uint8_t *a = s->a, *b = s->b;
    size_t bytes = s->stride * sizeof *s->c;
    if (s->zero) {
        TILE_ZERO(0);
        TILE_ZERO(1);
    } else {
        TILE_LOAD(0, s->c, bytes);
        TILE_LOAD(1, s->c + TILE_ROWS, bytes);
    }
    for (size_t i = 0; i < s->steps; i++, a += STEP_BYTES, b += STEP_BYTES)
        step_1x2(a, b);
    TILE_STORE(0, s->c, bytes);
    TILE_STORE(1, s->c + TILE_ROWS, bytes);
}

static inline void sum_any(const struct tile_sum *s)
{
    if (s->r > TILE_ROWS)
        sum_2x2(s);
    else
        sum_1x2(s);
}

/* The tiles are configured for s->r rows.  A narrow block goes through one of SIDE columns. */
static inline void tile_sum_run(const struct tile_sum *s)
{
    _Alignas(64) float edge[SIDE * SIDE];
    struct tile_sum wide = *s;
    if (s->width == SIDE) {
        sum_any(s);
        return;
    }
    wide.c = edge;
    wide.stride = SIDE;
    for (size_t q = 0; !s->zero && q < s->r; q++)
        memcpy(edge + q * SIDE, s->c + q * s->stride, s->width * sizeof *edge);
    sum_any(&wide);
    for (size_t q = 0; q < s->r; q++)
        memcpy(s->c + q * s->stride, edge + q * SIDE, s->width * sizeof *edge);
}

/*
 * Packing: n k of `width` rows of A or columns of B as tiles, step after step from `to` on; the
 * next SIDE of them `gap` bytes further.  The operand's rows are `bytes` apart.  What lacks to a
 * whole step or tile is filled with zeros; rows that A lacks are never read.
 */
typedef void pack_fn(uint8_t *to, size_t gap, const uint8_t *p, size_t bytes, size_t n,
                     size_t width);

enum { AHEAD = 256 };                     /* bytes that rows are prefetched ahead */

/* One tile from 16 rows along k; fewer rows, or k, by elements. */
static inline void turn_tile(uint8_t *to, const uint8_t *p, size_t bytes, size_t n, size_t width)
{
    if (n >= TILE_K && width >= TILE_ROWS) {
        for (size_t q = 0; q < TILE_ROWS; q++)
            __builtin_prefetch(p + q * bytes + AHEAD);
        for (size_t i = 0; i < 4; i++)
            load_16x16((__m512i *)(void *)(to + 256 * i), p + 16 * i, bytes);
        return;
    }
    memset(to, 0, TILE_BYTES);
    for (size_t q = 0; q < width && q < TILE_ROWS; q++)
        for (size_t i = 0; i < n && i < TILE_K; i++)
            memcpy(to + i / 2 * 64 + q * 4 + i % 2 * 2, p + q * bytes + 2 * i, 2);
}

/* B from rows that lie along k, one for each column: the weights of y = x W^T. */
static void pack_along(uint8_t *to, size_t gap, const uint8_t *p, size_t bytes, size_t n,
                       size_t width)
{
    for (size_t j = 0; j < width; j += SIDE, to += gap, p += SIDE * bytes) {
        uint8_t *tile = to;
        for (size_t i = 0; i < n; i += TILE_K, tile += STEP_BYTES) {
            size_t more = width - j > TILE_ROWS ? width - j - TILE_ROWS : 0;
            turn_tile(tile, p + 2 * i, bytes, n - i, width - j);
            turn_tile(tile + TILE_BYTES, p + TILE_ROWS * bytes + 2 * i, bytes, n - i, more);
        }
    }
}

static inline __mmask32 first_words(size_t n)
{
    return n < 32 ? (1u << n) - 1 : ~0u;
}

/* B from rows that lie across k: row i holds k = i of all columns. */
static void pack_across(uint8_t *to, size_t gap, const uint8_t *p, size_t bytes, size_t n,
                        size_t width)
{
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), none = _mm512_setzero_si512();
    size_t padded = (n + TILE_K - 1) / TILE_K * TILE_K;
    for (size_t i = 0; i < padded; i += 2, p += 2 * bytes) {
        uint8_t *line = to + i / TILE_K * STEP_BYTES + i % TILE_K * 32;
        for (size_t j = 0; j < width; j += SIDE, line += gap) {
            __mmask32 some = first_words(width - j);
            __m512i even = i < n ? _mm512_maskz_loadu_epi16(some, p + 2 * j) : none;
            __m512i odd = i + 1 < n ? _mm512_maskz_loadu_epi16(some, p + bytes + 2 * j) : none;
            even = _mm512_permutexvar_epi64(order, even);
            odd = _mm512_permutexvar_epi64(order, odd);
            _mm512_store_si512(line, _mm512_unpacklo_epi16(even, odd));
            _mm512_store_si512(line + TILE_BYTES, _mm512_unpackhi_epi16(even, odd));
        }
    }
}

/* A from rows that lie along k. */
static void pack_rows(uint8_t *to, size_t gap, const uint8_t *p, size_t bytes, size_t n,
                      size_t width)
{
    for (size_t q = 0; q < width; q++, p += bytes)
        for (size_t i = 0; i < n; i += TILE_K)
            _mm512_store_si512(to + q / SIDE * gap + q % SIDE * 64 + i / TILE_K * STEP_BYTES,
                               _mm512_maskz_loadu_epi16(first_words(n - i), p + 2 * i));
}

/* Pairs of k by column, 16 lines of each tile, in groups of four columns: 0 2 4 6, 1 3 5 7. */
static inline void pair_columns(uint8_t pairs[STEP_BYTES], const uint8_t *p, size_t bytes,
                                size_t n, size_t width)
{
    const __m512i none = _mm512_setzero_si512();
    __mmask32 some = first_words(width);
    for (size_t i = 0; i < TILE_K; i += 2, p += 2 * bytes, pairs += 64) {
        __m512i even = i < n ? _mm512_maskz_loadu_epi16(some, p) : none;
        __m512i odd = i + 1 < n ? _mm512_maskz_loadu_epi16(some, p + bytes) : none;
        _mm512_store_si512(pairs, _mm512_unpacklo_epi16(even, odd));
        _mm512_store_si512(pairs + TILE_BYTES, _mm512_unpackhi_epi16(even, odd));
    }
}

/* A from rows that lie across k: columns become rows. */
static void pack_turned(uint8_t *to, size_t gap, const uint8_t *p, size_t bytes, size_t n,
                        size_t width)
{
    _Alignas(64) uint8_t pairs[STEP_BYTES];
    for (size_t i = 0; i < n; i += TILE_K, to += STEP_BYTES, p += TILE_K * bytes)
        for (size_t j = 0; j < width; j += SIDE) {
            pair_columns(pairs, p + 2 * j, bytes, n - i, width - j);
            for (size_t g = 0; g < SIDE / 4; g++)
                load_16x16((__m512i *)(void *)(to + j / SIDE * gap + 256 * g),
                           pairs + g % 2 * TILE_BYTES + g / 2 * 16, 64);
        }
}

#endif
