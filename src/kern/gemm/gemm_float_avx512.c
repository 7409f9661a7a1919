/*
 * F32, F16 and BF16 weights with AVX-512.  32 k of 16 rows become a panel of floats
 * (2 KB of stack, [k][row]); each group of tokens runs its fma chains down the panel.
 */
#if defined(__x86_64__)

#include "kern/gemm/gemm_tile_avx512.h"
#include "kern/quant/blocks.h"

enum { MANY_ROWS = 24, MANY_COLS = 48, DEPTH = 32, GROUP = 8 };

/* panel[i] = element i of 16 rows for i < DEPTH; from kc on zeros. */
typedef void fill_fn(__m512 *panel, const uint8_t *w, size_t row_bytes, size_t kc);

static inline void fill_f32(__m512 *panel, const uint8_t *w, size_t row_bytes, size_t kc)
{
    float (*lane)[LANES] = (float (*)[LANES])panel;
    for (size_t i = 0; kc == DEPTH && i < DEPTH; i += 4)
        load_16x16((__m512i *)(panel + i), w + 4 * i, row_bytes);
    for (size_t i = 0; kc < DEPTH && i < DEPTH; i++)
        for (size_t r = 0; r < LANES; r++)
            lane[i][r] = i < kc ? read_f32(w + r * row_bytes + 4 * i) : 0.0f;
}

static inline void fill_f16(__m512 *panel, const uint8_t *w, size_t row_bytes, size_t kc)
{
    float (*lane)[LANES] = (float (*)[LANES])panel;
    for (size_t i = 0; kc == DEPTH && i < DEPTH; i += 8) {
        __m512i v[4];
        load_16x16(v, w + 2 * i, row_bytes);
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            panel[i + 2 * j] = low_f16(v[j]);
            panel[i + 2 * j + 1] = high_f16(v[j]);
        }
    }
    for (size_t i = 0; kc < DEPTH && i < DEPTH; i++)
        for (size_t r = 0; r < LANES; r++)
            lane[i][r] = i < kc ? read_f16(w + r * row_bytes + 2 * i) : 0.0f;
}

static inline void fill_bf16(__m512 *panel, const uint8_t *w, size_t row_bytes, size_t kc)
{
    float (*lane)[LANES] = (float (*)[LANES])panel;
    __m512i upper = _mm512_set1_epi32((int)0xffff0000u);
    for (size_t i = 0; kc == DEPTH && i < DEPTH; i += 8) {
        __m512i v[4];
        load_16x16(v, w + 2 * i, row_bytes);
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            panel[i + 2 * j] = _mm512_castsi512_ps(_mm512_slli_epi32(v[j], 16));
            panel[i + 2 * j + 1] = _mm512_castsi512_ps(_mm512_and_si512(v[j], upper));
        }
    }
    for (size_t i = 0; kc < DEPTH && i < DEPTH; i++)
        for (size_t r = 0; r < LANES; r++)
            lane[i][r] = i < kc ? bf16_to_f32(read_u16(w + r * row_bytes + 2 * i)) : 0.0f;
}

/* One fma chain per output over kc steps; n tokens (a constant), k floats apart. */
static inline void chain_f32(__m512 *acc, const __m512 *panel, const float *x, size_t k,
                             size_t kc, size_t n)
{
    __m512 a[GROUP];
#pragma GCC unroll 8
    for (size_t t = 0; t < n; t++)
        a[t] = acc[t];
    for (size_t i = 0; i < kc; i++) {
        __m512 w = panel[i];
#pragma GCC unroll 8
        for (size_t t = 0; t < n; t++)
            a[t] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[t * k + i]), a[t]);
    }
#pragma GCC unroll 8
    for (size_t t = 0; t < n; t++)
        acc[t] = a[t];
}

