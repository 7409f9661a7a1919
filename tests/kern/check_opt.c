#include "checkkern.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { STEPS = 12 };

/* One element in float64, in the words of the formula. */
struct adam64 {
    double w, m, v, bound_m, bound_w;
};

/*
 * Per step: m takes 2 roundings of what is added and one of itself; v's are a few relative
 * ones; the update adds those of the root, the division and the product (6), and w two.
 */
static void step64(struct adam64 *a, const struct adamw_rule *r, int t, double lr, double g)
{
    double before = a->m;
    a->m = r->beta1 * a->m + (1 - r->beta1) * g;
    a->v = r->beta2 * a->v + (1 - r->beta2) * g * g;
    double m = a->m / (1 - pow(r->beta1, t)), v = a->v / (1 - pow(r->beta2, t));
    a->w -= lr * (m / (sqrt(v) + r->eps) + r->weight_decay * a->w);
    a->bound_m = r->beta1 * a->bound_m + (fabs(g) + 2 * fabs(before)) * 4 * 0x1p-24 + FLT_MIN;
    double of_m = a->bound_m / (1 - pow(r->beta1, t)) / (sqrt(v) + r->eps);
    double of_v = fabs(m) / (sqrt(v) + r->eps) * (2 * t + 10) * 0x1p-24;
    a->bound_w += lr * (of_m + of_v) + fabs(a->w) * 4 * 0x1p-24;
}

static void against_f64(struct tester *t, const struct adamw_rule *rule, double size)
{
    enum { N = 100 };
    struct adam64 a[N] = { 0 };
    float w[N], m[N] = { 0 }, v[N] = { 0 }, g[N];
    double want_w[N], bound_w[N], want_m[N], bound_m[N];
    for (size_t i = 0; i < N; i++)
        a[i].w = (double)(w[i] = t_normal(t));
    for (int s = 1; s <= STEPS; s++) {
        double lr = 1e-2 / s, scale = s % 3 ? 1 : 0.3;
        for (size_t i = 0; i < N; i++) {
            g[i] = i % 10 ? t_normal(t) * (float)size : 0;
            step64(&a[i], rule, s, lr, (double)g[i] * scale);
        }
        struct adamw c = adamw_at(rule, (uint64_t)s, lr, scale);
        t->k->adamw_step(w, m, v, g, N, &c);
    }
    for (size_t i = 0; i < N; i++) {
        want_w[i] = a[i].w;
        want_m[i] = a[i].m;
        bound_w[i] = a[i].bound_w;
        bound_m[i] = a[i].bound_m;
    }
    t_near(t, w, want_w, bound_w, N, "w");
    t_near(t, m, want_m, bound_m, N, "m");
}

static void levels_agree(struct tester *t, size_t n, enum fill how)
{
    struct adamw_rule rule = { 0.9, 0.95, 1e-8, 0.1 };
    struct adamw c = adamw_at(&rule, 3, 1e-3, 0.7);
    float *w = t_floats(t, n, n % 4, how), *m = t_floats(t, n, 1, how);
    float *v = t_floats(t, n, 2, how), *g = t_floats(t, n, n % 3, how);
    for (size_t i = 0; i < n; i++)
        v[i] = fabsf(v[i]);
    if (n > 60) {
        g[50] = NAN;
        g[51] = INFINITY;
        g[52] = m[52] = v[52] = 0;
        g[53] = 1e-30f;
        m[53] = 1e-39f;
        v[53] = 1e-42f;
    }
    float *w2 = t_copy(t, w, n), *m2 = t_copy(t, m, n), *v2 = t_copy(t, v, n);
    t->ref->adamw_step(w2, m2, v2, g, n, &c);
    t->k->adamw_step(w, m, v, g, n, &c);
    t_same(t, w, w2, n, "w");
    t_same(t, m, m2, n, "m");
    t_same(t, v, v2, n, "v");
    t->k->adamw_step(w, m, v, g, 0, &c);
    t_same(t, w, w2, n, "w after n=0");
}

static void constants(struct tester *t)
{
    struct adamw_rule rule = { 0.9, 0.999, 1e-8, 0.1 };
    struct adamw first = adamw_at(&rule, 1, 1e-3, 1), later = adamw_at(&rule, 100000, 1e-3, 1);
    t_case(t, "constants");
    t_true(t, fabs((double)first.step - 1e-2) < 1e-9 && fabs((double)later.step - 1e-3) < 1e-10,
           "the correction of m");
    t_true(t, fabs((double)first.root - sqrt(1000)) < 1e-5 && fabs((double)later.root - 1) < 1e-7,
           "the correction of v");
    float w = 2, m = 0, v = 0, g = 0;
    t->k->adamw_step(&w, &m, &v, &g, 1, &first);
    t_true(t, w == 2 * first.keep && m == 0 && v == 0, "no gradient: decay alone");
}

void check_adamw_step(struct tester *t)
{
    static const struct adamw_rule rules[] = { { 0.9, 0.95, 1e-8, 0.1 }, { 0.9, 0.999, 1e-3, 0 },
                                               { 0, 0.5, 1e-8, 1 } };
    for (size_t i = 0; i < 3; i++)
        for (double size = 1e-6; size < 1e5; size *= 1000) {
            t_case(t, "rule %zu, gradients of %g", i, size);
            if (t->level == CPU_C)
                against_f64(t, &rules[i], size);
        }
    for (const size_t *n = t_sizes; *n; n++)
        for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
            t_case(t, "n=%zu fill=%d", *n, how);
            levels_agree(t, *n, (enum fill)how);
            t_end(t);
        }
    constants(t);
}

/* Sums of exact values are exact in f64; others have n/16 + 4 roundings of 2^-53. */
void check_sum_squares(struct tester *t)
{
    for (const size_t *n = t_sizes; *n; n++)
        for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
            t_case(t, "n=%zu fill=%d", *n, how);
            float *x = t_floats(t, *n, *n % 4, (enum fill)how);
            double got, want, none;
            long double sum = 0;
            for (size_t i = 0; i < *n; i++)
                sum += (long double)x[i] * (long double)x[i];
            t->ref->sum_squares(&want, x, *n);
            t->k->sum_squares(&got, x, *n);
            t->k->sum_squares(&none, x, 0);
            t_same_bytes(t, &got, &want, sizeof got, "sum");
            t_true(t, fabsl(sum - (long double)want)
                      <= (how == FILL_EXACT ? 0 : sum * (*n / 16 + 5) * 0x1p-53L), "C level");
            t_true(t, none == 0, "the sum of nothing");
            t_end(t);
        }
    t_case(t, "large, infinite, NaN");
    float x[20] = { FLT_MAX, FLT_MAX, FLT_MAX };
    double sum;
    t->k->sum_squares(&sum, x, 20);
    t_true(t, sum == 3 * (double)FLT_MAX * (double)FLT_MAX, "no overflow");
    x[17] = -INFINITY;
    t->k->sum_squares(&sum, x, 20);
    t_true(t, isinf(sum), "infinity");
    x[18] = NAN;
    t->k->sum_squares(&sum, x, 20);
    t_true(t, isnan(sum), "NaN");
}
