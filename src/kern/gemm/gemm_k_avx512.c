/*
 * Q4_K and Q6_K with AVX-512 VNNI: like gemm_block_avx512.c, with the scales of the
 * eight sub-blocks of 16 rows unpacked in registers, once per super-block.
 */
#if defined(__x86_64__)

#include "kern/gemm/gemm_tile_avx512.h"
#include "kern/quant/blocks.h"

/* Byte i of each dword. */
static inline __m512i byte_of(__m512i v, unsigned i)
{
    return _mm512_and_si512(_mm512_srl_epi32(v, _mm_cvtsi32_si128((int)(8 * i))),
                            _mm512_set1_epi32(255));
}

/* Scales of one super-block: byte i of sc[h] is sub-block 4h + i's (q4_k_scale). */
struct q4_k_scales {
    __m512 d, minus_dmin;
    __m512i sc[2], mn[2];
};

static inline struct q4_k_scales load_scales(const uint8_t *w, size_t row_bytes)
{
    __m512i v[4], low6 = _mm512_set1_epi8(63), low4 = _mm512_set1_epi8(15);
    __m512i top2 = _mm512_set1_epi8(48);
    load_16x16(v, w, row_bytes);                          /* d dmin | sm[0..11] */
    struct q4_k_scales s;
    s.d = low_f16(v[0]);
    s.minus_dmin = high_f16(_mm512_xor_si512(v[0], _mm512_set1_epi32(INT32_MIN)));
    s.sc[0] = _mm512_and_si512(v[1], low6);
    s.mn[0] = _mm512_and_si512(v[2], low6);
    s.sc[1] = _mm512_or_si512(_mm512_and_si512(v[3], low4),
                              _mm512_and_si512(_mm512_srli_epi16(v[1], 2), top2));
    s.mn[1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(v[3], 4), low4),
                              _mm512_and_si512(_mm512_srli_epi16(v[2], 2), top2));
    return s;
}

static inline void add_q4_k(__m512 *acc, const struct tile *g, const __m512i w[8],
                            const struct q4_k_scales *sc, unsigned j, size_t b)
{
    __m512 s = _mm512_cvtepi32_ps(byte_of(sc->sc[j / 4], j % 4));
    __m512 m = _mm512_cvtepi32_ps(byte_of(sc->mn[j / 4], j % 4));
    s = _mm512_mul_ps(s, sc->d);
    m = _mm512_mul_ps(m, sc->minus_dmin);
    size_t stride = g->k / 32, at = g->t * stride + b;
    for (size_t t = 0; t < g->n_tokens; t++, at += stride) {
        __m512 dx = _mm512_set1_ps(g->x->d[at]);
        __m512i isum = dot_32(_mm512_setzero_si512(), w, g->x->q + 32 * at);
        __m512 a = _mm512_fmadd_ps(_mm512_mul_ps(s, dx), _mm512_cvtepi32_ps(isum), acc[t]);
        acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(m, dx),
                                 _mm512_set1_ps((float)g->x->sum[at]), a);
    }
}

static void tile_q4_k(const struct tile *g)
{
    __m512 acc[TOKENS];
    const uint8_t *w = g->w;
    __m512i low = _mm512_set1_epi8(15);
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < g->k / 32; w += Q4_K_BYTES) {
        struct q4_k_scales sc = load_scales(w, g->row_bytes);
        for (unsigned j = 0; j < 8; j += 2, b += 2) {
            __m512i v[8], q[8];
            fetch_ahead(g, (b / 2) * LANES * Q4_K_BYTES / 4, LANES * Q4_K_BYTES / 4);
            load_16x16(v, w + Q4_K_QS + 16 * j, g->row_bytes);
            load_16x16(v + 4, w + Q4_K_QS + 16 * j + 16, g->row_bytes);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++)
                q[i] = _mm512_and_si512(v[i], low);
            add_q4_k(acc, g, q, &sc, j, b);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++)
                q[i] = _mm512_and_si512(_mm512_srli_epi16(v[i], 4), low);
            add_q4_k(acc, g, q, &sc, j + 1, b + 1);
        }
    }
    store_tile(g, acc, g->n_tokens);
}

/*
 * For one super-block of a token: -32 times the sums of 16 activations, the start of a
 * dot product with q + 32.  The sum of run i stands at sums_at(i).
 */
static inline __m512i minus_32_sums(const int8_t *x)
{
    __m512i c32 = _mm512_set1_epi8(32), zero = _mm512_setzero_si512(), r = zero;
#pragma GCC unroll 4
    for (unsigned i = 0; i < 4; i++) {
        __m512i v = _mm512_dpbusd_epi32(zero, c32, _mm512_loadu_si512(x + 64 * i));
        v = _mm512_add_epi32(v, _mm512_shuffle_epi32(v, 0xb1));
        v = _mm512_add_epi32(v, _mm512_shuffle_epi32(v, 0x4e));
        r = _mm512_mask_sub_epi32(r, (__mmask16)(0x1111u << i), zero, v);
    }
    return r;
}

