#include "checkkern.h"

#include <float.h>
#include <math.h>

#include "kern/act/exp_f32.h"

/* A float of any bits: every exponent, subnormals, infinities, NaN. */
static float any_float(struct tester *t)
{
    return f32_from_bits((uint32_t)t_random(t));
}

/* Error in units in the last place of the true value y >= FLT_MIN. */
static double ulps(float got, double y)
{
    int e;
    frexp(y, &e);
    return fabs((double)got - y) / ldexp(1, e - 24);
}

/*
 * exp_f32 over every 4001st float: below 1 ulp, and one fixed hash of all result bits,
 * so that no compiler, option or machine has its own exponential.
 */
void check_exp_f32(struct tester *t)
{
    uint64_t hash = 1469598103934665603u;
    double worst = 0;
    if (t->level != CPU_C)
        return;
    for (uint64_t u = 0; u <= UINT32_MAX; u += 4001) {
        float x = f32_from_bits((uint32_t)u), y = exp_f32(x);
        if (x >= EXP_LOW && x <= EXP_HIGH)
            worst = fmax(worst, ulps(y, exp((double)x)));
        hash = (hash ^ (isnan(y) ? 0 : f32_bits(y))) * 1099511628211u;
    }
    t_case(t, "every 4001st float: worst %.3f ulp, hash %016llx", worst,
           (unsigned long long)hash);
    t_true(t, worst > 0.4 && worst < 1, "the error is below 1 ulp");
    t_true(t, hash == 0x8214702617247d07u, "the bits are the ones they always were");
    t_case(t, "edges");
    t_true(t, exp_f32(-INFINITY) == 0 && exp_f32(-104.5f) == 0 && exp_f32(-FLT_MAX) == 0,
           "far below: exact 0");
    t_true(t, exp_f32(nextafterf(EXP_LOW, -INFINITY)) == 0, "below the smallest normal: 0");
    t_true(t, exp_f32(EXP_LOW) >= FLT_MIN, "the last before that is normal");
    t_true(t, exp_f32(EXP_HIGH) <= FLT_MAX && exp_f32(EXP_HIGH) > 3.4e38f, "largest finite");
    t_true(t, isinf(exp_f32(nextafterf(EXP_HIGH, INFINITY))) && isinf(exp_f32(INFINITY)),
           "above: infinity");
    t_true(t, isnan(exp_f32(NAN)), "NaN stays NaN");
    t_true(t, exp_f32(0) == 1 && exp_f32(-0.0f) == 1 && exp_f32(1e-41f) == 1, "exp(0) is 1");
}

/*
 * Roundings: exp 2 (1 ulp), 1 + e, the division, the product.  Where exp overflows or is
 * cut to 0 the true value is below FLT_MIN or the quotient is exact to rounding.
 */
static void swiglu64(double *want, double *bound, const float *gate, const float *up, size_t n,
                     double limit)
{
    for (size_t i = 0; i < n; i++) {
        double g = (double)gate[i], u = (double)up[i];
        if (limit > 0) {
            g = fmin(g, limit);
            u = fmax(-limit, fmin(u, limit));
        }
        want[i] = g / (1 + exp(-g)) * u;
        bound[i] = fabs(want[i]) * 5 * 0x1.01p-24 + FLT_MIN * (1 + fabs(u));
    }
}

static void one_swiglu(struct tester *t, size_t n, size_t skew, float limit, enum fill how)
{
    float *gate = t_floats(t, n, skew, how), *up = t_floats(t, n, skew / 2, how);
    float *want = t_bytes(t, n * sizeof *want, 0), *y = t_bytes(t, n * sizeof *y, 8);
    double want64[300], bound[300];
    t->ref->swiglu_fwd(want, gate, up, n, limit);
    swiglu64(want64, bound, gate, up, n, (double)limit);
    t_near(t, want, want64, bound, n, "C level");
    t->k->swiglu_fwd(y, gate, up, n, limit);
    t_same(t, y, want, n, "y");
    float *gate2 = t_copy(t, gate, n);
    t->k->swiglu_fwd(gate2, gate2, up, n, limit);
    t_same(t, gate2, want, n, "y = gate");
    t->k->swiglu_fwd(up, gate, up, n, limit);
    t_same(t, up, want, n, "y = up");
}

void check_swiglu_fwd(struct tester *t)
{
    static const float limits[] = { 0, 0.5f, 7 };
    for (const size_t *n = t_sizes; *n; n++)
        for (size_t l = 0; l < 3; l++)
            for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
                t_case(t, "n=%zu limit=%g fill=%d", *n, (double)limits[l], how);
                one_swiglu(t, *n, *n % 4, limits[l], (enum fill)how);
                t_end(t);
            }
    for (size_t l = 0; l < 3; l++) {
        enum { N = 20000 };
        t_case(t, "any bits, limit=%g", (double)limits[l]);
        float *gate = t_bytes(t, N * sizeof *gate, 0), *up = t_bytes(t, N * sizeof *up, 0);
        float *y = t_bytes(t, N * sizeof *y, 0), *want = t_bytes(t, N * sizeof *y, 0);
        for (size_t i = 0; i < N; i++) {
            gate[i] = i % 2 ? any_float(t) : t_normal(t) * 40;
            up[i] = i % 3 ? 1 : any_float(t);
        }
        t->ref->swiglu_fwd(want, gate, up, N, limits[l]);
        t->k->swiglu_fwd(y, gate, up, N, limits[l]);
        t_same(t, y, want, N, "y");
        t->k->swiglu_fwd(y, NULL, NULL, 0, limits[l]);
        t_end(t);
    }
}

