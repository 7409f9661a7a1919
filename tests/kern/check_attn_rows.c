/* attn_rows_fwd of many rows against the C level row by row, bit by bit. */
#include "checkkern.h"

#include <math.h>
#include <string.h>

/* A problem whose keys and values are filled by position, so that any ring holds the same. */
struct problem {
    struct attn_rows rows;
    size_t out_stride;
    uint64_t seed;
};

static uint64_t first_seen(const struct attn_rows *a, uint64_t pos)
{
    return a->window && pos >= a->window ? pos - a->window + 1 : 0;
}

/* Rows that the queries see; everything else, and the gaps between rows, are NaN. */
static char *make_kv(struct tester *t, const struct problem *p, uint64_t salt)
{
    const struct attn_rows *a = &p->rows;
    uint64_t last = a->first_pos + a->n_rows - 1, seed = t->seed;
    size_t rows = a->ring == UINT64_MAX ? (size_t)last + 1 : (size_t)a->ring;
    char *kv = t_bytes(t, rows * a->kv_stride, a->kv_type == KV_F32 ? 4 : 2);
    float x[ATTN_HD_MAX];
    for (uint64_t pos = first_seen(a, a->first_pos); pos <= last; pos++) {
        t->seed = p->seed + 2 * pos + salt;
        t->seed = t_random(t);
        for (size_t i = 0; i < a->hd; i++)
            x[i] = t_normal(t);
        t->ref->kv_store(kv + (size_t)(pos % a->ring) * a->kv_stride, a->kv_type, x, a->hd);
    }
    t->seed = seed;
    return kv;
}

/* Row by row, from one row of the C level each. */
static void want_rows(struct tester *t, float *want, const struct problem *p)
{
    struct attn_rows one = p->rows;
    one.n_rows = 1;
    for (size_t r = 0; r < p->rows.n_rows; r++) {
        one.q = p->rows.q + r * one.q_stride;
        one.first_pos = p->rows.first_pos + r;
        t->ref->attn_rows_fwd(want + r * p->out_stride, p->out_stride, &one);
    }
}

static void one_problem(struct tester *t, struct problem *p)
{
    struct attn_rows *a = &p->rows;
    size_t n_out = a->n_rows * p->out_stride, n_lse = a->n_rows * (a->n_q + 1);
    t_case(t, "kv=%d rows=%zu from %llu window=%u ring=%llu n_q=%zu hd=%zu", (int)a->kv_type,
           a->n_rows, (unsigned long long)a->first_pos, a->window, (unsigned long long)a->ring,
           a->n_q, a->hd);
    a->q = t_floats(t, a->n_rows * a->q_stride, 1, FILL_RANDOM);
    a->k = make_kv(t, p, 0);
    a->v = make_kv(t, p, 1);
    float *out = t_bytes(t, n_out * sizeof *out, 12), *want = t_bytes(t, n_out * sizeof *out, 0);
    float *lse = t_bytes(t, n_lse * sizeof *lse, 4), *lse_want = t_bytes(t, n_lse * 4, 0);
    want_rows(t, want, p);
    t->k->attn_rows_fwd(out, p->out_stride, a);
    t_same(t, out, want, n_out, "out without lse");
    memset(out, 0xff, n_out * sizeof *out);
    a->lse = lse_want;
    a->lse_stride = a->n_q + 1;
    t->ref->attn_rows_fwd(out, p->out_stride, a);
    memset(out, 0xff, n_out * sizeof *out);
    a->lse = lse;
    t->k->attn_rows_fwd(out, p->out_stride, a);
    t_same(t, out, want, n_out, "out with lse");
    t_same(t, lse, lse_want, n_lse, "lse");
}

/* The smallest ring that holds what the rows see, or all positions. */
static uint64_t ring_for(const struct attn_rows *a, size_t turn)
{
    uint64_t seen = a->first_pos + a->n_rows - first_seen(a, a->first_pos);
    if (turn % 3 == 0 && a->first_pos < 4096)
        return UINT64_MAX;
    return (seen + ATTN_BLOCK - 1) / ATTN_BLOCK * ATTN_BLOCK + turn % 2 * ATTN_BLOCK;
}

static void many_problems(struct tester *t)
{
    static const uint32_t windows[] = { 0, 3, 63, 64, 65, 128 };
    static const uint64_t firsts[] = { 0, 1, 63, 64, 37, 100, 127, 4000000000u };
    static const size_t rows[] = { 1, 2, 7, 33, 64, 12, 17, 5, 70, 3, 16 };
    static const size_t n_qs[] = { 1, 2, 3, 4, 5, 8, 9 };
    static const size_t hds[] = { 64, 16, 8, 32, 128, 80, 7, 48, 100, 24, 1, 256 };
    for (size_t i = 0; i < 96; i += t_stride) {
        struct problem p = { .seed = 77 * i };
        enum kv_type type = (enum kv_type)(i % 4);
        size_t hd = type == KV_Q8_0 ? 32 * (1 + i / 4 % 4) : hds[i % 12];
        p.rows = (struct attn_rows){
            .kv_type = type, .window = windows[i % 6], .first_pos = firsts[i / 5 % 8],
            .n_rows = rows[i % 11], .n_q = n_qs[i % 7], .hd = hd, .scale = 1 / sqrtf((float)hd),
        };
        if (!p.rows.window && p.rows.first_pos > 4096)
            p.rows.first_pos = 190;
        if (hd * p.rows.n_q * p.rows.n_rows > 9000)
            p.rows.n_q = 1;
        p.rows.ring = ring_for(&p.rows, i / 4);
        p.rows.q_stride = p.rows.n_q * hd + i % 5;
        p.rows.kv_stride = kv_row_bytes(type, hd) + i % 3 * 32;
        p.out_stride = p.rows.n_q * hd + i % 4;
        one_problem(t, &p);
        t_end(t);
    }
}

