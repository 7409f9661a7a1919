/*
 * Weights in blocks of 32 with AVX2.  Per block and 8 rows: transpose, then eight
 * VPMADDUBSW per token.
 */
#if defined(__x86_64__)

#include "kern/gemm/gemm_tile_avx2.h"
#include "kern/quant/blocks.h"

typedef void load_fn(struct block *to, const uint8_t *w, size_t row_bytes);

static inline __attribute__((always_inline)) void
tile_blocks(const struct tile *g, load_fn *load, size_t bytes, dot_fn *dot, int bias,
            bool has_min)
{
    __m256 acc[TOKENS];
    const uint8_t *w = g->w;
    clear_tile(acc, g->n_tokens);
    for (size_t b = 0; b < g->k / 32; b++, w += bytes) {
        struct block block;
        fetch_ahead(g, b * LANES * bytes, LANES * bytes);
        load(&block, w, g->row_bytes);
        add_block(acc, g, &block, b, dot, bias, has_min);
    }
    store_tile(g, acc, g->n_tokens);
}

static inline void load_q4_0(struct block *to, const uint8_t *w, size_t row_bytes)
{
    to->d = low_f16(gather_rows(w, row_bytes));
    load_nibbles(to->q, w + 2, row_bytes);
}

static inline void load_q4_1(struct block *to, const uint8_t *w, size_t row_bytes)
{
    __m256i dm = gather_rows(w, row_bytes);
    to->d = low_f16(dm);
    to->m = high_f16(dm);
    load_nibbles(to->q, w + 4, row_bytes);
}

/* Bit i of qh as bit 4 of element i. */
static inline void add_fifth_bits(__m256i w[8], __m256i qh)
{
    __m256i own = _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x04040404, 0x08080808,
                                                             0x0c0c0c0c));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {                         /* byte i of qh in all four bytes */
        __m256i h = _mm256_shuffle_epi8(qh, _mm256_add_epi8(own, _mm256_set1_epi8((char)i)));
        w[2 * i] = add_where(w[2 * i], h, _mm256_set1_epi32(0x08040201), 16);
        w[2 * i + 1] = add_where(w[2 * i + 1], h, _mm256_set1_epi32((int)0x80402010), 16);
    }
}

static inline void load_q5_0(struct block *to, const uint8_t *w, size_t row_bytes)
{
    to->d = low_f16(gather_rows(w, row_bytes));
    load_nibbles(to->q, w + 6, row_bytes);
    add_fifth_bits(to->q, gather_rows(w + 2, row_bytes));
}

static inline void load_q5_1(struct block *to, const uint8_t *w, size_t row_bytes)
{
    __m256i dm = gather_rows(w, row_bytes);
    to->d = low_f16(dm);
    to->m = high_f16(dm);
    load_nibbles(to->q, w + 8, row_bytes);
    add_fifth_bits(to->q, gather_rows(w + 4, row_bytes));
}

static inline void load_q8_0(struct block *to, const uint8_t *w, size_t row_bytes)
{
    to->d = low_f16(gather_rows(w, row_bytes));
    load_8x16(to->q, w + 2, row_bytes);
    load_8x16(to->q + 4, w + 18, row_bytes);
}

static inline void load_iq4_nl(struct block *to, const uint8_t *w, size_t row_bytes)
{
    to->d = low_f16(gather_rows(w, row_bytes));
    load_codes(to->q, w + 2, row_bytes, iq4_codes, 0);
}

/* The scale as mxfp4_scale has it. */
static inline void load_mxfp4(struct block *to, const uint8_t *w, size_t row_bytes)
{
    __m256i e = _mm256_and_si256(gather_rows(w, row_bytes), _mm256_set1_epi32(255));
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(1 << 21), e);
    __m256i is_normal = _mm256_cmpgt_epi32(e, _mm256_set1_epi32(1));
    to->d = _mm256_castsi256_ps(_mm256_blendv_epi8(small, normal, is_normal));
    load_codes(to->q, w + 1, row_bytes, mxfp4_codes, 12);
}

static void tile_q4_0(const struct tile *g)
{
    tile_blocks(g, load_q4_0, Q4_0_BYTES, dot_four_bits, 8, false);
}

static void tile_q4_1(const struct tile *g)
{
    tile_blocks(g, load_q4_1, Q4_1_BYTES, dot_four_bits, 0, true);
}

static void tile_q5_0(const struct tile *g)
{
    tile_blocks(g, load_q5_0, Q5_0_BYTES, dot_five_bits, 16, false);
}

static void tile_q5_1(const struct tile *g)
{
    tile_blocks(g, load_q5_1, Q5_1_BYTES, dot_five_bits, 0, true);
}

static void tile_q8_0(const struct tile *g)
{
    tile_blocks(g, load_q8_0, Q8_0_BYTES, dot_bytes, 0, false);
}

static void tile_iq4_nl(const struct tile *g)
{
    tile_blocks(g, load_iq4_nl, IQ4_NL_BYTES, dot_bytes, 0, false);
}

static void tile_mxfp4(const struct tile *g)
{
    tile_blocks(g, load_mxfp4, MXFP4_BYTES, dot_five_bits, 12, false);
}

GEMM_TILES(q4_0, avx2)
GEMM_TILES(q4_1, avx2)
GEMM_TILES(q5_0, avx2)
GEMM_TILES(q5_1, avx2)
GEMM_TILES(q8_0, avx2)
GEMM_TILES(iq4_nl, avx2)
GEMM_TILES(mxfp4, avx2)

#endif