/*
 * Roundings: z's three and its constants' give exp a relative error of |2z| 4 2^-24; then
 * exp 2, 1 + e, the division, the product.
 */
static void geglu64(double *want, double *bound, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double g = (double)gate[i], u = (double)up[i];
        double z = sqrt(2 / 3.14159265358979323846) * (g + 0.044715 * g * g * g);
        want[i] = g / (1 + exp(-2 * z)) * u;
        bound[i] = fabs(want[i]) * (4 * fmin(fabs(2 * z), 90) + 5) * 0x1.01p-24
                   + FLT_MIN * (1 + fabs(u)) * (1 + fabs(g));
    }
}

static void one_geglu(struct tester *t, size_t n, size_t skew, enum fill how)
{
    float *gate = t_floats(t, n, skew, how), *up = t_floats(t, n, skew / 2, how);
    float *want = t_bytes(t, n * sizeof *want, 0), *y = t_bytes(t, n * sizeof *y, 8);
    double want64[300], bound[300];
    t->ref->geglu_fwd(want, gate, up, n);
    geglu64(want64, bound, gate, up, n);
    t_near(t, want, want64, bound, n, "C level");
    t->k->geglu_fwd(y, gate, up, n);
    t_same(t, y, want, n, "y");
    float *gate2 = t_copy(t, gate, n);
    t->k->geglu_fwd(gate2, gate2, up, n);
    t_same(t, gate2, want, n, "y = gate");
    t->k->geglu_fwd(up, gate, up, n);
    t_same(t, up, want, n, "y = up");
}

void check_geglu_fwd(struct tester *t)
{
    enum { N = 20000 };
    for (const size_t *n = t_sizes; *n; n++)
        for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
            t_case(t, "n=%zu fill=%d", *n, how);
            one_geglu(t, *n, *n % 4, (enum fill)how);
            t_end(t);
        }
    t_case(t, "any bits");
    float *gate = t_bytes(t, N * sizeof *gate, 0), *up = t_bytes(t, N * sizeof *up, 0);
    float *y = t_bytes(t, N * sizeof *y, 0), *want = t_bytes(t, N * sizeof *y, 0);
    for (size_t i = 0; i < N; i++) {
        gate[i] = i % 2 ? any_float(t) : t_normal(t) * 8;
        up[i] = i % 3 ? 1 : any_float(t);
    }
    t->ref->geglu_fwd(want, gate, up, N);
    t->k->geglu_fwd(y, gate, up, N);
    t_same(t, y, want, N, "y");
    t->k->geglu_fwd(y, NULL, NULL, 0);
    t_end(t);
}

void check_add_fwd(struct tester *t)
{
    for (const size_t *n = t_sizes; *n; n++)
        for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
            t_case(t, "n=%zu fill=%d", *n, how);
            float *x = t_floats(t, *n, *n % 4, (enum fill)how);
            float *y = t_floats(t, *n, 1, (enum fill)how), *want = t_copy(t, y, *n);
            double want64[300], bound[300];
            for (size_t i = 0; i < *n; i++) {
                want64[i] = (double)y[i] + (double)x[i];
                bound[i] = how == FILL_EXACT ? 0 : fabs(want64[i]) * 0x1.01p-24;
            }
            t->ref->add_fwd(want, x, *n);
            t_near(t, want, want64, bound, *n, "C level");
            t->k->add_fwd(y, x, *n);
            t_same(t, y, want, *n, "y");
            t->k->add_fwd(y, x, 0);
            t_same(t, y, want, *n, "y after n=0");
            t_end(t);
        }
}

/* Roundings: exp's 2, 1 + e, the division. */
static void one_sigmoid(struct tester *t, size_t n, enum fill how)
{
    float *x = t_floats(t, n, n % 4, how), *want = t_copy(t, x, n), *y = t_copy(t, x, n);
    double want64[300], bound[300];
    for (size_t i = 0; i < n; i++) {
        want64[i] = 1 / (1 + exp(-(double)x[i]));
        bound[i] = want64[i] * 4 * 0x1.01p-24 + FLT_MIN;
    }
    t->ref->sigmoid_fwd(want, x, n);
    t_near(t, want, want64, bound, n, "C level");
    t->k->sigmoid_fwd(y, x, n);
    t_same(t, y, want, n, "y");
    t->k->sigmoid_fwd(x, x, n);
    t_same(t, x, want, n, "y = x");
}

