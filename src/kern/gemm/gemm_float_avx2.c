/*
 * F32, F16 and BF16 weights with AVX2.  32 k of 8 rows become a panel of floats
 * (1 KB of stack, [k][row]); each group of tokens runs its fma chains down the panel.
 */
#if defined(__x86_64__)

#include "kern/gemm/gemm_tile_avx2.h"
#include "kern/quant/blocks.h"

enum { MANY_ROWS = 24, MANY_COLS = 48 };
enum { DEPTH = 32, GROUP = 8, GROUP_BF16 = 4 };      /* sixteen registers */

/* panel[i] = element i of 8 rows for i < DEPTH; from kc on zeros. */
typedef void fill_fn(__m256 *panel, const uint8_t *w, size_t row_bytes, size_t kc);

static inline void fill_f32(__m256 *panel, const uint8_t *w, size_t row_bytes, size_t kc)
{
    float (*lane)[LANES] = (float (*)[LANES])panel;
    for (size_t i = 0; kc == DEPTH && i < DEPTH; i += 4)
        load_8x16((__m256i *)(panel + i), w + 4 * i, row_bytes);
    for (size_t i = 0; kc < DEPTH && i < DEPTH; i++)
        for (size_t r = 0; r < LANES; r++)
            lane[i][r] = i < kc ? read_f32(w + r * row_bytes + 4 * i) : 0.0f;
}

/* From 16 f16 of 8 rows: transposed as words in each half, then made floats. */
static inline void widen_16(__m256 *panel, const uint8_t *p, size_t s)
{
    __m256i a[8], b[8];
#pragma GCC unroll 4
    for (size_t r = 0; r < 4; r++) {                      /* a[r]: rows 2r and 2r + 1 */
        __m256i even = _mm256_loadu_si256((const __m256i *)(p + 2 * r * s));
        __m256i odd = _mm256_loadu_si256((const __m256i *)(p + (2 * r + 1) * s));
        a[r] = _mm256_unpacklo_epi16(even, odd);
        a[r + 4] = _mm256_unpackhi_epi16(even, odd);
    }
#pragma GCC unroll 4
    for (size_t r = 0; r < 4; r++) {                      /* b: elements 2r and 2r + 1 ... */
        __m256i *from = a + r / 2 * 4;
        bool high = r % 2;
        b[r] = high ? _mm256_unpackhi_epi32(from[0], from[1])
                    : _mm256_unpacklo_epi32(from[0], from[1]);        /* of rows 0..3 */
        b[r + 4] = high ? _mm256_unpackhi_epi32(from[2], from[3])
                        : _mm256_unpacklo_epi32(from[2], from[3]);    /* of rows 4..7 */
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        __m256i v = i % 2 ? _mm256_unpackhi_epi64(b[i / 2], b[i / 2 + 4])
                          : _mm256_unpacklo_epi64(b[i / 2], b[i / 2 + 4]);
        panel[i] = _mm256_cvtph_ps(_mm256_castsi256_si128(v));
        panel[i + 8] = _mm256_cvtph_ps(_mm256_extracti128_si256(v, 1));
    }
}

static inline void fill_f16(__m256 *panel, const uint8_t *w, size_t row_bytes, size_t kc)
{
    float (*lane)[LANES] = (float (*)[LANES])panel;
    for (size_t i = 0; kc == DEPTH && i < DEPTH; i += 16)
        widen_16(panel + i, w + 2 * i, row_bytes);
    for (size_t i = 0; kc < DEPTH && i < DEPTH; i++)
        for (size_t r = 0; r < LANES; r++)
            lane[i][r] = i < kc ? read_f16(w + r * row_bytes + 2 * i) : 0.0f;
}

static inline void fill_bf16(__m256 *panel, const uint8_t *w, size_t row_bytes, size_t kc)
{
    float (*lane)[LANES] = (float (*)[LANES])panel;
    __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
    for (size_t i = 0; kc == DEPTH && i < DEPTH; i += 8) {
        __m256i v[4];
        load_8x16(v, w + 2 * i, row_bytes);
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            panel[i + 2 * j] = _mm256_castsi256_ps(_mm256_slli_epi32(v[j], 16));
            panel[i + 2 * j + 1] = _mm256_castsi256_ps(_mm256_and_si256(v[j], upper));
        }
    }
    for (size_t i = 0; kc < DEPTH && i < DEPTH; i++)
        for (size_t r = 0; r < LANES; r++)
            lane[i][r] = i < kc ? bf16_to_f32(read_u16(w + r * row_bytes + 2 * i)) : 0.0f;
}

