/*
 * plan: what a model is, layer by layer, without its weights.
 *
 * Every model kexa knows is one transformer driven by a plan.  A family file fills the
 * plan from config.json or GGUF metadata; binding, parameter counts, the memory plan and
 * the forward pass all walk it.  Layers n_layers .. n_layers + n_mtp - 1 are the MTP
 * blocks' own decoder layers.
 */
#ifndef KEXA_MODEL_PLAN_H
#define KEXA_MODEL_PLAN_H

#include "base/base.h"
#include "kern/moe/moe.h"

struct family;

enum rope_layout { ROPE_HALF, ROPE_PAIR };    /* kern/rope/rope.h */
enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN };
enum { ROPES_MAX = 2 };

/* Where a sublayer (attention, FFN) has its RMSNorms: x += [post] F([pre] x). */
enum norm_place { NORM_PRE = 1, NORM_POST = 2, NORM_BOTH = 3 };
enum ffn_act { ACT_SILU, ACT_GELU };          /* GELU in its tanh form (kern/act/act.h) */

struct rope_plan {
    enum rope_layout layout;
    enum rope_scaling scaling;
    double base;
    double factor, original_context;      /* of the scaling */
    double low, high;                     /* of llama3 */
    double beta_fast, beta_slow;          /* of YaRN; 0: 32 and 1 */
    double attention_factor;              /* of YaRN; 0: by the factor */
    uint32_t dims;                        /* rotated elements of a head, even */
};

struct layer_plan {
    uint32_t window;                      /* tokens seen, the current one included; 0: all */
    bool rope;                            /* false: NoPE */
    uint32_t rope_at;                     /* which of the plan's ropes */
    bool qk_norm;                         /* per-head RMSNorm of q and k before RoPE */
    bool sparse;                          /* mixture of experts */
    uint32_t ffn;                         /* width of the dense FFN, or of one expert */
    uint32_t shared_ffn;                  /* width of all shared experts together; 0: none */
    float swiglu_limit;                   /* clamp of gate and up; 0: none */
};

struct plan {
    const struct family *family;
    uint32_t n_layers, n_mtp;
    uint32_t hidden, vocab, n_heads, n_kv_heads, head_dim, context;
    uint32_t ffn, expert_ffn, n_shared, first_dense;   /* what layers are made from */
    enum norm_place norms;
    enum ffn_act act;
    double eps;
    float embed_scale;                    /* of the embedding's rows */
    float attn_scale;                     /* of q k */
    bool tied;                            /* lm_head is the embedding */
    bool router_bias;                     /* selection bias stands in the file */
    uint32_t n_ropes;                     /* 1, or 2 when layers differ in their base */
    struct rope_plan rope[ROPES_MAX];     /* same layout and dims */
    struct moe_router router;             /* n = 0: no experts anywhere */
    struct layer_plan *layer;             /* n_layers + n_mtp, owned */
};

enum { LAYERS_MAX = 2048 };

/* Takes plan->layer for n_layers + n_mtp layers, all zero. */
bool plan_take_layers(struct plan *p, const char *file, struct err *err);
void plan_release(struct plan *p);

/* Refuses dimensions no forward pass could run; `file` is for the message. */
bool plan_check(const struct plan *p, const char *file, struct err *err);

static inline uint32_t plan_all_layers(const struct plan *p)
{
    return p->n_layers + p->n_mtp;
}

static inline bool plan_is_mtp(const struct plan *p, uint32_t layer)
{
    return layer >= p->n_layers;
}

/* 1/wavelength of pair p (radians per position), f32 as the reference has it. */
void plan_inv_freq(const struct rope_plan *r, float *inv_freq);

/* What cosines and sines are multiplied by: 1 but for YaRN. */
float plan_rope_magnitude(const struct rope_plan *r);

#endif