void check_sigmoid_fwd(struct tester *t)
{
    enum { N = 20000 };
    for (const size_t *n = t_sizes; *n; n++)
        for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
            t_case(t, "n=%zu fill=%d", *n, how);
            one_sigmoid(t, *n, (enum fill)how);
            t_end(t);
        }
    t_case(t, "any bits; moe_scores gives the same");
    float *x = t_bytes(t, N * sizeof *x, 0), *y = t_bytes(t, N * sizeof *y, 0);
    float *want = t_bytes(t, N * sizeof *want, 0);
    for (size_t i = 0; i < N; i++)
        x[i] = i % 2 ? any_float(t) : t_normal(t) * 40;
    struct moe_router r = { .n = MOE_EXPERTS_MAX, .scoring = MOE_SIGMOID };
    for (size_t i = 0; i < N; i += r.n) {
        r.n = N - i < r.n ? (uint32_t)(N - i) : r.n;
        moe_scores(want + i, x + i, &r);
    }
    t->k->sigmoid_fwd(y, x, N);
    t_same_bytes(t, y, want, N * sizeof *y, "y");
    t->k->sigmoid_fwd(y, NULL, 0);
    t_end(t);
}

void check_scale_add_fwd(struct tester *t)
{
    for (const size_t *n = t_sizes; *n; n++)
        for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
            t_case(t, "n=%zu fill=%d", *n, how);
            float *x = t_floats(t, *n, *n % 4, (enum fill)how), a = t_value(t, (enum fill)how);
            float *y = t_floats(t, *n, 1, (enum fill)how), *want = t_copy(t, y, *n);
            double want64[300], bound[300];
            for (size_t i = 0; i < *n; i++) {
                want64[i] = (double)y[i] + (double)a * (double)x[i];
                bound[i] = how == FILL_EXACT ? 0 : fabs(want64[i]) * 0x1.01p-24 + FLT_MIN;
            }
            t->ref->scale_add_fwd(want, a, x, *n);
            t_near(t, want, want64, bound, *n, "C level");
            t->k->scale_add_fwd(y, a, x, *n);
            t_same(t, y, want, *n, "y");
            t->k->scale_add_fwd(y, a, x, 0);
            t_same(t, y, want, *n, "y after n=0");
            t_end(t);
        }
}

/*
 * x - max rounds once: a relative error of |x - max| 2^-24 in the exponential, which adds
 * 2 more; the sum has the same in each term and n/16 + 5 roundings; one division.
 */
static void softmax64(double *want, double *bound, const float *x, size_t n)
{
    double max = -INFINITY, sum = 0, far = 0;
    for (size_t i = 0; i < n; i++)
        max = fmax(max, (double)x[i]);
    for (size_t i = 0; i < n; i++) {
        sum += want[i] = exp((double)x[i] - max);
        far = want[i] > FLT_MIN ? fmax(far, max - (double)x[i]) : far;
    }
    for (size_t i = 0; i < n; i++) {
        want[i] /= sum;
        bound[i] = want[i] * (2 * (far + 2) + (double)n / 16 + 6) * 0x1.01p-24 + FLT_MIN;
    }
}

static void one_softmax(struct tester *t, size_t n, size_t skew, float spread, enum fill how)
{
    float *x = t_floats(t, n, skew, how);
    double want64[300], bound[300];
    for (size_t i = 0; i < n; i++)
        x[i] *= spread;
    float *want = t_copy(t, x, n);
    t->ref->softmax_fwd(want, n);
    softmax64(want64, bound, x, n);
    t_near(t, want, want64, bound, n, "C level");
    t->k->softmax_fwd(x, n);
    t_same(t, x, want, n, "x");
}

void check_softmax_fwd(struct tester *t)
{
    static const float spreads[] = { 0, 1, 60, 1e30f };
    for (const size_t *n = t_sizes; *n; n++)
        for (size_t s = 0; s < 4; s++)
            for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
                t_case(t, "n=%zu spread=%g fill=%d", *n, (double)spreads[s], how);
                one_softmax(t, *n, *n % 4, spreads[s], (enum fill)how);
                t_end(t);
            }
    for (size_t kind = 0; kind < 4; kind++) {
        static const float odd[] = { NAN, INFINITY, -INFINITY, 1e-40f };
        t_case(t, "one element is %g; n=0", (double)odd[kind]);
        float *x = t_floats(t, 37, 0, FILL_RANDOM);
        x[21] = odd[kind];
        float *want = t_copy(t, x, 37);
        t->ref->softmax_fwd(want, 37);
        t_true(t, kind < 2 ? isnan(want[21]) : want[20] > 0 && want[21] >= 0, "C level");
        t->k->softmax_fwd(x, 37);
        t_same(t, x, want, 37, "x");
        t->k->softmax_fwd(x, 0);
        t_same(t, x, want, 37, "x after n=0");
        t_end(t);
    }
}
