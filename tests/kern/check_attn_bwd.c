/*
 * attn_bwd and attn_bwd_bf16.  Float64 gradients (grads64) are held to central differences
 * and, for larger problems, to the adjoint identity <J'dout, x> = <dout, J x>; the C level is
 * held to grads64 with a bound, the other levels to the C level.
 */
#include "checkkern.h"

#include <math.h>
#include <string.h>

enum { N_MAX = 200 };

/* The tensors of a problem in f32, and what they should give in float64. */
struct problem {
    struct attn_bwd a;
    size_t n_q_values, n_kv_values;       /* floats in q (dq) and in k (dk), gaps included */
    size_t n_out_values;
    double *want[3], *bound[3];           /* dq, dk, dv as in the tensors; gaps NaN */
};

static size_t first_seen(const struct attn_bwd *a, size_t i)
{
    return a->window && i >= a->window ? i - a->window + 1 : 0;
}

/* The exact attention of row i, head g: weights p[0..i], output, log of the sum. */
static double row64(double *p, double *out, const struct attn_bwd *a, size_t g, size_t i)
{
    const float *q = a->q + i * a->q_stride + g * a->hd;
    double max = -INFINITY, sum = 0;
    for (size_t j = first_seen(a, i); j <= i; j++) {
        p[j] = 0;
        for (size_t c = 0; c < a->hd; c++)
            p[j] += (double)q[c] * (double)a->k[j * a->kv_stride + c];
        p[j] *= (double)a->scale;
        max = fmax(max, p[j]);
    }
    for (size_t j = first_seen(a, i); j <= i; j++)
        sum += p[j] = exp(p[j] - max);
    for (size_t c = 0; c < a->hd; c++)
        out[c] = 0;
    for (size_t j = first_seen(a, i); j <= i; j++) {
        p[j] /= sum;
        for (size_t c = 0; c < a->hd; c++)
            out[c] += p[j] * (double)a->v[j * a->kv_stride + c];
    }
    return max + log(sum);
}

/* <dout, attention>: what the gradients are gradients of. */
static double loss64(const struct attn_bwd *a)
{
    double p[N_MAX], out[ATTN_HD_MAX], sum = 0;
    for (size_t g = 0; g < a->n_q; g++)
        for (size_t i = 0; i < a->n; i++) {
            row64(p, out, a, g, i);
            for (size_t c = 0; c < a->hd; c++)
                sum += out[c] * (double)a->dout[i * a->out_stride + g * a->hd + c];
        }
    return sum;
}

/* out and lse of the problem, as a forward would leave them. */
static void make_forward(const struct attn_bwd *a, float *out, float *lse)
{
    double p[N_MAX], row[ATTN_HD_MAX];
    for (size_t g = 0; g < a->n_q; g++)
        for (size_t i = 0; i < a->n; i++) {
            lse[i * a->lse_stride + g] = (float)row64(p, row, a, g, i);
            for (size_t c = 0; c < a->hd; c++)
                out[i * a->out_stride + g * a->hd + c] = (float)row[c];
        }
}

/* A sum of products, and of their sizes. */
struct sum64 {
    double value, size;
};

static struct sum64 dot64(const float *x, const float *y, size_t n)
{
    struct sum64 s = { 0, 0 };
    for (size_t c = 0; c < n; c++) {
        double term = (double)x[c] * (double)y[c];
        s.value += term;
        s.size += fabs(term);
    }
    return s;
}

/* One weight and one gradient of a score, each with the error it may have. */
struct pair64 {
    double p, ds, p_err, ds_err;
};

/*
 * half: the relative rounding of an operand (2^-8 in bf16, 0 in f32); u = 2^-24.  A dot
 * product of hd terms has hd + 2 roundings and its two operands' errors; s has 2 roundings
 * and lse's own more; p adds 3 (exp, and s - lse) and its size: |s - lse| <= 90 as it is;
 * D has hd/16 + 6 of its own and one of each element of out; ds 3.
 */
