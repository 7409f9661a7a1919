#include "kern/attn/attn_row.h"

#if defined(__x86_64__)

#include <stdbool.h>
#include <string.h>

#include "kern/act/exp_f32_avx512.h"
#include "kern/attn/attn_tile_avx512.h"
#include "kern/attn/attn_tree_avx512.h"
#include "kern/half_bits.h"

/*
 * A tile of queries (rows times heads) by blocks of 64 keys, queries in batches of 16.  The keys
 * of a block are converted and transposed once for all batches that see it, the values
 * converted once; both then come from L1 or L2.
 *   scores   lanes are keys, 8 queries by 16 keys in 8 accumulators: one chain after the other,
 *            per element one vector of keys and 8 fma whose other operand is broadcast by
 *            the load.  Keys and queries stand in the order in which the chains meet in the
 *            tree of chains.h, so both are read from front to back
 *   weights  lanes are keys; what has one value for each query, the maximum, the sum and
 *            the factor of what came before, is made for 16 queries at once
 *   sums     4 queries by 64 columns in 16 accumulators, keys ascending
 * For hd 64, 16 queries and 64 keys that is 8192 fma, 960 additions and about 1200 operations
 * of softmax: the bound is the two fma units, at four fifths of their roof.
 * Below FEW queries the transposing costs more than it saves: those go row by row.
 */
enum {
    BATCH = 16, HALF = 8, KEYS = ATTN_BLOCK, FEW = 16,
    BUDGET = 128 * PAD_MAX,               /* floats of queries and of sums in a tile */
    BATCHES = 64                          /* in a tile, at most */
};

/* Queries and their running softmax; query i sees positions first .. end - 1. */
struct batch {
    uint64_t first[BATCH], end[BATCH], last;          /* last: of the last query */
    _Alignas(64) float max[BATCH], sum[BATCH];
};

