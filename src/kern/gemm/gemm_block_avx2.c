/*
 * Q4_0, Q4_1, Q8_0 with AVX2.  Per block of 32 and 8 rows: transpose, then eight
 * VPMADDUBSW per token.
 */
#if defined(__x86_64__)

#include "kern/gemm/gemm_tile_avx2.h"
#include "kern/quant/blocks.h"

/* Elements 0..15 of 8 rows are the low nibbles, 16..31 the high ones. */
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

/* Sums of 32 products of nibbles: in 16 bits at most 8 * 2 * 15 * 127 = 30480. */
static inline __m256i dot_nibbles(const __m256i w[8], const int8_t *x)
{
    __m256i sum = _mm256_maddubs_epi16(w[0], broadcast_4(x));
#pragma GCC unroll 8
    for (int j = 1; j < 8; j++)
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w[j], broadcast_4(x + 4 * j)));
    return sum_pairs(sum);
}

/* Sums of 32 products of bytes as |w| * (x with w's sign): 2 * 128 * 127 = 32512. */
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

/* acc + d * dx * isum */
static inline __m256 add_block(__m256 acc, __m256 d, float dx, __m256i isum)
{
    return _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(dx)), _mm256_cvtepi32_ps(isum), acc);
}

static void tile_q4_0(const struct tile *g)
{
    __m256 acc[TOKENS];
    const uint8_t *w = g->w;
    size_t stride = g->k / 32;
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < stride; b++, w += Q4_0_BYTES) {
        __m256i q[8];
        __m256 d = low_f16(gather_rows(w, g->row_bytes));
        fetch_ahead(g, b * LANES * Q4_0_BYTES, LANES * Q4_0_BYTES);
        load_nibbles(q, w + 2, g->row_bytes);
        for (size_t t = 0, at = g->t * stride + b; t < g->n_tokens; t++, at += stride) {
            __m256i isum = dot_nibbles(q, g->x->q + 32 * at);
            isum = _mm256_sub_epi32(isum, _mm256_set1_epi32(8 * g->x->sum[at]));
            acc[t] = add_block(acc[t], d, g->x->d[at], isum);
        }
    }
    store_tile(g, acc, g->n_tokens);
}

static void tile_q4_1(const struct tile *g)
{
    __m256 acc[TOKENS];
    const uint8_t *w = g->w;
    size_t stride = g->k / 32;
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < stride; b++, w += Q4_1_BYTES) {
        __m256i q[8], dm = gather_rows(w, g->row_bytes);
        __m256 d = low_f16(dm), m = high_f16(dm);
        fetch_ahead(g, b * LANES * Q4_1_BYTES, LANES * Q4_1_BYTES);
        load_nibbles(q, w + 4, g->row_bytes);
        for (size_t t = 0, at = g->t * stride + b; t < g->n_tokens; t++, at += stride) {
            __m256i sum_x = _mm256_set1_epi32(g->x->sum[at]);
            __m256 a = add_block(acc[t], d, g->x->d[at], dot_nibbles(q, g->x->q + 32 * at));
            acc[t] = add_block(a, m, g->x->d[at], sum_x);
        }
    }
    store_tile(g, acc, g->n_tokens);
}

static void tile_q8_0(const struct tile *g)
{
    __m256 acc[TOKENS];
    const uint8_t *w = g->w;
    size_t stride = g->k / 32;
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < stride; b++, w += Q8_0_BYTES) {
        __m256i q[8];
        __m256 d = low_f16(gather_rows(w, g->row_bytes));
        fetch_ahead(g, b * LANES * Q8_0_BYTES, LANES * Q8_0_BYTES);
        load_8x16(q, w + 2, g->row_bytes);
        load_8x16(q + 4, w + 18, g->row_bytes);
        for (size_t t = 0, at = g->t * stride + b; t < g->n_tokens; t++, at += stride)
            acc[t] = add_block(acc[t], d, g->x->d[at], dot_bytes(q, g->x->q + 32 * at));
    }
    store_tile(g, acc, g->n_tokens);
}

void gemm_q4_0_avx2(float *y, size_t y_stride, const void *w, size_t row_bytes,
                    const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_tiles(tile_q4_0, LANES, gemm_q4_0_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q4_1_avx2(float *y, size_t y_stride, const void *w, size_t row_bytes,
                    const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_tiles(tile_q4_1, LANES, gemm_q4_1_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q8_0_avx2(float *y, size_t y_stride, const void *w, size_t row_bytes,
                    const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_tiles(tile_q8_0, LANES, gemm_q8_0_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

#endif
