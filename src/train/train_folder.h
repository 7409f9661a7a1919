/*
 * train_folder: the folder of a run.  OUT/run.recipe is the resolved recipe, every key
 * explicit: what the run began with (trainer.h writes it), and what one that goes on is held
 * against; without it, what the newest checkpoint says.
 */
#ifndef KEXA_TRAIN_TRAIN_FOLDER_H
#define KEXA_TRAIN_TRAIN_FOLDER_H

#include "train/train_recipe.h"

#define RUN_RECIPE_NAME "run.recipe"

/* Refuses what is no folder, and that of a model, whose config.json a run would replace. */
bool train_folder_check(const struct train_recipe *r, struct err *err);

/* Refuses also a folder that holds a run already, whatever its state. */
bool train_folder_check_new(const struct train_recipe *r, struct err *err);

/* Makes OUT and the folders above it that are missing. */
bool train_folder_make(const struct train_recipe *r, struct err *err);

/* What describes the model of a run that goes on: OUT/config.json, the newest checkpoint, or
 * model.init_from where it has not begun. */
bool train_folder_description(const struct train_recipe *r, struct buf *path, struct err *err);

/* Takes run.micro_rows and schedule.warmup, where the recipe does not say them, from how the run
 * began, and refuses a recipe that would not continue it to the bit.  Where nothing says how it
 * began, it has not: nothing is done. */
bool train_folder_resume(struct train_recipe *r, struct err *err);

#endif
