/*
 * shared_options: option groups that several commands offer under the same names, and
 * where the model is when none is named.
 *
 * A command embeds the struct and points a group at it:
 *
 *     struct run_args { struct model_args model; struct sampling_args sampling; ... };
 *     { "Model", model_opts, offsetof(struct run_args, model) },
 */
#ifndef KEXA_CMD_SHARED_OPTIONS_H
#define KEXA_CMD_SHARED_OPTIONS_H

#include "cmd/options.h"

struct model_args {
    const char *model;                    /* as typed; NULL: see model_path_find() */
    int64_t ctx;                          /* tokens; OPT_UNSET: the model's, at most 8192 */
    int64_t threads;                      /* OPT_UNSET: every CPU this process may use */
    const char *kv_type;                  /* "f16", "bf16", "f32", "q8_0" */
    const char *numerics;                 /* "native", "f32" */
};

struct sampling_args {
    int64_t max_tokens;                   /* OPT_UNSET: until the end of turn or context */
    double temp, top_p, min_p, presence, frequency, repeat;
    int64_t top_k;                        /* 0: off */
    int64_t seed;                         /* OPT_UNSET: a fresh one each time */
    struct opt_list stop;
    struct opt_list logit_bias;           /* "ID=BIAS" */
};

struct chat_args {
    const char *system;                   /* NULL: the format's own */
    const char *think;                    /* "on", "off", a number; NULL: the format's own */
    const char *format;                   /* NULL: recognised from the model */
};

extern const struct opt model_opts[];     /* struct model_args */
extern const struct opt model_fixed_opts[]; /* without --ctx: the input sets the context */
extern const struct opt model_only_opts[]; /* struct model_args, but only -m: for commands
                                              that load no weights */
extern const struct opt sampling_opts[];  /* struct sampling_args */
extern const struct opt chat_sampling_opts[]; /* the same; temp, top_k and top_p may be unset */
extern const struct opt chat_opts[];      /* struct chat_args */

choice_fn choice_on_off;
choice_fn choice_kv_type;                 /* in the order of enum kexa_kv_type */
#define KV_TYPE_HELP "number type of the key and value cache; q8_0 takes about half of f16"

/*
 * The model to use: `typed` (from -m) if not NULL, else $KEXA_MODEL, else the default model
 * if `./go` has fetched it.  The text lives in static storage or in the environment.
 */
bool model_path_find(const char *typed, const char **path, struct err *err);

/* Where the default model is kept (it may not be there). */
const char *default_model_path(void);

#endif
