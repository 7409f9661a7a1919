#include "kern/loss/loss.h"

#include <stdbool.h>

#include "kern/loss/row_end.h"
#include "kern/norm/chains.h"

/* The sum of exp(x - max); keep: it also takes the place of x. */
static double sum_exp(float *x, size_t n, float max, bool keep)
{
    double c[CHAINS] = { 0 };
    for (size_t i = 0; i < n; i++) {
        float e = exp_f32(x[i] - max);
        c[i % CHAINS] += (double)e;
        if (keep)
            x[i] = e;
    }
    return chains_sum_f64(c);
}

void cross_entropy_c(float *x, uint32_t target, size_t n, float scale, float z_coef,
                     double *loss, double *lse)
{
    bool grad = scale != 0;
    float max = row_max(x, n), xt = x[target];
    struct row_end r = row_end(max, sum_exp(x, n, max, grad), xt, scale, z_coef);
    *loss = r.loss;
    *lse = r.lse;
    if (!grad)
        return;
    for (size_t i = 0; i < n; i++)
        x[i] *= r.k;
    x[target] = r.at_target;
}
