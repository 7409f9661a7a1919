/*
 * muon: one step of Muon for a list of matrices: momentum, made nearly orthogonal, is the way
 * each matrix goes.
 *
 *     g' = grad_scale g
 *     M <- mu M + (1 - mu) g'               an exponential average
 *     U  = (1 - mu) g' + mu M               nesterov; M without it
 *     O  = newton_schulz(U / (|U| + 1e-7))  |U| Frobenius; turned if rows > cols
 *     W <- W (1 - lr weight_decay) - lr 0.2 sqrt(max(rows, cols)) O
 *
 *     w, momentum   f32 [rows][cols], read and written
 *     g             f32 [rows][cols]
 *
 * With the factor 0.2 sqrt(max) an update has about the root mean square of AdamW's, so both
 * share one learning rate and decay.  bf16: the products of newton_schulz in bf16.
 *
 * Small matrices go one to a thread, the large ones one after another with all threads.  A
 * matrix's result does not depend on the others or on the pool.  Momentum is f32 whatever
 * bf16 says.  Cannot fail; a NaN in g makes its matrix NaN, so skip the step before.
 * Source: Jordan et al., "Muon", 2024; the factor: Liu et al., "Muon is scalable for LLM
 * training", 2025, section 2.2.
 */
#ifndef KEXA_TRAIN_MUON_H
#define KEXA_TRAIN_MUON_H

#include "base/base.h"
#include "kern/kern.h"

struct muon_job {
    float *w, *momentum;
    const float *g;
    size_t rows, cols;
};

struct muon_config {
    double lr, mu, weight_decay;
    double grad_scale;                    /* clipping factor over accumulated batches */
    bool nesterov;
    bool bf16;
};

/* Bytes of scratch for any muon_step over these jobs (their shapes) with such a pool. */
size_t muon_scratch_bytes(const struct muon_job *jobs, size_t n_jobs, int n_threads);

/* scratch: aligned to 64; pool NULL: the caller alone. */
void muon_step(const struct kernels *k, struct pool *pool, const struct muon_job *jobs,
               size_t n_jobs, const struct muon_config *c, void *scratch);

#endif
