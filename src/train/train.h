/*
 * train: from text in shards to a trained model.  Include this one header.
 *
 *   train_recipe  what a run is, from one file
 *   params      every weight with gradient and optimizer state
 *   step_stats  what a step was
 *   checkpoint  all of its state in a file
 */
#ifndef KEXA_TRAIN_TRAIN_H
#define KEXA_TRAIN_TRAIN_H

#include "train/params.h"
#include "train/step_stats.h"
#include "train/checkpoint.h"
#include "train/train_recipe.h"

#endif