struct tile {
    const struct attn_rows *a;
    float *out;
    size_t out_stride;
    size_t row, head, heads, queries;     /* the first query; heads of a row; all queries */
    size_t n, hd, wide, steps;            /* batches; hd to whole vectors; elements of a chain */
    float scale;
    uint64_t last;                        /* position of the last query */
    struct batch batch[BATCHES];
    _Alignas(64) float acc[BUDGET];                   /* [batch][query][wide] */
    _Alignas(64) float qt[BUDGET];                    /* [batch][chain][step][query] */
    _Alignas(64) float kt[PAD_MAX * KEYS];            /* [16 keys][chain][step][key] */
    _Alignas(64) float v[KEYS * PAD_MAX];
    _Alignas(64) float rows[LANES * PAD_MAX];         /* 16 rows on their way into qt or kt */
    _Alignas(64) float p[BATCH * KEYS];
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

/*
 * The rows of the tile, 16 of them, one beside the other: the elements of a chain in a row, chains
 * in the order in which they meet, (0 8) (4 12), (2 10) (6 14), (1 9) (5 13), (3 11) (7 15).
 */
static void turn_rows(float *to, const struct tile *t)
{
    static const unsigned char place[16] = { 0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7,
                                             15 };
    for (size_t c = 0; c < t->wide; c += 4) {
        __m512d y[4];
        transpose_four(y, t->rows + c, t->wide);
        for (size_t i = 0; i < 4; i++)
            _mm512_store_pd((double *)(to + (place[(c + i) % 16] * t->steps + c / 16) * LANES),
                            y[i]);
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
        turn_rows(t->kt + j / LANES * LANES * t->wide, t);
    }
}

/* A chain of 8 queries with 16 keys. */
INLINE void dot_chain(__m512 acc[HALF], const float *q, const float *k, size_t steps)
{
    __m512 key = _mm512_load_ps(k);
#pragma GCC unroll 8
    for (int i = 0; i < HALF; i++)      /* 0 + x: but for the sign of 0, which nothing shows */
        acc[i] = _mm512_mul_ps(_mm512_set1_ps(q[i]), key);
    for (size_t s = 1; s < steps; s++) {
        k += LANES;
        q += BATCH;
        key = _mm512_load_ps(k);
#pragma GCC unroll 8
        for (int i = 0; i < HALF; i++)
            acc[i] = _mm512_fmadd_ps(_mm512_set1_ps(q[i]), key, acc[i]);
    }
}

INLINE void add_sums(__m512 to[HALF], const __m512 x[HALF])
{
#pragma GCC unroll 8
    for (int i = 0; i < HALF; i++)
        to[i] = _mm512_add_ps(to[i], x[i]);
}

/* Four chains and their tree. */
INLINE void dot_quarter(__m512 a[HALF], const float *q, const float *k, size_t steps)
{
    __m512 b[HALF], c[HALF];
    size_t chain = steps * LANES;
    dot_chain(a, q, k, steps);
    dot_chain(b, q + chain, k + chain, steps);
    add_sums(a, b);
    dot_chain(b, q + 2 * chain, k + 2 * chain, steps);
    dot_chain(c, q + 3 * chain, k + 3 * chain, steps);
    add_sums(b, c);
    add_sums(a, b);
}

/* p[i][key] = scale * (q_i k) for 8 queries and 16 keys.  Alone, so that all registers are its. */
static __attribute__((noinline)) void dots(float *p, const float *q, const float *k, size_t steps,
                                           float scale)
{
    __m512 a[HALF], b[HALF], c[HALF];
    size_t quarter = 4 * steps * LANES;
    dot_quarter(a, q, k, steps);
    dot_quarter(b, q + quarter, k + quarter, steps);
    add_sums(a, b);
    dot_quarter(b, q + 2 * quarter, k + 2 * quarter, steps);
    dot_quarter(c, q + 3 * quarter, k + 3 * quarter, steps);
    add_sums(b, c);
    add_sums(a, b);
#pragma GCC unroll 8
    for (int i = 0; i < HALF; i++)
        _mm512_store_ps(p + i * KEYS, _mm512_mul_ps(_mm512_set1_ps(scale), a[i]));
}

/*
 * What a batch sees of a block: query i keys begin[i] .. end[i] - 1, as bits in seen[i].  Rows
 * come in their order, so the queries that see any are i0 .. i1 - 1, and begin and end do not
 * fall from one of them to the next.
 */
struct view {
    size_t begin[BATCH], end[BATCH], i0, i1;
    uint64_t seen[BATCH];
};

/* Eight queries from i on; returns which of them see any key. */
static __mmask8 view_eight(struct view *w, const struct batch *b, size_t i, uint64_t at)
{
    __m512i start = _mm512_set1_epi64((long long)at), keys = _mm512_set1_epi64(KEYS);
    __m512i stop = _mm512_add_epi64(start, keys);
    __m512i begin = _mm512_max_epu64(_mm512_loadu_si512(b->first + i), start);
    __m512i end = _mm512_min_epu64(_mm512_loadu_si512(b->end + i), stop);
    __mmask8 any = _mm512_cmplt_epu64_mask(begin, end);
    begin = _mm512_maskz_sub_epi64(any, begin, start);
    end = _mm512_maskz_sub_epi64(any, end, start);
    __m512i ones = _mm512_set1_epi64(-1), low = _mm512_sllv_epi64(ones, begin);
    __m512i high = _mm512_srlv_epi64(ones, _mm512_sub_epi64(keys, end));
    _mm512_storeu_si512(w->begin + i, begin);
    _mm512_storeu_si512(w->end + i, end);
    _mm512_storeu_si512(w->seen + i, _mm512_and_si512(low, high));
    return any;
}

static bool begin_view(struct view *w, const struct batch *b, uint64_t at)
{
    unsigned any = view_eight(w, b, 0, at) | (unsigned)view_eight(w, b, HALF, at) << HALF;
    w->i0 = any ? (size_t)__builtin_ctz(any) : BATCH;
    w->i1 = any ? 32 - (size_t)__builtin_clz(any) : BATCH;
    return any;
}

/* The keys that queries i .. i + n - 1 see: low .. high - 1; all of them those from `common` to
 * common_end - 1. */
struct span {
    size_t low, common, common_end, high;
};

static struct span span_of(const struct view *w, size_t i, size_t n)
{
    size_t first = i > w->i0 ? i : w->i0, end = i + n < w->i1 ? i + n : w->i1;
    if (first >= end)
        return (struct span){ 0, 0, 0, 0 };
    struct span s = { w->begin[first], w->begin[end - 1], w->end[first], w->end[end - 1] };
    if (end - first < n || s.common >= s.common_end)
        s.common = s.common_end = s.high;
    return s;
}

/* The vectors of keys that 8 queries from i on see. */
static void score_half(struct tile *t, const struct view *w, const float *qt, size_t i)
{
    struct span s = span_of(w, i, HALF);
    for (size_t j = s.low / LANES * LANES; j < s.high; j += LANES)
        dots(t->p + i * KEYS + j, qt + i, t->kt + j * t->wide, t->steps, t->scale);
}

/* The largest of the scores that query i sees, lane by lane; `all`: it sees all of them. */
INLINE __m512 largest(const float *p, uint64_t seen, int n, bool all)
{
    __m512 top = _mm512_set1_ps(-INFINITY);
#pragma GCC unroll 4
    for (int g = 0; g < n; g++, seen >>= LANES)                                 /* drops NaN */
        top = _mm512_mask_max_ps(top, all ? 0xffff : (__mmask16)seen,
                                 _mm512_load_ps(p + LANES * g), top);
    return top;
}

/* From scores to weights; returns the 16 chains of those that are seen. */
INLINE __m512 weights(float *p, float max, uint64_t seen, int n, bool all)
{
    __m512 top = _mm512_set1_ps(max), sum = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (int g = 0; g < n; g++, seen >>= LANES) {
        __m512 e = exp_f32_x16(_mm512_sub_ps(_mm512_load_ps(p + LANES * g), top));
        _mm512_store_ps(p + LANES * g, e);
        sum = _mm512_mask_add_ps(sum, all ? 0xffff : (__mmask16)seen, sum, e);
    }
    return sum;
}

/*
 * From the scores of 16 queries with n vectors of keys, the first of them at key j, to weights, and
 * to the factors c of the sums before: 1 for a query that sees none of these keys, 0 before the
 * first key.
 */
INLINE void weigh(float *p, float c[BATCH], struct batch *b, const struct view *w, size_t j, int n,
                  bool all)
{
    __m512 part[BATCH], old = _mm512_load_ps(b->max);
    for (size_t i = 0; i < BATCH; i++)
        part[i] = largest(p + i * KEYS, w->seen[i] >> j, n, all);
    __m512 max = _mm512_max_ps(tree_rows(part, TREE_MAX), old);
    _mm512_store_ps(b->max, max);
    for (size_t i = 0; i < BATCH; i++)
        part[i] = weights(p + i * KEYS, b->max[i], w->seen[i] >> j, n, all);
    __mmask16 later = _mm512_cmp_ps_mask(old, _mm512_set1_ps(-INFINITY), _CMP_NEQ_UQ);
    __mmask16 any = (__mmask16)(lanes_x16(w->i1) & ~lanes_x16(w->i0));
    __m512 factor = _mm512_maskz_mov_ps(later, exp_f32_x16(_mm512_sub_ps(old, max)));
    _mm512_store_ps(c, factor);
    __m512 sum = _mm512_load_ps(b->sum);
    _mm512_store_ps(b->sum, _mm512_mask_fmadd_ps(sum, any, factor, tree_x16(part)));
}

static void weigh_batch(float *p, float c[BATCH], struct batch *b, const struct view *w)
{
    struct span s = span_of(w, 0, BATCH);
    size_t j = s.low / LANES * LANES;
    if (s.common == 0 && s.common_end == KEYS) {
        weigh(p, c, b, w, 0, 4, true);
        return;
    }
    switch ((s.high - j + LANES - 1) / LANES) {
    case 1:  weigh(p + j, c, b, w, j, 1, false); break;
    case 2:  weigh(p + j, c, b, w, j, 2, false); break;
    case 3:  weigh(p + j, c, b, w, j, 3, false); break;
    default: weigh(p + j, c, b, w, j, 4, false); break;
    }
}

/* GROUP sums, their weights and what they see of the block. */
struct group {
    float *acc;
    const float *p, *c;
    const uint64_t *seen;
    struct span span;
};

/* One key for GROUP sums in 16 nv columns: for those that see it. */
INLINE void add_key(__m512 acc[GROUP][4], const struct group *s, const float *v, size_t j, int nv)
{
#pragma GCC unroll 4
    for (int i = 0; i < GROUP; i++) {
        __mmask16 m = (__mmask16)-(s->seen[i] >> j & 1);
        __m512 x = _mm512_set1_ps(s->p[i * KEYS + j]);
#pragma GCC unroll 4
        for (int g = 0; g < nv; g++)
            acc[i][g] = _mm512_mask3_fmadd_ps(x, _mm512_load_ps(v + LANES * g), acc[i][g], m);
    }
}

/* acc = acc * c, then acc += p_j v_j, j ascending, in 16 nv columns from column `at` on. */
INLINE void add_columns(const struct group *s, const float *v, size_t wide, size_t at, int nv)
{
    __m512 a[GROUP][4];
#pragma GCC unroll 4
    for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 4
        for (int g = 0; g < nv; g++)
            a[i][g] = _mm512_mul_ps(_mm512_set1_ps(s->c[i]),
                                    _mm512_load_ps(s->acc + (size_t)i * wide + at + LANES * g));
    v += at;
    for (size_t j = s->span.low; j < s->span.common; j++)
        add_key(a, s, v + j * wide, j, nv);
    const float *y = v + s->span.common * wide;
    for (size_t j = s->span.common; j < s->span.common_end; j++, y += wide) {
        __m512 x[4];
#pragma GCC unroll 4
        for (int g = 0; g < nv; g++)
            x[g] = in_register(_mm512_load_ps(y + LANES * g));
#pragma GCC unroll 4
        for (int i = 0; i < GROUP; i++) {
            __m512 w = _mm512_set1_ps(s->p[i * KEYS + j]);
#pragma GCC unroll 4
            for (int g = 0; g < nv; g++)
                a[i][g] = _mm512_fmadd_ps(w, x[g], a[i][g]);
        }
    }
    for (size_t j = s->span.common_end; j < s->span.high; j++)
        add_key(a, s, v + j * wide, j, nv);
#pragma GCC unroll 4
    for (int i = 0; i < GROUP; i++)
#pragma GCC unroll 4
        for (int g = 0; g < nv; g++)
            _mm512_store_ps(s->acc + (size_t)i * wide + at + LANES * g, a[i][g]);
}

static void add_values(const struct group *s, const float *v, size_t wide)
{
    size_t at = 0;
    for (; at + 4 * LANES <= wide; at += 4 * LANES)
        add_columns(s, v, wide, at, 4);
    for (; at < wide; at += LANES)
        add_columns(s, v, wide, at, 1);
}

/* Batch number n with the block of keys that begins at position `at`. */
static void batch_block(struct tile *t, size_t n, uint64_t at)
{
    struct view w;
    _Alignas(64) float c[BATCH];
    struct batch *b = &t->batch[n];
    if (!begin_view(&w, b, at))
        return;
    for (size_t i = 0; i < BATCH; i += HALF)
        score_half(t, &w, t->qt + n * BATCH * t->wide, i);
    weigh_batch(t->p, c, b, &w);
    for (size_t i = 0; i < BATCH; i += GROUP) {
        struct group s = { .acc = t->acc + (n * BATCH + i) * t->wide, .p = t->p + i * KEYS,
                           .c = c + i, .seen = w.seen + i, .span = span_of(&w, i, GROUP) };
        if (s.span.high)
            add_values(&s, t->v, t->wide);
    }
}

/* Bits of |x| from 2^-80 up to 2^40: an unsigned range that begins at PLAIN_LOW. */
#define PLAIN_LOW 0x17800000
#define PLAIN_RANGE 0x3c000000u

static __mmask16 plain(__m512 x)
{
    __m512i bits = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(INT32_MAX));
    return _mm512_cmplt_epu32_mask(_mm512_sub_epi32(bits, _mm512_set1_epi32(PLAIN_LOW)),
                                   _mm512_set1_epi32((int)PLAIN_RANGE));
}

