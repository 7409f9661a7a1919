/*
 * params: every trained weight, walked from the family's table: its f32 master, gradient and
 * optimizer state, and the copy the model computes with.
 *
 * params_open() takes the memory for a model that has a plan but no weights and binds it: the
 * model then serves and trains from this memory.  Matrices compute in bf16 (dtype bf16) or read
 * their master (f32); vectors and routers (f32 class) always read the master.  Selection biases
 * are in the list, group PARAM_BIAS: they have no gradient (moe_bias_update moves them).
 */
#ifndef KEXA_TRAIN_PARAMS_H
#define KEXA_TRAIN_PARAMS_H

#include "model/model.h"

enum param_group {
    PARAM_MUON,                           /* hidden matrices, each expert's alone */
    PARAM_ADAMW,                          /* decayed by AdamW: routers, or all matrices without
                                             Muon, and the head */
    PARAM_ADAMW_PLAIN,                    /* AdamW without decay: embedding, vectors */
    PARAM_BIAS,                           /* selection bias of a router */
    N_PARAM_GROUPS
};

struct param {
    const char *name;                     /* Hugging Face name */
    const struct weight_row *row;
    uint32_t layer, expert;
    enum param_group group;
    size_t rows, cols, n;                 /* n = rows * cols */
    float *master, *grad;                 /* [rows][cols]; grad NULL for PARAM_BIAS */
    float *m1, *m2;                       /* AdamW: both moments; Muon: m1 is the momentum, no m2 */
    bf16 *compute;                        /* NULL: the master */
    uint8_t *packed_y, *packed_dx;        /* compute packed for products, or NULL */
};

struct params {
    struct model *model;
    struct param *at;
    size_t n;
    uint64_t n_weights;                   /* elements of all */
    struct weights grads;                 /* shaped as the weights; data is each param's grad */
    float *master, *grad, *moments;       /* one run of memory each, in the list's order */
    size_t n_master, n_grad, n_moments;
    bool bf16;
    void *memory;                         /* inside params.c */
    uint64_t n_bytes;
    struct arena names;
};

/* Bytes that params_open would take on this CPU. */
uint64_t params_bytes(const struct plan *p, bool in_bf16, bool muon);

/* Bytes of masters and moments, which checkpoints hold, and of the model that comes of them. */
uint64_t params_saved_bytes(const struct plan *p, bool muon);
uint64_t params_model_bytes(const struct plan *p, bool in_bf16);

/* m: after model_open_plan(); becomes ready to run (kernels, threads).  Masters are zero,
 * gains one. */
bool params_open(struct params *ps, struct model *m, int n_threads, bool in_bf16, bool muon,
                 struct err *err);
void params_close(struct params *ps);     /* before model_close(m) */

/* N(0, std) for matrices (output projections o, down: std / sqrt(2 layers)), ones for gains,
 * zeros for biases; element i of a tensor depends on seed, name and i only. */
void params_fill_random(struct params *ps, uint64_t seed, double std);

/* Masters from another model's bound weights of the same plan. */
bool params_copy_from(struct params *ps, const struct model *from, struct err *err);

/* Compute copies from the masters; after every change of masters. */
void params_publish(struct params *ps);

/* The last part of that, where compute copies are rounded already: packs them for products. */
void params_pack(struct params *ps);

/* Gradients to zero. */
void params_clear_grads(struct params *ps);

#endif
