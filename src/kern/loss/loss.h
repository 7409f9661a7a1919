/*
 * loss: softmax cross-entropy of one row of logits, and its gradient.
 *
 *     lse   = max + log(sum_i exp(x[i] - max))          loss = lse - x[target]
 *     x[i] <- scale * (p[i] * (1 + 2 z_coef lse) - [i = target])     p = softmax(x)
 *
 *     x       f32 [n], n >= 1: logits, overwritten by the gradient of
 *             scale * (loss + z_coef lse^2); scale 0 wants no gradient and leaves x as it is
 *     target  < n; the caller's duty
 *     loss    *loss f64, without scale and without the z term
 *     lse     *lse f64; the caller adds z_coef lse^2 to what it reports
 *
 * Order: e[i] = exp_f32(x[i] - max), summed in f64 in the 16 chains and the tree of
 * norm/chains.h, so that the error does not grow with n; the logarithm is log_f64.h's and
 * loss = log(sum) + (max - x[target]).  With k = (float)(scale (1 + 2 z_coef lse) / sum):
 * x[i] = e[i] * k; the target's element is computed in f64 and rounded once, because there
 * p - 1 may cancel.
 * A NaN or a +infinity among the logits, or nothing but -infinity, makes everything NaN.
 * -infinity among finite logits is a probability of 0, and a loss of infinity if it is the
 * target.
 * Source: z term: Chowdhery et al., "PaLM", 2022, section 5.  Overwriting the logits: the
 * fused classifier of llm.c.
 */
#ifndef KEXA_KERN_LOSS_H
#define KEXA_KERN_LOSS_H

#include <stddef.h>
#include <stdint.h>

typedef void cross_entropy_fn(float *x, uint32_t target, size_t n, float scale, float z_coef,
                              double *loss, double *lse);

cross_entropy_fn cross_entropy_c, cross_entropy_avx2, cross_entropy_avx512;

#endif
