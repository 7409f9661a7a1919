/*
 * trainer: a run, step by step.
 *
 * OUT (run.out of the recipe) then holds
 *     config.json       the model's description
 *     run.recipe        the recipe with every key
 *     checkpoints/      checkpoint.h            log.jsonl, tb/    run_log.h, tensorboard.h
 *     final/            the trained model as a Hugging Face folder, when all steps are done
 *
 * After a stop of any kind, kill -9 included, opening with resume goes on from the newest sound
 * checkpoint: losses and weights are those of a run that was never stopped, to the bit, for any
 * number of threads.
 */
#ifndef KEXA_TRAIN_TRAINER_H
#define KEXA_TRAIN_TRAINER_H

#include "train/step_stats.h"
#include "train/train_recipe.h"

struct trainer;

struct trainer_options {
    bool resume;                          /* go on in OUT; a fresh run if it has no checkpoint */
    double roof_flops;                    /* measured FLOP/s of this machine, for the log; NAN */
};

/* r: resolved, outlives the trainer.  Without resume an OUT that holds a run is refused. */
bool trainer_open(struct trainer **out, const struct train_recipe *r,
                  const struct trainer_options *o, struct err *err);
void trainer_close(struct trainer *t);    /* NULL is fine; writes nothing */

/* One step of the optimizer: logged, and evaluated when due.  *s points into the trainer, valid
 * until the next step.  After a failure only trainer_close() may follow. */
bool trainer_step(struct trainer *t, struct step_stats *s, struct err *err);

/* The checkpoint that is due after this step, if one is.  All that is logged of a step comes
 * before it: what a run logs twice or never is then the same as what it does twice or never. */
bool trainer_save_due(struct trainer *t, struct err *err);

/* A checkpoint of the state after the last step; nothing if that step has one. */
bool trainer_checkpoint(struct trainer *t, struct err *err);

/* After the last step: a checkpoint and OUT/final. */
bool trainer_finish(struct trainer *t, struct err *err);

/* The log's last line; why: "done", "stopped" or what failed. */
bool trainer_end(struct trainer *t, const char *why, struct err *err);

/* Text that the model wrote, for the log. */
bool trainer_log_sample(struct trainer *t, const char *prompt, const char *text, struct err *err);

/* The model as it is now, ready to serve (run/session.h), until the next step. */
struct model *trainer_model(struct trainer *t);
uint64_t trainer_step_number(const struct trainer *t);    /* steps done */

/* What opening found worth saying, a line each: damaged checkpoints, where it goes on; "" for
 * nothing. */
const char *trainer_notes(const struct trainer *t);

#endif
