/* row_end: the scalar end of cross_entropy, the same at every level. */
#ifndef KEXA_KERN_ROW_END_H
#define KEXA_KERN_ROW_END_H

#include "kern/act/exp_f32.h"
#include "kern/loss/log_f64.h"

struct row_end {
    double loss, lse;
    float k;                              /* gradient of the others: e[i] * k */
    float at_target;                      /* gradient of the target */
};

/* xt: the target's logit; sum: of e[i] over the row. */
static inline struct row_end row_end(float max, double sum, float xt, float scale, float z_coef)
{
    struct row_end r;
    double log_sum = log_f64(sum);
    r.lse = (double)max + log_sum;
    r.loss = log_sum + ((double)max - (double)xt);
    double z = 1 + 2 * (double)z_coef * r.lse;
    r.k = (float)((double)scale * z / sum);
    r.at_target = (float)((double)scale * ((double)exp_f32(xt - max) * z / sum - 1));
    return r;
}

#endif
