#include "kern/attn/attn_row.h"

#if defined(__x86_64__)

#include <string.h>

#include "kern/act/exp_f32_avx512.h"
#include "kern/attn/attn_tree_avx512.h"
#include "kern/half_bits.h"
#include "kern/norm/chains_avx512.h"

/*
 * Data movement: a block of 64 keys (16 KiB at hd 128 in f16) comes from memory once and
 * stays in L1 while the heads that share it pass over it, TILE at a time.  In a tile a
 * converted key or value serves all heads from registers: 16 accumulators, 4 converted
 * vectors, queries and weights as memory operands.  A register of 16 accumulators is
 * the 16 chains; 16 keys' chains are added up together by transposing (tree_x16).
 * The floor is the reading of K and V: 4 bytes per key and element in f16.
 */
enum { TILE = 4, GROUP = 16, HEADS = 8 };

#define INLINE static inline __attribute__((always_inline))

struct quad {
    __m512 a, b, c, d;
};

/* The running softmax of up to HEADS heads, and the weights of one block. */
struct state {
    float max[HEADS], sum[HEADS];
    float c[TILE];
    _Alignas(64) float p[TILE][ATTN_BLOCK];
};

/* The visible keys j0..j1 of a block whose position 0 lies at these addresses. */
struct block {
    const char *k, *v;
    size_t row_bytes, hd, j0, j1;
};

INLINE struct quad quad_fma(struct quad acc, struct quad x, __m512 s)
{
    return (struct quad){ _mm512_fmadd_ps(x.a, s, acc.a), _mm512_fmadd_ps(x.b, s, acc.b),
                          _mm512_fmadd_ps(x.c, s, acc.c), _mm512_fmadd_ps(x.d, s, acc.d) };
}

INLINE struct quad quad_zero(void)
{
    __m512 z = _mm512_setzero_ps();
    return (struct quad){ z, z, z, z };
}

/* Elements i .. i+15 of a q8_0 row; i and the row's length are multiples of 16. */
INLINE __m512 load_q8(const char *row, size_t i)
{
    const char *block = row + i / KV_Q8_BLOCK * KV_Q8_BYTES;
    f16 d;
    memcpy(&d, block, sizeof d);
    const char *at = block + sizeof d + i % KV_Q8_BLOCK;
    __m128i q = _mm_loadu_si128((const __m128i *)(const void *)at);
    return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_set1_epi16((short)d)),
                         _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)));
}

