/*
 * train_memory: what a run needs, from its recipe and plan alone, before anything is taken.
 *
 *   weights    f32 masters and gradients, optimizer moments, bf16 copies (params.h)
 *   scratch    of Muon (muon.h)
 *   passes     all that a pass keeps for its gradients, with a chunk of logits (train_pass.h)
 *   rows       the tokens of a step, and of a pass of an evaluation
 *   samples    key and value cache and workspace of the sampling session; 0 without samples
 *
 * Shards are mapped files: the system drops their pages when it needs them, so they are not
 * counted.
 */
#ifndef KEXA_TRAIN_TRAIN_MEMORY_H
#define KEXA_TRAIN_TRAIN_MEMORY_H

#include "train/train_recipe.h"

struct train_memory {
    uint64_t weights, scratch, passes, rows, samples, total;
    uint64_t available;                   /* UINT64_MAX: unknown */
    uint32_t micro_rows;                  /* that this is for */
};

/* For a resolved recipe and the plan of its model. */
void train_memory_plan(struct train_memory *out, const struct train_recipe *r,
                       const struct plan *p, int n_threads);

/*
 * The same; where the recipe does not say run.micro_rows, it is halved until the run fits, and
 * what was found is written into the recipe.  Refuses with the numbers what does not fit.
 */
bool train_memory_fit(struct train_memory *out, struct train_recipe *r, const struct plan *p,
                      int n_threads, struct err *err);

/* "52.1 MiB weights + 310 MiB passes of 8 rows + ... = 0.4 GiB of 20 GiB available" */
void train_memory_line(const struct train_memory *m, struct buf *out);

#endif
