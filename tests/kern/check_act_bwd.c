#include "checkkern.h"

#include <float.h>
#include <math.h>

#include "slope.h"

enum { MANY = 20000, LIMIT_FREE = 0 };

/* dy f(g + t vg) (u + t vu): the forward along a direction of gate and up. */
struct along {
    double dy, g, u, vg, vu;
};

static double silu_up(const void *arg, double t)
{
    const struct along *a = arg;
    double g = a->g + t * a->vg;
    return a->dy * g / (1 + exp(-g)) * (a->u + t * a->vu);
}

static double gelu_up(const void *arg, double t)
{
    const struct along *a = arg;
    double g = a->g + t * a->vg, z = sqrt(2 / 3.14159265358979323846) * (g + 0.044715 * g * g * g);
    return a->dy * g / (1 + exp(-2 * z)) * (a->u + t * a->vu);
}

/*
 * Where the clamp cuts, the gradient is zero and the other factor stands at the limit.
 * Roundings: s has exp's 2, 1 + e and the division (4); 1 - s carries them times |g|, and
 * about 5 more follow.  For GELU exp's argument has |2z| 4 of its own.
 */
static void one_element(double *want, double *bound, float dy, float gate, float up, double limit,
                        bool gelu)
{
    struct along a = { (double)dy, (double)gate, (double)up, 1, 0 };
    bool g_out = limit > 0 && a.g > limit, u_out = limit > 0 && fabs(a.u) > limit;
    if (g_out)
        a.g = limit;
    if (u_out)
        a.u = copysign(limit, a.u);
    double z = sqrt(2 / 3.14159265358979323846) * (a.g + 0.044715 * pow(a.g, 3));
    double arg = gelu ? 2 * z : a.g, s = 1 / (1 + exp(-arg));
    double w = gelu ? 2 * fabs(a.g) * 0.7978845608 * (1 + 0.134145 * a.g * a.g) : fabs(a.g);
    double units = gelu ? 4 * fmin(fabs(arg), 90) + 10 : 10;
    want[0] = g_out ? 0 : slope(gelu ? gelu_up : silu_up, &a, 1e-3);
    bound[0] = fabs(a.dy * a.u) * s * (1 + w) * units * 0x1p-24
               + FLT_MIN * (1 + fabs(a.dy * a.u)) * (1 + w);
    a.vg = 0;
    a.vu = 1;
    want[1] = u_out ? 0 : slope(gelu ? gelu_up : silu_up, &a, 0.25);
    bound[1] = fabs(a.dy * a.g) * s * units * 0x1p-24 + FLT_MIN * (1 + fabs(a.dy * a.g));
}

static void bwd(const struct kernels *k, bool gelu, float *dg, float *du, const float *dy,
                const float *gate, const float *up, size_t n, float limit)
{
    if (gelu)
        k->geglu_bwd(dg, du, dy, gate, up, n);
    else
        k->swiglu_bwd(dg, du, dy, gate, up, n, limit);
}

/* A value at most 20: further out the true gradient is below any float. */
static void against_forward(struct tester *t, float limit, bool gelu)
{
    float dg, du, dy = t_normal(t), gate = t_normal(t) * 5, up = t_normal(t) * 3;
    double want[2], bound[2];
    bwd(t->k, gelu, &dg, &du, &dy, &gate, &up, 1, limit);
    one_element(want, bound, dy, gate, up, (double)limit, gelu);
    t_case(t, "gate=%g up=%g limit=%g", (double)gate, (double)up, (double)limit);
    t_near(t, &dg, &want[0], &bound[0], 1, "dgate");
    t_near(t, &du, &want[1], &bound[1], 1, "dup");
}

/* The identity along one direction over a whole vector. */
static void adjoint(struct tester *t, bool gelu)
{
    enum { N = 257 };
    float *gate = t_floats(t, N, 0, FILL_RANDOM), *up = t_floats(t, N, 0, FILL_RANDOM);
    float *dy = t_floats(t, N, 0, FILL_RANDOM), dg[N], du[N];
    double got = 0, want = 0, size = 0;
    bwd(t->k, gelu, dg, du, dy, gate, up, N, LIMIT_FREE);
    for (size_t i = 0; i < N; i++) {
        struct along a = { (double)dy[i], (double)gate[i], (double)up[i], (double)t_normal(t),
                           (double)t_normal(t) };
        double term = (double)dg[i] * a.vg + (double)du[i] * a.vu;
        got += term;
        want += slope(gelu ? gelu_up : silu_up, &a, 1e-3);
        size += fabs((double)dg[i] * a.vg) + fabs((double)du[i] * a.vu) + fabs(a.dy);
    }
    t_case(t, "the whole vector");
    t_true(t, fabs(got - want) <= size * 40 * 0x1p-24, "the adjoint identity");
    t_end(t);
}