static inline void tile_f32_class(const struct tile *g, fill_fn *fill, size_t size)
{
    __m512 acc[TOKENS], panel[DEPTH];
    clear_tile(acc, g->n_tokens);
    for (size_t i = 0; i < g->k; i += DEPTH) {
        const float *x = g->x->f32 + g->t * g->k + i;
        size_t kc = g->k - i < DEPTH ? g->k - i : DEPTH, t = 0;
        fetch_ahead(g, i * LANES * size, kc * LANES * size);
        fill(panel, g->w + i * size, g->row_bytes, kc);
        for (; t + GROUP <= g->n_tokens; t += GROUP)
            chain_f32(acc + t, panel, x + t * g->k, g->k, kc, GROUP);
        for (; t + 2 <= g->n_tokens; t += 2)
            chain_f32(acc + t, panel, x + t * g->k, g->k, kc, 2);
        for (; t < g->n_tokens; t++)
            chain_f32(acc + t, panel, x + t * g->k, g->k, kc, 1);
    }
    store_tile(g, acc, g->n_tokens);
}

/* kc bf16 as floats, pairs split: elements 0, 2, .. then 1, 3, ..; zeros from kc on. */
static inline void split_pairs(float to[DEPTH], const bf16 *x, size_t kc)
{
    __mmask32 some = kc < DEPTH ? (1u << kc) - 1 : ~0u;
    __m512i v = _mm512_maskz_loadu_epi16(some, x);
    __m512i odd = _mm512_and_si512(v, _mm512_set1_epi32((int)0xffff0000u));
    _mm512_storeu_si512(to, _mm512_slli_epi32(v, 16));
    _mm512_storeu_si512(to + DEPTH / 2, odd);
}

/* acc += even chain + odd chain, both over 16 pairs from +0; n tokens (a constant). */
static inline void chain_bf16(__m512 *acc, const __m512 *panel, const bf16 *x, size_t k,
                              size_t kc, size_t n)
{
    float xs[GROUP][DEPTH];
    __m512 e[GROUP], o[GROUP];
#pragma GCC unroll 8
    for (size_t t = 0; t < n; t++) {
        split_pairs(xs[t], x + t * k, kc);
        e[t] = o[t] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < DEPTH / 2; i++) {
        __m512 w0 = panel[2 * i], w1 = panel[2 * i + 1];
#pragma GCC unroll 8
        for (size_t t = 0; t < n; t++) {
            e[t] = _mm512_fmadd_ps(w0, _mm512_set1_ps(xs[t][i]), e[t]);
            o[t] = _mm512_fmadd_ps(w1, _mm512_set1_ps(xs[t][DEPTH / 2 + i]), o[t]);
        }
    }
#pragma GCC unroll 8
    for (size_t t = 0; t < n; t++)
        acc[t] = _mm512_add_ps(acc[t], _mm512_add_ps(e[t], o[t]));
}

static void tile_bf16(const struct tile *g)
{
    __m512 acc[TOKENS], panel[DEPTH];
    clear_tile(acc, g->n_tokens);
    for (size_t i = 0; i < g->k; i += DEPTH) {
        const bf16 *x = g->x->bf16 + g->t * g->k + i;
        size_t kc = g->k - i < DEPTH ? g->k - i : DEPTH, t = 0;
        fetch_ahead(g, i * LANES * 2, kc * LANES * 2);
        fill_bf16(panel, g->w + i * 2, g->row_bytes, kc);
        for (; t + GROUP <= g->n_tokens; t += GROUP)
            chain_bf16(acc + t, panel, x + t * g->k, g->k, kc, GROUP);
        for (; t < g->n_tokens; t++)
            chain_bf16(acc + t, panel, x + t * g->k, g->k, kc, 1);
    }
    store_tile(g, acc, g->n_tokens);
}

static void tile_f32(const struct tile *g)
{
    tile_f32_class(g, fill_f32, 4);
}

static void tile_f16(const struct tile *g)
{
    tile_f32_class(g, fill_f16, 2);
}

void gemm_f32_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
                     const struct acts *x, size_t rows, size_t n, size_t k)
{
    if (rows >= MANY_ROWS && n >= MANY_COLS)
        gemm_f32_rows_avx512(y, y_stride, w, row_bytes, x, rows, n, k);
    else
        gemm_tiles(tile_f32, LANES, gemm_f32_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_f16_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
                     const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_tiles(tile_f16, LANES, gemm_f16_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_bf16_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
                      const struct acts *x, size_t rows, size_t n, size_t k)
{
    if (rows >= MANY_ROWS && n >= MANY_COLS)
        gemm_bf16_rows_avx512(y, y_stride, w, row_bytes, x, rows, n, k);
    else
        gemm_tiles(tile_bf16, LANES, gemm_bf16_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

#endif
