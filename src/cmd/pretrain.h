/*
 * pretrain: what the parts of `kexa pretrain` share: a run that is planned, and then done.
 *
 *   pretrain.c         options; from a recipe to a plan
 *   pretrain_plan.c    the plan as a table, or as JSON
 *   pretrain_run.c     the steps; pretrain_line.h shows them
 */
#ifndef KEXA_CMD_PRETRAIN_H
#define KEXA_CMD_PRETRAIN_H

#include "cmd/options.h"
#include "train/train.h"

struct pretrain_args {
    struct opt_list set;
    const char *size, *out;
    int64_t threads;
    bool resume, dry_run, explain, json;
};

struct pretrain {
    const struct pretrain_args *args;
    struct train_recipe recipe;
    struct tokenizer *tokenizer;          /* NULL: a plan without one */
    struct plan plan;
    struct train_memory memory;
    struct train_disk disk;
    struct train_flops flops;
    struct train_roof roof;
    bool fits;
    int n_threads;
};

bool pretrain_print_plan(const struct pretrain *p, struct err *err);

/* Refuses sources that are missing, end before the run does, or have nothing to learn. */
bool pretrain_check_data(const struct pretrain *p, struct err *err);

/* Refuses prompts that are empty or too long for samples. */
bool pretrain_check_prompts(const struct pretrain *p, struct err *err);

/* All steps that are left, or as many as Ctrl-C lets it do; p: planned, and it fits. */
bool pretrain_run(struct pretrain *p, struct err *err);

/* "40 s", "12 min", "3 h 05 min", "2.5 days", "12 years" */
void put_duration(struct buf *out, double seconds);

#endif
