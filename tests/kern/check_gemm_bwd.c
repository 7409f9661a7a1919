/* The products of training: kern/gemm/gemm_bwd.h. */
#include <math.h>
#include <string.h>

#include "checkkern.h"

enum { K_MAX = 257 };

/* Both operands and the sums, in either class; values are what the elements stand for. */
struct problem {
    bool half, tiny, add;                 /* bf16; tiny: products underflow; dx += */
    enum fill fill;
    size_t rows, n, k, dy_stride, x_stride, w_stride;
    float *dy, *w, *x;                    /* values, strided */
    bf16 *dy16, *w16, *x16;
};

static bf16 *round_values(struct tester *t, const struct problem *p, float *values, size_t n)
{
    bf16 *half = t_bytes(t, n * sizeof *half, 2);
    for (size_t i = 0; i < n; i++) {
        values[i] = p->tiny ? values[i] * 0x1p-66f : values[i];
        half[i] = f32_to_bf16(values[i]);
        values[i] = p->half ? bf16_to_f32(half[i]) : values[i];
    }
    return half;
}

static void begin(struct tester *t, struct problem *p)
{
    t_case(t, "%s rows=%zu n=%zu k=%zu, %s%s", p->half ? "bf16" : "f32", p->rows, p->n, p->k,
           p->fill == FILL_EXACT ? "exact" : "random",
           p->tiny ? ", tiny" : p->add ? ", added" : "");
    p->dy_stride = p->n + t_below(t, 2) * 3;
    p->x_stride = p->k + t_below(t, 2) * 5;
    p->w_stride = p->k + t_below(t, 2) * 2;
    p->dy = t_floats(t, p->rows * p->dy_stride, 1, p->fill);
    p->x = t_floats(t, p->rows * p->x_stride, 1, p->fill);
    p->w = t_floats(t, p->n * p->w_stride, 1, p->fill);
    p->dy16 = round_values(t, p, p->dy, p->rows * p->dy_stride);
    p->x16 = round_values(t, p, p->x, p->rows * p->x_stride);
    p->w16 = round_values(t, p, p->w, p->n * p->w_stride);
}

/* Tokens [t0, t1), inputs [j0, j1). */
static void run_dx(const struct kernels *k, const struct problem *p, float *dx, size_t stride,
                   size_t t0, size_t t1, size_t j0, size_t j1)
{
    size_t ds = p->dy_stride;
    dx += t0 * stride + j0;
    if (p->half)
        k->gemm_bf16_dx(dx, stride, p->dy16 + t0 * ds, ds, p->w16 + j0, 2 * p->w_stride, t1 - t0,
                        p->n, j1 - j0, p->add);
    else
        k->gemm_f32_dx(dx, stride, p->dy + t0 * ds, ds, p->w + j0, 4 * p->w_stride, t1 - t0, p->n,
                       j1 - j0, p->add);
}

/* Outputs [o0, o1), inputs [j0, j1). */
static void run_dw(const struct kernels *k, const struct problem *p, float *dw, size_t stride,
                   size_t o0, size_t o1, size_t j0, size_t j1)
{
    dw += o0 * stride + j0;
    if (p->half)
        k->gemm_bf16_dw(dw, stride, p->dy16 + o0, p->dy_stride, p->x16 + j0, p->x_stride, p->rows,
                        o1 - o0, j1 - j0);
    else
        k->gemm_f32_dw(dw, stride, p->dy + o0, p->dy_stride, p->x + j0, p->x_stride, p->rows,
                       o1 - o0, j1 - j0);
}

/* A sum that is a dot product of two strided lines, in float64; at most n + 3 roundings of
 * partial sums, each below the sum of magnitudes. */
static double dot_f64(const float *a, size_t as, const float *b, size_t bs, size_t n,
                      double start, double *bound)
{
    double sum = start, size = fabs(start);
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i * as] * (double)b[i * bs];
        size += fabs((double)a[i * as] * (double)b[i * bs]);
    }
    *bound = size * (double)(n + 3) * 0x1p-24 + 1e-37 * (double)(n + 1);
    return sum;
}

