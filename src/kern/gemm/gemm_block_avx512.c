/*
 * Q4_0, Q4_1, Q8_0 with AVX-512 VNNI.  Per block of 32 and 16 rows: transpose, then
 * eight VPDPBUSD per token (unsigned weights: Q8_0's are q + 128, Q4_0's nibbles, and
 * the offset times sum_x is taken off the start value; all exact in int32).
 */
#if defined(__x86_64__)

#include "kern/gemm/gemm_tile_avx512.h"
#include "kern/quant/blocks.h"

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

static inline void load_bytes(__m512i w[8], const uint8_t *qs, size_t row_bytes)
{
    __m512i flip = _mm512_set1_epi8(-128);
    load_16x16(w, qs, row_bytes);
    load_16x16(w + 4, qs + 16, row_bytes);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++)
        w[j] = _mm512_xor_si512(w[j], flip);
}

/* acc + d * dx * isum */
static inline __m512 add_block(__m512 acc, __m512 d, float dx, __m512i isum)
{
    return _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(dx)), _mm512_cvtepi32_ps(isum), acc);
}

static void tile_q4_0(const struct tile *g)
{
    __m512 acc[TOKENS];
    const uint8_t *w = g->w;
    size_t stride = g->k / 32;
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < stride; b++, w += Q4_0_BYTES) {
        __m512i q[8], v[4];
        __m512 d = low_f16(gather_rows(w, g->row_bytes));
        fetch_ahead(g, b * LANES * Q4_0_BYTES, LANES * Q4_0_BYTES);
        load_16x16(v, w + 2, g->row_bytes);
        split_nibbles(q, v);
        for (size_t t = 0, at = g->t * stride + b; t < g->n_tokens; t++, at += stride) {
            __m512i start = _mm512_set1_epi32(-8 * g->x->sum[at]);
            acc[t] = add_block(acc[t], d, g->x->d[at], dot_32(start, q, g->x->q + 32 * at));
        }
    }
    store_tile(g, acc, g->n_tokens);
}

/* Block b of every token; per row dm holds d and m, v the nibbles. */
static inline void add_q4_1(__m512 *acc, const struct tile *g, __m512i dm, const __m512i v[4],
                            size_t b)
{
    __m512i q[8];
    __m512 d = low_f16(dm), m = high_f16(dm);
    size_t stride = g->k / 32;
    split_nibbles(q, v);
    for (size_t t = 0, at = g->t * stride + b; t < g->n_tokens; t++, at += stride) {
        __m512i isum = dot_32(_mm512_setzero_si512(), q, g->x->q + 32 * at);
        __m512 a = add_block(acc[t], d, g->x->d[at], isum);
        acc[t] = add_block(a, m, g->x->d[at], _mm512_set1_epi32(g->x->sum[at]));
    }
}

/* Four blocks are 5 x 16 bytes, so their scales come out of the transposition as well. */
static void tile_q4_1(const struct tile *g)
{
    __m512 acc[TOKENS];
    const uint8_t *w = g->w;
    size_t b = 0;
    clear_tile(acc, g->n_tokens);
    for (; b + 4 <= g->k / 32; b += 4, w += 4 * Q4_1_BYTES) {
        __m512i v[20];
        fetch_ahead(g, b * LANES * Q4_1_BYTES, 4 * LANES * Q4_1_BYTES);
#pragma GCC unroll 5
        for (size_t i = 0; i < 5; i++)
            load_16x16(v + 4 * i, w + 16 * i, g->row_bytes);
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++)
            add_q4_1(acc, g, v[5 * i], v + 5 * i + 1, b + i);
    }
    for (; b < g->k / 32; b++, w += Q4_1_BYTES) {
        __m512i v[4];
        fetch_ahead(g, b * LANES * Q4_1_BYTES, LANES * Q4_1_BYTES);
        load_16x16(v, w + 4, g->row_bytes);
        add_q4_1(acc, g, gather_rows(w, g->row_bytes), v, b);
    }
    store_tile(g, acc, g->n_tokens);
}

static void tile_q8_0(const struct tile *g)
{
    __m512 acc[TOKENS];
    const uint8_t *w = g->w;
    size_t stride = g->k / 32;
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < stride; b++, w += Q8_0_BYTES) {
        __m512i q[8];
        __m512 d = low_f16(gather_rows(w, g->row_bytes));
        fetch_ahead(g, b * LANES * Q8_0_BYTES, LANES * Q8_0_BYTES);
        load_bytes(q, w + 2, g->row_bytes);
        for (size_t t = 0, at = g->t * stride + b; t < g->n_tokens; t++, at += stride) {
            __m512i start = _mm512_set1_epi32(-128 * g->x->sum[at]);
            acc[t] = add_block(acc[t], d, g->x->d[at], dot_32(start, q, g->x->q + 32 * at));
        }
    }
    store_tile(g, acc, g->n_tokens);
}

void gemm_q4_0_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
                      const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_tiles(tile_q4_0, LANES, gemm_q4_0_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q4_1_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
                      const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_tiles(tile_q4_1, LANES, gemm_q4_1_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q8_0_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
                      const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_tiles(tile_q8_0, LANES, gemm_q8_0_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

#endif
