/*
 * first_weights: the weights a run begins with, where they are another model's
 * (model.init_from): continued training.  The optimizer begins anew.
 */
#ifndef KEXA_TRAIN_FIRST_WEIGHTS_H
#define KEXA_TRAIN_FIRST_WEIGHTS_H

#include "train/params.h"

/* Whether the path names a checkpoint, by its ending. */
bool first_weights_in_checkpoint(const char *path);

/*
 * Masters of a checkpoint as they are, or the weights of a Hugging Face folder in f32, into ps,
 * whose plan is that of train_recipe_begin_from().  A path with another tokenizer than t is
 * refused: its rows of the embedding mean other tokens.  On failure masters are undefined.
 */
bool first_weights_copy(struct params *ps, const char *path, const struct tokenizer *t,
                        struct err *err);

#endif
