/*
 * Q2_K, Q3_K and Q6_K with AVX-512 VNNI: super-blocks with a scale for each 16 elements, so
 * a block of 32 is two sums of products, which their scales join.
 */
#if defined(__x86_64__)

#include "kern/gemm/gemm_tile_avx512.h"
#include "kern/quant/blocks.h"

/*
 * A super-block of 16 rows: byte i of sc[h] and mn[h] is run 4h + i's (16 elements), sc
 * signed; m is -dmin.  u[q][j] is dword j of sub-block q of the half at hand, unsigned.
 */
struct super {
    __m512 d, m;
    __m512i sc[4], mn[4], u[4][8];
};

typedef void load_head_fn(struct super *to, const uint8_t *w, size_t row_bytes);
typedef void load_half_fn(struct super *to, const uint8_t *w, size_t row_bytes, size_t half);

/* For one super-block of a token: its sums of 16; that of run i stands at sums_at(i). */
static inline __m512i sums_of_16(const int8_t *x)
{
    __m512i one = _mm512_set1_epi8(1), zero = _mm512_setzero_si512(), r = zero;
#pragma GCC unroll 4
    for (unsigned i = 0; i < 4; i++) {
        __m512i v = _mm512_dpbusd_epi32(zero, one, _mm512_loadu_si512(x + 64 * i));
        v = _mm512_add_epi32(v, _mm512_shuffle_epi32(v, 0xb1));
        v = _mm512_add_epi32(v, _mm512_shuffle_epi32(v, 0x4e));
        r = _mm512_mask_mov_epi32(r, (__mmask16)(0x1111u << i), v);
    }
    return r;
}

static inline size_t sums_at(size_t i)
{
    return i % 4 * 4 + i / 4;
}

/* Signed byte i of each dword as float. */
static inline __m512 scale_of(__m512i v, unsigned i)
{
    v = _mm512_sll_epi32(v, _mm_cvtsi32_si128((int)(24 - 8 * i)));
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(v, 24));
}

/* Bytes i and i + 1 of each dword as two words. */
static inline __m512i words_of(__m512i v, unsigned i)
{
    v = _mm512_srl_epi32(v, _mm_cvtsi32_si128((int)(8 * i)));
    __m512i low = _mm512_and_si512(v, _mm512_set1_epi32(255));
    return _mm512_or_si512(low, _mm512_and_si512(_mm512_slli_epi32(v, 8),
                                                 _mm512_set1_epi32(255 << 16)));
}

/* -dmin * dx * msum, where a sum of 16 activations is at most 2032 in size. */
static inline __m512 add_min(__m512 acc, __m512 m, float dx, __m512i mn, int32_t s0, int32_t s1)
{
    __m512i sums = _mm512_set1_epi32((int32_t)((uint32_t)s1 << 16 | (uint16_t)s0));
    __m512 msum = _mm512_cvtepi32_ps(_mm512_madd_epi16(mn, sums));
    return _mm512_fmadd_ps(_mm512_mul_ps(m, _mm512_set1_ps(dx)), msum, acc);
}

/*
 * Sub-block j (0..7), numbers w.  sc0 * i0 + sc1 * i1 is below 2^24, so it is exact in
 * float; the sum starts from +0, which makes a zero +0, as the conversion of an integer is.
 */
static inline __attribute__((always_inline)) void
add_runs(__m512 *acc, const struct tile *g, const struct super *s, const __m512i w[8],
         int32_t (*sums)[16], size_t j, size_t b, int bias, bool has_min)
{
    __m512 sc0 = scale_of(s->sc[j / 2], j % 2 * 2), sc1 = scale_of(s->sc[j / 2], j % 2 * 2 + 1);
    __m512i mn = has_min ? words_of(s->mn[j / 2], j % 2 * 2) : _mm512_setzero_si512();
    size_t stride = g->k / 32, at = g->t * stride + b;
    for (size_t t = 0; t < g->n_tokens; t++, at += stride) {
        const int8_t *x = g->x->q + 32 * at;
        int32_t s0 = sums[t][sums_at(2 * j)], s1 = sums[t][sums_at(2 * j + 1)];
        __m512i i0 = dot_16(_mm512_set1_epi32(-bias * s0), w, x);
        __m512i i1 = dot_16(_mm512_set1_epi32(-bias * s1), w + 4, x + 16);
        __m512 isum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(i1), sc1, _mm512_setzero_ps());
        isum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(i0), sc0, isum);
        __m512 d = _mm512_mul_ps(s->d, _mm512_set1_ps(g->x->d[at]));
        acc[t] = _mm512_fmadd_ps(d, isum, acc[t]);
        if (has_min)
            acc[t] = add_min(acc[t], s->m, g->x->d[at], mn, s0, s1);
    }
}

static inline __attribute__((always_inline)) void
tile_runs(const struct tile *g, load_head_fn *load_head, load_half_fn *load_half, size_t bytes,
          int bias, bool has_min)
{
    __m512 acc[TOKENS];
    int32_t sums[TOKENS][16];
    const uint8_t *w = g->w;
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < g->k / 32; b += 8, w += bytes) {
        struct super s;
        load_head(&s, w, g->row_bytes);
        for (size_t t = 0; t < g->n_tokens; t++)
            _mm512_storeu_si512(sums[t], sums_of_16(g->x->q + (g->t + t) * g->k + 32 * b));
        for (size_t half = 0; half < 2; half++) {
            load_half(&s, w, g->row_bytes, half);
            for (size_t q = 0; q < 4; q++) {
                size_t j = 4 * half + q;
                fetch_ahead(g, (b + j) * LANES * bytes / 8, LANES * bytes / 8);
                add_runs(acc, g, &s, s.u[q], sums, j, b + j, bias, has_min);
            }
        }
    }
    store_tile(g, acc, g->n_tokens);
}

