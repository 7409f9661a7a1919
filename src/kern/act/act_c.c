#include "kern/act/act.h"

#include <math.h>
#include <stdbool.h>

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

void scale_add_bwd_c(float *dx, float *da, const float *dy, const float *x, float a, size_t n)
{
    float c[CHAINS] = { 0 };
    for (size_t i = 0; i < n; i++) {
        c[i % CHAINS] = fmaf(dy[i], x[i], c[i % CHAINS]);
        dx[i] = a * dy[i];
    }
    *da = chains_sum(c);
}

void softmax_fwd_c(float *x, size_t n)
{
    float max = row_max(x, n), c[CHAINS] = { 0 };
    for (size_t i = 0; i < n; i++) {
        x[i] = exp_f32(x[i] - max);
        c[i % CHAINS] += x[i];
    }
    float sum = chains_sum(c);
    for (size_t i = 0; i < n; i++)
        x[i] /= sum;
}

static float sigmoid(float x)
{
    return 1.0f / (1.0f + exp_f32(-x));
}

void sigmoid_fwd_c(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = isnan(x[i]) ? x[i] : sigmoid(x[i]);
}

void swiglu_bwd_c(float *dgate, float *dup, const float *dy, const float *gate, const float *up,
                  size_t n, float limit)
{
    for (size_t i = 0; i < n; i++) {
        float g = gate[i], u = up[i], d = dy[i];
        bool g_out = limit > 0 && g > limit, u_out = limit > 0 && (u > limit || u < -limit);
        if (limit > 0) {
            g = at_most(limit, g);
            u = at_most(limit, at_least(-limit, u));
        }
        float s = sigmoid(g);
        dgate[i] = g_out ? 0 : d * u * (s * fmaf(g, 1.0f - s, 1.0f));
        dup[i] = u_out ? 0 : d * (g * s);
    }
}

void geglu_bwd_c(float *dgate, float *dup, const float *dy, const float *gate, const float *up,
                 size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = gate[i], u = up[i], d = dy[i];
        float c = at_most(GELU_FLAT, at_least(-GELU_FLAT, g));
        float s = sigmoid(c * fmaf(c * c, GELU_C1, GELU_C0));
        float w = c * fmaf(c * c, GELU_3C1, GELU_C0);
        dgate[i] = d * u * (s * fmaf(w, 1.0f - s, 1.0f));
        dup[i] = d * (g * s);
    }
}
