#include "kern/attn/attn_row.h"

#if defined(__x86_64__)

#include <string.h>

#include "kern/act/exp_f32_avx512.h"
#include "kern/attn/attn_tile_avx512.h"
#include "kern/half_bits.h"

/*
 * Tiles of TILE queries (rows times heads) by blocks of 64 keys.  The keys of a block are
 * converted and transposed once for a tile ([hd][64], 16 KiB at hd 64), the values converted
 * once; both then come from L1 or L2 for every GROUP of 4 queries.
 *   scores   lanes are keys; one of the 16 chains at a time, for 4 queries and up to 64 keys
 *            in 16 accumulators: 4 keys' vectors and 4 broadcasts for 16 fma.  A finished
 *            chain is added to the ones before it as in the tree of chains.h
 *   sums     4 queries by 64 columns in 16 accumulators, keys ascending
 * For hd 64 that is 2048 fma, 240 additions and about 500 operations of softmax for 4 queries
 * and 64 keys: the bound is the two fma units, at three quarters of their roof.
 * Below FEW queries the transposing costs more than it saves: those go row by row.
 */
enum { TILE = 192, KEYS = ATTN_BLOCK, BRANCHES = 5, FEW = 16 };

/* One query (a row and a head) and its running softmax; it sees positions first .. last. */
struct query {
    const float *q;
    uint64_t first, last;
    float max, sum;
};

struct tile {
    struct query query[TILE];
    size_t n, hd, wide;
    float scale;
    _Alignas(64) float acc[TILE * PAD_MAX];           /* [query][wide] */
    _Alignas(64) float kt[PAD_MAX * KEYS], v[KEYS * PAD_MAX];
    _Alignas(64) float rows[LANES * PAD_MAX];         /* 16 keys on their way into kt */
    _Alignas(64) float p[GROUP * KEYS];
};

/* Elements i .. i+15 of a row as f32, those outside the mask 0; q8_0 rows have no such tail. */
INLINE __m512 load_kv(const char *row, size_t i, __mmask16 m, enum kv_type t)
{
    if (t == KV_F32)
        return _mm512_maskz_loadu_ps(m, (const float *)(const void *)row + i);
    if (t == KV_Q8_0) {
        const char *block = row + i / KV_Q8_BLOCK * KV_Q8_BYTES;
        f16 d;
        memcpy(&d, block, sizeof d);
        const char *at = block + sizeof d + i % KV_Q8_BLOCK;
        __m128i q = _mm_loadu_si128((const __m128i *)(const void *)at);
        return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_set1_epi16((short)d)),
                             _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)));
    }
    __m256i h = _mm256_maskz_loadu_epi16(m, row + 2 * i);
    if (t == KV_F16)
        return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* n rows of hd elements, `bytes` apart, as f32 rows of padded(hd). */
INLINE void widen(float *to, const char *row, size_t bytes, size_t n, size_t hd, enum kv_type t)
{
    for (; n; n--, row += bytes) {
        size_t i = 0;
        for (; i + LANES <= hd; i += LANES, to += LANES)
            _mm512_store_ps(to, load_kv(row, i, 0xffff, t));
        if (i < hd) {
            _mm512_store_ps(to, load_kv(row, i, lanes_x16(hd - i), t));
            to += LANES;
        }
    }
}

static void widen_rows(float *to, const char *row, size_t bytes, size_t n, size_t hd,
                       enum kv_type t)
{
    switch (t) {
    case KV_F32:  widen(to, row, bytes, n, hd, KV_F32); break;
    case KV_F16:  widen(to, row, bytes, n, hd, KV_F16); break;
    case KV_BF16: widen(to, row, bytes, n, hd, KV_BF16); break;
    case KV_Q8_0: widen(to, row, bytes, n, hd, KV_Q8_0); break;
    }
}

/* Keys and values j0 .. j1 of the block at k and v into the tile; the other keys of a
 * vector are what they were: their scores are looked at by nobody. */
static void load_block(struct tile *t, const struct attn_rows *a, const char *k, const char *v,
                       size_t j0, size_t j1)
{
    size_t bytes = a->kv_stride, end = j1 + 1;
    widen_rows(t->v + j0 * t->wide, v + j0 * bytes, bytes, end - j0, t->hd, a->kv_type);
    for (size_t j = j0; j < end; j = (j / LANES + 1) * LANES) {
        size_t next = (j / LANES + 1) * LANES, n = (next < end ? next : end) - j;
        widen_rows(t->rows + j % LANES * t->wide, k + j * bytes, bytes, n, t->hd, a->kv_type);
        transpose_16_rows(t->kt + j / LANES * LANES, t->rows, t->wide, t->wide);
    }
}

