#include "kern/attn/attn_bwd.h"

#if defined(__x86_64__)

#include <string.h>

#include "kern/act/exp_f32_avx512.h"
#include "kern/attn/attn_bwd_rows.h"
#include "kern/attn/attn_tile_avx512.h"
#include "kern/attn/attn_tree_avx512.h"

/*
 * Blocks of 64 keys, copied and transposed once; every head's tiles of 32 queries that see the
 * block come by.  The two dot products have keys in their lanes, 4 queries by up to 64 keys in
 * 16 accumulators; the three sums have columns in their lanes, 4 rows by 64 columns.  All
 * operands lie in L1 and L2; the bound is the two fma units.
 */
enum { KEYS = ATTN_BLOCK, TILE = 32 };

struct block {
    const struct attn_bwd *a;
    size_t wide, j0, n_keys, i0, n;       /* the block of keys, and the tile of queries */
    _Alignas(64) float k[KEYS * PAD_MAX], v[KEYS * PAD_MAX];           /* [KEYS][wide] */
    _Alignas(64) float kt[PAD_MAX * KEYS], vt[PAD_MAX * KEYS];         /* [wide][KEYS] */
    _Alignas(64) float dk[KEYS * PAD_MAX], dv[KEYS * PAD_MAX];
    _Alignas(64) float q[TILE * PAD_MAX], dout[TILE * PAD_MAX], dq[TILE * PAD_MAX];
    _Alignas(64) float lse[TILE], ds_mean[TILE];
    _Alignas(64) float p[TILE * KEYS], ds[TILE * KEYS];                /* [query][key] */
};

/* n of `rows` rows, each continued with zeros to `wide`; the other rows zeros. */
static void copy_rows(float *to, size_t rows, size_t wide, const float *x, size_t stride,
                      size_t n, size_t hd)
{
    for (size_t r = 0; r < rows; r++, to += wide)
        for (size_t c = 0; c < wide; c += LANES) {
            __mmask16 m = r < n ? lanes_x16(hd - c < LANES ? hd - c : LANES) : 0;
            _mm512_store_ps(to + c, _mm512_maskz_loadu_ps(m, x + (r < n ? r : 0) * stride + c));
        }
}

static void store_rows(float *to, size_t stride, const float *x, size_t wide, size_t n, size_t hd)
{
    for (size_t r = 0; r < n; r++)
        memcpy(to + r * stride, x + r * wide, hd * sizeof *to);
}

static void load_keys(struct block *b, size_t j0)
{
    const struct attn_bwd *a = b->a;
    b->j0 = j0;
    b->n_keys = a->n - j0 < KEYS ? a->n - j0 : KEYS;
    size_t rows = padded(b->n_keys), at = j0 * a->kv_stride;
    copy_rows(b->k, rows, b->wide, a->k + at, a->kv_stride, b->n_keys, a->hd);
    copy_rows(b->v, rows, b->wide, a->v + at, a->kv_stride, b->n_keys, a->hd);
    for (size_t j = 0; j < rows; j += LANES) {
        transpose_16_rows(b->kt + j, b->k + j * b->wide, b->wide, b->wide);
        transpose_16_rows(b->vt + j, b->v + j * b->wide, b->wide, b->wide);
    }
    memset(b->dk, 0, rows * b->wide * sizeof *b->dk);
    memset(b->dv, 0, rows * b->wide * sizeof *b->dv);
}

/* scale * D of 16 rows: row_dot for n of them, zeros for the rest. */
static void mean_rows(float *to, const struct attn_bwd *a, const float *dout, const float *out,
                      size_t n)
{
    __m512 part[16];
    for (size_t r = 0; r < 16; r++) {
        part[r] = _mm512_setzero_ps();
        for (size_t c = 0; r < n && c < a->hd; c += 16) {
            __mmask16 m = lanes_x16(a->hd - c < 16 ? a->hd - c : 16);
            size_t at = r * a->out_stride + c;
            part[r] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, dout + at),
                                      _mm512_maskz_loadu_ps(m, out + at), part[r]);
        }
    }
    _mm512_store_ps(to, _mm512_mul_ps(_mm512_set1_ps(a->scale), tree_x16(part)));
}

static void load_queries(struct block *b, size_t g, size_t i0)
{
    const struct attn_bwd *a = b->a;
    size_t q = i0 * a->q_stride + g * a->hd, at = i0 * a->out_stride + g * a->hd;
    b->i0 = i0;
    b->n = a->n - i0 < TILE ? a->n - i0 : TILE;
    copy_rows(b->q, TILE, b->wide, a->q + q, a->q_stride, b->n, a->hd);
    copy_rows(b->dout, TILE, b->wide, a->dout + at, a->out_stride, b->n, a->hd);
    copy_rows(b->dq, b->n, b->wide, a->dq + q, a->q_stride, b->n, a->hd);
    for (size_t i = 0; i < TILE; i++)
        b->lse[i] = i < b->n ? a->lse[(i0 + i) * a->lse_stride + g] : 0;
    for (size_t i = 0; i < b->n; i += LANES)
        mean_rows(b->ds_mean + i, a, a->dout + at + i * a->out_stride,
                  a->out + at + i * a->out_stride, b->n - i < LANES ? b->n - i : LANES);
}

