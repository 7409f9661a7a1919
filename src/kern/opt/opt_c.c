#include "kern/opt/opt.h"

#include <math.h>

#include "kern/norm/chains.h"

static double power(double x, uint64_t n)
{
    double y = 1;
    for (; n; n >>= 1, x *= x)
        if (n & 1)
            y *= x;
    return y;
}

struct adamw adamw_at(const struct adamw_rule *rule, uint64_t t, double lr, double grad_scale)
{
    return (struct adamw){
        .grad_scale = (float)grad_scale,
        .take1 = (float)(1 - rule->beta1),
        .beta2 = (float)rule->beta2,
        .take2 = (float)(1 - rule->beta2),
        .root = (float)(1 / sqrt(1 - power(rule->beta2, t))),
        .eps = (float)rule->eps,
        .step = (float)(lr / (1 - power(rule->beta1, t))),
        .keep = (float)(1 - lr * rule->weight_decay),
    };
}

void adamw_step_c(float *w, float *m, float *v, const float *g, size_t n, const struct adamw *c)
{
    for (size_t i = 0; i < n; i++) {
        float gs = g[i] * c->grad_scale;
        m[i] = fmaf(c->take1, gs - m[i], m[i]);
        v[i] = fmaf(c->take2 * gs, gs, c->beta2 * v[i]);
        float d = fmaf(sqrtf(v[i]), c->root, c->eps);
        w[i] = fmaf(-c->step, m[i] / d, w[i] * c->keep);
    }
}

void sum_squares_c(double *sum, const float *x, size_t n)
{
    double c[CHAINS] = { 0 };
    for (size_t i = 0; i < n; i++)
        c[i % CHAINS] += (double)x[i] * (double)x[i];      /* an exact product */
    *sum = chains_sum_f64(c);
}
