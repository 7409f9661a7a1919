#include "kern/attn/attn_bwd.h"

#if defined(__x86_64__)

#include <stdbool.h>
#include <string.h>

#include "kern/act/exp_f32_avx512.h"
#include "kern/attn/attn.h"
#include "kern/attn/attn_bwd_rows.h"
#include "kern/attn/attn_tree_avx512.h"
#include "kern/gemm/gemm_tiles_amx.h"

/*
 * The gradients of attention with AMX tiles.  A block of up to K_TILES * 32 keys is rounded and
 * laid out once; the blocks of Q_TILES * 32 queries of all heads that see it come by.  For each
 * tile of 32 queries by 32 keys:
 *     S = Q K^T, dP = dout V^T     operands from L1 and L2, 2 x 4 KiB of sums to L1
 *     P, dS                        vectors of 16 keys; both turned for the next step
 *     dV += P^T dout, dK += dS^T Q, dQ += dS K
 * dK and dV of the block stay in L2; so that their sums are not loaded and stored for each block
 * of queries, the operands of up to SLOTS tiles of queries wait for each other.  dQ goes to its
 * place.  Queries come from far away once for each block of keys, rows of 4 to 8 lines with large
 * gaps, so the next ones are fetched ahead.
 * At hd 64 the tiles take 640 cycles and the exponentials about 800; at hd 128 the tiles
 * lead.
 */
enum {
    T = ATTN_BWD_TILE, K_TILES = 8, Q_TILES = ATTN_BWD_BLOCK / T, QUERIES = ATTN_BWD_BLOCK,
    BUDGET = 32,                                         /* tiles times steps of hd */
    SLOTS = 6                                            /* tiles of queries that wait */
};

_Static_assert((int)T == (int)TILE_K && (int)T == (int)SIDE, "a tile is one step of TDPBF16PS");

/* Operands of one step (32 by 32 bf16, STEP_BYTES) as gemm_tiles_amx.h lays them out. */
struct step {
    _Alignas(64) uint8_t bytes[STEP_BYTES];
};

struct keys {
    size_t j0, tiles;                                    /* first position; tiles with keys */
    struct step k_along[BUDGET], v_along[BUDGET];        /* [tile][step of hd] */
    struct step k_across[BUDGET];                        /* [step of hd][tile] */
    _Alignas(64) float dk[BUDGET * T * T], dv[BUDGET * T * T];       /* [key][wide] */
};

/* A range of tiles, begin .. end - 1. */
struct range {
    size_t begin, end;
};

struct queries {
    size_t i0, g, tiles, slot;                           /* slot: of the first tile */
    struct range seen[SLOTS];                            /* tiles of keys */
    _Alignas(64) bf16 q[QUERIES * ATTN_HD_MAX], dout[QUERIES * ATTN_HD_MAX];   /* [..][wide] */
    struct step q_across[BUDGET], dout_across[BUDGET];   /* [step of hd][slot] */
    struct step ds[Q_TILES][K_TILES];                    /* rows are queries */
    struct step p_turned[K_TILES][SLOTS], ds_turned[K_TILES][SLOTS];
    _Alignas(64) float lse[QUERIES], ds_mean[QUERIES];
};

struct work {
    const struct attn_bwd *a;
    size_t wide, steps, tiles, slots;                    /* hd to whole tiles; tiles of keys */
    struct keys keys;
    struct queries queries;
    _Alignas(64) float dq[T * ATTN_HD_MAX];
};

