/*
 * run_history: a run's log.jsonl read back, thinned as it is read: memory does not grow with
 * the number of steps.
 */
#ifndef KEXA_TRAIN_RUN_HISTORY_H
#define KEXA_TRAIN_RUN_HISTORY_H

#include "train/run_series.h"

enum { CURVE_POINTS = 2000, LAYER_POINTS = 400, SAMPLES_MOST = 48, STARTS_MOST = 64,
       LAYERS_MOST = 1024, EXPERTS_MOST = 4096, SKIPS_MOST = 512 };

/* X(name): the curves; a member of a step line, or worked out from several (the last three).
 * clipped is 0 or 1; roof_share is of the roof that the step's machine had. */
#define CURVES(X) \
    X(loss) X(ce) X(mtp) X(balance) X(bits_per_byte) X(heldout_bits_per_byte) X(lr) \
    X(grad_norm) X(clipped) X(tokens_per_second) X(roof_share) X(cpus)

struct run_sample {
    uint64_t step;
    char *prompt, *text;
};

struct run_begin {
    uint64_t step;
    double unix_time;
    char *version, *machine, *cpu_level;
    uint64_t n_threads;
};

struct run_history {
#define X(name) struct series name;
    CURVES(X)
#undef X
    struct series *entropy, *load_max, *load_dead;       /* [n_layers] */
    size_t n_layers;
    struct heat heat;
    struct run_sample samples[SAMPLES_MOST];
    size_t n_samples;
    struct run_begin begins[STARTS_MOST]; /* the first and the latest */
    size_t n_begins;
    uint64_t all_begins;
    struct { uint64_t step; double grad_norm; } skips[SKIPS_MOST];
    size_t n_skips;
    uint64_t all_skips, all_clips;
    char *recipe, *recipe_name, *why;     /* of the last begin; why it ended, NULL: it did not */
    char *checkpoint;
    uint64_t checkpoint_step, n_checkpoints, checkpoint_bytes;
    uint64_t n_steps, n_params, n_active, seed;          /* as planned */
    double roof_flops;                    /* mean of the steps' time; NAN: not measured */
    uint64_t last_step, n_logged, all_tokens;
    double seconds, cpu_seconds, flops, flops_6nd;       /* sums over the steps logged */
    double roof_now, roof_work;           /* the last begin's; what the roofs would have done */
    uint64_t n_torn, torn_line;           /* lines that could not be used; the first of them */
};

/* A log without a single step is refused; lines that make no sense are counted in n_torn. */
bool run_history_load(struct run_history *h, const char *path, struct err *err);
void run_history_release(struct run_history *h);

#endif