static struct pair64 pair64(const struct attn_bwd *a, size_t g, size_t i, size_t j, double half)
{
    size_t at = i * a->out_stride + g * a->hd;
    double u = 0x1.01p-24, hd = (double)a->hd, scale = fabs((double)a->scale);
    double lse = (double)a->lse[i * a->lse_stride + g];
    struct sum64 s = dot64(a->q + i * a->q_stride + g * a->hd, a->k + j * a->kv_stride, a->hd);
    struct sum64 dp = dot64(a->dout + at, a->v + j * a->kv_stride, a->hd);
    struct sum64 d = dot64(a->dout + at, a->out + at, a->hd);
    double each = (hd + 2) * u + 2.1 * half, x = (double)a->scale * s.value - lse;
    double s_err = scale * s.size * each + 3 * u * (fabs(x) + fabs(lse));
    struct pair64 r = { .p = exp(x) };
    r.ds = r.p * (double)a->scale * (dp.value - d.value);
    r.p_err = r.p * (expm1(s_err) + 4 * u);
    r.ds_err = r.p_err * scale * fabs(dp.value - d.value) + 4 * u * fabs(r.ds) +
               (r.p + r.p_err) * scale * (dp.size * each + d.size * (hd / 16 + 9) * u);
    return r;
}

/* y += w x, the error of w and the rounding of x in the bound; n roundings of each sum. */
static void add64(double *y, double *bound, double w, double w_err, const float *x, size_t hd,
                  double half, double n)
{
    double rel = n * 0x1.01p-24 + 2.1 * half;
    for (size_t c = 0; c < hd; c++) {
        y[c] += w * (double)x[c];
        bound[c] += (w_err * (1 + rel) + fabs(w) * rel) * fabs((double)x[c]) + 0x1p-125;
    }
}

static void grads64(const struct problem *p, double half)
{
    const struct attn_bwd *a = &p->a;
    double n = (double)(a->n * a->n_q) + 2;
    for (size_t g = 0; g < a->n_q; g++)
        for (size_t i = 0; i < a->n; i++)
            for (size_t j = first_seen(a, i); j <= i; j++) {
                struct pair64 s = pair64(a, g, i, j, half);
                size_t q = i * a->q_stride + g * a->hd, kv = j * a->kv_stride;
                const float *dout = a->dout + i * a->out_stride + g * a->hd;
                add64(p->want[0] + q, p->bound[0] + q, s.ds, s.ds_err, a->k + kv, a->hd, half, n);
                add64(p->want[1] + kv, p->bound[1] + kv, s.ds, s.ds_err, a->q + q, a->hd, half, n);
                add64(p->want[2] + kv, p->bound[2] + kv, s.p, s.p_err, dout, a->hd, half, n);
            }
}

/* Rows of `width` values each `stride` apart hold 0, the gaps what t_bytes filled in: NaN. */
static double *zeros64(struct tester *t, size_t n, size_t rows, size_t stride, size_t width)
{
    double *x = t_bytes(t, n * sizeof *x, 0);
    for (size_t r = 0; r < rows; r++)
        memset(x + r * stride, 0, width * sizeof *x);
    return x;
}

/* The same with values of f32. */
static float *values(struct tester *t, size_t n, size_t rows, size_t stride, size_t width)
{
    float *x = t_bytes(t, n * sizeof *x, 4);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < width; c++)
            x[r * stride + c] = t_normal(t);
    return x;
}

static void make_problem(struct tester *t, struct problem *p)
{
    struct attn_bwd *a = &p->a;
    size_t wide = a->n_q * a->hd;
    t_case(t, "n=%zu n_q=%zu hd=%zu window=%u", a->n, a->n_q, a->hd, a->window);
    p->n_q_values = a->n * a->q_stride;
    p->n_kv_values = a->n * a->kv_stride;
    p->n_out_values = a->n * a->out_stride;
    a->q = values(t, p->n_q_values, a->n, a->q_stride, wide);
    a->k = values(t, p->n_kv_values, a->n, a->kv_stride, a->hd);
    a->v = values(t, p->n_kv_values, a->n, a->kv_stride, a->hd);
    a->dout = values(t, p->n_out_values, a->n, a->out_stride, wide);
    float *out = t_bytes(t, p->n_out_values * sizeof *out, 8);
    float *lse = t_bytes(t, a->n * a->lse_stride * sizeof *lse, 4);
    make_forward(a, out, lse);
    a->out = out;
    a->lse = lse;
}

static void make_gradients(struct tester *t, struct problem *p)
{
    p->a.dq = t_bytes(t, p->n_q_values * sizeof(float), 4);
    p->a.dk = t_bytes(t, p->n_kv_values * sizeof(float), 8);
    p->a.dv = t_bytes(t, p->n_kv_values * sizeof(float), 0);
}

