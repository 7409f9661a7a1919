#include "kern/act/act.h"

#include <math.h>

#include "kern/act/exp_f32.h"
#include "kern/norm/chains.h"

static float silu(float g)
{
    return g / (1.0f + exp_f32(-g));
}

/* Written so that NaN passes through: a comparison with NaN keeps x. */
static float at_most(float limit, float x)
{
    return limit < x ? limit : x;
}

static float at_least(float limit, float x)
{
    return limit > x ? limit : x;
}

void swiglu_fwd_c(float *y, const float *gate, const float *up, size_t n, float limit)
{
    for (size_t i = 0; i < n; i++) {
        float g = gate[i], u = up[i];
        if (limit > 0) {
            g = at_most(limit, g);
            u = at_most(limit, at_least(-limit, u));
        }
        y[i] = silu(g) * u;
    }
}

static float gelu(float g)
{
    return g / (1.0f + exp_f32(-(g * fmaf(g * g, GELU_C1, GELU_C0))));
}

void geglu_fwd_c(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = gelu(gate[i]) * up[i];
}

void add_fwd_c(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

void scale_add_fwd_c(float *y, float a, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = fmaf(a, x[i], y[i]);
}

void softmax_fwd_c(float *x, size_t n)
{
    float max = -INFINITY, c[CHAINS] = { 0 };
    for (size_t i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    for (size_t i = 0; i < n; i++) {
        x[i] = exp_f32(x[i] - max);
        c[i % CHAINS] += x[i];
    }
    float sum = chains_sum(c);
    for (size_t i = 0; i < n; i++)
        x[i] /= sum;
}