/* hd floats to bf16, continued with zeros to `wide`. */
static inline void round_row(bf16 *to, size_t wide, const float *x, size_t hd)
{
    size_t c = 0;
    for (; c + 32 <= hd; c += 32)
        _mm512_store_si512(to + c, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + c + 16),
                                                                _mm512_loadu_ps(x + c)));
    if (c < wide) {
        size_t left = hd - c;
        __m512 low = _mm512_maskz_loadu_ps(lanes_x16(left < 16 ? left : 16), x + c), high;
        high = _mm512_maskz_loadu_ps(lanes_x16(left < 16 ? 0 : left - 16), x + c + 16);
        _mm512_store_si512(to + c, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
}

/* n rows of x, then zeros up to `rows` rows. */
static void round_rows(bf16 *to, size_t rows, size_t wide, const float *x, size_t stride,
                       size_t n, size_t hd)
{
    for (size_t r = 0; r < n; r++)
        round_row(to + r * wide, wide, x + r * stride, hd);
    memset(to + n * wide, 0, (rows - n) * wide * sizeof *to);
}

/* The rows of keys and values on their way are where queries will be. */
static void load_keys(struct work *w, size_t j0)
{
    const struct attn_bwd *a = w->a;
    struct keys *k = &w->keys;
    bf16 *rows = w->queries.q;
    k->j0 = j0;
    k->tiles = (a->n - j0 + T - 1) / T;
    k->tiles = k->tiles < w->tiles ? k->tiles : w->tiles;
    for (size_t t = 0; t < k->tiles; t++) {
        size_t j = j0 + t * T, n = a->n - j < T ? a->n - j : T, bytes = 2 * w->wide;
        round_rows(rows, T, w->wide, a->k + j * a->kv_stride, a->kv_stride, n, a->hd);
        for (size_t s = 0; s < w->steps; s++) {
            const uint8_t *at = (const uint8_t *)(rows + s * T);
            pack_along(k->k_along[t * w->steps + s].bytes, at, bytes, T, T);
            pack_across(k->k_across[s * w->tiles + t].bytes, at, bytes, T, T);
        }
        round_rows(rows, T, w->wide, a->v + j * a->kv_stride, a->kv_stride, n, a->hd);
        for (size_t s = 0; s < w->steps; s++)
            pack_along(k->v_along[t * w->steps + s].bytes, (const uint8_t *)(rows + s * T),
                       bytes, T, T);
    }
    memset(k->dk, 0, k->tiles * T * w->wide * sizeof *k->dk);
    memset(k->dv, 0, k->tiles * T * w->wide * sizeof *k->dv);
}

static void store_keys(const struct work *w)
{
    const struct attn_bwd *a = w->a;
    const struct keys *k = &w->keys;
    for (size_t j = k->j0; j < a->n && j < k->j0 + k->tiles * T; j++) {
        size_t from = (j - k->j0) * w->wide;
        memcpy(a->dk + j * a->kv_stride, k->dk + from, a->hd * sizeof *a->dk);
        memcpy(a->dv + j * a->kv_stride, k->dv + from, a->hd * sizeof *a->dv);
    }
}

/* A row of dout as round_row leaves it; returns the chains of dout . out. */
static inline __m512 round_dout(bf16 *to, size_t wide, const float *dout, const float *out,
                                size_t hd)
{
    __m512 part = _mm512_setzero_ps();
    for (size_t c = 0; c < wide; c += 32) {
        size_t left = c < hd ? hd - c : 0;
        __mmask16 m0 = lanes_x16(left < 16 ? left : 16);
        __mmask16 m1 = lanes_x16(left < 16 ? 0 : left < 32 ? left - 16 : 16);
        __m512 low = _mm512_maskz_loadu_ps(m0, dout + c);
        __m512 high = _mm512_maskz_loadu_ps(m1, dout + c + 16);
        part = _mm512_fmadd_ps(low, _mm512_maskz_loadu_ps(m0, out + c), part);
        part = _mm512_fmadd_ps(high, _mm512_maskz_loadu_ps(m1, out + c + 16), part);
        _mm512_store_si512(to + c, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    return part;
}

/* n rows of dout, then zeros up to whole tiles; and what they need of out and lse. */
static void load_dout(struct work *w, size_t n)
{
    const struct attn_bwd *a = w->a;
    struct queries *x = &w->queries;
    size_t at = x->i0 * a->out_stride + x->g * a->hd;
    const float *dout = a->dout + at, *out = a->out + at;
    for (size_t i = 0; i < x->tiles * T; i += 16) {
        __m512 part[16];
        for (size_t r = 0; r < 16; r++) {
            bf16 *to = x->dout + (i + r) * w->wide;
            size_t from = (i + r) * a->out_stride;
            part[r] = _mm512_setzero_ps();
            x->lse[i + r] = i + r < n ? a->lse[(x->i0 + i + r) * a->lse_stride + x->g] : 0;
            if (i + r < n)
                part[r] = round_dout(to, w->wide, dout + from, out + from, a->hd);
            else
                memset(to, 0, w->wide * sizeof *to);
        }
        _mm512_store_ps(x->ds_mean + i, _mm512_mul_ps(_mm512_set1_ps(a->scale), tree_x16(part)));
    }
}

static void load_queries(struct work *w, size_t g, size_t i0)
{
    const struct attn_bwd *a = w->a;
    struct queries *x = &w->queries;
    size_t n = a->n - i0 < QUERIES ? a->n - i0 : QUERIES, bytes = 2 * w->wide;
    x->i0 = i0;
    x->g = g;
    x->tiles = (n + T - 1) / T;
    round_rows(x->q, x->tiles * T, w->wide, a->q + i0 * a->q_stride + g * a->hd, a->q_stride, n,
               a->hd);
    load_dout(w, n);
    for (size_t t = 0; t < x->tiles; t++)
        for (size_t s = 0; s < w->steps; s++) {
            size_t at = t * T * w->wide + s * T;
            size_t to = s * w->slots + x->slot + t;
            pack_across(x->q_across[to].bytes, (const uint8_t *)(x->q + at), bytes, T, T);
            pack_across(x->dout_across[to].bytes, (const uint8_t *)(x->dout + at), bytes, T, T);
        }
}

/* Which of the T keys from j0 on position i sees, as bits. */
static inline uint32_t seen_keys(const struct attn_bwd *a, size_t i, size_t j0)
{
    size_t first = first_key(a, i), low = first > j0 ? first - j0 : 0;
    size_t end = i < j0 ? 0 : i - j0 + 1 < T ? i - j0 + 1 : T;
    return i < a->n && low < end ? (uint32_t)((1ull << end) - (1ull << low)) : 0;
}

/* 16 weights and gradients of scores, from their dot products; those outside m are 0. */
static inline void weigh(__m512 *p, __m512 *ds, const float *s, const float *dp, __m512 scale,
                         __m512 lse, __m512 mean, __mmask16 m)
{
    __m512 e = exp_f32_x16(_mm512_fmsub_ps(scale, _mm512_load_ps(s), lse));
    *p = _mm512_maskz_mov_ps(m, e);
    *ds = _mm512_maskz_mul_ps(m, e, _mm512_fmsub_ps(scale, _mm512_load_ps(dp), mean));
}

/* A tile of queries by a tile of keys, and its two products. */
struct pair {
    size_t qt, kt;
    _Alignas(64) float s[T * T], dp[T * T];
};

/* From the two products of a tile to P and dS, rounded. */
static void weigh_pair(struct work *w, const struct pair *pair)
{
    struct queries *x = &w->queries;
    size_t qt = pair->qt, kt = pair->kt, i0 = x->i0 + qt * T, j0 = w->keys.j0 + kt * T;
    _Alignas(64) bf16 p[T * T], *ds = (bf16 *)(void *)x->ds[qt][kt].bytes;
    __m512 scale = _mm512_set1_ps(w->a->scale);
    for (size_t i = 0; i < T; i++) {
        const float *s = pair->s + i * T, *dp = pair->dp + i * T;
        uint32_t m = seen_keys(w->a, i0 + i, j0);
        __m512 lse = _mm512_set1_ps(x->lse[qt * T + i]), p0, p1, ds0, ds1;
        __m512 mean = _mm512_set1_ps(x->ds_mean[qt * T + i]);
        weigh(&p0, &ds0, s, dp, scale, lse, mean, (__mmask16)m);
        weigh(&p1, &ds1, s + 16, dp + 16, scale, lse, mean, (__mmask16)(m >> 16));
        _mm512_store_si512(p + i * T, (__m512i)_mm512_cvtne2ps_pbh(p1, p0));
        _mm512_store_si512(ds + i * T, (__m512i)_mm512_cvtne2ps_pbh(ds1, ds0));
    }
    pack_turned(x->p_turned[kt][x->slot + qt].bytes, (const uint8_t *)p, 2 * T, T, T);
    pack_turned(x->ds_turned[kt][x->slot + qt].bytes, (const uint8_t *)ds, 2 * T, T, T);
}

static void score_pair(const struct work *w, struct pair *pair, size_t qt, size_t kt)
{
    struct tile_sum sum = { .a = (const uint8_t *)(w->queries.q + qt * T * w->wide),
                            .a_row = 2 * w->wide, .a_step = 2 * T, .steps = w->steps,
                            .b = w->keys.k_along[kt * w->steps].bytes, .zero = true };
    pair->qt = qt;
    pair->kt = kt;
    sum_2x2(&sum, pair->s, sizeof *pair->s * T, false);
    sum.a = (const uint8_t *)(w->queries.dout + qt * T * w->wide);
    sum.b = w->keys.v_along[kt * w->steps].bytes;
    sum_2x2(&sum, pair->dp, sizeof *pair->dp * T, false);
}

/* The tiles of keys in the block that tile qt of queries sees. */
static struct range seen_tiles(const struct work *w, size_t qt)
{
    size_t i = w->queries.i0 + qt * T, j0 = w->keys.j0, first = first_key(w->a, i) / T * T;
    struct range r = { first > j0 ? (first - j0) / T : 0, i < j0 ? 0 : (i - j0) / T + 1 };
    r.end = r.end < w->keys.tiles ? r.end : w->keys.tiles;
    r.begin = r.begin < r.end ? r.begin : r.end;
    return r;
}

/* c += the steps of tile kt that count: turned tiles by tiles across, slots ascending. */
static void add_slots(float *c, const struct work *w, size_t kt, const struct step *turned,
                      const struct step *across)
{
    const struct queries *x = &w->queries;
    size_t bytes = w->wide * sizeof *c;
    sums_begin(false, c, bytes, true);
    for (size_t i = 0; i < x->slot; i++)
        if (x->seen[i].begin <= kt && kt < x->seen[i].end)
            step_2x2(turned[i].bytes, 64, across[i].bytes, false);
    sums_end(c, bytes, true);
}

/* dK and dV of tile kt from the tiles of queries that wait. */
static void add_to_keys(struct work *w, size_t kt)
{
    const struct queries *x = &w->queries;
    for (size_t s = 0; s < w->steps; s++) {
        size_t at = kt * T * w->wide + s * T, from = s * w->slots;
        add_slots(w->keys.dk + at, w, kt, x->ds_turned[kt], x->q_across + from);
        add_slots(w->keys.dv + at, w, kt, x->p_turned[kt], x->dout_across + from);
    }
}

/* Ends the waiting. */
static void empty_slots(struct work *w)
{
    struct queries *x = &w->queries;
    struct range all = { w->keys.tiles, 0 };
    for (size_t i = 0; i < x->slot; i++)
        if (x->seen[i].begin < x->seen[i].end) {
            all.begin = x->seen[i].begin < all.begin ? x->seen[i].begin : all.begin;
            all.end = x->seen[i].end > all.end ? x->seen[i].end : all.end;
        }
    for (size_t kt = all.begin; kt < all.end; kt++)
        add_to_keys(w, kt);
    x->slot = 0;
}

/* dQ of tile qt from the tiles of keys in r, in place where all of the tile is there. */
static void add_to_queries(struct work *w, size_t qt, struct range r)
{
    const struct attn_bwd *a = w->a;
    size_t i = w->queries.i0 + qt * T, n = a->n - i < T ? a->n - i : T;
    float *to = a->dq + i * a->q_stride + w->queries.g * a->hd;
    bool whole = n == T && a->hd == w->wide;
    float *dq = whole ? to : w->dq;
    size_t stride = whole ? a->q_stride : w->wide;
    struct tile_sum sum = { .a = w->queries.ds[qt][r.begin].bytes, .a_row = 64,
                            .a_step = STEP_BYTES, .steps = r.end - r.begin,
                            .zero = w->keys.j0 + r.begin * T == first_key(a, i) / T * T };
    for (size_t q = 0; !whole && !sum.zero && q < n; q++)
        memcpy(dq + q * stride, to + q * a->q_stride, a->hd * sizeof *dq);
    for (size_t s = 0; s < w->steps; s++) {
        sum.b = w->keys.k_across[s * w->tiles + r.begin].bytes;
        sum_2x2(&sum, dq + s * T, stride * sizeof *dq, false);
    }
    for (size_t q = 0; !whole && q < n; q++)
        memcpy(to + q * a->q_stride, dq + q * stride, a->hd * sizeof *dq);
}

/* All tiles that see each other.  The products of a tile come before the exponentials of
 * the one before it, so that the tile unit and the vector units work at the same time. */
static void weigh_pairs(struct work *w, const struct range *seen)
{
    struct pair pair[2];
    size_t n = 0;
    for (size_t qt = 0; qt < w->queries.tiles; qt++)
        for (size_t kt = seen[qt].begin; kt < seen[qt].end; kt++, n++) {
            score_pair(w, &pair[n % 2], qt, kt);
            if (n)
                weigh_pair(w, &pair[(n - 1) % 2]);
        }
    if (n)
        weigh_pair(w, &pair[(n - 1) % 2]);
}

/* The block of queries that is loaded with the block of keys that is; its part of dK and dV
 * waits. */
static void add_queries(struct work *w)
{
    struct queries *x = &w->queries;
    struct range *seen = x->seen + x->slot;
    for (size_t qt = 0; qt < x->tiles; qt++)
        seen[qt] = seen_tiles(w, qt);
    weigh_pairs(w, seen);
    for (size_t qt = 0; qt < x->tiles; qt++)
        if (seen[qt].begin < seen[qt].end)
            add_to_queries(w, qt, seen[qt]);
    x->slot += x->tiles;
}

/* Asks for head g's rows of q, dout and out in the block of queries that begins at `first`. */
static void fetch_next(const struct work *w, size_t first, size_t g, size_t end)
{
    const struct attn_bwd *a = w->a;
    for (size_t i = first; i < first + QUERIES && i < end; i++)
        for (size_t c = 0; c < a->hd; c += 16) {
            size_t at = i * a->out_stride + g * a->hd + c;
            _mm_prefetch((const char *)(a->q + i * a->q_stride + g * a->hd + c),
                         _MM_HINT_T1);
            _mm_prefetch((const char *)(a->dout + at), _MM_HINT_T1);
            _mm_prefetch((const char *)(a->out + at), _MM_HINT_T1);
        }
}

static void add_keys(struct work *w, size_t j0)
{
    const struct attn_bwd *a = w->a;
    size_t next = j0 + w->tiles * T, end = end_query(a, (next < a->n ? next : a->n) - 1);
    load_keys(w, j0);
    for (size_t i0 = j0; i0 < end; i0 += QUERIES)
        for (size_t g = 0; g < a->n_q; g++) {
            load_queries(w, g, i0);
            if (g + 1 < a->n_q)
                fetch_next(w, i0, g + 1, end);
            else
                fetch_next(w, i0 + QUERIES, 0, end);
            add_queries(w);
            if (w->queries.slot + Q_TILES > w->slots)
                empty_slots(w);
        }
    empty_slots(w);
    store_keys(w);
}

void attn_bwd_bf16_amx(const struct attn_bwd *a)
{
    struct work w;
    w.a = a;
    w.steps = (a->hd + T - 1) / T;
    w.wide = w.steps * T;
    w.slots = BUDGET / w.steps < SLOTS ? BUDGET / w.steps : SLOTS;
    w.queries.slot = 0;
    w.tiles = BUDGET / w.steps < K_TILES ? BUDGET / w.steps / Q_TILES * Q_TILES : K_TILES;
    tiles_configure(T);
    for (size_t j0 = 0; j0 < a->n; j0 += w.tiles * T)
        add_keys(&w, j0);
    tiles_release();
}

#endif
