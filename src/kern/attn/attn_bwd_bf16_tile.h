/*
 * attn_bwd_bf16_tile: attn_bwd_bf16 with vectors of any width, for CPUs without tiles.  All
 * operands are rounded to bf16 and held as f32; one function makes 32 x 32 sums as one
 * step of TDPBF16PS does, and all five products are made of it.  Scores have queries in their
 * lanes, so that only q and dout are transposed, once for all the keys they see.
 *
 * The includer defines LANES, ROWS and VECS (rows and vectors of sums held in registers),
 * vec, vec_load, vec_store, vec_set, vec_fma, vec_fms, vec_add, vec_mul, vec_zero, vec_exp,
 * vec_widen (LANES bf16 to f32) and round_bf16_here.
 */
#include <string.h>

#include "kern/attn/attn.h"
#include "kern/attn/attn_bwd_rows.h"
#include "kern/quant/quant.h"

enum { T = ATTN_BWD_TILE, WIDE_MAX = ATTN_HD_MAX };

struct tile {
    const struct attn_bwd *a;
    size_t wide, g, i0, n_i;                         /* hd to whole steps; the tile of queries */
    _Alignas(64) float q[T * WIDE_MAX], dout[T * WIDE_MAX];            /* [query][wide] */
    _Alignas(64) float qt[WIDE_MAX * T], dout_t[WIDE_MAX * T];         /* [wide][query] */
    _Alignas(64) float k[T * WIDE_MAX], v[T * WIDE_MAX];               /* [key][wide] */
    _Alignas(64) float dq[T * WIDE_MAX], sum[T * WIDE_MAX];
    _Alignas(64) float p[T * T], ds[T * T];                            /* [key][query] */
    _Alignas(64) float lse[T], ds_mean[T];
    _Alignas(64) bf16 rounded[T * WIDE_MAX];
};

/* An operand whose rows are broadcast: element (i, k) at a[i * row + k * step]. */
struct left {
    const float *a;
    size_t row, step;
};

/* ROWS x VECS vectors of c += one step: even and odd chains over 16 pairs from +0. */
static inline void step_block(float *c, size_t c_stride, struct left l, const float *b,
                              size_t b_stride)
{
    vec e[ROWS][VECS], o[ROWS][VECS];
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
        for (int v = 0; v < VECS; v++)
            e[i][v] = o[i][v] = vec_zero();
    for (size_t k = 0; k < T; k += 2, b += 2 * b_stride, l.a += 2 * l.step)
#pragma GCC unroll 4
        for (int v = 0; v < VECS; v++) {
            vec even = vec_load(b + LANES * v), odd = vec_load(b + b_stride + LANES * v);
#pragma GCC unroll 4
            for (int i = 0; i < ROWS; i++) {
                e[i][v] = vec_fma(vec_set(l.a[(size_t)i * l.row]), even, e[i][v]);
                o[i][v] = vec_fma(vec_set(l.a[(size_t)i * l.row + l.step]), odd, o[i][v]);
            }
        }
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
        for (int v = 0; v < VECS; v++) {
            float *at = c + (size_t)i * c_stride + LANES * v;
            vec_store(at, vec_add(vec_load(at), vec_add(e[i][v], o[i][v])));
        }
}

/* c[T][width] += one step of T; width a multiple of T. */
static inline void add_step(float *c, size_t c_stride, struct left l, const float *b,
                            size_t b_stride, size_t width)
{
    for (size_t i = 0; i < T; i += ROWS) {
        struct left rows = { l.a + i * l.row, l.row, l.step };
        for (size_t j = 0; j < width; j += LANES * VECS)
            step_block(c + i * c_stride + j, c_stride, rows, b + j, b_stride);
    }
}

/* n values rounded to bf16 and back; n a multiple of LANES. */
static void round_all(float *x, bf16 *half, size_t n)
{
    round_bf16_here(half, x, n);
    for (size_t i = 0; i < n; i += LANES)
        vec_store(x + i, vec_widen(half + i));
}

/* n rows of hd floats, rounded if `half` is given; zeros beside and below them. */
static void load_rows(float *to, bf16 *half, size_t wide, const float *x, size_t stride, size_t n,
                      size_t hd)
{
    memset(to, 0, T * wide * sizeof *to);
    for (size_t r = 0; r < n; r++)
        memcpy(to + r * wide, x + r * stride, hd * sizeof *to);
    if (half)
        round_all(to, half, T * wide);
}

static void store_rows(float *to, size_t stride, const float *x, size_t wide, size_t n, size_t hd)
{
    for (size_t r = 0; r < n; r++)
        memcpy(to + r * stride, x + r * wide, hd * sizeof *to);
}

static void transpose(float *to, const float *x, size_t wide)
{
    for (size_t c = 0; c < wide; c++)
        for (size_t r = 0; r < T; r++)
            to[c * T + r] = x[r * wide + c];
}