/* Chain j of GROUP queries with 16 n keys. */
INLINE void dot_chain(__m512 acc[GROUP][4], const float *const q[GROUP], const float *kt,
                      size_t j, size_t hd, int n)
{
#pragma GCC unroll 4
    for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 4
        for (int g = 0; g < n; g++)
            acc[i][g] = _mm512_setzero_ps();
    for (size_t c = j; c < hd; c += 16) {
        __m512 k[4];
#pragma GCC unroll 4
        for (int g = 0; g < n; g++)
            k[g] = _mm512_load_ps(kt + c * KEYS + LANES * g);
#pragma GCC unroll 4
        for (int i = 0; i < GROUP; i++) {
            __m512 x = _mm512_set1_ps(q[i][c]);
#pragma GCC unroll 4
            for (int g = 0; g < n; g++)
                acc[i][g] = _mm512_fmadd_ps(x, k[g], acc[i][g]);
        }
    }
}

/*
 * p[i][key] = q_i k for GROUP queries and 16 n keys.  The chains come in the order in which the
 * tree of chains.h meets them: after chain number c, the sums of as many pairs are complete as c
 * has ones at its end.
 */
INLINE void dot_keys(float *p, const float *const q[GROUP], const float *kt, size_t hd, int n)
{
    static const unsigned char order[16] = { 0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7,
                                             15 };
    __m512 branch[BRANCHES][GROUP][4];
    size_t depth = 0;
    for (unsigned c = 0; c < 16; c++) {
        __m512 acc[GROUP][4];
        dot_chain(acc, q, kt, order[c], hd, n);
        for (unsigned ones = c; ones & 1; ones >>= 1) {
            depth--;
#pragma GCC unroll 4
            for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 4
                for (int g = 0; g < n; g++)
                    acc[i][g] = _mm512_add_ps(branch[depth][i][g], acc[i][g]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 4
            for (int g = 0; g < n; g++)
                branch[depth][i][g] = acc[i][g];
        depth++;
    }
#pragma GCC unroll 4
    for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 4
        for (int g = 0; g < n; g++)
            _mm512_store_ps(p + i * KEYS + LANES * g, branch[0][i][g]);
}

static void dots(float *p, const float *const q[GROUP], const float *kt, size_t hd, size_t n)
{
    switch (n) {
    case 1:  dot_keys(p, q, kt, hd, 1); break;
    case 2:  dot_keys(p, q, kt, hd, 2); break;
    case 3:  dot_keys(p, q, kt, hd, 3); break;
    default: dot_keys(p, q, kt, hd, 4); break;
    }
}

/* Which of the 16 keys from `at` on lie in j0 .. j1. */
static __mmask16 visible(size_t at, size_t j0, size_t j1)
{
    size_t low = j0 > at ? j0 - at : 0, end = j1 + 1 < at + LANES ? j1 + 1 - at : LANES;
    return low < end ? (__mmask16)(lanes_x16(end) & ~lanes_x16(low)) : 0;
}

/* From dot products to weights of keys j0 .. j1, for one query; acc is scaled. */
static void weigh(float *p, float *acc, struct query *q, size_t wide, float scale, size_t j0,
                  size_t j1)
{
    __m512 top = _mm512_set1_ps(-INFINITY), chain = _mm512_setzero_ps();
    size_t begin = j0 / LANES * LANES;
    for (size_t j = begin; j <= j1; j += LANES) {
        __m512 s = _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_load_ps(p + j));
        _mm512_store_ps(p + j, s);
        top = _mm512_mask_max_ps(top, visible(j, j0, j1), s, top);       /* drops NaN */
    }
    float max = _mm512_reduce_max_ps(top);
    max = max > q->max ? max : q->max;
    for (size_t j = begin; j <= j1; j += LANES) {
        __m512 e = exp_f32_x16(_mm512_sub_ps(_mm512_load_ps(p + j), _mm512_set1_ps(max)));
        _mm512_store_ps(p + j, e);
        chain = _mm512_mask_add_ps(chain, visible(j, j0, j1), chain, e);
    }
    float c = q->max == -INFINITY ? 0 : exp_f32(q->max - max);
    q->max = max;
    q->sum = fmaf(q->sum, c, chains_sum_x16(chain));
    for (size_t i = 0; c != 1 && i < wide; i += LANES)
        _mm512_store_ps(acc + i, _mm512_mul_ps(_mm512_load_ps(acc + i), _mm512_set1_ps(c)));
}

/* Queries u .. u + n - 1 with the block of keys that begins at position `at`. */
static void group_block(struct tile *t, size_t u, size_t n, uint64_t at)
{
    const float *q[GROUP];
    size_t begin[GROUP], end[GROUP], low = KEYS, high = 0;
    for (size_t i = 0; i < GROUP; i++) {
        const struct query *x = &t->query[u + (i < n ? i : n - 1)];
        q[i] = x->q;
        begin[i] = x->first > at ? (size_t)(x->first - at) : 0;
        end[i] = x->last < at ? 0 : x->last - at < KEYS ? (size_t)(x->last - at) + 1 : KEYS;
        if (begin[i] >= end[i])
            begin[i] = end[i] = 0;        /* sees none of them */
        else {
            low = begin[i] < low ? begin[i] : low;
            high = end[i] > high ? end[i] : high;
        }
    }
    if (low >= high)
        return;
    low = low / LANES * LANES;
    dots(t->p + low, q, t->kt + low, t->hd, (high - low + LANES - 1) / LANES);
    for (size_t i = 0; i < n; i++)
        if (begin[i] < end[i])
            weigh(t->p + i * KEYS, t->acc + (u + i) * t->wide, &t->query[u + i], t->wide,
                  t->scale, begin[i], end[i] - 1);
    add_group(t->acc + u * t->wide, (struct weights){ t->p, KEYS, 1 }, t->v, t->wide, begin, end,
              n);
}

static void attend(struct tile *t, const struct attn_rows *a)
{
    uint64_t first = t->query[0].first, last = t->query[t->n - 1].last;
    for (uint64_t b = first / KEYS; b <= last / KEYS; b++) {
        uint64_t at = b * KEYS;
        size_t offset = (size_t)(at % a->ring) * a->kv_stride;
        load_block(t, a, (const char *)a->k + offset, (const char *)a->v + offset,
                   first > at ? (size_t)(first - at) : 0,
                   last - at < KEYS ? (size_t)(last - at) : KEYS - 1);
        for (size_t u = 0; u < t->n; u += GROUP)
            group_block(t, u, t->n - u < GROUP ? t->n - u : GROUP, at);
    }
}

/* Rows r .. r + n_rows - 1 and heads h .. h + n_heads - 1 become the queries of the tile. */
static void begin_tile(struct tile *t, const struct attn_rows *a, size_t r, size_t n_rows,
                       size_t h, size_t n_heads)
{
    t->n = n_rows * n_heads;
    for (size_t u = 0; u < t->n; u++) {
        size_t row = r + u / n_heads;
        uint64_t pos = a->first_pos + row;
        t->query[u] = (struct query){
            .q = a->q + row * a->q_stride + (h + u % n_heads) * a->hd, .last = pos,
            .first = attn_first_seen(a, pos), .max = -INFINITY,
        };
    }
    memset(t->acc, 0, t->n * t->wide * sizeof *t->acc);
}

static void divide(float *out, const float *acc, size_t hd, float sum)
{
    for (size_t i = 0; i < hd; i += LANES) {
        __mmask16 m = lanes_x16(hd - i < LANES ? hd - i : LANES);
        __m512 y = _mm512_div_ps(_mm512_load_ps(acc + i), _mm512_set1_ps(sum));
        _mm512_mask_storeu_ps(out + i, m, y);
    }
}

static void end_tile(float *out, size_t out_stride, const struct tile *t,
                     const struct attn_rows *a, size_t r, size_t h, size_t n_heads)
{
    for (size_t u = 0; u < t->n; u++) {
        size_t row = r + u / n_heads, head = h + u % n_heads;
        const struct query *q = &t->query[u];
        divide(out + row * out_stride + head * t->hd, t->acc + u * t->wide, t->hd, q->sum);
        if (a->lse)
            a->lse[row * a->lse_stride + head] = attn_lse(q->max, q->sum);
    }
}

static void in_tiles(float *out, size_t out_stride, const struct attn_rows *a)
{
    struct tile t;
    size_t n_heads = a->n_q < TILE ? a->n_q : TILE, n_rows = TILE / n_heads;
    t.hd = a->hd;
    t.wide = padded(a->hd);
    t.scale = a->scale;
    memset(t.rows, 0, sizeof t.rows);
    for (size_t r = 0; r < a->n_rows; r += n_rows)
        for (size_t h = 0; h < a->n_q; h += n_heads) {
            size_t rows = a->n_rows - r < n_rows ? a->n_rows - r : n_rows;
            size_t heads = a->n_q - h < n_heads ? a->n_q - h : n_heads;
            begin_tile(&t, a, r, rows, h, heads);
            attend(&t, a);
            end_tile(out, out_stride, &t, a, r, h, heads);
        }
}

void attn_rows_fwd_avx512(float *out, size_t out_stride, const struct attn_rows *a)
{
    if (a->n_rows * a->n_q < FEW)
        attn_few_avx512(out, out_stride, a);
    else
        in_tiles(out, out_stride, a);
}

#endif
