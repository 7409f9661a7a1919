/* The products of every weight type: kern/gemm/gemm.h. */
#include <math.h>
#include <string.h>

#include "checkkern.h"

enum { K_MAX = 768 };

struct problem {
    const struct qtype *type;
    enum fill fill;
    size_t n, k, rows, y_stride, row_bytes;
    uint8_t *w;
    struct acts x;
    const float *values;                  /* what x stands for, [rows][k] */
};

/* Where a type's blocks hold f16 scales and how large |minimum| / dmin can be. */
static const struct layout {
    enum qtype_id id;
    int d, dmin;                          /* byte offsets; -1: none */
    int times;                            /* largest factor of dmin */
} layouts[] = {
    { QT_Q4_0, 0, -1, 0 },  { QT_Q4_1, 0, 2, 1 },   { QT_Q5_0, 0, -1, 0 },  { QT_Q5_1, 0, 2, 1 },
    { QT_Q8_0, 0, -1, 0 },  { QT_IQ4_NL, 0, -1, 0 }, { QT_Q2_K, 80, 82, 15 },
    { QT_Q3_K, 108, -1, 0 }, { QT_Q4_K, 0, 2, 63 }, { QT_Q5_K, 0, 2, 63 },
    { QT_Q6_K, 208, -1, 0 }, { QT_IQ4_XS, 0, -1, 0 },
};

static const struct layout *layout_of(const struct qtype *type)
{
    static const struct layout none = { QT_F32, -1, -1, 0 };
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i].id == type->id)
            return &layouts[i];
    return &none;
}

/* A half: a power of two for exact inputs; else any size, now and then 0 or subnormal. */
static void put_scale(struct tester *t, uint8_t *to, enum fill how)
{
    static const float exact[] = { 0.5f, -1, 1, 2 };
    static const f16 special[] = { 0, 0x8000, 0x0001, 0x83ff, 0x0400 };
    f16 h = f32_to_f16(how == FILL_EXACT ? exact[t_below(t, 4)] : t_normal(t) * 0.125f);
    if (how == FILL_RANDOM && t_below(t, 16) == 0)
        h = special[t_below(t, 5)];
    memcpy(to, &h, sizeof h);
}

/* MXFP4: 2^-1 .. 2^1, or 2^-28 .. 2^3, now and then the smallest. */
static uint8_t exponent(struct tester *t, enum fill how)
{
    if (how == FILL_EXACT)
        return (uint8_t)(127 + t_below(t, 3));
    return (uint8_t)(t_below(t, 16) ? 100 + t_below(t, 32) : t_below(t, 4));
}

static void fill_weight_block(struct tester *t, const struct problem *p, uint8_t *w)
{
    const struct layout *at = layout_of(p->type);
    for (size_t i = 0; i < p->type->block_bytes; i++)
        w[i] = (uint8_t)t_random(t);
    if (p->type->block == 1) {
        float f = t_value(t, p->fill);
        f16 h = f32_to_f16(f);
        bf16 b = f32_to_bf16(f);
        const void *from = p->type->id == QT_F32 ? (void *)&f : p->type->id == QT_F16 ? &h : &b;
        memcpy(w, from, p->type->block_bytes);
    }
    if (at->d >= 0)
        put_scale(t, w + at->d, p->fill);
    if (at->dmin >= 0)
        put_scale(t, w + at->dmin, p->fill);
    if (p->type->id == QT_MXFP4)
        w[0] = exponent(t, p->fill);
    for (size_t i = 192; i < 208 && p->type->id == QT_Q6_K && p->fill == FILL_EXACT; i++)
        w[i] = (uint8_t)(t_below(t, 17) - 8);
}

static void fill_weights(struct tester *t, struct problem *p)
{
    size_t used = qtype_row_bytes(p->type, p->k);
    p->w = t_bytes(t, p->n * p->row_bytes, 1);
    for (size_t o = 0; o < p->n; o++)
        for (size_t at = 0; at < used; at += p->type->block_bytes)
            fill_weight_block(t, p, p->w + o * p->row_bytes + at);
}