/* One fma chain per output over kc steps; n tokens (a constant), k floats apart. */
static inline void chain_f32(__m256 *acc, const __m256 *panel, const float *x, size_t k,
                             size_t kc, size_t n)
{
    __m256 a[GROUP];
#pragma GCC unroll 8
    for (size_t t = 0; t < n; t++)
        a[t] = acc[t];
    for (size_t i = 0; i < kc; i++) {
        __m256 w = panel[i];
#pragma GCC unroll 8
        for (size_t t = 0; t < n; t++)
            a[t] = _mm256_fmadd_ps(w, _mm256_set1_ps(x[t * k + i]), a[t]);
    }
#pragma GCC unroll 8
    for (size_t t = 0; t < n; t++)
        acc[t] = a[t];
}

static inline void tile_f32_class(const struct tile *g, fill_fn *fill, size_t size)
{
    __m256 acc[TOKENS], panel[DEPTH];
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
    bf16 some[DEPTH] = { 0 };
    if (kc < DEPTH)
        x = memcpy(some, x, kc * sizeof *x);
    for (size_t i = 0; i < DEPTH; i += 16) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(x + i));
        __m256i odd = _mm256_and_si256(v, _mm256_set1_epi32((int)0xffff0000u));
        _mm256_storeu_ps(to + i / 2, _mm256_castsi256_ps(_mm256_slli_epi32(v, 16)));
        _mm256_storeu_ps(to + (DEPTH + i) / 2, _mm256_castsi256_ps(odd));
    }
}

/* acc += even chain + odd chain, both over 16 pairs from +0; n tokens (a constant). */
static inline void chain_bf16(__m256 *acc, const __m256 *panel, const bf16 *x, size_t k,
                              size_t kc, size_t n)
{
    float xs[GROUP_BF16][DEPTH];
    __m256 e[GROUP_BF16], o[GROUP_BF16];
#pragma GCC unroll 4
    for (size_t t = 0; t < n; t++) {
        split_pairs(xs[t], x + t * k, kc);
        e[t] = o[t] = _mm256_setzero_ps();
    }
    for (size_t i = 0; i < DEPTH / 2; i++) {
        __m256 w0 = panel[2 * i], w1 = panel[2 * i + 1];
#pragma GCC unroll 4
        for (size_t t = 0; t < n; t++) {
            e[t] = _mm256_fmadd_ps(w0, _mm256_set1_ps(xs[t][i]), e[t]);
            o[t] = _mm256_fmadd_ps(w1, _mm256_set1_ps(xs[t][DEPTH / 2 + i]), o[t]);
        }
    }
#pragma GCC unroll 4
    for (size_t t = 0; t < n; t++)
        acc[t] = _mm256_add_ps(acc[t], _mm256_add_ps(e[t], o[t]));
}

static void tile_bf16(const struct tile *g)
{
    __m256 acc[TOKENS], panel[DEPTH];
    clear_tile(acc, g->n_tokens);
    for (size_t i = 0; i < g->k; i += DEPTH) {
        const bf16 *x = g->x->bf16 + g->t * g->k + i;
        size_t kc = g->k - i < DEPTH ? g->k - i : DEPTH, t = 0;
        fetch_ahead(g, i * LANES * 2, kc * LANES * 2);
        fill_bf16(panel, g->w + i * 2, g->row_bytes, kc);
        for (; t + GROUP_BF16 <= g->n_tokens; t += GROUP_BF16)
            chain_bf16(acc + t, panel, x + t * g->k, g->k, kc, GROUP_BF16);
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

void gemm_f32_avx2(float *y, size_t y_stride, const void *w, size_t row_bytes,
                     const struct acts *x, size_t rows, size_t n, size_t k)
{
    if (rows >= MANY_ROWS && n >= MANY_COLS)
        gemm_f32_rows_avx2(y, y_stride, w, row_bytes, x, rows, n, k);
    else
        gemm_tiles(tile_f32, LANES, gemm_f32_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_f16_avx2(float *y, size_t y_stride, const void *w, size_t row_bytes,
                     const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_tiles(tile_f16, LANES, gemm_f16_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_bf16_avx2(float *y, size_t y_stride, const void *w, size_t row_bytes,
                      const struct acts *x, size_t rows, size_t n, size_t k)
{
    if (rows >= MANY_ROWS && n >= MANY_COLS)
        gemm_bf16_rows_avx2(y, y_stride, w, row_bytes, x, rows, n, k);
    else
        gemm_tiles(tile_bf16, LANES, gemm_bf16_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

#endif