static void levels_agree(struct tester *t, size_t n, float limit, bool gelu, enum fill how)
{
    float *gate = t_floats(t, n, n % 4, how), *up = t_floats(t, n, n % 3, how);
    float *dy = t_floats(t, n, 1, how), *wg = t_copy(t, dy, n), *wu = t_copy(t, dy, n);
    float *dg = t_bytes(t, n * sizeof *dg, 8), *du = t_bytes(t, n * sizeof *du, 4);
    bwd(t->ref, gelu, wg, wu, dy, gate, up, n, limit);
    bwd(t->k, gelu, dg, du, dy, gate, up, n, limit);
    t_same(t, dg, wg, n, "dgate");
    t_same(t, du, wu, n, "dup");
    float *gate2 = t_copy(t, gate, n), *up2 = t_copy(t, up, n), *dy2 = t_copy(t, dy, n);
    bwd(t->k, gelu, gate2, up2, dy, gate2, up2, n, limit);
    t_same(t, gate2, wg, n, "dgate = gate");
    t_same(t, up2, wu, n, "dup = up");
    bwd(t->k, gelu, dy2, gate, dy2, gate, up, n, limit);
    t_same(t, dy2, wg, n, "dgate = dy");
    t_same(t, gate, wu, n, "dup = gate");
}

static void any_bits(struct tester *t, float limit, bool gelu)
{
    float *gate = t_floats(t, MANY, 0, FILL_RANDOM), *up = t_floats(t, MANY, 0, FILL_RANDOM);
    float *dy = t_floats(t, MANY, 0, FILL_RANDOM), *wg = t_copy(t, dy, MANY);
    float *wu = t_copy(t, dy, MANY), *dg = t_copy(t, dy, MANY), *du = t_copy(t, dy, MANY);
    for (size_t i = 0; i < MANY; i++) {
        gate[i] = i % 2 ? f32_from_bits((uint32_t)t_random(t)) : gate[i] * 20;
        up[i] = i % 3 ? up[i] : f32_from_bits((uint32_t)t_random(t));
    }
    t_case(t, "any bits, limit=%g", (double)limit);
    bwd(t->ref, gelu, wg, wu, dy, gate, up, MANY, limit);
    bwd(t->k, gelu, dg, du, dy, gate, up, MANY, limit);
    t_same(t, dg, wg, MANY, "dgate");
    t_same(t, du, wu, MANY, "dup");
    for (size_t i = 0; i < MANY; i++)
        if (isfinite(gate[i]) && fabsf(up[i]) < 1e30f && isnan(dg[i] + du[i])) {
            t_case(t, "gate=%a up=%a limit=%g", (double)gate[i], (double)up[i], (double)limit);
            t_true(t, false, "finite in, NaN out");
        }
    bwd(t->k, gelu, dg, du, NULL, NULL, NULL, 0, limit);
    t_same(t, dg, wg, MANY, "dgate after n=0");
    t_end(t);
}

static void check(struct tester *t, bool gelu, const float *limits, size_t n_limits)
{
    for (size_t l = 0; l < n_limits; l++) {
        for (int i = 0; i < 500 && t->level == CPU_C; i++)
            against_forward(t, limits[l], gelu);
        for (const size_t *n = t_sizes; *n; n++)
            for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
                t_case(t, "n=%zu limit=%g fill=%d", *n, (double)limits[l], how);
                levels_agree(t, *n, limits[l], gelu, (enum fill)how);
                t_end(t);
            }
        any_bits(t, limits[l], gelu);
    }
    adjoint(t, gelu);
}

/* What the C level gives in f32, then rounded.  A NaN's payload is free. */
static void rounded_case(struct tester *t, size_t n, float limit, bool gelu, bool any)
{
    float *gate = t_floats(t, n, n % 4, FILL_RANDOM), *up = t_floats(t, n, n % 3, FILL_RANDOM);
    float *dy = t_floats(t, n, 1, FILL_RANDOM), *want[2] = { t_copy(t, dy, n), t_copy(t, dy, n) };
    bf16 *got[2] = { t_bytes(t, n * sizeof *got[0], 2), t_bytes(t, n * sizeof *got[0], 4) };
    for (size_t i = 0; any && i < n; i++) {
        gate[i] = i % 2 ? f32_from_bits((uint32_t)t_random(t)) : gate[i] * 20;
        up[i] = i % 3 ? up[i] : f32_from_bits((uint32_t)t_random(t));
    }
    bwd(t->ref, gelu, want[0], want[1], dy, gate, up, n, limit);
    if (gelu)
        t->k->geglu_bwd_bf16(got[0], got[1], dy, gate, up, n);
    else
        t->k->swiglu_bwd_bf16(got[0], got[1], dy, gate, up, n, limit);
    for (int which = 0; which < 2; which++) {
        float *back = t_copy(t, dy, n);
        for (size_t i = 0; i < n; i++) {
            back[i] = bf16_to_f32(got[which][i]);
            want[which][i] = bf16_to_f32(f32_to_bf16(want[which][i]));
        }
        t_same(t, back, want[which], n, which ? "dup" : "dgate");
    }
}