/*
 * x / y for r = 1 / y, both rounded to nearest: two corrections of x r by its exact remainder, the
 * first within an ulp, the second the quotient itself (Markstein, "Computation of elementary
 * functions on the IBM RISC System/6000 processor", 1990).  Far from under- and overflow; for
 * all else VDIVPS, which is six times as slow.
 */
INLINE __m512 quotient(__m512 x, __m512 y, __m512 r, __mmask16 m)
{
    __m512 q = _mm512_mul_ps(x, r);
    if ((plain(x) & plain(y) & m) != m)
        return _mm512_div_ps(x, y);
    q = _mm512_fmadd_ps(_mm512_fnmadd_ps(q, y, x), r, q);
    return _mm512_fmadd_ps(_mm512_fnmadd_ps(q, y, x), r, q);
}

static void divide(float *out, const float *acc, size_t hd, float sum)
{
    __m512 y = _mm512_set1_ps(sum), r = _mm512_set1_ps(1 / sum);
    for (size_t i = 0; i < hd; i += LANES) {
        __mmask16 m = lanes_x16(hd - i < LANES ? hd - i : LANES);
        _mm512_mask_storeu_ps(out + i, m, quotient(_mm512_load_ps(acc + i), y, r, m));
    }
}

/* Where query number u of the tile is: its row and head of the whole. */
struct place {
    size_t row, head;
};