/* Elements i .. i+15 of a row, those outside the mask 0. */
INLINE __m512 load_kv(const char *row, size_t i, __mmask16 m, enum kv_type t)
{
    if (t == KV_F32)
        return _mm512_maskz_loadu_ps(m, (const float *)(const void *)row + i);
    if (t == KV_Q8_0)
        return load_q8(row, i);
    __m256i h = _mm256_maskz_loadu_epi16(m, row + 2 * i);
    if (t == KV_F16)
        return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

INLINE void quad_store(__m512 *to, struct quad x)
{
    to[0] = x.a;
    to[1] = x.b;
    to[2] = x.c;
    to[3] = x.d;
}

/* Elements i .. i+15 of four keys with n_q heads; m as in load_kv. */
INLINE void dot_step(struct quad acc[TILE], const float *q, const char *const row[4], size_t hd,
                     size_t i, __mmask16 m, int n_q, enum kv_type t)
{
    struct quad k = { load_kv(row[0], i, m, t), load_kv(row[1], i, m, t),
                      load_kv(row[2], i, m, t), load_kv(row[3], i, m, t) };
    acc[0] = quad_fma(acc[0], k, _mm512_maskz_loadu_ps(m, q + i));
    if (n_q > 1)
        acc[1] = quad_fma(acc[1], k, _mm512_maskz_loadu_ps(m, q + hd + i));
    if (n_q > 2)
        acc[2] = quad_fma(acc[2], k, _mm512_maskz_loadu_ps(m, q + 2 * hd + i));
    if (n_q > 3)
        acc[3] = quad_fma(acc[3], k, _mm512_maskz_loadu_ps(m, q + 3 * hd + i));
}

/* The chains of 4 keys (rows) with n_q heads, to part[head * GROUP + 0..3].  The lanes past hd add
 * 0 * 0: that can only turn a -0 into +0, and no exponential sees the difference. */
INLINE void dot_tile(__m512 *part, const float *q, const char *const row[4], size_t hd, int n_q,
                     enum kv_type t)
{
    struct quad acc[TILE] = { quad_zero(), quad_zero(), quad_zero(), quad_zero() };
    size_t i = 0;
    for (; i + 16 <= hd; i += 16)
        dot_step(acc, q, row, hd, i, 0xffff, n_q, t);
    if (i < hd)
        dot_step(acc, q, row, hd, i, lanes_x16(hd - i), n_q, t);
    quad_store(part, acc[0]);
    if (n_q > 1)
        quad_store(part + GROUP, acc[1]);
    if (n_q > 2)
        quad_store(part + 2 * GROUP, acc[2]);
    if (n_q > 3)
        quad_store(part + 3 * GROUP, acc[3]);
}

/* p[head][j] = q . k_j for the groups that hold a visible key; an invisible key's place is
 * computed from the nearest visible row, so that no other row is read. */
INLINE void block_dots(struct state *st, const float *q, const struct block *b, int n_q,
                       enum kv_type t)
{
    for (size_t g = b->j0 / GROUP; g <= b->j1 / GROUP; g++) {
        __m512 part[TILE * GROUP];
        for (size_t at = 0; at < GROUP; at += 4) {
            const char *row[4];
            for (size_t i = 0; i < 4; i++) {
                size_t j = g * GROUP + at + i;
                j = j < b->j0 ? b->j0 : j > b->j1 ? b->j1 : j;
                row[i] = b->k + j * b->row_bytes;
            }
            dot_tile(part + at, q, row, b->hd, n_q, t);
        }
        for (int h = 0; h < n_q; h++)
            _mm512_store_ps(st->p[h] + g * GROUP, tree_x16(part + h * GROUP));
    }
}

/* Which of group g's keys are visible. */
static __mmask16 visible(const struct block *b, size_t g)
{
    size_t low = b->j0 > g * GROUP ? b->j0 - g * GROUP : 0;
    size_t end = b->j1 + 1 < (g + 1) * GROUP ? b->j1 + 1 - g * GROUP : GROUP;
    return (__mmask16)(lanes_x16(end) & ~lanes_x16(low));
}

/*
 * From dot products to weights, for one head; returns the factor c for what came before.
 * Invisible places repeat a visible score, so they cannot change the maximum.
 */
static float weigh(float *p, float *run_max, float *run_sum, const struct block *b, float scale)
{
    __m512 top = _mm512_set1_ps(-INFINITY), chain = _mm512_setzero_ps();
    size_t g0 = b->j0 / GROUP, g1 = b->j1 / GROUP;
    for (size_t g = g0; g <= g1; g++) {
        __m512 s = _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_load_ps(p + g * GROUP));
        _mm512_store_ps(p + g * GROUP, s);
        top = _mm512_max_ps(s, top);       /* drops NaN */
    }
    float max = _mm512_reduce_max_ps(top);
    max = max > *run_max ? max : *run_max;
    for (size_t g = g0; g <= g1; g++) {
        __m512 s = _mm512_load_ps(p + g * GROUP);
        __m512 e = exp_f32_x16(_mm512_sub_ps(s, _mm512_set1_ps(max)));
        _mm512_store_ps(p + g * GROUP, e);
        chain = _mm512_mask_add_ps(chain, visible(b, g), chain, e);
    }
    float c = *run_max == -INFINITY ? 0 : exp_f32(*run_max - max);
    *run_max = max;
    *run_sum = fmaf(*run_sum, c, chains_sum_x16(chain));
    return c;
}

