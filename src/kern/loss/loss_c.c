#include "kern/loss/log_f64.h"
#include "kern/loss/softmax_part.h"
#include "kern/norm/chains.h"

static void take_part(struct softmax_sum *s, const float *x, size_t n)
{
    double c[CHAINS] = { 0 };
    softmax_reach(s, row_max(x, n));
    for (size_t i = 0; i < n; i++)
        c[i % CHAINS] += (double)exp_f32(x[i] - softmax_base(s->max));
    s->sum += chains_sum_f64(c);
}

void softmax_sum_c(struct softmax_sum *s, const float *x, size_t n)
{
    softmax_take(s, x, n, take_part);
}

void softmax_grad_c(float *x, size_t n, float max, float k)
{
    for (size_t i = 0; i < n; i++)
        x[i] = exp_f32(x[i] - max) * k;
}

struct softmax_end softmax_end(const struct softmax_sum *s, float xt, float scale, float z_coef)
{
    struct softmax_end r;
    double max = (double)s->max, sum = s->max == -INFINITY ? (double)NAN : s->sum;
    double log_sum = log_f64(sum);
    r.lse = max + log_sum;
    r.loss = log_sum + (max - (double)xt);
    double z = 1 + 2 * (double)z_coef * r.lse;
    r.k = (float)((double)scale * z / sum);
    r.at_target = (float)((double)scale * ((double)exp_f32(xt - s->max) * z / sum - 1));
    return r;
}
