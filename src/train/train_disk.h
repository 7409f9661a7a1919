/*
 * train_disk: the room a run's folder needs on its disk, from its recipe and plan alone.
 *
 * Checkpoints hold the f32 masters and the optimizer's moments.  As many stand beside each other
 * as run.keep says, the one before wsd decays, and the one that is being written; fewer in a
 * short run.  In the end final/ has the model.  Logs are small and not counted.
 */
#ifndef KEXA_TRAIN_TRAIN_DISK_H
#define KEXA_TRAIN_TRAIN_DISK_H

#include "train/train_recipe.h"

struct train_disk {
    uint64_t checkpoint, model;           /* bytes of one, about */
    uint64_t n, there;                    /* checkpoints at most; those of a run that goes on */
    uint64_t total;                       /* what is still to be written */
    uint64_t available;                   /* UINT64_MAX: unknown */
};

/* For a resolved recipe and the plan of its model.  OUT need not exist, nor be given. */
void train_disk_plan(struct train_disk *out, const struct train_recipe *r, const struct plan *p);

/* "4 checkpoints of 188 MiB + 39.2 MiB of model = 791 MiB of 20 GiB free" */
void train_disk_line(const struct train_disk *d, struct buf *out);

/* Refuses with the numbers what does not fit. */
bool train_disk_check(const struct train_disk *d, const struct train_recipe *r, struct err *err);

#endif