static struct place place_of(const struct tile *t, size_t u)
{
    return (struct place){ t->row + u / t->heads, t->head + u % t->heads };
}

static const float *query_at(const struct tile *t, size_t u)
{
    struct place at = place_of(t, u);
    return t->a->q + at.row * t->a->q_stride + at.head * t->hd;
}

/* Asks for a row of memory: the next one lies far from it, where the CPU does not look. */
static void fetch_row(const void *row, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)row + i, _MM_HINT_T1);
}

/* What batch n needs before its first block; asks for the queries of the next one. */
static void begin_batch(struct tile *t, size_t n)
{
    size_t u = n * BATCH;
    for (size_t i = 0; i < BATCH && u + i < t->queries; i++)
        widen(t->rows + i * t->wide, (const char *)query_at(t, u + i), 0, 1, t->hd, KV_F32);
    for (size_t i = BATCH; i < 2 * BATCH && u + i < t->queries; i++)
        fetch_row(query_at(t, u + i), t->hd * sizeof(float));
    turn_rows(t->qt + u * t->wide, t);
    memset(t->acc + u * t->wide, 0, BATCH * t->wide * sizeof *t->acc);
}

/* Results of batch n, after its last block. */
static void end_batch(const struct tile *t, size_t n)
{
    const struct attn_rows *a = t->a;
    const struct batch *b = &t->batch[n];
    for (size_t i = 0; i < BATCH && n * BATCH + i < t->queries; i++) {
        struct place at = place_of(t, n * BATCH + i);
        divide(t->out + at.row * t->out_stride + at.head * t->hd,
               t->acc + (n * BATCH + i) * t->wide, t->hd, b->sum[i]);
        if (a->lse)
            a->lse[at.row * a->lse_stride + at.head] = attn_lse(b->max[i], b->sum[i]);
    }
}

