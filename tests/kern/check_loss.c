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

/* From logits to gradients as training goes: the row in calls of `call` logits, or whole. */
static struct softmax_end cross_entropy(const struct kernels *k, float *x, size_t n,
                                        uint32_t target, float scale, float z, size_t call)
{
    struct softmax_sum s = SOFTMAX_BEGIN;
    size_t at = 0;
    for (; n - at > call; at += call)
        k->softmax_sum(&s, x + at, call);
    k->softmax_sum(&s, x + at, n - at);
    struct softmax_end end = softmax_end(&s, x[target], scale, z);
    for (at = 0; n - at > call; at += call)
        k->softmax_grad(x + at, call, s.max, end.k);
    k->softmax_grad(x + at, n - at, s.max, end.k);
    x[target] = end.at_target;
    return end;
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
 * f64, and what parts of the row before a larger maximum gave it is multiplied with one more
 * exponential for each; then one rounding of k, one product.
 */
static void against_f64(struct tester *t, const float *x, size_t n, uint32_t target, float scale,
                        float z)
{
    static double want[N_MAX], bound[N_MAX];
    float *got = t_copy(t, x, n);
    double lse_want = lse64(x, NULL, n, 0), slack = 0, parts = (double)(n / SOFTMAX_PART);
    double zk = 1 + 2 * (double)z * lse_want, max = -INFINITY;
    struct softmax_end end = cross_entropy(t->k, got, n, target, scale, z, n);
    for (size_t i = 0; i < n; i++)
        max = fmax(max, (double)x[i]);
    for (size_t i = 0; i < n; i++) {
        double p = exp((double)x[i] - lse_want);
        want[i] = (double)scale * (p * zk - (i == target));
        bound[i] = p > 0 ? p * (max - (double)x[i] + 2) * 0x1p-24 : 0;
        slack += bound[i] + p * 2 * parts * 0x1p-24;
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
    t_true(t, fabs(end.lse - lse_want) <= bound_lse, "lse");
    t_true(t, end.loss == loss_want
              || fabs(end.loss - loss_want) <= bound_lse + fabs(end.loss) * 0x1p-50, "loss");
    static struct along a;
    a = (struct along){ .x = x, .n = n, .target = target, .scale = (double)scale, .z = (double)z };
    against_slopes(t, &a, got, bound);
}

/* The same bits at every level, and however the row is cut into calls. */
static void levels_agree(struct tester *t, const float *x, size_t n, uint32_t target, float scale,
                         float z)
{
    float *want = t_copy(t, x, n), *got = t_bytes(t, n * sizeof *got, 4 * (n % 4));
    struct softmax_end w = cross_entropy(t->ref, want, n, target, scale, z, n), g;
    for (size_t call = n; call; call = call > SOFTMAX_PART ? call / 3 / SOFTMAX_PART
                                                             * SOFTMAX_PART : 0) {
        memcpy(got, x, n * sizeof *got);
        g = cross_entropy(t->k, got, n, target, scale, z, call);
        t_same(t, got, want, n, "gradient");
        t_true(t, isnan(w.loss) ? isnan(g.loss) && isnan(g.lse)
                                : !memcmp(&g.loss, &w.loss, 2 * sizeof g.loss), "loss and lse");
    }
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
            struct softmax_end e = cross_entropy(t->k, x, 37, target, 1, 0, 37);
            if (odd[k] == -INFINITY)
                t_true(t, x[21] == (target == 21 ? -1 : 0) && isfinite(e.lse)
                          && isinf(e.loss) == (target == 21), "a probability of 0");
            if (k == 3 || k == 4)
                t_true(t, isnan(e.loss) && isnan(e.lse) && isnan(x[0]) && isnan(x[36]), "all NaN");
            t_end(t);
        }
    t_case(t, "nothing but -infinity");
    float none[5] = { -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY };
    struct softmax_end e = cross_entropy(t->k, none, 5, 2, 1, 0, 5);
    t_true(t, isnan(e.loss) && isnan(e.lse) && isnan(none[0]) && isnan(none[2]), "all NaN");
}

/* A part of the row with nothing but -infinity, before and after others. */
static void empty_parts(struct tester *t)
{
    for (size_t gap = 0; gap < 3; gap++) {
        t_case(t, "part %zu is -infinity", gap);
        float *x = t_floats(t, 3 * SOFTMAX_PART, 0, FILL_RANDOM);
        for (size_t i = 0; i < SOFTMAX_PART; i++)
            x[gap * SOFTMAX_PART + i] = -INFINITY;
        uint32_t target = (uint32_t)((gap + 1) % 3 * SOFTMAX_PART + 7);
        levels_agree(t, x, 3 * SOFTMAX_PART, target, 1, 1e-4f);
        if (t->level == CPU_C)
            against_f64(t, x, 3 * SOFTMAX_PART, target, 1, 0);
        t_end(t);
    }
}

/* p of the target is 1 - 1e-9: its gradient, -1e-9, is below the rounding of p. */
static void sure_of_it(struct tester *t)
{
    float x[2] = { 20.723266f, 0 };
    double p = 1 / (1 + exp((double)x[0])), loss = cross_entropy(t->k, x, 2, 0, 1, 0, 2).loss;
    t_case(t, "the target is almost certain: %g, %g", (double)x[0], loss);
    t_true(t, fabs((double)x[0] + p) < 1e-5 * p, "its gradient has digits");
    t_true(t, fabs(loss - p) < 1e-5 * p, "and the loss");
}

void check_softmax_sum(struct tester *t)
{
    for (const size_t *n = t_sizes; *n; n++) {
        t_case(t, "n=%zu", *n);
        float *x = t_floats(t, *n, 1, FILL_RANDOM);
        struct softmax_sum want = { -1, 2 }, got = want;
        t->ref->softmax_sum(&want, x, *n);
        t->k->softmax_sum(&got, x, *n);
        t_true(t, got.max == want.max && got.sum == want.sum, "max and sum");
        t_end(t);
    }
}

void check_softmax_grad(struct tester *t)
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
    empty_parts(t);
    sure_of_it(t);
}