static void begin_queries(struct tile *t, size_t g, size_t i0)
{
    const struct attn_bwd *a = t->a;
    size_t at = i0 * a->out_stride + g * a->hd;
    t->g = g;
    t->i0 = i0;
    t->n_i = a->n - i0 < T ? a->n - i0 : T;
    load_rows(t->q, t->rounded, t->wide, a->q + i0 * a->q_stride + g * a->hd, a->q_stride, t->n_i,
              a->hd);
    load_rows(t->dout, t->rounded, t->wide, a->dout + at, a->out_stride, t->n_i, a->hd);
    transpose(t->qt, t->q, t->wide);
    transpose(t->dout_t, t->dout, t->wide);
    memset(t->dq, 0, T * t->wide * sizeof *t->dq);
    for (size_t i = 0; i < T; i++) {
        size_t row = at + i * a->out_stride;
        t->lse[i] = i < t->n_i ? a->lse[(i0 + i) * a->lse_stride + g] : 0;
        t->ds_mean[i] = i < t->n_i ? a->scale * row_dot(a->dout + row, a->out + row, a->hd) : 0;
    }
}

/* x[key][query]: zeros where the query does not see the key. */
static void hide(float *x, const struct tile *t, size_t j0)
{
    for (size_t j = 0; j < T; j++, x += T) {
        size_t first = j0 + j, end = first < t->a->n ? end_query(t->a, first) : 0;
        for (size_t i = 0; i < T; i++)
            if (t->i0 + i < first || t->i0 + i >= end)
                x[i] = 0;
    }
}

/* From dot products in p and ds to weights and their gradients, rounded. */
static void weigh(struct tile *t, size_t j0)
{
    vec scale = vec_set(t->a->scale);
    for (size_t at = 0; at < T * T; at += LANES) {
        vec p = vec_exp(vec_fms(scale, vec_load(t->p + at), vec_load(t->lse + at % T)));
        vec d = vec_fms(scale, vec_load(t->ds + at), vec_load(t->ds_mean + at % T));
        vec_store(t->p + at, p);
        vec_store(t->ds + at, vec_mul(p, d));
    }
    hide(t->p, t, j0);
    hide(t->ds, t, j0);
    round_all(t->p, t->rounded, T * T);
    round_all(t->ds, t->rounded, T * T);
}

/* dk or dv of n keys += w^T rows. */
static void add_to_keys(struct tile *t, float *to, const float *w, const float *rows, size_t n)
{
    const struct attn_bwd *a = t->a;
    load_rows(t->sum, NULL, t->wide, to, a->kv_stride, n, a->hd);
    add_step(t->sum, t->wide, (struct left){ w, T, 1 }, rows, t->wide, t->wide);
    store_rows(to, a->kv_stride, t->sum, t->wide, n, a->hd);
}

static void add_tile(struct tile *t, size_t j0)
{
    const struct attn_bwd *a = t->a;
    size_t n = a->n - j0 < T ? a->n - j0 : T, at = j0 * a->kv_stride;
    load_rows(t->k, t->rounded, t->wide, a->k + at, a->kv_stride, n, a->hd);
    load_rows(t->v, t->rounded, t->wide, a->v + at, a->kv_stride, n, a->hd);
    memset(t->p, 0, sizeof t->p);
    memset(t->ds, 0, sizeof t->ds);
    for (size_t c = 0; c < t->wide; c += T) {
        add_step(t->p, T, (struct left){ t->k + c, t->wide, 1 }, t->qt + c * T, T, T);
        add_step(t->ds, T, (struct left){ t->v + c, t->wide, 1 }, t->dout_t + c * T, T, T);
    }
    weigh(t, j0);
    add_step(t->dq, t->wide, (struct left){ t->ds, 1, T }, t->k, t->wide, t->wide);
    add_to_keys(t, a->dk + at, t->ds, t->q, n);
    add_to_keys(t, a->dv + at, t->p, t->dout, n);
}

static void bwd_bf16(const struct attn_bwd *a)
{
    struct tile t;
    t.a = a;
    t.wide = (a->hd + T - 1) / T * T;
    clear_gradients(a);
    for (size_t b = 0; b < a->n; b += ATTN_BWD_BLOCK)
        for (size_t g = 0; g < a->n_q; g++)
            for (size_t i0 = b; i0 < a->n && i0 < b + ATTN_BWD_BLOCK; i0 += T) {
                begin_queries(&t, g, i0);
                for (size_t j0 = first_key(a, i0) / T * T; j0 <= i0; j0 += T)
                    add_tile(&t, j0);
                store_rows(a->dq + i0 * a->q_stride + g * a->hd, a->q_stride, t.dq, t.wide,
                           t.n_i, a->hd);
            }
}
