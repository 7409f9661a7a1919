#include "checkkern.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "slope.h"

enum { DIM_MAX = 512, ROWS = 3 };

/* sum_ri dy[r][i] y[r][i] as a function of t, at x + t vx and g + t vg. */
struct along {
    const float *dy, *x, *g;
    double vx[ROWS * DIM_MAX], vg[DIM_MAX];
    size_t dim;
    double eps;
};

static double forward(const void *arg, double t)
{
    const struct along *a = arg;
    double sum = 0;
    for (size_t r = 0; r < ROWS; r++) {
        const float *x = a->x + r * a->dim, *dy = a->dy + r * a->dim;
        const double *vx = a->vx + r * a->dim;
        double ss = 0, dot = 0;
        for (size_t i = 0; i < a->dim; i++) {
            double xi = (double)x[i] + t * vx[i];
            ss += xi * xi;
            dot += (double)dy[i] * xi * ((double)a->g[i] + t * a->vg[i]);
        }
        sum += dot / sqrt(ss / (double)a->dim + a->eps);
    }
    return sum;
}

/* The distance over which a row's result changes, the shortest of the rows. */
static double reach(const struct along *a)
{
    double least = INFINITY;
    for (size_t r = 0; r < ROWS; r++) {
        double ss = 0;
        for (size_t i = 0; i < a->dim; i++)
            ss += pow((double)a->x[r * a->dim + i], 2);
        least = fmin(least, sqrt(ss / (double)a->dim + a->eps));
    }
    return least;
}

/*
 * Roundings in units of 2^-24: s has (n/16 + 7) / 2 + 2 as in the forward, the sum of h x
 * n/16 + 6, m two more and s again, and each element four.  Underflow may take FLT_MIN from
 * each term, which s enlarges.
 */
static void bounds(double *dx, double *dg, const struct along *a)
{
    double n = (double)a->dim, units = 3 * n / 16 + 40;
    memset(dg, 0, a->dim * sizeof *dg);
    for (size_t r = 0; r < ROWS; r++) {
        double ss = 0, dot = 0;
        for (size_t i = 0; i < a->dim; i++) {
            double x = (double)a->x[r * a->dim + i];
            ss += x * x;
            dot += fabs((double)a->dy[r * a->dim + i] * (double)a->g[i] * x);
        }
        double s = 1 / sqrt(ss / n + a->eps), m = dot * s / n;
        for (size_t i = 0; i < a->dim; i++) {
            double x = fabs((double)a->x[r * a->dim + i]), d = fabs((double)a->dy[r * a->dim + i]);
            dx[r * a->dim + i] = s * (d * fabs((double)a->g[i]) + x * s * m) * units * 0x1p-24
                                 + FLT_MIN * (1 + s) * (1 + s);
            dg[i] += d * x * s * units * 0x1p-24 + FLT_MIN * (1 + s);
        }
    }
}

/* Every gradient element against the slope of the forward along it. */
static void each_element(struct tester *t, struct along *a, const float *dx, const float *dg,
                         const double *dx_bound, const double *dg_bound)
{
    static double want[ROWS * DIM_MAX];
    double h = 1e-3 * reach(a);
    memset(a->vx, 0, sizeof a->vx);
    memset(a->vg, 0, sizeof a->vg);
    for (size_t i = 0; i < ROWS * a->dim; i++) {
        a->vx[i] = 1;
        want[i] = slope(forward, a, h);
        a->vx[i] = 0;
    }
    t_near(t, dx, want, dx_bound, ROWS * a->dim, "dx");
    for (size_t i = 0; i < a->dim; i++) {
        a->vg[i] = 1;
        want[i] = slope(forward, a, 0.25);
        a->vg[i] = 0;
    }
    t_near(t, dg, want, dg_bound, a->dim, "dg");
}

/* <dy, J v> = <J^T dy, v> along a random direction of x and g. */
static void adjoint(struct tester *t, struct along *a, const float *dx, const float *dg,
                    const double *dx_bound, const double *dg_bound)
{
    double got = 0, bound = 0;
    for (size_t i = 0; i < ROWS * a->dim; i++) {
        a->vx[i] = (double)t_normal(t);
        got += (double)dx[i] * a->vx[i];
        bound += dx_bound[i] * fabs(a->vx[i]);
    }
    for (size_t i = 0; i < a->dim; i++) {
        a->vg[i] = (double)t_normal(t);
        got += (double)dg[i] * a->vg[i];
        bound += dg_bound[i] * fabs(a->vg[i]);
    }
    double want = slope(forward, a, 1e-3 * reach(a));
    t_true(t, fabs(got - want) <= bound, "the adjoint identity");
}

