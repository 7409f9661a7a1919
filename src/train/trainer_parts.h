/* trainer_parts: the inside of a trainer, for its own files only. */
#ifndef KEXA_TRAIN_TRAINER_PARTS_H
#define KEXA_TRAIN_TRAINER_PARTS_H

#include "data/data.h"
#include "train/flops.h"
#include "train/optimizer.h"
#include "train/run_log.h"
#include "train/schedule.h"
#include "train/tensorboard.h"
#include "train/trainer.h"

/* What a checkpoint holds beside weights, moments and the loader's place. */
struct trainer_counts {
    uint64_t step, updates;               /* steps done; of them not skipped */
    uint64_t all_tokens;
};

struct trainer {
    const struct train_recipe *recipe;
    struct model model;
    struct params ps;
    struct optimizer optimizer;
    struct loader *loader, *heldout;      /* heldout: NULL without evaluation */
    struct loader_state heldout_begin;
    struct tape *tape, *eval_tape;
    struct train_flops flops;
    struct trainer_counts counts;
    struct spike_guard guard;
    struct run_log log;
    struct tensorboard board;
    struct buf notes;
    uint64_t saved_step;                  /* UINT64_MAX: none */
    size_t n_sparse, n_experts;
    uint64_t *load;                       /* [n_sparse][n_experts] of the last step */
    double *entropy, *load_max, *load_dead;
};

/* Weights, moments and all counts from the newest sound checkpoint; a fresh run has none. */
bool trainer_restore(struct trainer *t, struct err *err);

#endif