static inline size_t sums_at(size_t i)
{
    return i % 4 * 4 + i / 4;
}

/* A half of 128 elements as q + 32: u[q][j] holds dword j of sub-block q. */
static inline void load_q6_half(__m512i u[4][8], const uint8_t *ql, const uint8_t *qh,
                                size_t row_bytes)
{
    __m512i low4 = _mm512_set1_epi8(15), top2 = _mm512_set1_epi8(48);
    for (int c = 0; c < 2; c++) {
        __m512i a[4], b[4], h[4];
        load_16x16(a, ql + 16 * c, row_bytes);
        load_16x16(b, ql + 32 + 16 * c, row_bytes);
        load_16x16(h, qh + 16 * c, row_bytes);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            __m512i h0 = _mm512_and_si512(_mm512_slli_epi16(h[j], 4), top2);
            __m512i h1 = _mm512_and_si512(_mm512_slli_epi16(h[j], 2), top2);
            __m512i h2 = _mm512_and_si512(h[j], top2);
            __m512i h3 = _mm512_and_si512(_mm512_srli_epi16(h[j], 2), top2);
            __m512i a2 = _mm512_srli_epi16(a[j], 4), b2 = _mm512_srli_epi16(b[j], 4);
            u[0][4 * c + j] = _mm512_or_si512(_mm512_and_si512(a[j], low4), h0);
            u[1][4 * c + j] = _mm512_or_si512(_mm512_and_si512(b[j], low4), h1);
            u[2][4 * c + j] = _mm512_or_si512(_mm512_and_si512(a2, low4), h2);
            u[3][4 * c + j] = _mm512_or_si512(_mm512_and_si512(b2, low4), h3);
        }
    }
}

/* Signed byte i of each dword as float. */
static inline __m512 scale_of(__m512i v, unsigned i)
{
    v = _mm512_sll_epi32(v, _mm_cvtsi32_si128((int)(24 - 8 * i)));
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(v, 24));
}

/*
 * Sub-block j (0..7).  sc0 * i0 + sc1 * i1 is below 2^24, so it is exact in float; the
 * sum starts from +0, which makes a zero +0, as the conversion of an integer is.
 */
static inline void add_q6_k(__m512 *acc, const struct tile *g, const __m512i w[8], __m512 d,
                            __m512i sc, int32_t (*sums)[16], size_t j, size_t b)
{
    __m512 sc0 = scale_of(sc, j % 2 * 2), sc1 = scale_of(sc, j % 2 * 2 + 1);
    size_t stride = g->k / 32, at = g->t * stride + b;
    for (size_t t = 0; t < g->n_tokens; t++, at += stride) {
        const int8_t *x = g->x->q + 32 * at;
        __m512i i0 = dot_16(_mm512_set1_epi32(sums[t][sums_at(2 * j)]), w, x);
        __m512i i1 = dot_16(_mm512_set1_epi32(sums[t][sums_at(2 * j + 1)]), w + 4, x + 16);
        __m512 isum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(i1), sc1, _mm512_setzero_ps());
        isum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(i0), sc0, isum);
        __m512 s = _mm512_mul_ps(d, _mm512_set1_ps(g->x->d[at]));
        acc[t] = _mm512_fmadd_ps(s, isum, acc[t]);
    }
}

static void tile_q6_k(const struct tile *g)
{
    __m512 acc[TOKENS];
    int32_t sums[TOKENS][16];
    const uint8_t *w = g->w;
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < g->k / 32; b += 8, w += Q6_K_BYTES) {
        __m512i sc[4], u[4][8], last = gather_rows(w + Q6_K_D - 2, g->row_bytes);
        __m512 d = high_f16(last);                        /* never past the block's end */
        load_16x16(sc, w + Q6_K_SC, g->row_bytes);
        for (size_t t = 0; t < g->n_tokens; t++)
            _mm512_storeu_si512(sums[t], minus_32_sums(g->x->q + (g->t + t) * g->k + 32 * b));
        for (size_t half = 0; half < 2; half++) {
            load_q6_half(u, w + 64 * half, w + Q6_K_QH + 32 * half, g->row_bytes);
            for (size_t q = 0; q < 4; q++) {
                size_t j = 4 * half + q;
                fetch_ahead(g, (b + j) * LANES * Q6_K_BYTES / 8, LANES * Q6_K_BYTES / 8);
                add_q6_k(acc, g, u[q], d, sc[j / 2], sums, j, b + j);
            }
        }
    }
    store_tile(g, acc, g->n_tokens);
}

void gemm_q4_k_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
                      const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_tiles(tile_q4_k, LANES, gemm_q4_k_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

void gemm_q6_k_avx512(float *y, size_t y_stride, const void *w, size_t row_bytes,
                      const struct acts *x, size_t rows, size_t n, size_t k)
{
    gemm_tiles(tile_q6_k, LANES, gemm_q6_k_c, y, y_stride, w, row_bytes, x, rows, n, k);
}

#endif
