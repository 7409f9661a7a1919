/*
 * Weights in blocks of 32 with AVX-512 VNNI.  Per block and 16 rows: transpose, then eight
 * VPDPBUSD per token (unsigned weights: what makes them so, times sum_x, is taken off the
 * start value; all exact in int32).
 */
#if defined(__x86_64__)

#include "kern/gemm/gemm_tile_avx512.h"
#include "kern/quant/blocks.h"

typedef void load_fn(struct block *to, const uint8_t *w, size_t row_bytes);

static inline __attribute__((always_inline)) void
tile_blocks(const struct tile *g, load_fn *load, size_t bytes, int bias, bool has_min)
{
    __m512 acc[TOKENS];
    const uint8_t *w = g->w;
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < g->k / 32; b++, w += bytes) {
        struct block block;
        fetch_ahead(g, b * LANES * bytes, LANES * bytes);
        load(&block, w, g->row_bytes);
        add_block(acc, g, &block, b, bias, has_min);
    }
    store_tile(g, acc, g->n_tokens);
}

static inline void load_q4_0(struct block *to, const uint8_t *w, size_t row_bytes)
{
    __m512i v[4];
    to->d = low_f16(gather_rows(w, row_bytes));
    load_16x16(v, w + 2, row_bytes);
    split_nibbles(to->q, v);
}

static inline void load_q8_0(struct block *to, const uint8_t *w, size_t row_bytes)
{
    __m512i flip = _mm512_set1_epi8(-128);
    to->d = low_f16(gather_rows(w, row_bytes));
    load_16x16(to->q, w + 2, row_bytes);
    load_16x16(to->q + 4, w + 18, row_bytes);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++)
        to->q[j] = _mm512_xor_si512(to->q[j], flip);
}

/* 32 nibbles at qs, and bit i of qh as bit 4 of element i. */
static inline void load_five_bits(__m512i w[8], const uint8_t *qs, size_t row_bytes, __m512i qh)
{
    __m512i v[4], own = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x04040404, 0x08080808,
                                                              0x0c0c0c0c));
    load_16x16(v, qs, row_bytes);
    split_nibbles(w, v);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {                         /* byte i of qh in all four bytes */
        __m512i h = _mm512_shuffle_epi8(qh, _mm512_add_epi8(own, _mm512_set1_epi8((char)i)));
        w[2 * i] = add_where(w[2 * i], h, _mm512_set1_epi32(0x08040201), 16);
        w[2 * i + 1] = add_where(w[2 * i + 1], h, _mm512_set1_epi32((int)0x80402010), 16);
    }
}

static inline void load_q5_0(struct block *to, const uint8_t *w, size_t row_bytes)
{
    __m512i head[2];                                      /* d, qh low | qh high, ... */
    gather_two(head, w, row_bytes);
    to->d = low_f16(head[0]);
    load_five_bits(to->q, w + 6, row_bytes, funnel_words(head[0], head[1]));
}

static inline void load_q5_1(struct block *to, const uint8_t *w, size_t row_bytes)
{
    __m512i head[2];                                      /* d, m | qh */
    gather_two(head, w, row_bytes);
    to->d = low_f16(head[0]);
    to->m = high_f16(head[0]);
    load_five_bits(to->q, w + 8, row_bytes, head[1]);
}

static inline void load_iq4_nl(struct block *to, const uint8_t *w, size_t row_bytes)
{
    to->d = low_f16(gather_rows(w, row_bytes));
    load_codes(to->q, w + 2, row_bytes, iq4_codes, 128);
}

/* The scale as mxfp4_scale has it. */
static inline void load_mxfp4(struct block *to, const uint8_t *w, size_t row_bytes)
{
    __m512i e = _mm512_and_si512(gather_rows(w, row_bytes), _mm512_set1_epi32(255));
    __m512i one = _mm512_set1_epi32(1), d = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);
    d = _mm512_mask_sllv_epi32(d, _mm512_cmple_epu32_mask(e, one), _mm512_set1_epi32(1 << 21), e);
    to->d = _mm512_castsi512_ps(d);
    load_codes(to->q, w + 1, row_bytes, mxfp4_codes, 12);
}

static void tile_q4_0(const struct tile *g)
{
    tile_blocks(g, load_q4_0, Q4_0_BYTES, 8, false);
}

static void tile_q5_0(const struct tile *g)
{
    tile_blocks(g, load_q5_0, Q5_0_BYTES, 16, false);
}

static void tile_q5_1(const struct tile *g)
{
    tile_blocks(g, load_q5_1, Q5_1_BYTES, 0, true);
}

static void tile_q8_0(const struct tile *g)
{
    tile_blocks(g, load_q8_0, Q8_0_BYTES, 128, false);
}

static void tile_iq4_nl(const struct tile *g)
{
    tile_blocks(g, load_iq4_nl, IQ4_NL_BYTES, 128, false);
}

static void tile_mxfp4(const struct tile *g)
{
    tile_blocks(g, load_mxfp4, MXFP4_BYTES, 12, false);
}

/* Block b of every token; per row dm holds d and m, v the nibbles. */
static inline void add_q4_1(__m512 *acc, const struct tile *g, __m512i dm, const __m512i v[4],
                            size_t b)
{
    struct block block = { .d = low_f16(dm), .m = high_f16(dm) };
    split_nibbles(block.q, v);
    add_block(acc, g, &block, b, 0, true);
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

GEMM_TILES(q4_0, avx512)
GEMM_TILES(q4_1, avx512)
GEMM_TILES(q5_0, avx512)
GEMM_TILES(q5_1, avx512)
GEMM_TILES(q8_0, avx512)
GEMM_TILES(iq4_nl, avx512)
GEMM_TILES(mxfp4, avx512)

#endif
