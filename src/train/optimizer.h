/*
 * optimizer: from gradients to the next weights, for all parameters of a model.
 *
 *   PARAM_MUON         muon.h, each matrix (each expert's too) alone
 *   PARAM_ADAMW        AdamW with decay          PARAM_ADAMW_PLAIN  without
 *   PARAM_BIAS         moe_bias_update(), from loads
 *
 * Results are the same for any number of threads: AdamW is elementwise, norms are sums over
 * blocks of a fixed size in a fixed order, a matrix of Muon is a unit of its own.
 */
#ifndef KEXA_TRAIN_OPTIMIZER_H
#define KEXA_TRAIN_OPTIMIZER_H

#include "train/muon.h"
#include "train/params.h"

struct optimizer_rule {
    struct adamw_rule adamw;
    double muon_momentum, bias_update;
};

struct optimizer_block {
    uint32_t param;
    uint32_t n;                           /* elements */
    size_t at;                            /* first of them */
};

struct optimizer {
    struct params *ps;
    struct optimizer_rule rule;
    struct optimizer_block *block;        /* all elements with a gradient, in order */
    size_t n_blocks;
    double *square;                       /* [n_blocks] */
    struct muon_job *muon;
    size_t n_muon;
    void *scratch;                        /* of muon_step */
    size_t scratch_bytes;
};

bool optimizer_open(struct optimizer *o, struct params *ps, const struct optimizer_rule *rule,
                    struct err *err);
void optimizer_close(struct optimizer *o);

/* Square root of the sum of squares of all gradients; NaN or infinity if one of them is. */
double optimizer_norm(struct optimizer *o);

/* Step t = 1, 2, ... with gradients times grad_scale.  load: [sparse layers][experts] tokens
 * of the step, or NULL.  Then the compute copies are those of the new masters. */
void optimizer_step(struct optimizer *o, uint64_t t, double lr, double grad_scale,
                    const uint64_t *load);

#endif