INLINE struct quad load_scaled(const float *acc, float c)
{
    __m512 k = _mm512_set1_ps(c);
    return (struct quad){
        _mm512_mul_ps(_mm512_loadu_ps(acc), k), _mm512_mul_ps(_mm512_loadu_ps(acc + 16), k),
        _mm512_mul_ps(_mm512_loadu_ps(acc + 32), k), _mm512_mul_ps(_mm512_loadu_ps(acc + 48), k)
    };
}

INLINE void store_quad(float *acc, struct quad x)
{
    _mm512_storeu_ps(acc, x.a);
    _mm512_storeu_ps(acc + 16, x.b);
    _mm512_storeu_ps(acc + 32, x.c);
    _mm512_storeu_ps(acc + 48, x.d);
}

/* acc = acc * c + sum_j p_j v_j in 64 columns from i, for n_q heads. */
INLINE void add_columns(float *acc, const struct state *st, const struct block *b, size_t i,
                        int n_q, enum kv_type t)
{
    size_t hd = b->hd, row_bytes = b->row_bytes, j1 = b->j1;
    const char *row = b->v + b->j0 * row_bytes;
    struct quad h0 = load_scaled(acc + i, st->c[0]), h1 = h0, h2 = h0, h3 = h0;
    if (n_q > 1)
        h1 = load_scaled(acc + hd + i, st->c[1]);
    if (n_q > 2)
        h2 = load_scaled(acc + 2 * hd + i, st->c[2]);
    if (n_q > 3)
        h3 = load_scaled(acc + 3 * hd + i, st->c[3]);
    for (size_t j = b->j0; j <= j1; j++, row += row_bytes) {
        struct quad v = { load_kv(row, i, 0xffff, t), load_kv(row, i + 16, 0xffff, t),
                          load_kv(row, i + 32, 0xffff, t), load_kv(row, i + 48, 0xffff, t) };
        h0 = quad_fma(h0, v, _mm512_set1_ps(st->p[0][j]));
        if (n_q > 1)
            h1 = quad_fma(h1, v, _mm512_set1_ps(st->p[1][j]));
        if (n_q > 2)
            h2 = quad_fma(h2, v, _mm512_set1_ps(st->p[2][j]));
        if (n_q > 3)
            h3 = quad_fma(h3, v, _mm512_set1_ps(st->p[3][j]));
    }
    store_quad(acc + i, h0);
    if (n_q > 1)
        store_quad(acc + hd + i, h1);
    if (n_q > 2)
        store_quad(acc + 2 * hd + i, h2);
    if (n_q > 3)
        store_quad(acc + 3 * hd + i, h3);
}

/* The same for the last n <= 16 columns and one head. */
INLINE void add_tail(float *acc, const float *p, float c, const struct block *b, size_t i,
                     enum kv_type t)
{
    __mmask16 m = lanes_x16(b->hd - i < 16 ? b->hd - i : 16);
    __m512 sum = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, acc + i), _mm512_set1_ps(c));
    for (size_t j = b->j0; j <= b->j1; j++)
        sum = _mm512_fmadd_ps(load_kv(b->v + j * b->row_bytes, i, m, t), _mm512_set1_ps(p[j]),
                              sum);
    _mm512_mask_storeu_ps(acc + i, m, sum);
}

/* One block for heads h0 .. h0 + n_q - 1 of the state. */
INLINE void tile_block(float *acc, struct state *st, const float *q, const struct block *b,
                       float scale, size_t h0, int n_q, enum kv_type t)
{
    block_dots(st, q, b, n_q, t);
    for (int h = 0; h < n_q; h++)
        st->c[h] = weigh(st->p[h], &st->max[h0 + (size_t)h], &st->sum[h0 + (size_t)h], b, scale);
    size_t i = 0;
    for (; i + 64 <= b->hd; i += 64)
        add_columns(acc, st, b, i, n_q, t);
    for (; i < b->hd; i += 16)
        for (int h = 0; h < n_q; h++)
            add_tail(acc + (size_t)h * b->hd, st->p[h], st->c[h], b, i, t);
}