/* Rows of weights, w[i * row + r * step] for the sums i < GROUP and the summands r. */
struct weights {
    const float *w;
    size_t row, step;
};

/* acc[i] += sum of w[i][r] x[r] for begin <= r < end ascending, in 16 nv columns, for n sums. */
INLINE void add_columns(float *acc, struct weights w, const float *x, size_t wide, size_t begin,
                        size_t end, int n, int nv)
{
    __m512 a[GROUP][4];
#pragma GCC unroll 4
    for (int i = 0; i < n; i++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            a[i][v] = _mm512_loadu_ps(acc + (size_t)i * wide + LANES * v);
    x += begin * wide;
    w.w += begin * w.step;
    for (size_t r = begin; r < end; r++, x += wide, w.w += w.step) {
        __m512 y[4];
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            y[v] = in_register(_mm512_loadu_ps(x + LANES * v));
#pragma GCC unroll 4
        for (int i = 0; i < n; i++) {
            __m512 s = _mm512_set1_ps(w.w[(size_t)i * w.row]);
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++)
                a[i][v] = _mm512_fmadd_ps(s, y[v], a[i][v]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < n; i++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            _mm512_storeu_ps(acc + (size_t)i * wide + LANES * v, a[i][v]);
}

INLINE void add_wide(float *acc, struct weights w, const float *x, size_t wide, size_t begin,
                     size_t end, int n)
{
    size_t c = 0;
    for (; c + 4 * LANES <= wide; c += 4 * LANES)
        add_columns(acc + c, w, x + c, wide, begin, end, n, 4);
    for (; c < wide; c += LANES)
        add_columns(acc + c, w, x + c, wide, begin, end, n, 1);
}

static inline void add_one_sum(float *acc, struct weights w, const float *x, size_t wide,
                               size_t begin, size_t end)
{
    if (begin < end)
        add_wide(acc, w, x, wide, begin, end, 1);
}

/*
 * acc[i] += sum of w[i][r] x[r] for begin[i] <= r < end[i] ascending, for n <= GROUP sums;
 * rows of acc and x are `wide` floats.  What all sums have in common is done together.
 */
static void add_group(float *acc, struct weights w, const float *x, size_t wide,
                      const size_t begin[GROUP], const size_t end[GROUP], size_t n)
{
    size_t low = 0, high = (size_t)-1;
    for (size_t i = 0; i < n; i++) {
        low = begin[i] > low ? begin[i] : low;
        high = end[i] < high ? end[i] : high;
    }
    if (n < GROUP || low >= high)
        low = high = (size_t)-1;          /* nothing in common: each alone */
    for (size_t i = 0; i < n; i++) {
        struct weights one = { w.w + i * w.row, 0, w.step };
        add_one_sum(acc + i * wide, one, x, wide, begin[i], low < end[i] ? low : end[i]);
    }
    if (low == high)
        return;
    add_wide(acc, w, x, wide, low, high, GROUP);
    for (size_t i = 0; i < n; i++) {
        struct weights one = { w.w + i * w.row, 0, w.step };
        add_one_sum(acc + i * wide, one, x, wide, high, end[i]);
    }
}

/* dot[i][key] = x_i . y_key for GROUP rows and 16 n keys: one fma chain each. */
INLINE void dot_keys(__m512 acc[GROUP][4], const float *x, size_t wide, const float *yt,
                     size_t hd, int n)
{
#pragma GCC unroll 4
    for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 4
        for (int g = 0; g < n; g++)
            acc[i][g] = _mm512_setzero_ps();
    for (size_t c = 0; c < hd; c++) {
        __m512 y[4];
#pragma GCC unroll 4
        for (int g = 0; g < n; g++)
            y[g] = in_register(_mm512_load_ps(yt + c * KEYS + LANES * g));
#pragma GCC unroll 4
        for (int i = 0; i < GROUP; i++) {
            __m512 s = _mm512_set1_ps(x[(size_t)i * wide + c]);
#pragma GCC unroll 4
            for (int g = 0; g < n; g++)
                acc[i][g] = _mm512_fmadd_ps(s, y[g], acc[i][g]);
        }
    }
}

/* P of GROUP queries from row u and of 16 n keys from `low`, then dS. */
INLINE void weigh_keys(struct block *b, size_t u, size_t low, int n)
{
    __m512 acc[GROUP][4], scale = _mm512_set1_ps(b->a->scale);
    float *p = b->p + u * KEYS + low, *ds = b->ds + u * KEYS + low;
    dot_keys(acc, b->q + u * b->wide, b->wide, b->kt + low, b->a->hd, n);
#pragma GCC unroll 4
    for (int i = 0; i < GROUP; i++) {
        __m512 lse = _mm512_set1_ps(b->lse[u + (size_t)i]);
#pragma GCC unroll 4
        for (int g = 0; g < n; g++)
            _mm512_store_ps(p + i * KEYS + LANES * g,
                            exp_f32_x16(_mm512_fmsub_ps(scale, acc[i][g], lse)));
    }
    dot_keys(acc, b->dout + u * b->wide, b->wide, b->vt + low, b->a->hd, n);
#pragma GCC unroll 4
    for (int i = 0; i < GROUP; i++) {
        __m512 mean = _mm512_set1_ps(b->ds_mean[u + (size_t)i]);
#pragma GCC unroll 4
        for (int g = 0; g < n; g++) {
            __m512 d = _mm512_fmsub_ps(scale, acc[i][g], mean);
            d = _mm512_mul_ps(_mm512_load_ps(p + i * KEYS + LANES * g), d);
            _mm512_store_ps(ds + i * KEYS + LANES * g, d);
        }
    }
}

static void weigh(struct block *b, size_t u, size_t low, size_t n)
{
    switch (n) {
    case 1:  weigh_keys(b, u, low, 1); break;
    case 2:  weigh_keys(b, u, low, 2); break;
    case 3:  weigh_keys(b, u, low, 3); break;
    default: weigh_keys(b, u, low, 4); break;
    }
}

/* Queries u .. u + n - 1 of the tile: P, dS, and dQ. */
static void group_queries(struct block *b, size_t u, size_t n)
{
    size_t begin[GROUP] = { 0 }, end[GROUP] = { 0 }, low = KEYS, high = 0;
    for (size_t i = 0; i < n; i++) {
        size_t pos = b->i0 + u + i, first = first_key(b->a, pos);
        begin[i] = first > b->j0 ? first - b->j0 : 0;
        end[i] = pos < b->j0 ? 0 : pos - b->j0 < b->n_keys ? pos - b->j0 + 1 : b->n_keys;
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
    weigh(b, u, low, (high - low + LANES - 1) / LANES);
    add_group(b->dq + u * b->wide, (struct weights){ b->ds + u * KEYS, KEYS, 1 }, b->k, b->wide,
              begin, end, n);
}

/* dK and dV of keys j .. j + n - 1 from the queries of the tile that see them. */
static void group_keys(struct block *b, size_t j, size_t n)
{
    size_t begin[GROUP] = { 0 }, end[GROUP] = { 0 };
    for (size_t i = 0; i < n; i++) {
        size_t pos = b->j0 + j + i, last = end_query(b->a, pos);
        begin[i] = pos > b->i0 ? pos - b->i0 : 0;
        end[i] = last < b->i0 ? 0 : last - b->i0 < b->n ? last - b->i0 : b->n;
    }
    add_group(b->dk + j * b->wide, (struct weights){ b->ds + j, 1, KEYS }, b->q, b->wide, begin,
              end, n);
    add_group(b->dv + j * b->wide, (struct weights){ b->p + j, 1, KEYS }, b->dout, b->wide, begin,
              end, n);
}

static void add_tile(struct block *b)
{
    for (size_t u = 0; u < b->n; u += GROUP)
        group_queries(b, u, b->n - u < GROUP ? b->n - u : GROUP);
    for (size_t j = 0; j < b->n_keys; j += GROUP)
        group_keys(b, j, b->n_keys - j < GROUP ? b->n_keys - j : GROUP);
}

static void add_keys(struct block *b, size_t j0)
{
    const struct attn_bwd *a = b->a;
    size_t last = j0 + KEYS < a->n ? j0 + KEYS - 1 : a->n - 1, end = end_query(a, last);
    load_keys(b, j0);
    for (size_t g = 0; g < a->n_q; g++)
        for (size_t i0 = j0; i0 < end; i0 += TILE) {
            load_queries(b, g, i0);
            add_tile(b);
            store_rows(a->dq + i0 * a->q_stride + g * a->hd, a->q_stride, b->dq, b->wide, b->n,
                       a->hd);
        }
    store_rows(a->dk + j0 * a->kv_stride, a->kv_stride, b->dk, b->wide, b->n_keys, a->hd);
    store_rows(a->dv + j0 * a->kv_stride, a->kv_stride, b->dv, b->wide, b->n_keys, a->hd);
}

void attn_bwd_avx512(const struct attn_bwd *a)
{
    struct block b;
    b.a = a;
    b.wide = padded(a->hd);
    clear_gradients(a);
    for (size_t j0 = 0; j0 < a->n; j0 += KEYS)
        add_keys(&b, j0);
}

#endif
