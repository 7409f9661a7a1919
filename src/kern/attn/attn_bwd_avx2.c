#include "kern/attn/attn_bwd.h"

#if defined(__x86_64__)

#include <string.h>

#include "kern/act/exp_f32_avx2.h"
#include "kern/attn/attn.h"
#include "kern/attn/attn_bwd_rows.h"

/*
 * Tiles of 32 keys, copied and transposed once; the queries of every head that see a key of
 * the tile come by one at a time.  Both dot products run together, 32 keys in 2 x 4 accumulators.
 * dK and dV are read and written for every query: L1's stores are the bound.
 */
enum { T = ATTN_BWD_TILE, LANES = 8, VECS = T / LANES, WIDE_MAX = ATTN_HD_MAX };

struct tile {
    const struct attn_bwd *a;
    size_t wide, j0, n;                                  /* hd to whole tiles; keys */
    _Alignas(32) float k[T * WIDE_MAX], kt[WIDE_MAX * T], vt[WIDE_MAX * T];
    _Alignas(32) float dk[T * WIDE_MAX], dv[T * WIDE_MAX];
    _Alignas(32) float q[WIDE_MAX], dout[WIDE_MAX], dq[WIDE_MAX], p[T], ds[T];
};

static void load_keys(struct tile *t, size_t j0)
{
    const struct attn_bwd *a = t->a;
    size_t used = T * t->wide * sizeof(float);
    t->j0 = j0;
    t->n = a->n - j0 < T ? a->n - j0 : T;
    memset(t->k, 0, used);
    memset(t->kt, 0, used);
    memset(t->vt, 0, used);
    memset(t->dk, 0, used);
    memset(t->dv, 0, used);
    for (size_t j = 0; j < t->n; j++)
        for (size_t c = 0; c < a->hd; c++) {
            size_t at = (j0 + j) * a->kv_stride + c;
            t->k[j * t->wide + c] = t->kt[c * T + j] = a->k[at];
            t->vt[c * T + j] = a->v[at];
        }
}

/* q . k and dout . v for the tile's keys: one fma chain each. */
static void dot_keys(struct tile *t, __m256 s[VECS], __m256 dp[VECS])
{
    __m256 x[VECS], y[VECS];
#pragma GCC unroll 4
    for (int v = 0; v < VECS; v++)
        x[v] = y[v] = _mm256_setzero_ps();
    for (size_t c = 0; c < t->a->hd; c++) {
        __m256 q = _mm256_broadcast_ss(t->q + c), dout = _mm256_broadcast_ss(t->dout + c);
#pragma GCC unroll 4
        for (int v = 0; v < VECS; v++) {
            x[v] = _mm256_fmadd_ps(q, _mm256_load_ps(t->kt + c * T + LANES * v), x[v]);
            y[v] = _mm256_fmadd_ps(dout, _mm256_load_ps(t->vt + c * T + LANES * v), y[v]);
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < VECS; v++) {
        s[v] = x[v];
        dp[v] = y[v];
    }
}

static void weigh(struct tile *t, float lse, float mean)
{
    __m256 s[VECS], dp[VECS], scale = _mm256_set1_ps(t->a->scale);
    dot_keys(t, s, dp);
    for (int v = 0; v < VECS; v++) {
        __m256 p = exp_f32_x8(_mm256_fmsub_ps(scale, s[v], _mm256_set1_ps(lse)));
        __m256 d = _mm256_fmsub_ps(scale, dp[v], _mm256_set1_ps(mean));
        _mm256_store_ps(t->p + LANES * v, p);
        _mm256_store_ps(t->ds + LANES * v, _mm256_mul_ps(p, d));
    }
}

/* dq += the keys begin .. end - 1 by ds, ascending. */
static void add_to_query(struct tile *t, size_t begin, size_t end)
{
    for (size_t c = 0; c < t->wide; c += T) {
        __m256 acc[VECS];
#pragma GCC unroll 4
        for (int v = 0; v < VECS; v++)
            acc[v] = _mm256_load_ps(t->dq + c + LANES * v);
        for (size_t j = begin; j < end; j++) {
            __m256 w = _mm256_broadcast_ss(t->ds + j);
            const float *k = t->k + j * t->wide + c;
#pragma GCC unroll 4
            for (int v = 0; v < VECS; v++)
                acc[v] = _mm256_fmadd_ps(w, _mm256_load_ps(k + LANES * v), acc[v]);
        }
#pragma GCC unroll 4
        for (int v = 0; v < VECS; v++)
            _mm256_store_ps(t->dq + c + LANES * v, acc[v]);
    }
}

/* to[j] += w[j] x for the keys begin .. end - 1. */
static void add_to_keys(float *to, size_t wide, const float *w, const float *x, size_t begin,
                        size_t end)
{
    for (size_t c = 0; c < wide; c += T) {
        __m256 y[VECS];
#pragma GCC unroll 4
        for (int v = 0; v < VECS; v++)
            y[v] = _mm256_load_ps(x + c + LANES * v);
        for (size_t j = begin; j < end; j++) {
            float *at = to + j * wide + c;
            __m256 s = _mm256_broadcast_ss(w + j);
#pragma GCC unroll 4
            for (int v = 0; v < VECS; v++)
                _mm256_store_ps(at + LANES * v,
                                _mm256_fmadd_ps(s, y[v], _mm256_load_ps(at + LANES * v)));
        }
    }
}

static void add_query(struct tile *t, size_t g, size_t i)
{
    const struct attn_bwd *a = t->a;
    size_t at = i * a->out_stride + g * a->hd, first = first_key(a, i), bytes = a->hd * 4;
    size_t begin = first > t->j0 ? first - t->j0 : 0;
    size_t end = i - t->j0 < t->n ? i - t->j0 + 1 : t->n;
    float *dq = a->dq + i * a->q_stride + g * a->hd;
    memcpy(t->q, a->q + i * a->q_stride + g * a->hd, bytes);
    memcpy(t->dout, a->dout + at, bytes);
    memcpy(t->dq, dq, bytes);
    weigh(t, a->lse[i * a->lse_stride + g], a->scale * row_dot(a->dout + at, a->out + at, a->hd));
    add_to_query(t, begin, end);
    add_to_keys(t->dk, t->wide, t->ds, t->q, begin, end);
    add_to_keys(t->dv, t->wide, t->p, t->dout, begin, end);
    memcpy(dq, t->dq, bytes);
}

void attn_bwd_avx2(const struct attn_bwd *a)
{
    struct tile t = { .a = a, .wide = (a->hd + T - 1) / T * T };
    clear_gradients(a);
    for (size_t j0 = 0; j0 < a->n; j0 += T) {
        size_t last = j0 + T < a->n ? j0 + T - 1 : a->n - 1, end = end_query(a, last);
        load_keys(&t, j0);
        for (size_t g = 0; g < a->n_q; g++)
            for (size_t i = j0; i < end; i++)
                add_query(&t, g, i);
        for (size_t j = 0; j < t.n; j++) {
            memcpy(a->dk + (j0 + j) * a->kv_stride, t.dk + j * t.wide, a->hd * 4);
            memcpy(a->dv + (j0 + j) * a->kv_stride, t.dv + j * t.wide, a->hd * 4);
        }
    }
}

#endif