/* lse against float64: sums of equal scores are powers of e times the number of keys. */
static void lse_is_log_sum(struct tester *t)
{
    float q[200] = { 0 }, kv[200] = { 0 }, out[200], lse[200];
    struct attn_rows a = { .q = q, .k = kv, .v = kv, .kv_type = KV_F32, .q_stride = 1,
                           .kv_stride = 4, .ring = UINT64_MAX, .n_rows = 200, .n_q = 1, .hd = 1,
                           .scale = 1, .lse = lse, .lse_stride = 1 };
    double want[200], bound[200];
    t_case(t, "lse of equal scores");
    for (size_t i = 0; i < 200; i++) {
        q[i] = 3;
        kv[i] = 0.75f;
        want[i] = 2.25 + log((double)(i + 1));
        bound[i] = want[i] * 0x1.01p-24;       /* the sum is exact: one rounding */
    }
    t->k->attn_rows_fwd(out, 1, &a);
    t_near(t, lse, want, bound, 200, "lse");
}

/* Values of every size, zeros and -0 among them: so are the sums that the weights divide. */
static void values_of_any_size(struct tester *t)
{
    struct problem p = { .seed = 5, .out_stride = 2 * 64 };
    struct attn_rows *a = &p.rows;
    float v[40 * 64];
    p.rows = (struct attn_rows){ .kv_type = KV_F32, .q_stride = 2 * 64, .kv_stride = 64 * 4,
                                 .ring = UINT64_MAX, .n_rows = 40, .n_q = 2, .hd = 64,
                                 .scale = 0.125f };
    t_case(t, "values of any size");
    for (size_t i = 0; i < 40 * 64; i++) {
        int power = (int)(i % 64) * 4 - 140;      /* by column, some of them alike */
        v[i] = i % 64 == 7 ? 0 : i % 64 == 9 ? -0.0f : ldexpf(t_normal(t), power);
    }
    a->q = t_floats(t, 40 * 2 * 64, 0, FILL_RANDOM);
    a->k = make_kv(t, &p, 0);
    a->v = v;
    float *out = t_bytes(t, 40 * 2 * 64 * sizeof *out, 0);
    float *want = t_bytes(t, 40 * 2 * 64 * sizeof *want, 0);
    want_rows(t, want, &p);
    t->k->attn_rows_fwd(out, p.out_stride, a);
    t_same(t, out, want, 40 * 2 * 64, "out");
    t_end(t);
}

/* A NaN in one key reaches the rows and heads that see it, and their lse, and no others. */
static void nan_shows(struct tester *t)
{
    struct problem p = { .seed = 9, .out_stride = 3 * 64 };
    float lse[40 * 3];
    p.rows = (struct attn_rows){ .kv_type = KV_BF16, .q_stride = 3 * 64, .kv_stride = 128,
                                 .first_pos = 50, .ring = 128, .n_rows = 40, .n_q = 3, .hd = 64,
                                 .window = 20, .scale = 0.125f, .lse = lse, .lse_stride = 3 };
    struct attn_rows *a = &p.rows;
    t_case(t, "NaN in the key of position 60");
    a->q = t_floats(t, 40 * 3 * 64, 0, FILL_RANDOM);
    a->v = make_kv(t, &p, 1);
    char *k = make_kv(t, &p, 0);
    a->k = k;
    ((bf16 *)(void *)(k + 60 * 128))[5] = 0x7fc0;
    float *out = t_bytes(t, 40 * 3 * 64 * sizeof *out, 0);
    t->k->attn_rows_fwd(out, p.out_stride, a);
    bool ok = true;
    for (size_t r = 0; r < 40; r++)
        for (size_t h = 0; h < 3; h++) {
            bool sees = r >= 10 && r < 30;
            ok = ok && isnan(lse[r * 3 + h]) == sees;
            for (size_t i = 0; i < 64; i++)
                ok = ok && isnan(out[(r * 3 + h) * 64 + i]) == sees;
        }
    t_true(t, ok, "it shows in rows 10 to 29");
    t_end(t);
}

void check_attn_tiles(struct tester *t)
{
    many_problems(t);
    lse_is_log_sum(t);
    values_of_any_size(t);
    nan_shows(t);
}