static void near_dx(struct tester *t, const struct problem *p, const float *dx,
                    const float *before, size_t stride)
{
    double want[K_MAX], bound[K_MAX];
    for (size_t r = 0; r < p->rows; r++) {
        for (size_t j = 0; j < p->k; j++) {
            double start = p->add ? (double)before[r * stride + j] : 0;
            want[j] = dot_f64(p->dy + r * p->dy_stride, 1, p->w + j, p->w_stride, p->n, start,
                              &bound[j]);
            bound[j] = p->fill == FILL_EXACT && !p->tiny ? 0 : bound[j];
        }
        t_near(t, dx + r * stride, want, bound, p->k, "dx");
    }
}

static void near_dw(struct tester *t, const struct problem *p, const float *dw,
                    const float *before, size_t stride)
{
    double want[K_MAX], bound[K_MAX];
    for (size_t o = 0; o < p->n; o++) {
        for (size_t j = 0; j < p->k; j++) {
            want[j] = dot_f64(p->dy + o, p->dy_stride, p->x + j, p->x_stride, p->rows,
                              (double)before[o * stride + j], &bound[j]);
            bound[j] = p->fill == FILL_EXACT && !p->tiny ? 0 : bound[j];
        }
        t_near(t, dw + o * stride, want, bound, p->k, "dw");
    }
}

/* What an output held; -0 shows a sum that starts anew. */
static float *before_of(struct tester *t, const struct problem *p, size_t n)
{
    float *before = t_floats(t, n, 1, p->fill);
    for (size_t i = 0; i < n; i += 3)
        before[i] = -0.0f;
    return before;
}

/* dx, or dw. */
static void check_one(struct tester *t, struct problem p, bool dw)
{
    begin(t, &p);
    size_t rows = dw ? p.n : p.rows, stride = p.k + t_below(t, 2) * 3, n = rows * stride;
    float *before = before_of(t, &p, n), *want = t_copy(t, before, n);
    float *got = t_copy(t, before, n);
    (dw ? run_dw : run_dx)(t->ref, &p, want, stride, 0, rows, 0, p.k);
    (dw ? run_dw : run_dx)(t->k, &p, got, stride, 0, rows, 0, p.k);
    t_same_bytes(t, got, want, n * sizeof *got, dw ? "dw and the gaps" : "dx and the gaps");
    if (t->level == CPU_C)
        (dw ? near_dw : near_dx)(t, &p, want, before, stride);
    t_end(t);
}

/* Blocks of outputs give the bits of the whole. */
static void check_cuts(struct tester *t, struct problem p)
{
    static const size_t cuts[][2] = { { 1, 1 }, { 16, 8 }, { 17, 33 }, { 40, 64 } };
    begin(t, &p);
    size_t n = p.rows * p.k, m = p.n * p.k;
    float *dx = t_bytes(t, n * 4, 4), *dw = before_of(t, &p, m), *start = t_copy(t, dw, m);
    run_dx(t->ref, &p, dx, p.k, 0, p.rows, 0, p.k);
    run_dw(t->ref, &p, dw, p.k, 0, p.n, 0, p.k);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        size_t a = cuts[i][0], c = cuts[i][1];
        float *dx_cut = t_bytes(t, n * 4, 4), *dw_cut = t_copy(t, start, m);
        for (int q = 0; q < 4; q++) {
            size_t j0 = q % 2 ? c : 0, j1 = q % 2 ? p.k : c;
            run_dx(t->k, &p, dx_cut, p.k, q / 2 ? a : 0, q / 2 ? p.rows : a, j0, j1);
            run_dw(t->k, &p, dw_cut, p.k, q / 2 ? a : 0, q / 2 ? p.n : a, j0, j1);
        }
        t_same_bytes(t, dx_cut, dx, n * 4, "dx in four parts");
        t_same_bytes(t, dw_cut, dw, m * 4, "dw in four parts");
    }
    t_end(t);
}

static double inner(const float *a, size_t as, const float *b, size_t bs, size_t rows, size_t n)
{
    double sum = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++)
            sum += (double)a[r * as + i] * (double)b[r * bs + i];
    return sum;
}