/* Where the rows of keys and values from position `at` on begin, in bytes. */
static size_t block_offset(const struct attn_rows *a, uint64_t at)
{
    return (size_t)(at % a->ring) * a->kv_stride;
}

/* Asks for part n of t->n of the keys and values from position `at` to the last that is seen. */
static void fetch_part(const struct tile *t, uint64_t at, size_t n)
{
    const struct attn_rows *a = t->a;
    size_t bytes = kv_row_bytes(a->kv_type, a->hd), from = block_offset(a, at);
    for (size_t j = KEYS * n / t->n; j < KEYS * (n + 1) / t->n && at + j <= t->last; j++) {
        fetch_row((const char *)a->k + from + j * a->kv_stride, bytes);
        fetch_row((const char *)a->v + from + j * a->kv_stride, bytes);
    }
}

static void attend(struct tile *t)
{
    const struct attn_rows *a = t->a;
    uint64_t first = t->batch[0].first[0], last = t->last;
    for (uint64_t b = first / KEYS; b <= last / KEYS; b++) {
        uint64_t at = b * KEYS;
        size_t offset = block_offset(a, at);
        load_block(t, a, (const char *)a->k + offset, (const char *)a->v + offset,
                   first > at ? (size_t)(first - at) : 0,
                   last - at < KEYS ? (size_t)(last - at) : KEYS - 1);
        for (size_t n = 0; n < t->n; n++) {
            const struct batch *x = &t->batch[n];
            fetch_part(t, at + KEYS, n);
            if (x->first[0] / KEYS == b)
                begin_batch(t, n);
            batch_block(t, n, at);
            if (x->last / KEYS == b)
                end_batch(t, n);
        }
    }
}

