/*
 * model: plan + weights + kernels = the forward pass.  Include this one header.
 *
 *   plan     what the model is             family   what makes one kind different
 *   config   its description, read         weights  where its tensors stand
 *   kv       keys and values of a sequence linear   matrix products over threads
 *   workspace  memory of one step          forward  a step, and the MTP step
 */
#ifndef KEXA_MODEL_MODEL_H
#define KEXA_MODEL_MODEL_H

#include "base/base.h"
#include "format/format.h"
#include "kern/kern.h"
#include "text/text.h"

#include "model/batch.h"
#include "model/config.h"
#include "model/config_out.h"
#include "model/convert/convert.h"
#include "model/family.h"
#include "model/forward.h"
#include "model/kv.h"
#include "model/linear.h"
#include "model/linear_bwd.h"
#include "model/plan.h"
#include "model/recipe.h"
#include "model/synth.h"
#include "model/train_pass.h"
#include "model/weights.h"
#include "model/workspace.h"

enum model_numerics { NUMERICS_NATIVE, NUMERICS_F32 };

struct model {
    char *path;
    struct plan plan;
    struct weights weights;
    struct gguf gguf;                     /* one of the two sources is open */
    struct safetensors safetensors;
    json_t *json;                         /* config.json of a Hugging Face folder */
    struct tokenizer *tokenizer;          /* NULL if the model has none */
    struct err no_tokenizer;              /* why not */
    enum model_numerics numerics;
    const struct kernels *kern;
    struct pool *pool;
    float *inv_freq[ROPES_MAX];           /* [rope dims / 2] */
    struct workspace ws;
    /* Sees every list of products before it runs, for statistics; NULL in normal work.  x.f32
     * of a job holds its rows only where its weight's class is f32 (NUMERICS_F32: always). */
    void (*observe)(void *arg, const struct linear_job *jobs, size_t n_jobs);
    void *observe_arg;
    uint64_t weight_bytes;                /* mapped bytes of all tensors */
};

/* A file's description alone: plan without weights.  path: .gguf, a folder, or a
 * config.json.  The struct config stays open inside m until model_close. */
bool model_open_plan(struct model *m, const char *path, struct err *err);

/* Then the weights: names and shapes checked, tokenizer opened, kernels and threads ready. */
bool model_bind(struct model *m, int n_threads, enum model_numerics numerics, struct err *err);

/* Instead of model_bind() for weights that are not in a file (train/params.h): kernels, threads
 * and RoPE's frequencies; the caller then fills m->weights. */
bool model_ready(struct model *m, int n_threads, enum model_numerics numerics, struct err *err);

void model_close(struct model *m);        /* a zeroed struct is fine */

/*
 * 64 bits (XXH3) of the family, the GGUF metadata or config.json, every tensor's name, type and
 * shape, and 256 bytes at each of 4096 places spread evenly over the weights: another file, or
 * one that was trained on, has another hash.  The tokenizer files of a folder are not in it.
 */
bool model_hash(const struct model *m, uint64_t *out, struct err *err);

/* "general.name", the folder's name or the file's. Borrowed. */
void model_name(const struct model *m, char *out, size_t cap);

#endif