static void against_forward(struct tester *t, size_t dim, enum fill how)
{
    static struct along a;
    static double dx_bound[ROWS * DIM_MAX], dg_bound[DIM_MAX];
    float *x = t_floats(t, ROWS * dim, 0, how), *g = t_floats(t, dim, 0, how);
    float *dy = t_floats(t, ROWS * dim, 0, how), *dx = t_copy(t, dy, ROWS * dim);
    float *dg = t_bytes(t, dim * sizeof *dg, 0), eps = how == FILL_EXACT ? 0.25f : 1e-5f;
    memset(dg, 0, dim * sizeof *dg);
    t->k->rmsnorm_bwd(dx, dg, dy, x, g, ROWS, dim, eps);
    a = (struct along){ .dy = dy, .x = x, .g = g, .dim = dim, .eps = (double)eps };
    bounds(dx_bound, dg_bound, &a);
    if (dim <= 65)
        each_element(t, &a, dx, dg, dx_bound, dg_bound);
    adjoint(t, &a, dx, dg, dx_bound, dg_bound);
}

static void levels_agree(struct tester *t, size_t rows, size_t dim, size_t skew, enum fill how)
{
    float *x = t_floats(t, rows * dim, skew, how), *g = t_floats(t, dim, skew / 2, how);
    float *dy = t_floats(t, rows * dim, skew, how), *dg = t_floats(t, dim, 1, how);
    float *want_g = t_copy(t, dg, dim), *want = t_copy(t, dy, rows * dim);
    float *dx = t_bytes(t, rows * dim * sizeof *dx, 4), *x2 = t_copy(t, x, rows * dim);
    t->ref->rmsnorm_bwd(want, want_g, dy, x, g, rows, dim, 1e-5f);
    t->k->rmsnorm_bwd(dx, NULL, dy, x, g, rows, dim, 1e-5f);
    t_same(t, dx, want, rows * dim, "dx without dg");
    t->k->rmsnorm_bwd(x2, dg, dy, x2, g, rows, dim, 1e-5f);
    t_same(t, x2, want, rows * dim, "dx = x");
    t_same(t, dg, want_g, dim, "dg");
    t->k->rmsnorm_bwd(dy, NULL, dy, x, g, rows, dim, 1e-5f);
    t_same(t, dy, want, rows * dim, "dx = dy");
}

/* Flushed, every product of the sum is -0 and so the sum, if nothing past the end is added:
 * then the last element's -0 becomes +0. */
static void minus_zero(struct tester *t)
{
    float *x = t_bytes(t, 17 * sizeof *x, 0), *g = t_bytes(t, 17 * sizeof *g, 0);
    float *dy = t_bytes(t, 17 * sizeof *dy, 0), *dx = t_bytes(t, 17 * sizeof *dx, 0);
    float *want = t_bytes(t, 17 * sizeof *want, 0);
    t_case(t, "a sum of -0");
    for (size_t i = 0; i < 17; i++) {
        g[i] = 1;
        x[i] = 1e-30f;
        dy[i] = i < 16 ? -1e-30f : -0.0f;
    }
    t->ref->rmsnorm_bwd(want, NULL, dy, x, g, 1, 17, 1e-6f);
    t->k->rmsnorm_bwd(dx, NULL, dy, x, g, 1, 17, 1e-6f);
    t_same(t, dx, want, 17, "dx");
    t_true(t, !t->flush || !signbit(want[16]), "the case is the one that was meant");
    t_end(t);
}

void check_rmsnorm_bwd(struct tester *t)
{
    minus_zero(t);
    for (const size_t *dim = t_sizes; *dim; dim++)
        for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
            t_case(t, "dim=%zu fill=%d", *dim, how);
            if (t->level == CPU_C)
                against_forward(t, *dim, (enum fill)how);
            for (size_t skew = 0; skew < 4; skew++)
                levels_agree(t, 3, *dim, skew, (enum fill)how);
            t_end(t);
        }
    t_case(t, "rows that hold zeros, infinity, NaN, tiny numbers; no rows");
    float *x = t_floats(t, 4 * 33, 0, FILL_RANDOM), *g = t_floats(t, 33, 0, FILL_RANDOM);
    float *dy = t_floats(t, 4 * 33, 0, FILL_RANDOM), *dx = t_copy(t, x, 4 * 33);
    float *want = t_copy(t, x, 4 * 33), *dg = t_floats(t, 33, 0, FILL_RANDOM);
    float *want_g = t_copy(t, dg, 33);
    for (size_t i = 0; i < 33; i++) {
        x[i] = 0;
        x[99 + i] *= 1e-39f;
        dy[99 + i] *= -1e-39f;
    }
    x[40] = INFINITY;
    x[90] = NAN;
    t->ref->rmsnorm_bwd(want, want_g, dy, x, g, 4, 33, 1e-6f);
    t->k->rmsnorm_bwd(dx, dg, dy, x, g, 4, 33, 1e-6f);
    t_same(t, dx, want, 4 * 33, "dx");
    t_same(t, dg, want_g, 33, "dg");
    t_true(t, isnan(dx[2 * 33]) && isnan(dg[0]) && !isnan(dx[3 * 33]), "NaN stays in its row");
    t->k->rmsnorm_bwd(dx, dg, NULL, NULL, g, 0, 33, 1e-6f);
    t_same(t, dg, want_g, 33, "dg after no rows");
    t_end(t);
}
