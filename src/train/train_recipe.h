/*
 * train_recipe: the one file that says what a run is.
 *
 *     # a comment, also after a value
 *     [model]
 *     size = 3m
 *     [data]
 *     source = shards/ko weight=2 epochs=4
 *     [run]
 *     prompt = "Once upon a time"
 *
 * Sections in brackets, then `key = value`.  A value in double quotes may hold # and the
 * escapes \" \\ \n.  Whole numbers take k, m, g, t for 10^3, 10^6, 10^9, 10^12.  One table
 * (recipe_keys.h) is the parser, the checks, `kexa pretrain --explain` and the documents.
 * Paths are relative to the folder the program runs in.
 *
 *     train_recipe_init(&r);
 *     train_recipe_load(&r, path, err) && train_recipe_set(&r, "--set", "run.seed=2", err)
 *         && train_recipe_resolve(&r, err)
 *     train_recipe_release(&r);
 *
 * Every failure names the file and line (or the option), the key, what was found and what is
 * allowed.  Until resolve() a key that was not given holds nothing; after it all do.
 */
#ifndef KEXA_TRAIN_TRAIN_RECIPE_H
#define KEXA_TRAIN_TRAIN_RECIPE_H

#include "model/model.h"

enum recipe_optimizer_kind { OPTIMIZER_MUON, OPTIMIZER_ADAMW };
enum recipe_schedule_kind { SCHEDULE_WSD, SCHEDULE_COSINE };
enum recipe_decay_shape { DECAY_SQRT, DECAY_LINEAR };
enum recipe_dtype { TRAIN_BF16, TRAIN_F32 };

enum { RECIPE_KEYS_MAX = 80, RECIPE_LIST_MAX = 256 };

struct recipe_source {
    char *path;                           /* a shard or a folder of shards */
    double weight;                        /* share of the mixture, relative to the others */
    double epochs;                        /* at most so often through it; 0: as often as needed */
};

struct recipe_model {
    uint64_t size;                        /* the dial: parameters of the layers per token */
    uint32_t vocab;                       /* 0: the tokenizer's */
    uint32_t layers, hidden, heads, kv_heads, head_dim, ffn;
    uint32_t experts, top_k, shared_experts, expert_ffn, dense_layers;   /* experts 0: dense */
    uint32_t window, global_every, mtp;
    double route_scale, rope_theta, eps, init_std;
    char *init_from;                      /* where the first weights come from; NULL: random */
};

struct recipe_data {
    char *tokenizer;                      /* a folder; NULL: none given */
    struct recipe_source *source;
    size_t n_sources;
    uint32_t context, heldout_rows;
};

struct recipe_optimizer {
    enum recipe_optimizer_kind kind;
    double lr, beta1, beta2, eps, weight_decay, momentum;
    double clip;                          /* largest gradient norm; 0: none */
    double spike_sigma;                   /* 0: no spike guard */
};

struct recipe_schedule {
    enum recipe_schedule_kind kind;
    uint64_t warmup;                      /* steps */
    double decay;                         /* share of the steps */
    double final_lr;                      /* share of lr at the end */
    enum recipe_decay_shape shape;
};

struct recipe_loss {
    double mtp, balance, bias_update, z;
};

struct recipe_run {
    char *out;                            /* folder; NULL: none given */
    enum recipe_dtype dtype;
    uint64_t seed, steps, tokens;         /* tokens = steps * batch_tokens after resolve */
    uint64_t batch_tokens;                /* of one step: a multiple of data.context */
    uint32_t micro_rows;                  /* rows of data.context in one pass */
    uint32_t threads;                     /* 0: every CPU; changes no result */
    uint64_t checkpoint_every, eval_every, sample_every;      /* steps; 0: never */
    uint32_t keep;                        /* newest checkpoints kept */
    uint32_t sample_tokens;
    char **prompt;
    size_t n_prompts;
};

struct train_recipe {
    char *file;                           /* for messages */
    json_t *config;                       /* the model's description with model.init_from */
    uint32_t config_context;              /* tokens, of that */
    struct recipe_model model;
    struct recipe_data data;
    struct recipe_optimizer optimizer;
    struct recipe_schedule schedule;
    struct recipe_loss loss;
    struct recipe_run run;
    uint32_t line[RECIPE_KEYS_MAX];       /* where key i was given; 0: not */
    const char *option[RECIPE_KEYS_MAX];  /* or the option that gave it, "--set" */
};

void train_recipe_init(struct train_recipe *r);
void train_recipe_release(struct train_recipe *r);

bool train_recipe_load(struct train_recipe *r, const char *path, struct err *err);
/* The same from text in memory; file: for messages. */
bool train_recipe_read(struct train_recipe *r, const char *file, struct bytes text,
                       struct err *err);
/* "section.key=value", over what the file says.  A list begins anew with the first value an
 * option gives.  option: a literal, for messages. */
bool train_recipe_set(struct train_recipe *r, const char *option, const char *assignment,
                      struct err *err);

/*
 * With model.init_from, before resolve: the model is that which `from` describes, and shape keys
 * that say another are refused, by name.  from: a Hugging Face folder, a config.json or a
 * checkpoint.  Any family; keys of [model] then hold what they have a word for.
 */
bool train_recipe_begin_from(struct train_recipe *r, const char *from, struct err *err);

/* Fills what was not given, from model.size and the rules in recipe_keys.h, and checks what
 * depends on several keys. */
bool train_recipe_resolve(struct train_recipe *r, struct err *err);

/* After resolve: every key explicit; reading it gives the same run. */
void train_recipe_write(const struct train_recipe *r, struct buf *out);

/* Refuses if `now` would not continue the run `was` to the bit, and names the first key that
 * differs.  Keys that change no weight (threads, how often to evaluate) are not compared, nor
 * where the data lies and how often it may be read (loader_state_set() looks at both), and neither
 * are schedule and length: schedule_continues() does that. */
bool train_recipe_same(const struct train_recipe *was, const struct train_recipe *now,
                       struct err *err);

/* Every key with what it means, its default and its unit, as plain text. */
void train_recipe_explain(struct buf *out);

/* After resolve.  vocab: of the tokenizer; at most model.vocab if that is given.  The model's
 * config.json (family exaone_moe, or that of model.init_from), which model_open_plan() reads as
 * train_recipe_plan(). */
json_t *train_recipe_config(const struct train_recipe *r, uint32_t vocab, struct err *err);
bool train_recipe_plan(struct plan *out, const struct train_recipe *r, uint32_t vocab,
                       struct err *err);
/* The vocabulary of the model: model.vocab, or the tokenizer's n_tokens. */
bool train_recipe_vocab(const struct train_recipe *r, uint32_t n_tokens, uint32_t *out,
                        struct err *err);

/* Rows of one step. */
static inline uint64_t train_recipe_rows(const struct train_recipe *r)
{
    return r->run.batch_tokens / r->data.context;
}

#endif