static void make_wants(struct tester *t, struct problem *p, double half)
{
    const struct attn_bwd *a = &p->a;
    for (int i = 0; i < 2; i++) {
        double **to = i ? p->bound : p->want;
        to[0] = zeros64(t, p->n_q_values, a->n, a->q_stride, a->n_q * a->hd);
        to[1] = zeros64(t, p->n_kv_values, a->n, a->kv_stride, a->hd);
        to[2] = zeros64(t, p->n_kv_values, a->n, a->kv_stride, a->hd);
    }
    grads64(p, half);
}

/* The C level against float64 (once), this level against the C level; gaps stay untouched. */
static void one_problem(struct tester *t, struct problem *p, bool bf16_class)
{
    attn_bwd_fn *ref = bf16_class ? t->ref->attn_bwd_bf16 : t->ref->attn_bwd;
    attn_bwd_fn *op = bf16_class ? t->k->attn_bwd_bf16 : t->k->attn_bwd;
    make_gradients(t, p);
    struct attn_bwd c = p->a;
    ref(&c);
    if (t->level == CPU_C && !t->flush) {
        make_wants(t, p, bf16_class ? 0x1.01p-8 : 0);
        t_near(t, c.dq, p->want[0], p->bound[0], p->n_q_values, "dq of the C level");
        t_near(t, c.dk, p->want[1], p->bound[1], p->n_kv_values, "dk of the C level");
        t_near(t, c.dv, p->want[2], p->bound[2], p->n_kv_values, "dv of the C level");
    }
    make_gradients(t, p);
    op(&p->a);
    t_same(t, p->a.dq, c.dq, p->n_q_values, "dq");
    t_same(t, p->a.dk, c.dk, p->n_kv_values, "dk");
    t_same(t, p->a.dv, c.dv, p->n_kv_values, "dv");
}

static void many_problems(struct tester *t, bool bf16_class)
{
    static const uint32_t windows[] = { 0, 1, 3, 31, 32, 33, 63, 64, 65, 128 };
    static const size_t ns[] = { 1, 2, 31, 32, 33, 63, 64, 65, 97, 130, 17, 200 };
    static const size_t n_qs[] = { 1, 2, 3, 5 };
    static const size_t hds[] = { 16, 64, 8, 32, 33, 7, 48, 128, 20, 1, 80 };
    for (size_t i = 0; i < 34; i += t_stride) {
        struct problem p = { .a = {
            .n = ns[i % 12], .window = windows[i % 10], .n_q = n_qs[i % 4], .hd = hds[i % 11] } };
        if (i == 33)                      /* an odd number of tiles of keys would fit in a block */
            p.a = (struct attn_bwd){ .n = 200, .window = 40, .n_q = 2, .hd = 161 };
        if (i < 33 && p.a.hd * p.a.n_q * p.a.n > 8000)
            p.a.n_q = 1;
        if (i == 0 || i == 9)
            p.a.hd = i ? 192 : ATTN_HD_MAX;
        p.a.scale = 1 / sqrtf((float)p.a.hd);
        p.a.q_stride = p.a.n_q * p.a.hd + i % 3;
        p.a.kv_stride = p.a.hd + i % 4;
        p.a.out_stride = p.a.n_q * p.a.hd + i % 2 * 8;
        p.a.lse_stride = p.a.n_q + i % 2;
        make_problem(t, &p);
        one_problem(t, &p, bf16_class);
        t_end(t);
    }
}

/* The derivative of the loss by one element, by central differences in float64.  The step is
 * a power of two and the element stays an exact float. */
static double difference(const struct attn_bwd *a, const float *element)
{
    float *x = (float *)(uintptr_t)element, old = *x, low, high;
    *x = high = old + 0x1p-10f;
    double up = loss64(a);
    *x = low = old - 0x1p-10f;
    double down = loss64(a);
    *x = old;
    return (up - down) / ((double)high - (double)low);
}

static void near_differences(struct tester *t, const struct attn_bwd *a, const float *x,
                             size_t stride, size_t width, const double *want, const char *what)
{
    double worst = 0;
    for (size_t i = 0; i < a->n; i++)
        for (size_t c = 0; c < width; c++)
            worst = fmax(worst, fabs(difference(a, x + i * stride + c) - want[i * stride + c]));
    /* third derivatives are of order 10; they enter with h^2 / 6 = 2^-22.6 */
    t_true(t, worst < 1e-5, what);
}