static void check_rounded(struct tester *t, bool gelu, float limit)
{
    for (const size_t *n = t_sizes; *n; n++) {
        t_case(t, "n=%zu limit=%g, rounded", *n, (double)limit);
        rounded_case(t, *n, limit, gelu, false);
        t_end(t);
    }
    t_case(t, "any bits, limit=%g, rounded", (double)limit);
    rounded_case(t, MANY, limit, gelu, true);
    t_end(t);
}

void check_swiglu_bwd_bf16(struct tester *t)
{
    check_rounded(t, false, LIMIT_FREE);
    check_rounded(t, false, 0.5f);
}

void check_geglu_bwd_bf16(struct tester *t)
{
    check_rounded(t, true, LIMIT_FREE);
}

/* Zero beyond the limit, and at the limit the gradient passes. */
static void at_the_limit(struct tester *t)
{
    const float over = nextafterf(2, 3), gate[8] = { 2, over, 1, 1, 1, 1, NAN, INFINITY };
    const float up[8] = { 1, 1, 2, over, -2, -over, 1, 1 };
    const float dy[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
    float dg[8], du[8];
    t->k->swiglu_bwd(dg, du, dy, gate, up, 8, 2);
    t_case(t, "limit 2");
    t_true(t, dg[0] > 1 && dg[1] == 0 && !signbit(dg[1]) && dg[7] == 0, "gate");
    t_true(t, du[2] > 0.7f && du[3] == 0 && du[4] == du[2] && du[5] == 0, "up");
    t_true(t, du[0] == du[1] && dg[3] == dg[2], "the other factor stands at the limit");
    t_true(t, isnan(dg[6]) && isnan(du[6]), "NaN passes");
}

void check_swiglu_bwd(struct tester *t)
{
    static const float limits[] = { LIMIT_FREE, 0.5f, 7 };
    check(t, false, limits, 3);
    at_the_limit(t);
}

void check_geglu_bwd(struct tester *t)
{
    static const float none[] = { LIMIT_FREE };
    check(t, true, none, 1);
}

/* da: n/16 + 5 roundings of the sum of |dy x|. */
static void one_scale_add(struct tester *t, size_t n, size_t skew, enum fill how)
{
    float *dy = t_floats(t, n, skew, how), *x = t_floats(t, n, skew / 2, how);
    float *want = t_bytes(t, n * sizeof *want, 0), *dx = t_bytes(t, n * sizeof *dx, 8);
    float a = t_value(t, how), want_da, da;
    double want64[300], bound[300], dot = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        want64[i] = (double)a * (double)dy[i];
        bound[i] = how == FILL_EXACT ? 0 : fabs(want64[i]) * 0x1.01p-24 + FLT_MIN;
        dot += (double)dy[i] * (double)x[i];
        size += fabs((double)dy[i] * (double)x[i]);
    }
    t->ref->scale_add_bwd(want, &want_da, dy, x, a, n);
    t_near(t, want, want64, bound, n, "C level, dx");
    size = how == FILL_EXACT ? 0 : size * ((double)n / 16 + 5) * 0x1.01p-24 + FLT_MIN;
    t_near(t, &want_da, &dot, &size, 1, "C level, da");
    t->k->scale_add_bwd(dx, &da, dy, x, a, n);
    t_same(t, dx, want, n, "dx");
    t_same(t, &da, &want_da, 1, "da");
    float *dy2 = t_copy(t, dy, n);
    t->k->scale_add_bwd(dy2, &da, dy2, x, a, n);
    t_same(t, dy2, want, n, "dx = dy");
    t_same(t, &da, &want_da, 1, "da, dx = dy");
    t->k->scale_add_bwd(x, &da, dy, x, a, n);
    t_same(t, x, want, n, "dx = x");
    t_same(t, &da, &want_da, 1, "da, dx = x");
}

void check_scale_add_bwd(struct tester *t)
{
    for (const size_t *n = t_sizes; *n; n++)
        for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
            t_case(t, "n=%zu fill=%d", *n, how);
            one_scale_add(t, *n, *n % 4, (enum fill)how);
            t_end(t);
        }
    t_case(t, "a product of -0, NaN, infinity, nothing");
    float tiny[3] = { -1e-30f, 0, 1 }, small[3] = { 1e-30f, 1, 2 }, dx[3], da, want;
    t->ref->scale_add_bwd(dx, &want, tiny, small, 1, 1);
    t->k->scale_add_bwd(dx, &da, tiny, small, 1, 1);
    t_same_bytes(t, &da, &want, sizeof da, "da");
    tiny[1] = INFINITY;
    t->k->scale_add_bwd(dx, &da, tiny, small, 0, 3);
    t_true(t, isinf(da) && isnan(dx[1]), "infinity");
    small[2] = NAN;
    t->k->scale_add_bwd(dx, &da, tiny, small, 0, 3);
    t_true(t, isnan(da) && dx[2] == 0, "NaN");
    t->k->scale_add_bwd(NULL, &da, NULL, NULL, 1, 0);
    t_true(t, da == 0 && !signbit(da), "n = 0");
}