/* <dy, x W^T> = <dx, x> = <dw, W>, exactly, on numbers whose products are. */
static void check_adjoint(struct tester *t, struct problem p)
{
    begin(t, &p);
    float *y = t_bytes(t, p.rows * p.n * 4, 4), *dx = t_bytes(t, p.rows * p.k * 4, 4);
    float *dw = t_bytes(t, p.n * p.k * 4, 4), *x = t_bytes(t, p.rows * p.k * 4, 0);
    bf16 *x16 = t_bytes(t, p.rows * p.k * 2, 0);
    for (size_t i = 0; i < p.rows * p.k; i++)
        x16[i] = f32_to_bf16(x[i] = p.x[i / p.k * p.x_stride + i % p.k]);
    struct acts acts = { .f32 = x, .bf16 = x16 };
    memset(dw, 0, p.n * p.k * 4);
    run_dx(t->k, &p, dx, p.k, 0, p.rows, 0, p.k);
    run_dw(t->k, &p, dw, p.k, 0, p.n, 0, p.k);
    if (p.half)
        t->k->gemm_bf16(y, p.n, p.w16, 2 * p.w_stride, &acts, p.rows, p.n, p.k);
    else
        t->k->gemm_f32(y, p.n, p.w, 4 * p.w_stride, &acts, p.rows, p.n, p.k);
    double want = inner(p.dy, p.dy_stride, y, p.n, p.rows, p.n);
    t_true(t, inner(dx, p.k, p.x, p.x_stride, p.rows, p.k) == want, "<dx, x> is <dy, y>");
    t_true(t, inner(dw, p.k, p.w, p.w_stride, p.n, p.k) == want, "<dw, W> is <dy, y>");
    t_end(t);
}

/* Every size in each dimension, the others small; then some that need several panels. */
static void check_sizes(struct tester *t, bool half, bool dw)
{
    static const size_t small[] = { 1, 5, 16, 33, 2 }, large[][3] = {
        { 20, 601, 70 }, { 601, 20, 40 }, { 70, 130, 33 }, { 33, 200, 129 }, { 300, 97, 64 },
        { 0, 5, 7 }, { 5, 0, 7 }, { 5, 7, 0 }, { 40, 64, 32 },
    };
    size_t turn = 0;
    struct problem p = { .half = half };
    for (int fill = 0; fill < 2; fill++) {
        p.fill = fill ? FILL_RANDOM : FILL_EXACT;
        for (size_t i = 0; t_sizes[i]; i++)
            for (int d = 0; d < 3; d++) {
                size_t a = small[turn % 5], b = small[turn / 5 % 5], s = t_sizes[i];
                p.rows = d == 0 ? s : a;
                p.n = d == 1 ? s : d == 0 ? a : b;
                p.k = d == 2 ? s : b;
                p.add = turn % 2;
                if (turn++ % t_stride == 0)
                    check_one(t, p, dw);
            }
        for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
            p.rows = large[i][0];
            p.n = large[i][1];
            p.k = large[i][2];
            p.add = i % 2 == 0;
            if ((i + (size_t)fill) % t_stride == 0)
                check_one(t, p, dw);
        }
    }
    p.tiny = true;
    if (t->flush)
        check_one(t, p, dw);
}

static void check_both(struct tester *t, bool half)
{
    struct problem p = { .half = half, .fill = FILL_RANDOM, .rows = 70, .n = 75, .k = 77 };
    check_cuts(t, p);
    p.fill = FILL_EXACT;
    check_adjoint(t, p);
    p = (struct problem){ .half = half, .fill = FILL_EXACT, .rows = 9, .n = 17, .k = 31 };
    check_adjoint(t, p);
}

void check_gemm_f32_dx(struct tester *t)
{
    check_sizes(t, false, false);
    check_both(t, false);
}

void check_gemm_f32_dw(struct tester *t)
{
    check_sizes(t, false, true);
}

void check_gemm_bf16_dx(struct tester *t)
{
    check_sizes(t, true, false);
    check_both(t, true);
}

void check_gemm_bf16_dw(struct tester *t)
{
    check_sizes(t, true, true);
}
