/*
 * loss: softmax cross-entropy of a row of logits, and its gradient, so that no more of the row
 * need be in memory than a part of it at a time.
 *
 *     lse  = max + log(sum_i exp(x[i] - max))           loss = lse - x[target]
 *     d[i] = scale * (p[i] * (1 + 2 z_coef lse) - [i = target])      p = softmax(x)
 *
 * which is the gradient of scale * (loss + z_coef lse^2), in three steps:
 *
 *   softmax_sum    takes the row's next n >= 1 logits x into s, which begins as SOFTMAX_BEGIN
 *   softmax_end    from s and xt = x[target]: loss and lse in f64, without scale and without the
 *                  z term, k, and d of the target; scalar, not in the table of kernels
 *   softmax_grad   x[i] <- exp(x[i] - max) * k over any n of the logits, s->max being the max:
 *                  d of all but the target
 *
 * Order: the row is cut into parts of SOFTMAX_PART, and every call but the last takes whole
 * parts: so calls do not change bits.  The logits of a part: e[i] = exp_f32(x[i] - max), max
 * that of the parts so far, summed in f64 in the 16 chains and the tree of norm/chains.h; what
 * the sum was before is multiplied with exp_f32(max before - max).  The error does not grow
 * with n.  The logarithm is log_f64.h's, loss = log(sum) + (max - x[target]) and
 * k = (float)(scale (1 + 2 z_coef lse) / sum); the target's element is computed in f64 and
 * rounded once, because there p - 1 may cancel.
 * A NaN or a +infinity among the logits, or nothing but -infinity, makes everything NaN.
 * -infinity among finite logits is a probability of 0, and a loss of infinity if it is the
 * target.
 * Sources: z term: Chowdhery et al., "PaLM", 2022, section 5.  The sum that goes on: Milakov and
 * Gimelshein, "Online normalizer calculation for softmax", 2018, algorithm 3.
 */
#ifndef KEXA_KERN_LOSS_H
#define KEXA_KERN_LOSS_H

#include <math.h>
#include <stddef.h>

enum { SOFTMAX_PART = 512 };

struct softmax_sum {
    float max;
    double sum;                           /* of exp(x[i] - max) */
};

#define SOFTMAX_BEGIN (struct softmax_sum){ -INFINITY, 0 }

struct softmax_end {
    double loss, lse;
    float k;                              /* d of the others: exp(x[i] - max) * k */
    float at_target;                      /* d of the target */
};

struct softmax_end softmax_end(const struct softmax_sum *s, float xt, float scale, float z_coef);

typedef void softmax_sum_fn(struct softmax_sum *s, const float *x, size_t n);
typedef void softmax_grad_fn(float *x, size_t n, float max, float k);

softmax_sum_fn softmax_sum_c, softmax_sum_avx2, softmax_sum_avx512;
softmax_grad_fn softmax_grad_c, softmax_grad_avx2, softmax_grad_avx512;

#endif
