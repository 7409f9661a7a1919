/* Activations in the form their product wants: kern/quant/quant.h. */
#include <math.h>
#include <string.h>

#include "checkkern.h"

struct q8 {
    int8_t *q;
    float *d;
    int32_t *sum;
};

static struct q8 run_q8(struct tester *t, const struct kernels *k, const float *x, size_t n)
{
    struct q8 r = { t_bytes(t, n, 1), t_bytes(t, n / 32 * 4, 4), t_bytes(t, n / 32 * 4, 4) };
    k->quant_q8(r.q, r.d, r.sum, x, n);
    return r;
}

/* The definition in float64: q is within half a step (and a rounding) of x. */
static void compare_q8_f64(struct tester *t, const struct q8 *r, const float *x, size_t n)
{
    bool near = true, sums = true;
    for (size_t b = 0; b < n / 32; b++) {
        int32_t sum = 0;
        double amax = 0;
        for (size_t i = 32 * b; i < 32 * b + 32; i++) {
            sum += r->q[i];
            amax = fmax(amax, fabs((double)x[i]));
        }
        sums = sums && sum == r->sum[b];
        near = near && fabs((double)r->d[b] - amax / 127) <= amax * 0x1p-24;
        for (size_t i = 32 * b; i < 32 * b + 32; i++)
            near = near && r->q[i] >= -127 &&
                   fabs((double)x[i] * 127 / (amax > 0 ? amax : 1) - r->q[i]) <= 0.5 + 1e-4;
    }
    t_true(t, near, "q and d against float64");
    t_true(t, sums, "sum of the block's q");
}

static void compare_q8(struct tester *t, const float *x, size_t n, bool finite)
{
    struct q8 want = run_q8(t, t->ref, x, n), got = run_q8(t, t->k, x, n);
    t_same_bytes(t, got.q, want.q, n, "q");
    t_same_bytes(t, got.d, want.d, n / 32 * 4, "d");
    t_same_bytes(t, got.sum, want.sum, n / 32 * 4, "sum");
    if (finite)
        compare_q8_f64(t, &got, x, n);
    t_end(t);
}

static void check_q8_ties(struct tester *t)
{
    t_case(t, "ties go to even");
    float *x = t_floats(t, 32, 1, FILL_EXACT);
    for (int i = 0; i < 32; i++)
        x[i] = (float)(i - 16) + 0.5f;
    x[7] = 127;                                           /* amax: the step is 1 */
    struct q8 r = run_q8(t, t->k, x, 32);
    bool even = r.q[7] == 127 && r.d[0] == 1;
    for (int i = 0; i < 32; i++)
        even = even && (i == 7 || r.q[i] % 2 == 0);
    t_true(t, even, "q");
    t_end(t);
}

/* Blocks that are zero, denormal, tiny, huge, infinite, NaN; one good block beside. */
static void check_q8_odd_blocks(struct tester *t)
{
    static const float odd[] = { 0, -0.0f, 1e-40f, 1e-36f, 7e-31f, 9e-31f, 3e38f, INFINITY,
                                 -INFINITY, NAN };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        t_case(t, "odd value %g", (double)odd[i]);
        float *x = t_floats(t, 64, 1, FILL_RANDOM);
        for (size_t j = 0; j < 32; j++)
            x[j] *= 1e-45f;
        x[t_below(t, 32)] = odd[i];
        struct q8 r = run_q8(t, t->k, x, 64);
        t_true(t, isnan(r.d[0]) == !isfinite(odd[i]) && isfinite(r.d[1]), "which d is NaN");
        bool zero = !isfinite(odd[i]) || fabsf(odd[i]) < 0x1p-100f;
        t_true(t, (r.sum[0] == 0) == zero && (isnan(r.d[0]) || (r.d[0] == 0) == zero), "zeros");
        compare_q8(t, x, 64, false);
    }
}

void check_quant_q8(struct tester *t)
{
    static const size_t ks[] = { 0, 32, 64, 96, 256, 576 };
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++)
        for (int how = 0; how < 2; how++) {
            t_case(t, "k=%zu, %s", ks[i], how ? "random" : "exact");
            compare_q8(t, t_floats(t, ks[i], 1, how ? FILL_RANDOM : FILL_EXACT), ks[i], true);
        }
    check_q8_ties(t);
    check_q8_odd_blocks(t);
}

/* Nearest: no bf16 is nearer to x, and of two as near the even one is taken. */
static bool is_nearest(float x, bf16 got)
{
    double gap = fabs((double)bf16_to_f32(got) - (double)x);
    for (int side = -1; side <= 1; side += 2) {
        bf16 other = (bf16)(got + side);
        double rival = fabs((double)bf16_to_f32(other) - (double)x);
        if (rival < gap || (rival == gap && got % 2))
            return false;
    }
    return true;
}

void check_round_bf16(struct tester *t)
{
    for (const size_t *n = t_sizes; *n; n++) {
        t_case(t, "n=%zu", *n);
        float *x = t_floats(t, *n, 1, FILL_RANDOM);
        for (size_t i = 0; i < *n; i++)                   /* any bits, ties, normal numbers */
            if (i % 3)
                x[i] = f32_from_bits((uint32_t)t_random(t) | (i % 3 == 1 ? 0 : 0x8000u));
        bf16 *want = t_bytes(t, *n * 2, 2), *got = t_bytes(t, *n * 2, 2);
        t->ref->round_bf16(want, x, *n);
        t->k->round_bf16(got, x, *n);
        t_same_bytes(t, got, want, *n * 2, "y");
        bool nearest = true;
        for (size_t i = 0; i < *n; i += 3)
            nearest = nearest && is_nearest(x[i], got[i]);
        t_true(t, nearest, "nearest, ties to even");
        t_end(t);
    }
    t_case(t, "infinity, NaN, overflow");
    float x[8] = { INFINITY, -INFINITY, NAN, 3.4e38f, f32_from_bits(0x7f800001u), 1e-40f, -0.0f,
                   f32_from_bits(0x3f808000u) };
    bf16 want[8] = { 0x7f80, 0xff80, 0x7fc0, 0x7f80, 0x7fc0, 0x0001, 0x8000, 0x3f80 }, got[8];
    t->k->round_bf16(got, x, 8);
    t_same_bytes(t, got, want, sizeof want, "y");
}

void check_widen_bf16(struct tester *t)
{
    for (const size_t *n = t_sizes; *n; n++) {
        t_case(t, "n=%zu", *n);
        bf16 *x = t_bytes(t, *n * 2, 2);
        for (size_t i = 0; i < *n; i++)
            x[i] = (bf16)t_random(t);
        float *want = t_floats(t, *n, 1, FILL_RANDOM), *got = t_floats(t, *n, 1, FILL_RANDOM);
        t->ref->widen_bf16(want, x, *n);
        t->k->widen_bf16(got, x, *n);
        t_same_bytes(t, got, want, *n * sizeof *got, "y");
        bool same = true;
        for (size_t i = 0; i < *n; i++)
            same = same && f32_bits(got[i]) == (uint32_t)x[i] << 16;
        t_true(t, same, "the upper half of the bits");
        t_end(t);
    }
}