static inline void head_q6_k(struct super *to, const uint8_t *w, size_t row_bytes)
{
    to->d = high_f16(gather_rows(w + Q6_K_D - 2, row_bytes));  /* not past the block's end */
    load_16x16(to->sc, w + Q6_K_SC, row_bytes);
}

static inline void half_q6_k(struct super *to, const uint8_t *w, size_t row_bytes, size_t half)
{
    const uint8_t *ql = w + 64 * half, *qh = w + Q6_K_QH + 32 * half;
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
            to->u[0][4 * c + j] = _mm512_or_si512(_mm512_and_si512(a[j], low4), h0);
            to->u[1][4 * c + j] = _mm512_or_si512(_mm512_and_si512(b[j], low4), h1);
            to->u[2][4 * c + j] = _mm512_or_si512(_mm512_and_si512(a2, low4), h2);
            to->u[3][4 * c + j] = _mm512_or_si512(_mm512_and_si512(b2, low4), h3);
        }
    }
}

static inline void head_q2_k(struct super *to, const uint8_t *w, size_t row_bytes)
{
    __m512i low4 = _mm512_set1_epi8(15), dm = gather_rows(w + Q2_K_D, row_bytes);
    to->d = low_f16(dm);
    to->m = high_f16(_mm512_xor_si512(dm, _mm512_set1_epi32(INT32_MIN)));
    load_16x16(to->sc, w, row_bytes);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        to->mn[i] = _mm512_and_si512(_mm512_srli_epi16(to->sc[i], 4), low4);
        to->sc[i] = _mm512_and_si512(to->sc[i], low4);
    }
}

/* The 32 bytes at qs: four sub-blocks of two bits. */
static inline void load_two_bits(struct super *to, const uint8_t *qs, size_t row_bytes)
{
    __m512i low2 = _mm512_set1_epi8(3), v[8];
    load_16x16(v, qs, row_bytes);
    load_16x16(v + 4, qs + 16, row_bytes);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        to->u[0][j] = _mm512_and_si512(v[j], low2);
        to->u[1][j] = _mm512_and_si512(_mm512_srli_epi16(v[j], 2), low2);
        to->u[2][j] = _mm512_and_si512(_mm512_srli_epi16(v[j], 4), low2);
        to->u[3][j] = _mm512_and_si512(_mm512_srli_epi16(v[j], 6), low2);
    }
}

static inline void half_q2_k(struct super *to, const uint8_t *w, size_t row_bytes, size_t half)
{
    load_two_bits(to, w + Q2_K_QS + 32 * half, row_bytes);
}

/* q3_k_scale for 16 rows.  The 14 bytes of scales and d are fetched with the two before. */
static inline void head_q3_k(struct super *to, const uint8_t *w, size_t row_bytes)
{
    __m512i v[4], s[2], top2 = _mm512_set1_epi8(48), low4 = _mm512_set1_epi8(15);
    load_16x16(v, w + Q3_K_SC - 2, row_bytes);
    s[0] = funnel_words(v[0], v[1]);
    s[1] = funnel_words(v[1], v[2]);
    __m512i high = funnel_words(v[2], v[3]);
    to->d = high_f16(v[3]);
    to->sc[0] = _mm512_and_si512(_mm512_slli_epi16(high, 4), top2);
    to->sc[1] = _mm512_and_si512(_mm512_slli_epi16(high, 2), top2);
    to->sc[2] = _mm512_and_si512(high, top2);
    to->sc[3] = _mm512_and_si512(_mm512_srli_epi16(high, 2), top2);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i low = i < 2 ? s[i] : _mm512_srli_epi16(s[i - 2], 4);
        __m512i sc = _mm512_or_si512(_mm512_and_si512(low, low4), to->sc[i]);
        to->sc[i] = _mm512_sub_epi8(sc, _mm512_set1_epi8(32));
    }
}

/* q + 4: the two bits, and 4 where hmask has the sub-block's bit. */
static inline void half_q3_k(struct super *to, const uint8_t *w, size_t row_bytes, size_t half)
{
    __m512i h[8];
    load_two_bits(to, w + Q3_K_QS + 32 * half, row_bytes);
    load_16x16(h, w, row_bytes);
    load_16x16(h + 4, w + 16, row_bytes);
    for (size_t q = 0; q < 4; q++) {
        __m512i bit = _mm512_set1_epi8((char)(1 << (4 * half + q)));
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++)
            to->u[q][j] = add_where(to->u[q][j], h[j], bit, 4);
    }
}

static void tile_q2_k(const struct tile *g)
{
    tile_runs(g, head_q2_k, half_q2_k, Q2_K_BYTES, 0, true);
}

static void tile_q3_k(const struct tile *g)
{
    tile_runs(g, head_q3_k, half_q3_k, Q3_K_BYTES, 4, false);
}

static void tile_q6_k(const struct tile *g)
{
    tile_runs(g, head_q6_k, half_q6_k, Q6_K_BYTES, 32, false);
}

GEMM_TILES(q2_k, avx512)
GEMM_TILES(q3_k, avx512)
GEMM_TILES(q6_k, avx512)

#endif
