/*
 * train: from text in shards to a trained model.  Include this one header.
 *
 *   train_recipe  what a run is, from one file
 *   params      every weight with gradient and optimizer state; first_weights  another model's
 *   schedule    learning rate, spike guard     flops  operations counted
 *   train_memory  what a run needs; train_disk  of the disk; train_roof  what the machine can do
 *   train_folder  where a run stands
 *   step_stats  what a step was
 *   muon        the optimizer of hidden matrices, over newton_schulz
 *   checkpoint  all of its state in a file; train_build  which program wrote it
 *   run_log     what a run did, a line a step; tensorboard the same for TensorBoard
 *   run_report  the same as a page
 */
#ifndef KEXA_TRAIN_TRAIN_H
#define KEXA_TRAIN_TRAIN_H

#include "train/checkpoint.h"
#include "train/first_weights.h"
#include "train/flops.h"
#include "train/muon.h"
#include "train/params.h"
#include "train/run_log.h"
#include "train/run_report.h"
#include "train/schedule.h"
#include "train/step_stats.h"
#include "train/tensorboard.h"
#include "train/train_build.h"
#include "train/train_disk.h"
#include "train/train_folder.h"
#include "train/train_memory.h"
#include "train/train_recipe.h"
#include "train/train_roof.h"
#include "train/trainer.h"

#endif