/* grads64 itself: every element of a small problem. */
static void by_differences(struct tester *t, uint32_t window)
{
    struct problem p = { .a = { .n = 9, .n_q = 2, .hd = 3, .scale = 0.7f, .window = window,
                                .q_stride = 7, .kv_stride = 4, .out_stride = 6,
                                .lse_stride = 2 } };
    if (t->level != CPU_C || t->flush)
        return;
    make_problem(t, &p);
    make_wants(t, &p, 0);
    near_differences(t, &p.a, p.a.q, 7, 6, p.want[0], "dq by central differences");
    near_differences(t, &p.a, p.a.k, 4, 3, p.want[1], "dk by central differences");
    near_differences(t, &p.a, p.a.v, 4, 3, p.want[2], "dv by central differences");
    t_end(t);
}

/* Moves x by h d; returns <gradient, d>. */
static double move(float *x, const float *gradient, const float *d, size_t n, float h)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] += h * d[i];
        sum += (double)gradient[i] * (double)d[i];
    }
    return sum;
}

/*
 * <dq, d> + <dk, d> + <dv, d> for a random direction d of small integers is the loss's slope in
 * that direction, a central difference in float64.  The values are multiples of 2^-6 below 8,
 * so that the step leaves them exact.
 */
static void adjoint(struct tester *t, bool bf16_class, double tolerance)
{
    struct problem p = { .a = { .n = 90, .n_q = 3, .hd = 16, .scale = 0.25f, .window = 40,
                                .q_stride = 48, .kv_stride = 16, .out_stride = 48,
                                .lse_stride = 3 } };
    make_problem(t, &p);
    float *x[3] = { (float *)(uintptr_t)p.a.q, (float *)(uintptr_t)p.a.k,
                    (float *)(uintptr_t)p.a.v }, *d[3];
    const size_t n[3] = { p.n_q_values, p.n_kv_values, p.n_kv_values };
    double slope = 0, h = 0x1p-13;
    for (int i = 0; i < 3; i++) {
        d[i] = t_bytes(t, n[i] * sizeof(float), 0);
        for (size_t j = 0; j < n[i]; j++) {
            d[i][j] = (float)t_below(t, 5) - 2;
            x[i][j] = rintf(x[i][j] * 64) / 64;
        }
    }
    make_forward(&p.a, (float *)(uintptr_t)p.a.out, (float *)(uintptr_t)p.a.lse);
    make_gradients(t, &p);
    (bf16_class ? t->k->attn_bwd_bf16 : t->k->attn_bwd)(&p.a);
    const float *g[3] = { p.a.dq, p.a.dk, p.a.dv };
    for (int i = 0; i < 3; i++)
        slope += move(x[i], g[i], d[i], n[i], (float)h);
    double up = loss64(&p.a);
    for (int i = 0; i < 3; i++)
        move(x[i], g[i], d[i], n[i], (float)(-2 * h));
    double want = (up - loss64(&p.a)) / (2 * h);
    t_case(t, "adjoint identity: %g, wanted %g", slope, want);
    t_true(t, fabs(slope - want) <= tolerance * (fabs(want) + 50), "<J'dout, d> = <dout, J d>");
    t_end(t);
}

