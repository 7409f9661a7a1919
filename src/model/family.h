/*
 * family: what makes one kind of model different from the next, and nothing else.
 *
 * A family file recognises its config, fills the plan and lists its weights.  The list
 * of families is families/families.c.  docs/how-to/add-a-family.md walks through one.
 */
#ifndef KEXA_MODEL_FAMILY_H
#define KEXA_MODEL_FAMILY_H

#include "model/config.h"
#include "model/config_out.h"
#include "model/plan.h"

/* Sizes in the plan's words; a weight's shape is rows x cols of these. */
enum dim {
    DIM_ONE, DIM_HIDDEN, DIM_VOCAB, DIM_Q, DIM_KV, DIM_HEAD, DIM_FFN, DIM_SHARED, DIM_EXPERTS,
    DIM_TWO_HIDDEN, DIM_TWO_FFN, DIM_ROPE_HALF
};

/* Where a weight stands, and so how its name is made and how often it occurs. */
enum weight_scope {
    SCOPE_MODEL,                          /* once: the name as it is */
    SCOPE_LAYER,                          /* each layer: prefix + name */
    SCOPE_EXPERT,                         /* each expert of a sparse layer */
    SCOPE_MTP                             /* once per MTP block, beside its layer */
};

/* When a layer (or the model) has the weight. */
enum weight_when {
    WHEN_ALWAYS, WHEN_DENSE, WHEN_SPARSE, WHEN_SHARED, WHEN_ROUTER_BIAS, WHEN_QK_NORM,
    WHEN_UNTIED, WHEN_IN_FILE             /* optional: used if the file has it */
};

struct weight_row {
    enum weight_scope scope;
    enum weight_when when;
    const char *gguf;                     /* without the "blk.N." of SCOPE_LAYER and on */
    const char *hf;                       /* without the layer prefix; %u: expert number */
    const char *hf_alias;                 /* another spelling met in files, or NULL */
    enum dim rows, cols;                  /* rows DIM_ONE: a vector, kept as f32 */
    size_t at;                            /* in struct weights, layer_weights or mtp_weights */
    bool f32_class;                       /* the product runs in the f32 class (router) */
};

struct family {
    const char *name;
    const char *const *hf_types;          /* model_type values, NULL-terminated */
    const char *const *gguf_archs;
    bool (*fill)(struct plan *p, const struct config *c, struct err *err);
    const struct weight_row *weights;     /* ends with at == SIZE_MAX */
    const char *hf_layers, *hf_mtp;       /* "model.layers.%u.", "mtp.layers.%u." */
    /* For writing a model of this family (kexa convert): */
    const struct config_key *keys;        /* into struct plan, beside config_common_keys */
    bool (*describe)(const struct plan *p, struct config_out *out, struct err *err);
                                          /* what those tables cannot say; NULL: nothing */
    const char *hf_class;                 /* "LlamaForCausalLM", for config.json */
    bool gguf_pairs;                      /* GGUF files keep the rows of q and k so that RoPE
                                             turns adjacent pairs (ROPE_PAIR) */
    float hf_gain_offset;                 /* Hugging Face files hold vectors less this */
};

extern const struct family *const families[];             /* NULL-terminated */

/* The family for a config; fails with the list of those known. */
const struct family *family_find(const struct config *c, struct err *err);

/* Reads the plan: recognise, fill, check. */
bool plan_read(struct plan *p, const struct config *c, struct err *err);

uint64_t dim_size(const struct plan *p, enum dim d, uint32_t layer);
bool weight_applies(const struct plan *p, const struct weight_row *w, uint32_t layer);

/* Keys that all families share: sizes, heads, norms, context. */
extern const struct config_key config_common_keys[];

/* Refuses a config.json in which one of the keys (NULL-terminated) is neither missing nor
 * null nor false. */
bool config_refuse(const struct config *c, const char *const *keys, struct err *err);

/* What the sources leave out: KV heads, head size, RoPE size, vocabulary, tying. */
void plan_fill_defaults(struct plan *p, const struct config *c);

/* RoPE from rope_theta / rope_scaling / rope_parameters, or the GGUF keys. */
bool config_read_rope(const struct config *c, struct rope_plan *r, struct err *err);

/* rope_parameters[kind], where each kind of layer has its own; leaves r without it. */
bool config_read_rope_kind(const struct config *c, const char *kind, struct rope_plan *r,
                           struct err *err);

/* sliding_window, 0 when there is none; and the window of layer i by sliding_windows,
 * layer_types or the pattern.  Without any of these, layer i slides unless `period`
 * divides i + 1 (period 0: none does). */
bool config_window(const struct config *c, uint32_t *out, struct err *err);
bool config_layer_window(const struct config *c, uint32_t i, uint32_t period, uint32_t *out,
                         struct err *err);

#endif