/* Exact: q in -3..3 under a scale of 1 or 1/2.  Random: quantised normal numbers. */
static void fill_q8(struct tester *t, struct problem *p, float *values)
{
    size_t n = p->rows * p->k;
    int8_t *q = t_bytes(t, n, 1);
    float *d = t_bytes(t, n / 32 * 4, 4);
    int32_t *sum = t_bytes(t, n / 32 * 4, 4);
    t->ref->quant_q8(q, d, sum, values, n);
    for (size_t b = 0; b < n / 32 && p->fill == FILL_EXACT; b++) {
        sum[b] = 0;
        d[b] = t_below(t, 2) ? 1.0f : 0.5f;
        for (size_t i = 32 * b; i < 32 * b + 32; i++) {
            q[i] = (int8_t)((int)t_below(t, 7) - 3);
            sum[b] += q[i];
        }
    }
    for (size_t i = 0; i < n; i++)
        values[i] = d[i / 32] * (float)q[i];
    p->x.q = q;
    p->x.d = d;
    p->x.sum = sum;
}

static void fill_acts(struct tester *t, struct problem *p)
{
    float *values = t_floats(t, p->rows * p->k, 1, p->fill);
    bf16 *half = t_bytes(t, p->rows * p->k * 2, 2);
    t->ref->round_bf16(half, values, p->rows * p->k);
    if (p->type->numeric == CLASS_Q8)
        fill_q8(t, p, values);
    for (size_t i = 0; p->type->numeric == CLASS_BF16 && i < p->rows * p->k; i++)
        values[i] = bf16_to_f32(half[i]);
    p->x.f32 = p->values = values;
    p->x.bf16 = half;
}

/* A bound of |minimum| in the block that holds element i; 0 for types without one. */
static double min_of(const struct problem *p, const uint8_t *row, size_t i)
{
    const struct layout *at = layout_of(p->type);
    f16 h;
    if (at->dmin < 0)
        return 0;
    memcpy(&h, row + i / p->type->block * p->type->block_bytes + at->dmin, 2);
    return at->times * fabs((double)f16_to_f32(h));
}

/* What flushing denormals may take from a weight: MXFP4's scales 2^-128 and 2^-127. */
static double flushed_of(const struct problem *p)
{
    return p->type->id == QT_MXFP4 ? 12 * 0x1p-127 : 0;
}

/*
 * y in float64 and how far rounding may take it.  Every partial sum is at most S, the
 * sum of |d q x| + |m x|, and a value meets at most k + 8 roundings of 2^-24 (a chain
 * of k fma; for blocks fewer, but the scale's product, the activation's value d q and
 * a dequantised weight are rounded as well).  Scales that are denormal may count as zero.
 */
static void product_f64(const struct problem *p, size_t t, double *y, double *bound)
{
    static float w[K_MAX];
    for (size_t o = 0; o < p->n; o++) {
        const uint8_t *row = p->w + o * p->row_bytes;
        const float *x = p->values + t * p->k;
        double sum = 0, size = 0, lost = 1e-37;
        p->type->dequant(w, row, p->k);
        for (size_t i = 0; i < p->k; i++) {
            sum += (double)w[i] * (double)x[i];
            lost += flushed_of(p) * fabs((double)x[i]);
            size += (fabs((double)w[i]) + 2 * min_of(p, row, i)) * fabs((double)x[i]);
        }
        y[o] = sum;
        bound[o] = p->fill == FILL_EXACT ? 0 : size * (double)(p->k + 8) * 0x1p-24 + lost;
    }
}

static float *take_y(struct tester *t, const struct problem *p)
{
    return t_bytes(t, p->rows * p->y_stride * sizeof(float), 4);
}

static void run(const struct kernels *k, const struct problem *p, float *y, size_t o, size_t n,
                size_t row, size_t rows)
{
    struct acts x = p->x;
    x.f32 += row * p->k;
    x.bf16 += row * p->k;
    if (x.q) {
        x.q += row * p->k;
        x.d += row * (p->k / 32);
        x.sum += row * (p->k / 32);
    }
    kern_gemm(k, p->type)(y + row * p->y_stride + o, p->y_stride, p->w + o * p->row_bytes,
                          p->row_bytes, &x, rows, n, p->k);
}

