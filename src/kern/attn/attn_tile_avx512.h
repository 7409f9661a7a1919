/*
 * attn_tile_avx512: the inner loops that tiles of attention share, forward and backward.
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

/* 16 bytes of rows x, x + 4s, x + 8s, x + 12s side by side. */
INLINE __m512 four_rows(const float *x, size_t s)
{
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(x));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(x + 4 * s), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(x + 8 * s), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(x + 12 * s), 3);
}

/* to[c][r] = x[r][c] for 16 rows r, s floats apart, and c < wide, a multiple of 16; rows of
 * `to` have ATTN_BLOCK floats. */
static inline void transpose_16_rows(float *to, const float *x, size_t s, size_t wide)
{
    for (size_t c = 0; c < wide; c += 4, x += 4, to += 4 * ATTN_BLOCK) {
        __m512 v0 = four_rows(x, s), v1 = four_rows(x + s, s);
        __m512 v2 = four_rows(x + 2 * s, s), v3 = four_rows(x + 3 * s, s);
        __m512d low01 = _mm512_castps_pd(_mm512_unpacklo_ps(v0, v1));
        __m512d high01 = _mm512_castps_pd(_mm512_unpackhi_ps(v0, v1));
        __m512d low23 = _mm512_castps_pd(_mm512_unpacklo_ps(v2, v3));
        __m512d high23 = _mm512_castps_pd(_mm512_unpackhi_ps(v2, v3));
        _mm512_store_pd((double *)to, _mm512_unpacklo_pd(low01, low23));
        _mm512_store_pd((double *)(to + ATTN_BLOCK), _mm512_unpackhi_pd(low01, low23));
        _mm512_store_pd((double *)(to + 2 * ATTN_BLOCK), _mm512_unpacklo_pd(high01, high23));
        _mm512_store_pd((double *)(to + 3 * ATTN_BLOCK), _mm512_unpackhi_pd(high01, high23));
    }
}

/* Rows of weights, w[i * row + r * step] for the sums i < GROUP and the summands r. */
struct weights {
    const float *w;
    size_t row, step;
};

/* acc[i] += sum of w[i][r] x[r] for begin <= r < end ascending, in 16 nv columns, for n sums. */
INLINE void add_columns(float *acc, struct weights w, const float *x, size_t wide, size_t begin,
                        size_t end, int n, int nv)
{
    __m512 a[GROUP][4];
#pragma GCC unroll 4
    for (int i = 0; i < n; i++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            a[i][v] = _mm512_loadu_ps(acc + (size_t)i * wide + LANES * v);
    x += begin * wide;
    w.w += begin * w.step;
    for (size_t r = begin; r < end; r++, x += wide, w.w += w.step) {
        __m512 y[4];
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            y[v] = _mm512_loadu_ps(x + LANES * v);
#pragma GCC unroll 4
        for (int i = 0; i < n; i++) {
            __m512 s = _mm512_set1_ps(w.w[(size_t)i * w.row]);
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++)
                a[i][v] = _mm512_fmadd_ps(s, y[v], a[i][v]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < n; i++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            _mm512_storeu_ps(acc + (size_t)i * wide + LANES * v, a[i][v]);
}

INLINE void add_wide(float *acc, struct weights w, const float *x, size_t wide, size_t begin,
                     size_t end, int n)
{
    size_t c = 0;
    for (; c + 4 * LANES <= wide; c += 4 * LANES)
        add_columns(acc + c, w, x + c, wide, begin, end, n, 4);
    for (; c < wide; c += LANES)
        add_columns(acc + c, w, x + c, wide, begin, end, n, 1);
}

static inline void add_one_sum(float *acc, struct weights w, const float *x, size_t wide,
                               size_t begin, size_t end)
{
    if (begin < end)
        add_wide(acc, w, x, wide, begin, end, 1);
}

/*
 * acc[i] += sum of w[i][r] x[r] for begin[i] <= r < end[i] ascending, for n <= GROUP sums;
 * rows of acc and x are `wide` floats.  What all sums have in common is done together.
 */
static void add_group(float *acc, struct weights w, const float *x, size_t wide,
                      const size_t begin[GROUP], const size_t end[GROUP], size_t n)
{
    size_t low = 0, high = (size_t)-1;
    for (size_t i = 0; i < n; i++) {
        low = begin[i] > low ? begin[i] : low;
        high = end[i] < high ? end[i] : high;
    }
    if (n < GROUP || low >= high)
        low = high = (size_t)-1;          /* nothing in common: each alone */
    for (size_t i = 0; i < n; i++) {
        struct weights one = { w.w + i * w.row, 0, w.step };
        add_one_sum(acc + i * wide, one, x, wide, begin[i], low < end[i] ? low : end[i]);
    }
    if (low == high)
        return;
    add_wide(acc, w, x, wide, low, high, GROUP);
    for (size_t i = 0; i < n; i++) {
        struct weights one = { w.w + i * w.row, 0, w.step };
        add_one_sum(acc + i * wide, one, x, wide, high, end[i]);
    }
}

#endif