/* What the queries see; none of them has seen anything yet. */
static void begin_tile(struct tile *t)
{
    const struct attn_rows *a = t->a;
    t->n = (t->queries + BATCH - 1) / BATCH;
    for (size_t n = 0; n < t->n; n++) {
        struct batch *b = &t->batch[n];
        for (size_t i = 0; i < BATCH; i++) {
            b->max[i] = -INFINITY;
            b->sum[i] = 0;
            b->first[i] = b->end[i] = 0;
            if (n * BATCH + i < t->queries) {
                b->last = a->first_pos + place_of(t, n * BATCH + i).row;
                b->first[i] = attn_first_seen(a, b->last);
                b->end[i] = b->last + 1;
            }
        }
        t->last = b->last;
    }
}

static void in_tiles(float *out, size_t out_stride, const struct attn_rows *a)
{
    struct tile t;
    t.a = a;
    t.out = out;
    t.out_stride = out_stride;
    t.hd = a->hd;
    t.wide = padded(a->hd);
    t.steps = t.wide / LANES;
    t.scale = a->scale;
    memset(t.rows, 0, sizeof t.rows);
    size_t most = BUDGET / t.wide < BATCHES * BATCH ? BUDGET / t.wide / BATCH * BATCH
                                                    : BATCHES * BATCH;
    size_t n_heads = a->n_q < most ? a->n_q : most, n_rows = most / n_heads;
    for (t.row = 0; t.row < a->n_rows; t.row += n_rows)
        for (t.head = 0; t.head < a->n_q; t.head += n_heads) {
            t.heads = a->n_q - t.head < n_heads ? a->n_q - t.head : n_heads;
            t.queries = (a->n_rows - t.row < n_rows ? a->n_rows - t.row : n_rows) * t.heads;
            begin_tile(&t);
            attend(&t);
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
