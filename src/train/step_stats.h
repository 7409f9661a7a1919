/*
 * step_stats: what one optimizer step was, for the live line, the logs and the report.
 */
#ifndef KEXA_TRAIN_STEP_STATS_H
#define KEXA_TRAIN_STEP_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct step_stats {
    uint64_t step;                        /* 1 is the first */
    uint64_t n_tokens, n_targets;         /* of this step, padding left out */
    uint64_t all_tokens;                  /* since the run began */
    double loss, ce, mtp, balance, z;     /* loss = ce + weight mtp + alpha balance + z_coef z */
    double bits_per_byte;                 /* of this step's targets */
    double heldout_bits_per_byte;         /* of the evaluation after this step; NAN: none */
    double lr, grad_norm;
    bool clipped, skipped;                /* skipped: the spike guard left the weights alone */
    double seconds, cpu_seconds;          /* of this step, by the clock and of all threads */
    double flops;                         /* counted: products and attention, both passes */
    double flops_6nd;                     /* 6 N_active D */
    size_t n_sparse, n_experts;           /* layers and experts of the next three */
    const double *load_max;               /* [n_sparse] largest load over mean load */
    const double *load_dead;              /* [n_sparse] share of experts without a token */
    const double *entropy;                /* [n_sparse] mean router entropy, nats */
    const uint64_t *load;                 /* [n_sparse][n_experts] */
    double bias_low, bias_high;           /* range of the selection biases */
};

#endif
