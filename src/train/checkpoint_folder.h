/*
 * checkpoint_folder: which checkpoints a run has, by the names of the files.
 */
#ifndef KEXA_TRAIN_CHECKPOINT_FOLDER_H
#define KEXA_TRAIN_CHECKPOINT_FOLDER_H

#include "train/checkpoint.h"

struct checkpoint_folder {
    char path[4000];                      /* OUT/checkpoints */
};

/* Only makes the path; too long a name is refused. */
bool checkpoint_folder_init(struct checkpoint_folder *f, const char *out_dir, struct err *err);

/* Makes the folder and those above it. */
bool checkpoint_folder_make(const struct checkpoint_folder *f, struct err *err);

/* OUT/checkpoints/step-NNNNNNNN.kxc; false when it does not fit in cap bytes. */
bool checkpoint_folder_file(const struct checkpoint_folder *f, uint64_t step, char *path,
                            size_t cap, struct err *err);

/* The largest step below `before` that has a file; false if none, or if there is no folder. */
bool checkpoint_folder_below(const struct checkpoint_folder *f, uint64_t before, uint64_t *step);

/* Keeps the `keep` newest files up to `step`, and that of `hold`; damaged ones of later steps go
 * too. */
void checkpoint_folder_prune(const struct checkpoint_folder *f, uint64_t step, int keep,
                             uint64_t hold);

/* The names in the folder are on the disk. */
bool checkpoint_folder_sync(const struct checkpoint_folder *f, struct err *err);

#endif
