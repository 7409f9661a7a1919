/*
 * Q4_K and Q6_K with AVX2: like gemm_block_avx2.c, with the scales of the eight
 * sub-blocks of 8 rows unpacked in registers, once per super-block.
 */
#if defined(__x86_64__)

#include "kern/gemm/gemm_tile_avx2.h"
#include "kern/quant/blocks.h"

/* Byte i of each dword. */
static inline __m256i byte_of(__m256i v, unsigned i)
{
    return _mm256_and_si256(_mm256_srl_epi32(v, _mm_cvtsi32_si128((int)(8 * i))),
                            _mm256_set1_epi32(255));
}

/* Scales of one super-block: byte i of sc[h] is sub-block 4h + i's (q4_k_scale). */
struct q4_k_scales {
    __m256 d, minus_dmin;
    __m256i sc[2], mn[2];
};

static inline struct q4_k_scales load_scales(const uint8_t *w, size_t row_bytes)
{
    __m256i v[4], low6 = _mm256_set1_epi8(63), low4 = _mm256_set1_epi8(15);
    __m256i top2 = _mm256_set1_epi8(48);
    load_8x16(v, w, row_bytes);                           /* d dmin | sm[0..11] */
    struct q4_k_scales s;
    s.d = low_f16(v[0]);
    s.minus_dmin = high_f16(_mm256_xor_si256(v[0], _mm256_set1_epi32(INT32_MIN)));
    s.sc[0] = _mm256_and_si256(v[1], low6);
    s.mn[0] = _mm256_and_si256(v[2], low6);
    s.sc[1] = _mm256_or_si256(_mm256_and_si256(v[3], low4),
                              _mm256_and_si256(_mm256_srli_epi16(v[1], 2), top2));
    s.mn[1] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(v[3], 4), low4),
                              _mm256_and_si256(_mm256_srli_epi16(v[2], 2), top2));
    return s;
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

static inline void add_q4_k(__m256 *acc, const struct tile *g, const __m256i w[8],
                            const struct q4_k_scales *sc, unsigned j, size_t b)
{
    __m256 s = _mm256_cvtepi32_ps(byte_of(sc->sc[j / 4], j % 4));
    __m256 m = _mm256_cvtepi32_ps(byte_of(sc->mn[j / 4], j % 4));
    s = _mm256_mul_ps(s, sc->d);
    m = _mm256_mul_ps(m, sc->minus_dmin);
    size_t stride = g->k / 32, at = g->t * stride + b;
    for (size_t t = 0; t < g->n_tokens; t++, at += stride) {
        __m256 dx = _mm256_set1_ps(g->x->d[at]), sum_x = _mm256_set1_ps((float)g->x->sum[at]);
        __m256 isum = _mm256_cvtepi32_ps(dot_nibbles(w, g->x->q + 32 * at));
        __m256 a = _mm256_fmadd_ps(_mm256_mul_ps(s, dx), isum, acc[t]);
        acc[t] = _mm256_fmadd_ps(_mm256_mul_ps(m, dx), sum_x, a);
    }
}

static void tile_q4_k(const struct tile *g)
{
    __m256 acc[TOKENS];
    const uint8_t *w = g->w;
    __m256i low = _mm256_set1_epi8(15);
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < g->k / 32; w += Q4_K_BYTES) {
        struct q4_k_scales sc = load_scales(w, g->row_bytes);
        for (unsigned j = 0; j < 8; j += 2, b += 2) {
            __m256i v[8], q[8];
            fetch_ahead(g, (b / 2) * LANES * Q4_K_BYTES / 4, LANES * Q4_K_BYTES / 4);
            load_8x16(v, w + Q4_K_QS + 16 * j, g->row_bytes);
            load_8x16(v + 4, w + Q4_K_QS + 16 * j + 16, g->row_bytes);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++)
                q[i] = _mm256_and_si256(v[i], low);
            add_q4_k(acc, g, q, &sc, j, b);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++)
                q[i] = _mm256_and_si256(_mm256_srli_epi16(v[i], 4), low);
            add_q4_k(acc, g, q, &sc, j + 1, b + 1);
        }
    }
    store_tile(g, acc, g->n_tokens);
}

