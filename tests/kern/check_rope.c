#include "checkkern.h"

#include <float.h>
#include <math.h>

/* Two roundings: the product and the fma. */
static void rotate64(double *want, double *bound, const float *x, size_t a, size_t b, float c,
                     float s)
{
    double ac = (double)x[a] * (double)c, bs = (double)x[b] * (double)s;
    double bc = (double)x[b] * (double)c, as = (double)x[a] * (double)s;
    want[a] = ac - bs;
    want[b] = bc + as;
    bound[a] = (fabs(ac) + fabs(want[a])) * 0x1.01p-24 + FLT_MIN;
    bound[b] = (fabs(bc) + fabs(want[b])) * 0x1.01p-24 + FLT_MIN;
}

static void ref64(double *want, double *bound, const float *x, const float *cs, const float *sn,
                  size_t hd, size_t half, bool pair)
{
    for (size_t i = 0; i < hd; i++) {
        want[i] = (double)x[i];
        bound[i] = 0;
    }
    for (size_t p = 0; p < half; p++)
        rotate64(want, bound, x, pair ? 2 * p : p, pair ? 2 * p + 1 : p + half, cs[p], sn[p]);
}

static void one_shape(struct tester *t, size_t heads, size_t hd, size_t half, enum fill how,
                      bool pair)
{
    rope_half_fwd_fn *ref = pair ? t->ref->rope_pair_fwd : t->ref->rope_half_fwd;
    rope_half_fwd_fn *fn = pair ? t->k->rope_pair_fwd : t->k->rope_half_fwd;
    float *x = t_floats(t, heads * hd, half % 4, how), *want = t_copy(t, x, heads * hd);
    float *cs = t_floats(t, half, 1, how), *sn = t_floats(t, half, 3, how);
    double want64[520], bound[520];
    ref(want, cs, sn, heads, hd, half);
    for (size_t h = 0; h < heads; h++) {
        ref64(want64, bound, x + h * hd, cs, sn, hd, half, pair);
        for (size_t i = 0; how == FILL_EXACT && i < hd; i++)
            bound[i] = 0;
        t_near(t, want + h * hd, want64, bound, hd, "C level");
    }
    fn(x, cs, sn, heads, hd, half);
    t_same(t, x, want, heads * hd, "x");
}

static void check_rope(struct tester *t, bool pair)
{
    for (const size_t *half = t_sizes; *half; half++)
        for (size_t more = 0; more <= 5; more += 5)         /* elements that do not rotate */
            for (int how = FILL_EXACT; how <= FILL_RANDOM; how++) {
                t_case(t, "heads=3 half=%zu hd=%zu fill=%d", *half, 2 * *half + more, how);
                one_shape(t, 3, 2 * *half + more, *half, (enum fill)how, pair);
                t_end(t);
            }
    t_case(t, "no heads, no pairs");
    one_shape(t, 0, 64, 32, FILL_RANDOM, pair);
    one_shape(t, 2, 8, 0, FILL_RANDOM, pair);
    t_end(t);
}

void check_rope_half_fwd(struct tester *t)
{
    check_rope(t, false);
}

void check_rope_pair_fwd(struct tester *t)
{
    check_rope(t, true);
}

/* The f32 angle is part of the definition; beyond it cos and sin are exact to half an ulp. */
void check_rope_angles(struct tester *t)
{
    static const uint32_t positions[] = { 0, 1, 2, 127, 4095, 262143, 16777217, 4294967295u };
    if (t->level != CPU_C)
        return;
    for (size_t i = 0; i < sizeof positions / sizeof *positions; i++) {
        float inv[64], *cs = t_bytes(t, sizeof inv, 0), *sn = t_bytes(t, sizeof inv, 0);
        double c64[64], s64[64], bound[64];
        t_case(t, "pos=%u", positions[i]);
        for (size_t p = 0; p < 64; p++) {
            inv[p] = (float)pow(1e6, -(double)p / 64);
            float angle = (float)positions[i] * inv[p];
            c64[p] = cos((double)angle);
            s64[p] = sin((double)angle);
            bound[p] = 0x1.01p-25;
        }
        rope_angles(cs, sn, positions[i], inv, 64);
        t_near(t, cs, c64, bound, 64, "cs");
        t_near(t, sn, s64, bound, 64, "sn");
        t_end(t);
    }
}
