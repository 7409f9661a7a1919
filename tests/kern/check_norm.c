#include "checkkern.h"

#include <float.h>
#include <math.h>

/*
 * Roundings of one element, in units of 2^-24: n/16 + 1 in a chain and 4 in the tree,
 * the mean and the sum with eps (2), all halved by the root; then root, reciprocal, two
 * products.  FLT_MIN covers what underflow or flushing takes away.
 */
static void ref64(double *want, double *bound, const float *x, const float *g, size_t n,
                  double eps)
{
    double ss = 0;
    for (size_t i = 0; i < n; i++)
        ss += (double)x[i] * (double)x[i];
    for (size_t i = 0; i < n; i++) {
        want[i] = (double)x[i] / sqrt(ss / (double)n + eps) * (double)g[i];
        bound[i] = fabs(want[i]) * ((double)n / 16 + 7 + 2 * 4) / 2 * 0x1.01p-24 + FLT_MIN;
    }
}

static void one_shape(struct tester *t, size_t rows, size_t dim, size_t skew, enum fill how)
{
    float *x = t_floats(t, rows * dim, skew, how), *g = t_floats(t, dim, skew / 2, how);
    float *y = t_bytes(t, rows * dim * sizeof *y, 4), *want = t_copy(t, x, rows * dim);
    double want64[4096], bound[4096];
    float eps = how == FILL_EXACT ? 0.25f : 1e-5f;
    t->ref->rmsnorm_fwd(want, x, g, rows, dim, eps);
    for (size_t r = 0; r < rows; r++) {
        ref64(want64, bound, x + r * dim, g, dim, (double)eps);
        t_near(t, want + r * dim, want64, bound, dim, "C level");
    }
    t->k->rmsnorm_fwd(y, x, g, rows, dim, eps);
    t_same(t, y, want, rows * dim, "y");
    t->k->rmsnorm_fwd(x, x, g, rows, dim, eps);
    t_same(t, x, want, rows * dim, "y in place");
}

void check_rmsnorm_fwd(struct tester *t)
{
    for (const size_t *dim = t_sizes; *dim; dim++)
        for (size_t skew = 0; skew < 4; skew++)
            for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
                t_case(t, "rows=6 dim=%zu skew=%zu fill=%d", *dim, skew, how);
                one_shape(t, 6, *dim, skew, (enum fill)how);
                t_end(t);
            }
    t_case(t, "rows=1 dim=4096");
    one_shape(t, 1, 4096, 1, FILL_RANDOM);
    t_end(t);

    t_case(t, "a row that holds zeros, infinity, NaN, tiny numbers; rows=0");
    float *x = t_floats(t, 4 * 33, 0, FILL_RANDOM), *g = t_floats(t, 33, 0, FILL_RANDOM);
    float *y = t_bytes(t, 4 * 33 * sizeof *y, 0), *want = t_bytes(t, 4 * 33 * sizeof *y, 0);
    for (size_t i = 0; i < 33; i++) {
        x[i] = 0;
        x[99 + i] *= 1e-39f;
    }
    x[40] = INFINITY;
    x[90] = NAN;
    t->ref->rmsnorm_fwd(want, x, g, 4, 33, 1e-6f);
    t->k->rmsnorm_fwd(y, x, g, 4, 33, 1e-6f);
    t_same(t, y, want, 4 * 33, "y");
    t->k->rmsnorm_fwd(y, NULL, NULL, 0, 33, 1e-6f);
    t_end(t);
}

/* What the C level gives in f32, then rounded.  A NaN's payload is free. */
static void rounded_case(struct tester *t, size_t rows, size_t dim, bool any)
{
    size_t n = rows * dim;
    float *x = t_floats(t, n, dim % 4, FILL_RANDOM), *g = t_floats(t, dim, 1, FILL_RANDOM);
    float *want = t_copy(t, x, n), *got = t_copy(t, x, n);
    bf16 *y = t_bytes(t, n * sizeof *y, 2);
    for (size_t i = 0; any && i < n; i += 5)
        x[i] = f32_from_bits((uint32_t)t_random(t));
    t->ref->rmsnorm_fwd(want, x, g, rows, dim, 1e-5f);
    t->k->rmsnorm_fwd_bf16(y, x, g, rows, dim, 1e-5f);
    for (size_t i = 0; i < n; i++) {
        want[i] = bf16_to_f32(f32_to_bf16(want[i]));
        got[i] = bf16_to_f32(y[i]);
    }
    t_same(t, got, want, n, "y");
}

void check_rmsnorm_fwd_bf16(struct tester *t)
{
    for (const size_t *dim = t_sizes; *dim; dim++) {
        t_case(t, "rows=6 dim=%zu", *dim);
        rounded_case(t, 6, *dim, false);
        t_end(t);
    }
    t_case(t, "rows of 1300; any bits");
    rounded_case(t, 5, 1300, false);
    rounded_case(t, 3, 1300, true);
    t->k->rmsnorm_fwd_bf16(NULL, NULL, NULL, 0, 8, 1e-5f);
    t_end(t);
}