/* Half a Q6_K super-block, 128 elements, as q + 32: u[q][j] is dword j of sub-block q. */
static inline void load_q6_half(__m256i u[4][8], const uint8_t *ql, const uint8_t *qh,
                                size_t row_bytes)
{
    __m256i low4 = _mm256_set1_epi8(15), top2 = _mm256_set1_epi8(48);
    for (int c = 0; c < 2; c++) {
        __m256i a[4], b[4], h[4];
        load_8x16(a, ql + 16 * c, row_bytes);
        load_8x16(b, ql + 32 + 16 * c, row_bytes);
        load_8x16(h, qh + 16 * c, row_bytes);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            __m256i h0 = _mm256_and_si256(_mm256_slli_epi16(h[j], 4), top2);
            __m256i h1 = _mm256_and_si256(_mm256_slli_epi16(h[j], 2), top2);
            __m256i h2 = _mm256_and_si256(h[j], top2);
            __m256i h3 = _mm256_and_si256(_mm256_srli_epi16(h[j], 2), top2);
            __m256i a2 = _mm256_srli_epi16(a[j], 4), b2 = _mm256_srli_epi16(b[j], 4);
            u[0][4 * c + j] = _mm256_or_si256(_mm256_and_si256(a[j], low4), h0);
            u[1][4 * c + j] = _mm256_or_si256(_mm256_and_si256(b[j], low4), h1);
            u[2][4 * c + j] = _mm256_or_si256(_mm256_and_si256(a2, low4), h2);
            u[3][4 * c + j] = _mm256_or_si256(_mm256_and_si256(b2, low4), h3);
        }
    }
}

/*
 * 16 products of q + 32, less 32 times the activations: per pair of dwords
 * 2 * 2 * 63 * 127 = 32004 in 16 bits, and the 32s alone 4 * 2 * 32 * 127 = 32512.
 */
static inline __m256i dot_q6(const __m256i w[4], const int8_t *x)
{
    __m256i x0 = broadcast_4(x), x1 = broadcast_4(x + 4);
    __m256i x2 = broadcast_4(x + 8), x3 = broadcast_4(x + 12), c32 = _mm256_set1_epi8(32);
    __m256i p = _mm256_add_epi16(_mm256_maddubs_epi16(w[0], x0), _mm256_maddubs_epi16(w[1], x1));
    __m256i q = _mm256_add_epi16(_mm256_maddubs_epi16(w[2], x2), _mm256_maddubs_epi16(w[3], x3));
    __m256i r = _mm256_add_epi16(_mm256_maddubs_epi16(c32, x0), _mm256_maddubs_epi16(c32, x1));
    r = _mm256_add_epi16(r, _mm256_maddubs_epi16(c32, x2));
    r = _mm256_add_epi16(r, _mm256_maddubs_epi16(c32, x3));
    return _mm256_sub_epi32(_mm256_add_epi32(sum_pairs(p), sum_pairs(q)), sum_pairs(r));
}

/* Signed byte i of each dword. */
static inline __m256i scale_of(__m256i v, unsigned i)
{
    v = _mm256_sll_epi32(v, _mm_cvtsi32_si128((int)(24 - 8 * i)));
    return _mm256_srai_epi32(v, 24);
}

static inline void add_q6_k(__m256 *acc, const struct tile *g, const __m256i w[8], __m256 d,
                            __m256i sc, unsigned j, size_t b)
{
    __m256i sc0 = scale_of(sc, j % 2 * 2), sc1 = scale_of(sc, j % 2 * 2 + 1);
    size_t stride = g->k / 32, at = g->t * stride + b;
    for (size_t t = 0; t < g->n_tokens; t++, at += stride) {
        const int8_t *x = g->x->q + 32 * at;
        __m256i i0 = _mm256_mullo_epi32(dot_q6(w, x), sc0);
        __m256i i1 = _mm256_mullo_epi32(dot_q6(w + 4, x + 16), sc1);
        __m256 isum = _mm256_cvtepi32_ps(_mm256_add_epi32(i0, i1));
        __m256 s = _mm256_mul_ps(d, _mm256_set1_ps(g->x->d[at]));
        acc[t] = _mm256_fmadd_ps(s, isum, acc[t]);
    }
}

static void tile_q6_k(const struct tile *g)
{
    __m256 acc[TOKENS];
    const uint8_t *w = g->w;
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < g->k / 32; b += 8, w += Q6_K_BYTES) {
        __m256i sc[4], u[4][8], last = gather_rows(w + Q6_K_D - 2, g->row_bytes);
        __m256 d = high_f16(last);                        /* never past the block's end */
        load_8x16(sc, w + Q6_K_SC, g->row_bytes);
        for (unsigned half = 0; half < 2; half++) {
            load_q6_half(u, w + 64 * half, w + Q6_K_QH + 32 * half, g->row_bytes);
            for (unsigned q = 0; q < 4; q++) {
                unsigned j = 4 * half + q;
                fetch_ahead(g, (b + j) * LANES * Q6_K_BYTES / 8, LANES * Q6_K_BYTES / 8);
                add_q6_k(acc, g, u[q], d, sc[j / 2], j, b + j);
            }
        }
    }
    store_tile(g, acc, g->n_tokens);
}

void gemm_q4_k_avx2(float *y, size_t y_stride, const void *w, size_t row_bytes,
                    const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_tiles(tile_q4_k, LANES, gemm_q4_k_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q6_k_avx2(float *y, size_t y_stride, const void *w, size_t row_bytes,
                    const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_tiles(tile_q6_k, LANES, gemm_q6_k_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

#endif
