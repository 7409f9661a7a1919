#include "checkkern.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "kern/loss/log_f64.h"
#include "slope.h"

enum { N_MAX = 5000 };

/* log_f64 over many doubles: below 2 ulp of libm's (itself below 1), and one fixed hash. */
void check_log_f64(struct tester *t)
{
    uint64_t hash = 1469598103934665603u, bits;
    double worst = 0;
    if (t->level != CPU_C)
        return;
    for (int i = 0; i < 400000; i++) {
        double u = (double)(t_random(t) >> 11) * 0x1p-53;
        double x = i % 4 ? ldexp(1 + u, (int)t_below(t, 80) - 40) : 1 + (u - 0.5) * 0.01;
        double y = log_f64(x), want = log(x);
        int e;
        frexp(want, &e);
        worst = fmax(worst, fabs(y - want) / ldexp(1, e - 53));
        memcpy(&bits, &y, sizeof bits);
        hash = (hash ^ bits) * 1099511628211u;
    }
    t_case(t, "400000 doubles: worst %.2f ulp, hash %016llx", worst, (unsigned long long)hash);
    t_true(t, worst > 0.4 && worst < 2, "the error is below 2 ulp");
    t_true(t, hash == 0x90783492d96d0d6cu, "the bits are the ones they always were");
    t_true(t, log_f64(1) == 0 && isnan(log_f64(NAN)), "log 1 and log NaN");
}

/* scale (loss + z lse^2) at x + t v. */
struct along {
    const float *x;
    double v[N_MAX];
    size_t n, target;
    double scale, z;
};

static double lse64(const float *x, const double *v, size_t n, double t)
{
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        max = fmax(max, (double)x[i] + (v ? t * v[i] : 0));
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] + (v ? t * v[i] : 0) - max);
    return max + log(sum);
}

static double total(const void *arg, double t)
{
    const struct along *a = arg;
    double lse = lse64(a->x, a->v, a->n, t);
    double xt = (double)a->x[a->target] + t * a->v[a->target];
    return a->scale * (lse - xt + a->z * lse * lse);
}

/* Central differences along each logit of a short row, and the adjoint identity along a random
 * direction: bound[i] is that of got[i] against float64. */
static void against_slopes(struct tester *t, struct along *a, const float *got,
                           const double *bound)
{
    double lse = lse64(a->x, NULL, a->n, 0), dot = 0, size = 0;
    double cut = 1e-10 * (1 + fabs(lse)) * (1 + fabs(2 * a->z * lse)) * fabs(a->scale);
    memset(a->v, 0, sizeof a->v);
    for (size_t i = 0; i < a->n && a->n <= 33; i++) {
        a->v[i] = 1;
        double want = slope(total, a, 1e-3), slack = bound[i] + cut;
        a->v[i] = 0;
        t_near(t, got + i, &want, &slack, 1, "central differences");
    }
    for (size_t i = 0; i < a->n; i++) {
        a->v[i] = (double)t_normal(t);
        dot += (double)got[i] * a->v[i];
        size += bound[i] * fabs(a->v[i]);
    }
    t_true(t, fabs(dot - slope(total, a, 1e-3)) <= size + 10 * cut, "the adjoint identity");
}

/*
 * x - max rounds once: |x - max| 2^-24 in the exponential, which has 2 more; the sum is in
 * f64; then one rounding of k, one product.
 */
static void against_f64(struct tester *t, const float *x, size_t n, uint32_t target, float scale,
                        float z)
{
    static double want[N_MAX], bound[N_MAX];
    float *got = t_copy(t, x, n);
    double loss, lse, lse_want = lse64(x, NULL, n, 0), slack = 0;
    double zk = 1 + 2 * (double)z * lse_want, max = -INFINITY;
    t->k->cross_entropy(got, target, n, scale, z, &loss, &lse);
    for (size_t i = 0; i < n; i++)
        max = fmax(max, (double)x[i]);
    for (size_t i = 0; i < n; i++) {
        double p = exp((double)x[i] - lse_want);
        want[i] = (double)scale * (p * zk - (i == target));
        bound[i] = p > 0 ? p * (max - (double)x[i] + 2) * 0x1p-24 : 0;
        slack += bound[i];
    }
    double bound_lse = slack + (fabs(lse_want) + fabs(max) + 1) * 0x1p-50;
    for (size_t i = 0; i < n; i++) {
        double p = exp((double)x[i] - lse_want);
        bound[i] = fabs((double)scale) * (fabs(zk) * (bound[i] + p * (slack + 3 * 0x1p-24))
                   + p * 2 * fabs((double)z) * bound_lse) + fabs(want[i]) * 0x1p-24
                   + FLT_MIN * (1 + fabs((double)scale * zk));
    }
    t_near(t, got, want, bound, n, "gradient");
    double loss_want = lse_want - (double)x[target];
    t_true(t, fabs(lse - lse_want) <= bound_lse, "lse");
    t_true(t, loss == loss_want || fabs(loss - loss_want) <= bound_lse + fabs(loss) * 0x1p-50,
           "loss");
    static struct along a;
    a = (struct along){ .x = x, .n = n, .target = target, .scale = (double)scale, .z = (double)z };
    against_slopes(t, &a, got, bound);
}

