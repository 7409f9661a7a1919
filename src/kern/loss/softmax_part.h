/* softmax_part: what a part of a row does to the sum before it, the same at every level. */
#ifndef KEXA_KERN_SOFTMAX_PART_H
#define KEXA_KERN_SOFTMAX_PART_H

#include "kern/act/exp_f32.h"
#include "kern/loss/loss.h"

/* What the exponentials are of: x - base.  Nothing but -infinity so far: all of them are 0. */
static inline float softmax_base(float max)
{
    return max == -INFINITY ? 0 : max;
}

/* The part's largest logit: the sum is of exp(x - softmax_base(s->max)) from here on. */
static inline void softmax_reach(struct softmax_sum *s, float max)
{
    float before = s->max;
    s->max = max > before ? max : before;
    s->sum *= (double)exp_f32(before - softmax_base(s->max));
}

/* softmax_sum() by a level's way to take one part. */
static inline void softmax_take(struct softmax_sum *s, const float *x, size_t n,
                                softmax_sum_fn *part)
{
    for (; n > SOFTMAX_PART; x += SOFTMAX_PART, n -= SOFTMAX_PART)
        part(s, x, SOFTMAX_PART);
    part(s, x, n);
}

#endif