/* Small integers with q k = 0 and lse = 0: p = 1 and every sum is exact, in both classes. */
static void exact_integers(struct tester *t, bool bf16_class)
{
    struct problem p = { .a = { .n = 70, .n_q = 2, .hd = 32, .scale = 1, .window = 40,
                                .q_stride = 64, .kv_stride = 32, .out_stride = 64,
                                .lse_stride = 2 } };
    make_problem(t, &p);
    struct attn_bwd *a = &p.a;
    float *q = (float *)(uintptr_t)a->q, *k = (float *)(uintptr_t)a->k;
    float *v = (float *)(uintptr_t)a->v, *dout = (float *)(uintptr_t)a->dout;
    float *out = (float *)(uintptr_t)a->out;
    for (size_t i = 0; i < p.n_q_values; i++) {
        q[i] = i % 2 ? (float)t_below(t, 7) - 3 : 0;
        dout[i] = (float)t_below(t, 3) - 1;
        out[i] = (float)t_below(t, 2);
    }
    for (size_t i = 0; i < p.n_kv_values; i++) {
        k[i] = i % 2 ? 0 : (float)t_below(t, 7) - 3;
        v[i] = (float)t_below(t, 3) - 1;
    }
    memset((float *)(uintptr_t)a->lse, 0, 2 * a->n * sizeof(float));
    make_gradients(t, &p);
    make_wants(t, &p, 0);
    (bf16_class ? t->k->attn_bwd_bf16 : t->k->attn_bwd)(a);
    for (int i = 0; i < 3; i++)
        memset(p.bound[i], 0, (i ? p.n_kv_values : p.n_q_values) * sizeof(double));
    t_near(t, a->dq, p.want[0], p.bound[0], p.n_q_values, "dq of integers");
    t_near(t, a->dk, p.want[1], p.bound[1], p.n_kv_values, "dk of integers");
    t_near(t, a->dv, p.want[2], p.bound[2], p.n_kv_values, "dv of integers");
    t_end(t);
}

static bool all_zero(const float *x, size_t n)
{
    bool zero = true;
    for (size_t i = 0; i < n; i++)
        zero = zero && x[i] == 0;
    return zero;
}

/* dout that is zero except in one row: keys this row does not see have no gradient. */
static void masked_is_zero(struct tester *t, bool bf16_class, uint32_t window)
{
    struct problem p = { .a = { .n = 150, .n_q = 1, .hd = 16, .scale = 0.25f, .window = window,
                                .q_stride = 16, .kv_stride = 16, .out_stride = 16,
                                .lse_stride = 1 } };
    make_problem(t, &p);
    size_t row = 100, first = window ? row - window + 1 : 0;
    float *dout = (float *)(uintptr_t)p.a.dout;
    for (size_t i = 0; i < p.n_out_values; i++)
        dout[i] = i / 16 == row ? dout[i] : 0;
    make_gradients(t, &p);
    (bf16_class ? t->k->attn_bwd_bf16 : t->k->attn_bwd)(&p.a);
    t_true(t, all_zero(p.a.dk, first * 16) && all_zero(p.a.dv, first * 16), "before the window");
    t_true(t, all_zero(p.a.dk + (row + 1) * 16, (149 - row) * 16) &&
              all_zero(p.a.dv + (row + 1) * 16, (149 - row) * 16), "after the row");
    t_true(t, all_zero(p.a.dq, row * 16) && all_zero(p.a.dq + (row + 1) * 16, (149 - row) * 16),
           "the other rows' queries");
    t_true(t, !all_zero(p.a.dv + first * 16, 16) && !all_zero(p.a.dv + row * 16, 16) &&
              !all_zero(p.a.dq + row * 16, 16), "what the row sees has gradients");
    t_end(t);
}

/* Class f32: a NaN in row 50 of q goes to its own dq and to the keys it sees. */
static void nan_stays(struct tester *t)
{
    struct problem p = { .a = { .n = 90, .n_q = 1, .hd = 16, .scale = 0.25f, .window = 20,
                                .q_stride = 16, .kv_stride = 16, .out_stride = 16,
                                .lse_stride = 1 } };
    bool ok = true;
    make_problem(t, &p);
    ((float *)(uintptr_t)p.a.q)[50 * 16 + 3] = NAN;
    make_gradients(t, &p);
    t->k->attn_bwd(&p.a);
    for (size_t i = 0; i < 90 * 16; i++) {
        bool seen = i / 16 > 30 && i / 16 <= 50;
        ok = ok && isnan(p.a.dq[i]) == (i / 16 == 50) && isnan(p.a.dk[i]) == seen &&
             isnan(p.a.dv[i]) == seen;
    }
    t_true(t, ok, "NaN in a query");
    t_end(t);
}

void check_attn_bwd(struct tester *t)
{
    by_differences(t, 0);
    by_differences(t, 4);
    many_problems(t, false);
    adjoint(t, false, 1e-5);
    exact_integers(t, false);
    masked_is_zero(t, false, 0);
    masked_is_zero(t, false, 20);
    nan_stays(t);
}

void check_attn_bwd_bf16(struct tester *t)
{
    many_problems(t, true);
    adjoint(t, true, 2e-2);
    exact_integers(t, true);
    masked_is_zero(t, true, 0);
    masked_is_zero(t, true, 20);
}
