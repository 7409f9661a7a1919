/*
 * run_log: what a run did, one JSON object a line, in OUT/log.jsonl.
 *
 * Every line begins {"event":NAME,"step":N and a line's step is never below that of the line
 * before it.  All that depends on the clock is in the member "time" (unix: seconds since 1970,
 * seconds: what it took, cpu_seconds: of all threads); without it the "step" and "sample" lines
 * of a run that was stopped and went on are those of one that was not, to the last digit.
 *
 *   start, resume   step: of the state it begins with, 0 for a fresh run.  version, machine,
 *                   cpu_level, threads, recipe_name, recipe (its text), seed, n_params, n_active
 *                   (per token), n_steps (planned), roof_flops (FLOP/s measured here, null if not)
 *   step            tokens, targets of this step without padding; all_tokens since the beginning;
 *                   loss, ce, mtp, balance, z (nats, as in step_stats.h); bits_per_byte;
 *                   heldout_bits_per_byte (null without an evaluation); lr; grad_norm (before
 *                   clipping); clipped, skipped (true or false); flops (counted), flops_6nd;
 *                   load_max, load_dead, entropy: a number for each sparse layer; bias: lowest
 *                   and highest selection bias; load: at every k-th step the tokens of each
 *                   expert, an array for each sparse layer (k keeps a step at about 64 numbers)
 *   sample          prompt, text
 *   checkpoint      file, bytes
 *   end             why: "done", "stopped", or what failed
 *
 * Numbers have 17 digits; what is no finite number is null.
 *
 * A line is written whole or not at all.  Log all of a step, then run_log_sync(), then save its
 * checkpoint: the log then reaches at least as far as the newest checkpoint.
 */
#ifndef KEXA_TRAIN_RUN_LOG_H
#define KEXA_TRAIN_RUN_LOG_H

#include "train/step_stats.h"
#include "base/base.h"

struct run_log {
    int fd;
    char *path;
    uint64_t n_bytes;                     /* of whole lines */
    struct buf line;
};

struct run_facts {
    const char *version;
    const char *recipe_name, *recipe;     /* the file's name; its text */
    int n_threads;
    uint64_t seed, n_params, n_active, n_steps;
    double roof_flops;                    /* NAN: not measured */
};

/*
 * Opens OUT/log.jsonl (and makes OUT) to go on from `step`; lines of later steps are cut off, and
 * with step 0 all lines.  A log that another process has open is refused: one run, one folder.
 */
bool run_log_open(struct run_log *l, const char *out_dir, uint64_t step, struct err *err);
void run_log_close(struct run_log *l);    /* a zeroed struct is fine */

/* start for step 0, resume for others. */
bool run_log_begin(struct run_log *l, uint64_t step, const struct run_facts *f, struct err *err);
bool run_log_step(struct run_log *l, const struct step_stats *s, struct err *err);

/* Any bytes: what is no UTF-8 becomes U+FFFD. */
bool run_log_sample(struct run_log *l, uint64_t step, struct bytes prompt, struct bytes text,
                    struct err *err);
bool run_log_checkpoint(struct run_log *l, uint64_t step, const char *path, uint64_t n_bytes,
                        double seconds, struct err *err);
bool run_log_end(struct run_log *l, uint64_t step, const char *why, struct err *err);

/* All lines are on the disk. */
bool run_log_sync(struct run_log *l, struct err *err);

/* Of a line as above its event and step; false if it does not begin like one. */
bool run_log_parse(struct bytes line, struct bytes *event, uint64_t *step);

#endif