/* One block for n_q <= HEADS heads: the number in a tile and the type become constants. */
INLINE void heads_block(float *acc, struct state *st, const float *q, const struct block *b,
                        float scale, size_t n_q, enum kv_type t)
{
    for (size_t h = 0; h < n_q; h += TILE, q += TILE * b->hd, acc += TILE * b->hd)
        switch (n_q - h) {
        case 1:  tile_block(acc, st, q, b, scale, h, 1, t); break;
        case 2:  tile_block(acc, st, q, b, scale, h, 2, t); break;
        case 3:  tile_block(acc, st, q, b, scale, h, 3, t); break;
        default: tile_block(acc, st, q, b, scale, h, 4, t); break;
        }
}

typedef void block_fn(float *acc, struct state *st, const float *q, const struct block *b,
                      float scale, size_t n_q);

static void block_f32(float *acc, struct state *st, const float *q, const struct block *b,
                      float scale, size_t n_q)
{
    heads_block(acc, st, q, b, scale, n_q, KV_F32);
}

static void block_f16(float *acc, struct state *st, const float *q, const struct block *b,
                      float scale, size_t n_q)
{
    heads_block(acc, st, q, b, scale, n_q, KV_F16);
}

static void block_bf16(float *acc, struct state *st, const float *q, const struct block *b,
                       float scale, size_t n_q)
{
    heads_block(acc, st, q, b, scale, n_q, KV_BF16);
}

static void block_q8(float *acc, struct state *st, const float *q, const struct block *b,
                     float scale, size_t n_q)
{
    heads_block(acc, st, q, b, scale, n_q, KV_Q8_0);
}

static void divide(float *out, size_t hd, float sum)
{
    for (size_t i = 0; i < hd; i += 16) {
        __mmask16 m = lanes_x16(hd - i < 16 ? hd - i : 16);
        __m512 x = _mm512_maskz_loadu_ps(m, out + i);
        _mm512_mask_storeu_ps(out + i, m, _mm512_div_ps(x, _mm512_set1_ps(sum)));
    }
}

/* n_q <= HEADS heads over all blocks; out is the accumulator until the last division. */
static void attend(const struct attn_row *row, block_fn *add_block)
{
    const struct attn_rows *a = row->all;
    struct state st;
    struct block b = { .row_bytes = a->kv_stride, .hd = a->hd };
    for (size_t h = 0; h < HEADS; h++) {
        st.max[h] = -INFINITY;
        st.sum[h] = 0;
    }
    for (size_t i = 0; i < row->n_q * a->hd; i++)
        row->out[i] = 0;
    for (uint64_t n = row->first / ATTN_BLOCK; n <= row->last / ATTN_BLOCK; n++) {
        uint64_t at = n * ATTN_BLOCK;
        size_t offset = (size_t)(at % a->ring) * b.row_bytes;
        b.k = (const char *)a->k + offset;
        b.v = (const char *)a->v + offset;
        b.j0 = row->first > at ? (size_t)(row->first - at) : 0;
        b.j1 = row->last - at < ATTN_BLOCK ? (size_t)(row->last - at) : ATTN_BLOCK - 1;
        add_block(row->out, &st, row->q, &b, a->scale, row->n_q);
    }
    for (size_t h = 0; h < row->n_q; h++) {
        divide(row->out + h * a->hd, a->hd, st.sum[h]);
        if (row->lse)
            row->lse[h] = attn_lse(st.max[h], st.sum[h]);
    }
}

void attn_few_avx512(float *out, size_t out_stride, const struct attn_rows *a)
{
    static block_fn *const by_type[] = {
        [KV_F32] = block_f32, [KV_F16] = block_f16, [KV_BF16] = block_bf16,
        [KV_Q8_0] = block_q8
    };
    for (size_t r = 0; r < a->n_rows; r++)
        for (size_t h = 0; h < a->n_q; h += HEADS) {
            size_t n = a->n_q - h < HEADS ? a->n_q - h : HEADS;
            struct attn_row row = attn_row_at(out, out_stride, a, r, h, n);
            attend(&row, by_type[a->kv_type]);
        }
}

#endif