static void begin(struct tester *t, struct problem *p)
{
    p->y_stride = p->n + t_below(t, 2) * 3;
    p->row_bytes = qtype_row_bytes(p->type, p->k) + t_below(t, 2) * 5;
    t_case(t, "%s, n=%zu k=%zu rows=%zu stride=%zu, %s", p->type->name, p->n, p->k, p->rows,
           p->y_stride, p->fill == FILL_EXACT ? "exact" : "random");
    fill_weights(t, p);
    fill_acts(t, p);
}

static void check_one(struct tester *t, struct problem p)
{
    double sum[64], bound[64];
    begin(t, &p);
    float *want = take_y(t, &p), *got = take_y(t, &p);
    run(t->ref, &p, want, 0, p.n, 0, p.rows);
    run(t->k, &p, got, 0, p.n, 0, p.rows);
    t_same_bytes(t, got, want, p.rows * p.y_stride * sizeof *got, "y and the gaps");
    for (size_t r = 0; r < p.rows && t->level == CPU_C; r++) {
        product_f64(&p, r, sum, bound);
        t_near(t, want + r * p.y_stride, sum, bound, p.n, "y");
    }
    t_end(t);
}

/* Any split of n and rows gives the bits of the whole. */
static void check_splits(struct tester *t, struct problem p)
{
    static const size_t cuts[][2] = { { 1, 1 }, { 16, 8 }, { 17, 3 }, { 25, 36 }, { 7, 32 } };
    begin(t, &p);
    float *want = take_y(t, &p);
    run(t->ref, &p, want, 0, p.n, 0, p.rows);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        float *got = take_y(t, &p);
        size_t o = cuts[i][0], r = cuts[i][1];
        run(t->k, &p, got, 0, o, 0, r);
        run(t->k, &p, got, o, p.n - o, 0, r);
        run(t->k, &p, got, 0, o, r, p.rows - r);
        run(t->k, &p, got, o, p.n - o, r, p.rows - r);
        t_same_bytes(t, got, want, p.rows * p.y_stride * sizeof *got, "y in four parts");
    }
    t_end(t);
}

/* Many rows, odd ends everywhere, several panels of k. */
static void check_many_rows(struct tester *t, struct problem p)
{
    static const size_t shape[][3] = {
        { 70, 601, 65 }, { 96, 768, 64 }, { 33, 545, 48 }, { 5, 64, 33 }, { 64, 20, 100 },
    };
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i += t_stride) {
        p.n = shape[i][0];
        p.k = shape[i][1];
        p.rows = shape[i][2];
        begin(t, &p);
        float *want = take_y(t, &p), *got = take_y(t, &p);
        run(t->ref, &p, want, 0, p.n, 0, p.rows);
        run(t->k, &p, got, 0, p.n, 0, p.rows);
        t_same_bytes(t, got, want, p.rows * p.y_stride * sizeof *got, "y and the gaps");
        t_end(t);
    }
}

/* A byte that makes a float: it may hold a NaN when it is anything. */
static bool is_scale(const struct qtype *type, int at)
{
    const struct layout *l = layout_of(type);
    return at / 2 * 2 == l->d || at / 2 * 2 == l->dmin || (type->id == QT_MXFP4 && at == 0);
}

/* Activations of -127..127 and weights at both ends: no sum may wrap or saturate. */
static void check_extremes(struct tester *t, struct problem p)
{
    begin(t, &p);
    size_t n = p.rows * p.k;
    int8_t *q = t_bytes(t, n, 0);
    int32_t *sum = t_bytes(t, n / 32 * 4, 0);
    for (size_t i = 0; i < n; i++)
        q[i] = (i / p.k + i * (i / p.k / 2)) % 2 ? 127 : -127;
    for (size_t b = 0; b < n / 32; b++) {
        sum[b] = 0;
        for (size_t i = 0; i < 32; i++)
            sum[b] += q[32 * b + i];
    }
    static const uint8_t ends[] = { 0x80, 0xff, 0x7f, 0x00 };
    for (size_t i = 0; i < p.n * p.row_bytes; i++)
        if (!is_scale(p.type, (int)(i % p.row_bytes % p.type->block_bytes)))
            p.w[i] = ends[i / p.row_bytes % 4];
    p.x.q = q;
    p.x.sum = sum;
    float *want = take_y(t, &p), *got = take_y(t, &p);
    run(t->ref, &p, want, 0, p.n, 0, p.rows);
    run(t->k, &p, got, 0, p.n, 0, p.rows);
    t_same_bytes(t, got, want, p.rows * p.y_stride * sizeof *got, "y at the extremes");
    t_end(t);
}

