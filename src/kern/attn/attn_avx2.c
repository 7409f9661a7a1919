#include "kern/attn/attn_row.h"

#if defined(__x86_64__)

#include <string.h>

#include "kern/act/exp_f32_avx2.h"
#include "kern/half_bits.h"
#include "kern/norm/chains_avx2.h"

/*
 * As attn_avx512.c, with 16 registers of 256 bits: the 16 chains of a dot product are two
 * registers, a tile is 2 keys (or 32 columns of values) and up to 2 heads, and the
 * chains of 8 keys are added up together.
 */
enum { TILE = 2, GROUP = 8, HEADS = 8 };

#define INLINE static inline __attribute__((always_inline))

struct quad {
    __m256 a, b, c, d;
};

/* The running softmax of up to HEADS heads, and the weights of one block. */
struct state {
    float max[HEADS], sum[HEADS];
    float c[TILE];
    _Alignas(32) float p[TILE][ATTN_BLOCK];
};

/* The visible keys j0..j1 of a block whose position 0 lies at these addresses. */
struct block {
    const char *k, *v;
    size_t row_bytes, hd, j0, j1;
};

INLINE struct quad quad_fma(struct quad acc, struct quad x, __m256 s, __m256 t)
{
    return (struct quad){ _mm256_fmadd_ps(x.a, s, acc.a), _mm256_fmadd_ps(x.b, t, acc.b),
                          _mm256_fmadd_ps(x.c, s, acc.c), _mm256_fmadd_ps(x.d, t, acc.d) };
}

INLINE struct quad quad_zero(void)
{
    __m256 z = _mm256_setzero_ps();
    return (struct quad){ z, z, z, z };
}

/* Elements i .. i+7 of a q8_0 row; i and the row's length are multiples of 8. */
INLINE __m256 load_q8(const char *row, size_t i)
{
    const char *block = row + i / KV_Q8_BLOCK * KV_Q8_BYTES;
    f16 d;
    memcpy(&d, block, sizeof d);
    const char *at = block + sizeof d + i % KV_Q8_BLOCK;
    __m128i q = _mm_loadl_epi64((const __m128i *)(const void *)at);
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_set1_epi16((short)d)),
                         _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)));
}

