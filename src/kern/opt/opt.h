/*
 * opt: one step of AdamW over a vector of weights, and the sum of squares of which
 * gradient norms are made.
 *
 * adamw_step: with g' = g[i] * grad_scale, element by element:
 *     m = fma(1 - beta1, g' - m, m)
 *     v = fma((1 - beta2) g', g', beta2 v)
 *     d = fma(sqrt(v), 1 / sqrt(1 - beta2^t), eps)
 *     w = fma(-lr / (1 - beta1^t), m / d, w (1 - lr weight_decay))
 *
 *     w, m, v   f32 [n], read and written; no overlap
 *     g         f32 [n]
 *
 * The constants are f32 roundings of what adamw_at() computes in f64.  n = 0 does nothing;
 * a NaN in g makes w, m and v NaN there, so skip the step before, not after.
 * Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, in the order
 * of torch.optim.AdamW (decay first; eps beside the corrected root).  Difference: torch
 * divides by sqrt(1 - beta2^t), we multiply by its reciprocal.
 *
 * sum_squares: *sum = sum_i (double)x[i]^2 in f64, in the 16 chains and the tree of
 * norm/chains.h.  Cannot overflow for finite x.
 */
#ifndef KEXA_KERN_OPT_H
#define KEXA_KERN_OPT_H

#include <stddef.h>
#include <stdint.h>

/* What a recipe says. */
struct adamw_rule {
    double beta1, beta2, eps, weight_decay;
};

/* What one step needs; made by adamw_at(). */
struct adamw {
    float grad_scale;                     /* clipping factor over accumulated batches */
    float take1;                          /* 1 - beta1 */
    float beta2, take2;                   /* take2: 1 - beta2 */
    float root;                           /* 1 / sqrt(1 - beta2^t) */
    float eps;
    float step;                           /* lr / (1 - beta1^t) */
    float keep;                           /* 1 - lr weight_decay */
};

/* The constants of step t = 1, 2, ...; the powers by repeated squaring, so that they do not
 * depend on a libm. */
struct adamw adamw_at(const struct adamw_rule *rule, uint64_t t, double lr, double grad_scale);

typedef void adamw_step_fn(float *w, float *m, float *v, const float *g, size_t n,
                           const struct adamw *c);
typedef void sum_squares_fn(double *sum, const float *x, size_t n);

adamw_step_fn adamw_step_c, adamw_step_avx2, adamw_step_avx512;
sum_squares_fn sum_squares_c, sum_squares_avx2, sum_squares_avx512;

#endif