/* Every exponent of MXFP4, also those whose scale or product is no normal number. */
static void check_exponents(struct tester *t, struct problem p)
{
    begin(t, &p);
    for (size_t o = 0; o < p.n; o++)
        for (size_t b = 0; b < p.k / 32; b++)
            p.w[o * p.row_bytes + b * p.type->block_bytes] = (uint8_t)(o * (p.k / 32) + b);
    float *want = take_y(t, &p), *got = take_y(t, &p);
    run(t->ref, &p, want, 0, p.n, 0, p.rows);
    run(t->k, &p, got, 0, p.n, 0, p.rows);
    t_same(t, got, want, p.rows * p.y_stride, "y and the gaps");
    t_end(t);
}

static void check_type(struct tester *t, enum qtype_id id)
{
    static const size_t ns[] = { 1, 7, 8, 9, 15, 16, 17, 33 }, rs[] = { 0, 1, 2, 3, 5, 8, 17 };
    static const size_t ks[] = { 32, 64, 96, 256, 512, 768, 0, 1, 31, 33, 50, 100 };
    struct problem p = { .type = qtype_find(id) };
    size_t turn = 0;
    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++)
        for (size_t j = 0; j < sizeof ks / sizeof *ks; j++) {
            p.n = ns[i];
            p.k = ks[j];
            if (p.k % p.type->block)
                continue;
            for (int again = 0; again < 2; again++) {
                p.rows = rs[turn++ % (sizeof rs / sizeof *rs)];
                p.fill = again ? FILL_RANDOM : FILL_EXACT;
                if (p.k < 256 || t_stride == 1 || (turn / 2 + i) % 2 == 0)
                    check_one(t, p);
            }
        }
    p = (struct problem){ p.type, FILL_RANDOM, 41, 256, 37, 0, 0, NULL, { 0 }, NULL };
    check_splits(t, p);
    if (p.type->numeric == CLASS_Q8)
        check_extremes(t, p);
    if (p.type->block == 1)
        check_many_rows(t, p);
    p.n = 256;
    p.k = 32;
    if (id == QT_MXFP4)
        check_exponents(t, p);
}

void check_gemm_f32(struct tester *t)
{
    check_type(t, QT_F32);
}

void check_gemm_f16(struct tester *t)
{
    check_type(t, QT_F16);
}

void check_gemm_bf16(struct tester *t)
{
    check_type(t, QT_BF16);
}

void check_gemm_q4_0(struct tester *t)
{
    check_type(t, QT_Q4_0);
}

void check_gemm_q4_1(struct tester *t)
{
    check_type(t, QT_Q4_1);
}

void check_gemm_q5_0(struct tester *t)
{
    check_type(t, QT_Q5_0);
}

void check_gemm_q5_1(struct tester *t)
{
    check_type(t, QT_Q5_1);
}

void check_gemm_q8_0(struct tester *t)
{
    check_type(t, QT_Q8_0);
}

void check_gemm_iq4_nl(struct tester *t)
{
    check_type(t, QT_IQ4_NL);
}

void check_gemm_mxfp4(struct tester *t)
{
    check_type(t, QT_MXFP4);
}

void check_gemm_q2_k(struct tester *t)
{
    check_type(t, QT_Q2_K);
}

void check_gemm_q3_k(struct tester *t)
{
    check_type(t, QT_Q3_K);
}

void check_gemm_q4_k(struct tester *t)
{
    check_type(t, QT_Q4_K);
}

void check_gemm_q5_k(struct tester *t)
{
    check_type(t, QT_Q5_K);
}

void check_gemm_q6_k(struct tester *t)
{
    check_type(t, QT_Q6_K);
}

void check_gemm_iq4_xs(struct tester *t)
{
    check_type(t, QT_IQ4_XS);
}
