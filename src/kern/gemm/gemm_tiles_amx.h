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

/* c[r][width] of one block += A of `steps` steps, and a last one if a_last is not NULL, x B. */
struct tile_sum {
    float *c;
    size_t c_stride, r, width;            /* r and width: 1..SIDE */
    const uint8_t *a, *a_last;            /* a_last: SIDE rows of 64 bytes */
    size_t a_row, a_step;                 /* bytes to the next row, to the next 32 k */
    const uint8_t *b;
    size_t steps;
    bool zero;                            /* c starts at +0 */
};

static inline __attribute__((always_inline)) void step_2x2(const uint8_t *a, size_t a_row,
                                                           const uint8_t *b)
{
    TILE_LOAD(6, b, 64);
    TILE_LOAD(4, a, a_row);
    TILE_DOT(0, 4, 6);
    TILE_LOAD(5, a + TILE_ROWS * a_row, a_row);
    TILE_DOT(2, 5, 6);
    TILE_LOAD(7, b + TILE_BYTES, 64);
    TILE_DOT(1, 4, 7);
    TILE_DOT(3, 5, 7);
}

static inline __attribute__((always_inline)) void step_1x2(const uint8_t *a, size_t a_row,
                                                           const uint8_t *b)
{
    TILE_LOAD(4, a, a_row);
    TILE_LOAD(6, b, 64);
    TILE_DOT(0, 4, 6);
    TILE_LOAD(7, b + TILE_BYTES, 64);
    TILE_DOT(1, 4, 7);
}

/* Up to 32 rows; c has SIDE columns. */
static inline void sum_2x2(const struct tile_sum *s, float *c, size_t c_bytes)
{
    float *low = c + TILE_ROWS * (c_bytes / sizeof *c);
    const uint8_t *a = s->a, *b = s->b;
    if (s->zero) {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
    } else {
        TILE_LOAD(0, c, c_bytes);
        TILE_LOAD(1, c + TILE_ROWS, c_bytes);
        TILE_LOAD(2, low, c_bytes);
        TILE_LOAD(3, low + TILE_ROWS, c_bytes);
    }
    for (size_t i = 0; i < s->steps; i++, a += s->a_step, b += STEP_BYTES)
        step_2x2(a, s->a_row, b);
    if (s->a_last)
        step_2x2(s->a_last, 64, b);
    TILE_STORE(0, c, c_bytes);
    TILE_STORE(1, c + TILE_ROWS, c_bytes);
    TILE_STORE(2, low, c_bytes);
    TILE_STORE(3, low + TILE_ROWS, c_bytes);
}

/* Up to 16 rows. */
static inline void sum_1x2(const struct tile_sum *s, float *c, size_t c_bytes)
{
    const uint8_t *a = s->a, *b = s->b;
    if (s->zero) {
        TILE_ZERO(0);
        TILE_ZERO(1);
    } else {
        TILE_LOAD(0, c, c_bytes);
        TILE_LOAD(1, c + TILE_ROWS, c_bytes);
    }
    for (size_t i = 0; i < s->steps; i++, a += s->a_step, b += STEP_BYTES)
        step_1x2(a, s->a_row, b);
    if (s->a_last)
        step_1x2(s->a_last, 64, b);
    TILE_STORE(0, c, c_bytes);
    TILE_STORE(1, c + TILE_ROWS, c_bytes);
}

/* The tiles are configured for s->r rows. */
static inline void tile_sum_add(const struct tile_sum *s)
{
    _Alignas(64) float edge[SIDE * SIDE];
    bool narrow = s->width < SIDE;
    float *c = narrow ? edge : s->c;
    size_t bytes = (narrow ? SIDE : s->c_stride) * sizeof *c, used = s->width * sizeof *c;
    for (size_t q = 0; narrow && !s->zero && q < s->r; q++)
        memcpy(edge + q * SIDE, s->c + q * s->c_stride, used);
    if (s->r > TILE_ROWS)
        sum_2x2(s, c, bytes);
    else
        sum_1x2(s, c, bytes);
    for (size_t q = 0; narrow && q < s->r; q++)
        memcpy(s->c + q * s->c_stride, edge + q * SIDE, used);
}

/* One step of B from rows of b that lie along k (y = x W^T): n of 32 k, `width` rows. */
static inline void pack_along(uint8_t *to, const uint8_t *b, size_t b_bytes, size_t n,
                              size_t width)
{
    for (size_t h = 0; h < SIDE; h += TILE_ROWS, to += TILE_BYTES, b += TILE_ROWS * b_bytes) {
        if (n == TILE_K && width >= h + TILE_ROWS) {
            for (size_t i = 0; i < 4; i++)
                load_16x16((__m512i *)(void *)(to + 256 * i), b + 16 * i, b_bytes);
            continue;
        }
        memset(to, 0, TILE_BYTES);
        for (size_t q = h; q < width && q < h + TILE_ROWS; q++)
            for (size_t i = 0; i < n; i++)
                memcpy(to + i / 2 * 64 + (q - h) * 4 + i % 2 * 2, b + (q - h) * b_bytes + 2 * i,
                       2);
    }
}

/* One step of B from rows of b that lie across k: row i holds k = i of `width` columns. */
static inline void pack_across(uint8_t *to, const uint8_t *b, size_t b_bytes, size_t n,
                               size_t width)
{
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), none = _mm512_setzero_si512();
    __mmask32 some = width < SIDE ? (1u << width) - 1 : ~0u;
    for (size_t i = 0; i < TILE_K; i += 2, to += 64, b += 2 * b_bytes) {
        __m512i even = i < n ? _mm512_maskz_loadu_epi16(some, b) : none;
        __m512i odd = i + 1 < n ? _mm512_maskz_loadu_epi16(some, b + b_bytes) : none;
        even = _mm512_permutexvar_epi64(order, even);
        odd = _mm512_permutexvar_epi64(order, odd);
        _mm512_store_si512(to, _mm512_unpacklo_epi16(even, odd));
        _mm512_store_si512(to + TILE_BYTES, _mm512_unpackhi_epi16(even, odd));
    }
}

/* One step of A from the same kind of rows: two tiles of 16 columns each, by 32 k. */
static inline void pack_turned(uint8_t *to, const uint8_t *b, size_t b_bytes, size_t n,
                               size_t width)
{
    _Alignas(64) uint8_t pairs[STEP_BYTES];
    pack_across(pairs, b, b_bytes, n, width);
    for (size_t h = 0; h < STEP_BYTES; h += TILE_BYTES)
        for (size_t i = 0; i < 4; i++)
            load_16x16((__m512i *)(void *)(to + h + 256 * i), pairs + h + 16 * i, 64);
}

typedef void pack_step_fn(uint8_t *to, const uint8_t *b, size_t b_bytes, size_t n, size_t width);

#endif