/* Elements i .. i+7 of a row. */
INLINE __m256 load_kv(const char *row, size_t i, enum kv_type t)
{
    if (t == KV_F32)
        return _mm256_loadu_ps((const float *)(const void *)row + i);
    if (t == KV_Q8_0)
        return load_q8(row, i);
    __m128i h = _mm_loadu_si128((const __m128i *)(const void *)(row + 2 * i));
    if (t == KV_F16)
        return _mm256_cvtph_ps(h);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

/* Elements i .. i+n-1 of a row, then zeros to 8; n <= 8. */
static __m256 load_kv_part(const char *row, size_t i, size_t n, enum kv_type t)
{
    char bytes[8 * sizeof(float)] = { 0 };
    if (t == KV_Q8_0)
        return load_q8(row, i);           /* its rows have no parts: n is 8 */
    size_t size = kv_row_bytes(t, 1);
    memcpy(bytes, row + i * size, n * size);
    return load_kv(bytes, 0, t);
}

static __m256 load_part(const float *x, size_t n)
{
    return _mm256_maskload_ps(x, lanes_x8(n));
}

/*
 * Adds up 8 partial sums for 8 keys: lane j of the result is the tree of chains.h, from its
 * second step on, over part[j].
 */
INLINE __m256 halves(__m256 x, __m256 y)
{
    return _mm256_add_ps(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
}

INLINE __m256 pairs(__m256 x, __m256 y)
{
    return _mm256_add_ps(_mm256_shuffle_ps(x, y, 0x44), _mm256_shuffle_ps(x, y, 0xee));
}

INLINE __m256 singles(__m256 x, __m256 y)
{
    return _mm256_add_ps(_mm256_shuffle_ps(x, y, 0x88), _mm256_shuffle_ps(x, y, 0xdd));
}

static __m256 tree_x8(const __m256 p[GROUP])
{
    return singles(pairs(halves(p[0], p[4]), halves(p[1], p[5])),
                   pairs(halves(p[2], p[6]), halves(p[3], p[7])));
}

/* The last hd % 16 elements of the two dot products of one head.  Zeros pad both rows: that
 * can only turn a -0 into +0, and no exponential sees the difference. */
INLINE struct quad dot_tail(struct quad acc, const float *q, const char *const row[2], size_t i,
                            size_t n, enum kv_type t)
{
    size_t low = n < 8 ? n : 8, high = n - low;
    struct quad k = { load_kv_part(row[0], i, low, t), load_kv_part(row[0], i + low, high, t),
                      load_kv_part(row[1], i, low, t), load_kv_part(row[1], i + low, high, t) };
    return quad_fma(acc, k, load_part(q + i, low), load_part(q + i + low, high));
}

/* The first step of the tree, and two keys' eight partial sums in place. */
INLINE void store_chains(__m256 *to, struct quad x)
{
    to[0] = _mm256_add_ps(x.a, x.b);
    to[1] = _mm256_add_ps(x.c, x.d);
}

/* The chains of 2 keys (rows) with n_q heads, to part[head * GROUP + 0..1]. */
INLINE void dot_tile(__m256 *part, const float *q, const char *const row[2], size_t hd,
                     int n_q, enum kv_type t)
{
    struct quad h0 = quad_zero(), h1 = h0;
    const float *q1 = q + hd;
    size_t i = 0;
    for (; i + 16 <= hd; i += 16) {
        struct quad k = { load_kv(row[0], i, t), load_kv(row[0], i + 8, t),
                          load_kv(row[1], i, t), load_kv(row[1], i + 8, t) };
        h0 = quad_fma(h0, k, _mm256_loadu_ps(q + i), _mm256_loadu_ps(q + i + 8));
        if (n_q > 1)
            h1 = quad_fma(h1, k, _mm256_loadu_ps(q1 + i), _mm256_loadu_ps(q1 + i + 8));
    }
    if (i < hd) {
        h0 = dot_tail(h0, q, row, i, hd - i, t);
        if (n_q > 1)
            h1 = dot_tail(h1, q1, row, i, hd - i, t);
    }
    store_chains(part, h0);
    if (n_q > 1)
        store_chains(part + GROUP, h1);
}

/* p[head][j] = q . k_j for the groups that hold a visible key; an invisible key's place is
 * computed from the nearest visible row, so that no other row is read. */
INLINE void block_dots(struct state *st, const float *q, const struct block *b, int n_q,
                       enum kv_type t)
{
    for (size_t g = b->j0 / GROUP; g <= b->j1 / GROUP; g++) {
        __m256 part[TILE * GROUP];
        for (size_t at = 0; at < GROUP; at += 2) {
            const char *row[2];
            for (size_t i = 0; i < 2; i++) {
                size_t j = g * GROUP + at + i;
                j = j < b->j0 ? b->j0 : j > b->j1 ? b->j1 : j;
                row[i] = b->k + j * b->row_bytes;
            }
            dot_tile(part + at, q, row, b->hd, n_q, t);
        }
        for (int h = 0; h < n_q; h++)
            _mm256_store_ps(st->p[h] + g * GROUP, tree_x8(part + h * GROUP));
    }
}

/* All bits set in the lanes of group g's visible keys. */
static __m256 visible(const struct block *b, size_t g)
{
    size_t low = b->j0 > g * GROUP ? b->j0 - g * GROUP : 0;
    size_t end = b->j1 + 1 < (g + 1) * GROUP ? b->j1 + 1 - g * GROUP : GROUP;
    return _mm256_castsi256_ps(_mm256_andnot_si256(lanes_x8(low), lanes_x8(end)));
}

static float max_lane(__m256 v, float max)
{
    float lane[8];
    _mm256_storeu_ps(lane, v);
    for (int j = 0; j < 8; j++)
        max = lane[j] > max ? lane[j] : max;
    return max;
}

/*
 * From dot products to weights, for one head; returns the factor c for what came before.
 * Invisible places repeat a visible score, so they cannot change the maximum.
 */
static float weigh(float *p, float *run_max, float *run_sum, const struct block *b, float scale)
{
    __m256 top = _mm256_set1_ps(-INFINITY), chain[2];
    size_t g0 = b->j0 / GROUP, g1 = b->j1 / GROUP;
    for (size_t g = g0; g <= g1; g++) {
        __m256 s = _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_load_ps(p + g * GROUP));
        _mm256_store_ps(p + g * GROUP, s);
        top = _mm256_max_ps(s, top);       /* drops NaN */
    }
    float max = max_lane(top, *run_max);
    chain[0] = chain[1] = _mm256_setzero_ps();
    for (size_t g = g0; g <= g1; g++) {
        __m256 s = _mm256_load_ps(p + g * GROUP);
        __m256 e = exp_f32_x8(_mm256_sub_ps(s, _mm256_set1_ps(max)));
        _mm256_store_ps(p + g * GROUP, e);
        chain[g % 2] = _mm256_add_ps(chain[g % 2], _mm256_and_ps(e, visible(b, g)));
    }
    float c = *run_max == -INFINITY ? 0 : exp_f32(*run_max - max);
    *run_max = max;
    *run_sum = fmaf(*run_sum, c, chains_sum_x8(chain[0], chain[1]));
    return c;
}

INLINE struct quad load_scaled(const float *acc, float c)
{
    __m256 k = _mm256_set1_ps(c);
    return (struct quad){
        _mm256_mul_ps(_mm256_loadu_ps(acc), k), _mm256_mul_ps(_mm256_loadu_ps(acc + 8), k),
        _mm256_mul_ps(_mm256_loadu_ps(acc + 16), k), _mm256_mul_ps(_mm256_loadu_ps(acc + 24), k)
    };
}

INLINE void store_quad(float *acc, struct quad x)
{
    _mm256_storeu_ps(acc, x.a);
    _mm256_storeu_ps(acc + 8, x.b);
    _mm256_storeu_ps(acc + 16, x.c);
    _mm256_storeu_ps(acc + 24, x.d);
}

/* acc = acc * c + sum_j p_j v_j in 32 columns from i, for n_q heads. */
INLINE void add_columns(float *acc, const struct state *st, const struct block *b, size_t i,
                        int n_q, enum kv_type t)
{
    size_t row_bytes = b->row_bytes, j1 = b->j1;
    const char *row = b->v + b->j0 * row_bytes;
    struct quad h0 = load_scaled(acc + i, st->c[0]), h1 = h0;
    if (n_q > 1)
        h1 = load_scaled(acc + b->hd + i, st->c[1]);
    for (size_t j = b->j0; j <= j1; j++, row += row_bytes) {
        struct quad v = { load_kv(row, i, t), load_kv(row, i + 8, t),
                          load_kv(row, i + 16, t), load_kv(row, i + 24, t) };
        __m256 p = _mm256_set1_ps(st->p[0][j]);
        h0 = quad_fma(h0, v, p, p);
        if (n_q > 1) {
            p = _mm256_set1_ps(st->p[1][j]);
            h1 = quad_fma(h1, v, p, p);
        }
    }
    store_quad(acc + i, h0);
    if (n_q > 1)
        store_quad(acc + b->hd + i, h1);
}

/* The same for the last n <= 8 columns and one head. */
INLINE void add_tail(float *acc, const float *p, float c, const struct block *b, size_t i,
                     enum kv_type t)
{
    size_t n = b->hd - i < 8 ? b->hd - i : 8;
    __m256 sum = _mm256_mul_ps(load_part(acc + i, n), _mm256_set1_ps(c));
    for (size_t j = b->j0; j <= b->j1; j++)
        sum = _mm256_fmadd_ps(load_kv_part(b->v + j * b->row_bytes, i, n, t),
                              _mm256_set1_ps(p[j]), sum);
    _mm256_maskstore_ps(acc + i, lanes_x8(n), sum);
}

/* One block for heads h0 .. h0 + n_q - 1 of the state. */
INLINE void tile_block(float *acc, struct state *st, const float *q, const struct block *b,
                       float scale, size_t h0, int n_q, enum kv_type t)
{
    block_dots(st, q, b, n_q, t);
    for (int h = 0; h < n_q; h++)
        st->c[h] = weigh(st->p[h], &st->max[h0 + (size_t)h], &st->sum[h0 + (size_t)h], b, scale);
    size_t i = 0;
    for (; i + 32 <= b->hd; i += 32)
        add_columns(acc, st, b, i, n_q, t);
    for (; i < b->hd; i += 8)
        for (int h = 0; h < n_q; h++)
            add_tail(acc + (size_t)h * b->hd, st->p[h], st->c[h], b, i, t);
}

/* One block for n_q <= HEADS heads: the number in a tile and the type become constants. */
INLINE void heads_block(float *acc, struct state *st, const float *q, const struct block *b,
                        float scale, size_t n_q, enum kv_type t)
{
    for (size_t h = 0; h < n_q; h += TILE, q += TILE * b->hd, acc += TILE * b->hd)
        if (n_q - h == 1)
            tile_block(acc, st, q, b, scale, h, 1, t);
        else
            tile_block(acc, st, q, b, scale, h, 2, t);
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
    for (size_t i = 0; i < hd; i++)
        out[i] /= sum;
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

void attn_rows_fwd_avx2(float *out, size_t out_stride, const struct attn_rows *a)
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
