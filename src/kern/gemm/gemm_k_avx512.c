/*
 * Q4_K, Q5_K and IQ4_XS with AVX-512 VNNI: like gemm_block_avx512.c, with the scales of
 * the eight sub-blocks of 16 rows unpacked in registers, once per super-block.
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

/* d and m of sub-block j, whose numbers are q. */
static inline void set_scales(struct block *to, const struct q4_k_scales *s, unsigned j)
{
    to->d = _mm512_mul_ps(_mm512_cvtepi32_ps(byte_of(s->sc[j / 4], j % 4)), s->d);
    to->m = _mm512_mul_ps(_mm512_cvtepi32_ps(byte_of(s->mn[j / 4], j % 4)), s->minus_dmin);
}

/* Q4_K, and with qh (eight dwords per row, a bit for each sub-block) Q5_K. */
static inline __attribute__((always_inline)) void
add_q45_k(__m512 *acc, const struct tile *g, const uint8_t *w, const uint8_t *qs,
          const __m512i *qh, size_t b, size_t bytes)
{
    struct q4_k_scales sc = load_scales(w, g->row_bytes);
    __m512i low = _mm512_set1_epi8(15), v[8];
    for (unsigned j = 0; j < 8; j += 2) {
        fetch_ahead(g, (b + j) / 2 * LANES * bytes / 4, LANES * bytes / 4);
        load_16x16(v, qs + 16 * j, g->row_bytes);
        load_16x16(v + 4, qs + 16 * j + 16, g->row_bytes);
        for (unsigned i = j; i < j + 2; i++) {            /* low nibbles, then high ones */
            struct block block;
#pragma GCC unroll 8
            for (int c = 0; c < 8; c++) {
                block.q[c] = _mm512_and_si512(v[c], low);
                v[c] = _mm512_srli_epi16(v[c], 4);
                if (qh)
                    block.q[c] = add_where(block.q[c], qh[c], _mm512_set1_epi8((char)(1 << i)),
                                           16);
            }
            set_scales(&block, &sc, i);
            add_block(acc, g, &block, b + i, 0, true);
        }
    }
}

static void tile_q4_k(const struct tile *g)
{
    __m512 acc[TOKENS];
    const uint8_t *w = g->w;
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < g->k / 32; b += 8, w += Q4_K_BYTES)
        add_q45_k(acc, g, w, w + Q4_K_QS, NULL, b, Q4_K_BYTES);
    store_tile(g, acc, g->n_tokens);
}

static void tile_q5_k(const struct tile *g)
{
    __m512 acc[TOKENS];
    const uint8_t *w = g->w;
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < g->k / 32; b += 8, w += Q5_K_BYTES) {
        __m512i qh[8];
        load_16x16(qh, w + Q5_K_QH, g->row_bytes);
        load_16x16(qh + 4, w + Q5_K_QH + 16, g->row_bytes);
        add_q45_k(acc, g, w, w + Q5_K_QS, qh, b, Q5_K_BYTES);
    }
    store_tile(g, acc, g->n_tokens);
}

static void tile_iq4_xs(const struct tile *g)
{
    __m512 acc[TOKENS];
    const uint8_t *w = g->w;
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < g->k / 32; w += IQ4_XS_BYTES) {
        __m512i head[2];                                  /* d, sh | sl */
        gather_two(head, w, g->row_bytes);
        __m512 d = low_f16(head[0]);
        __m512i high = _mm512_srli_epi32(head[0], 12), low = head[1];
        for (size_t j = 0; j < 8; j++, b++) {
            __m512i ls = _mm512_and_si512(low, _mm512_set1_epi32(15));
            ls = _mm512_or_si512(ls, _mm512_and_si512(high, _mm512_set1_epi32(48)));
            ls = _mm512_sub_epi32(ls, _mm512_set1_epi32(32));
            struct block block = { .d = _mm512_mul_ps(d, _mm512_cvtepi32_ps(ls)) };
            fetch_ahead(g, b * LANES * IQ4_XS_BYTES / 8, LANES * IQ4_XS_BYTES / 8);
            load_codes(block.q, w + IQ4_XS_QS + 16 * j, g->row_bytes, iq4_codes, 128);
            add_block(acc, g, &block, b, 128, false);
            high = _mm512_srli_epi32(high, 2);
            low = _mm512_srli_epi32(low, 4);
        }
    }
    store_tile(g, acc, g->n_tokens);
}

GEMM_TILES(q4_k, avx512)
GEMM_TILES(q5_k, avx512)
GEMM_TILES(iq4_xs, avx512)

#endif