static void levels_agree(struct tester *t, const float *x, size_t n, uint32_t target, float scale,
                         float z)
{
    float *want = t_copy(t, x, n), *got = t_bytes(t, n * sizeof *got, 4 * (n % 4));
    double w[2], g[2];
    memcpy(got, x, n * sizeof *got);
    t->ref->cross_entropy(want, target, n, scale, z, &w[0], &w[1]);
    t->k->cross_entropy(got, target, n, scale, z, &g[0], &g[1]);
    t_same(t, got, want, n, "gradient");
    t_true(t, isnan(w[0]) ? isnan(g[0]) && isnan(g[1]) : !memcmp(g, w, sizeof g), "loss and lse");
    memcpy(got, x, n * sizeof *got);
    t->k->cross_entropy(got, target, n, 0, z, &g[0], &g[1]);
    t_same(t, got, x, n, "logits after scale 0");
    t_true(t, isnan(w[0]) ? isnan(g[0]) && isnan(g[1]) : !memcmp(g, w, sizeof g),
           "loss and lse with scale 0");
}

static void one_row(struct tester *t, size_t n, float spread, float scale, float z, enum fill how)
{
    float *x = t_floats(t, n, 0, how);
    uint32_t target = (uint32_t)t_below(t, n);
    for (size_t i = 0; i < n; i++)
        x[i] *= spread;
    if (t->level == CPU_C)
        against_f64(t, x, n, target, scale, z);
    levels_agree(t, x, n, target, scale, z);
}

static void extremes(struct tester *t)
{
    static const float odd[] = { 1e4f, -1e4f, -INFINITY, INFINITY, NAN, 1e-40f, -3e38f };
    for (size_t k = 0; k < sizeof odd / sizeof *odd; k++)
        for (uint32_t target = 20; target < 22; target++) {
            t_case(t, "logit 21 is %g, the target %u", (double)odd[k], target);
            float *x = t_floats(t, 37, 0, FILL_RANDOM);
            x[21] = odd[k];
            levels_agree(t, x, 37, target, 1, 1e-4f);
            if (k < 3 && target == 20 && t->level == CPU_C)
                against_f64(t, x, 37, target, 1, 0);
            double loss, lse;
            t->k->cross_entropy(x, target, 37, 1, 0, &loss, &lse);
            if (odd[k] == -INFINITY)
                t_true(t, x[21] == (target == 21 ? -1 : 0) && isfinite(lse)
                          && isinf(loss) == (target == 21), "a probability of 0");
            if (k == 3 || k == 4)
                t_true(t, isnan(loss) && isnan(lse) && isnan(x[0]) && isnan(x[36]), "all NaN");
            t_end(t);
        }
    t_case(t, "nothing but -infinity");
    float none[5] = { -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY };
    double loss, lse;
    t->k->cross_entropy(none, 2, 5, 1, 0, &loss, &lse);
    t_true(t, isnan(loss) && isnan(lse) && isnan(none[0]) && isnan(none[2]), "all NaN");
}

/* p of the target is 1 - 1e-9: its gradient, -1e-9, is below the rounding of p. */
static void sure_of_it(struct tester *t)
{
    float x[2] = { 20.723266f, 0 };
    double loss, lse, p = 1 / (1 + exp((double)x[0]));
    t->k->cross_entropy(x, 0, 2, 1, 0, &loss, &lse);
    t_case(t, "the target is almost certain: %g, %g", (double)x[0], loss);
    t_true(t, fabs((double)x[0] + p) < 1e-5 * p, "its gradient has digits");
    t_true(t, fabs(loss - p) < 1e-5 * p, "and the loss");
}

void check_cross_entropy(struct tester *t)
{
    static const float spreads[] = { 0, 1, 30, 3000 };
    for (const size_t *n = t_sizes; *n; n++)
        for (size_t s = 0; s < 4; s++)
            for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
                t_case(t, "n=%zu spread=%g fill=%d", *n, (double)spreads[s], how);
                one_row(t, *n, spreads[s], s == 1 ? 0.125f : -3, s % 2 ? 1e-3f : 0,
                        (enum fill)how);
                t_end(t);
            }
    for (size_t s = 0; s < 4; s++) {
        t_case(t, "n=%d spread=%g", N_MAX - 3, (double)spreads[s]);
        one_row(t, N_MAX - 3, spreads[s], 1, 1e-4f, FILL_RANDOM);
        t_end(t);
    }
    extremes(t);
    sure_of_it(t);
}
