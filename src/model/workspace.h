/*
 * workspace: all memory that one forward step of up to `rows` tokens touches.
 * Sized from the plan before anything is loaded; taken once; never grown in a step.
 */
#ifndef KEXA_MODEL_WORKSPACE_H
#define KEXA_MODEL_WORKSPACE_H

#include "kern/kern.h"
#include "model/plan.h"

enum { HEAD_ROWS = 16, PANEL_ROWS = 16 };

/* Activations of up to `rows` tokens of up to `k` elements in every class. */
struct acts_buf {
    float *f32;                           /* the source; owned here */
    int8_t *q;
    float *d;
    int32_t *sum;
    bf16 *b16;
};

struct fwd_row;

struct workspace {
    size_t rows;                          /* most tokens of a step */
    struct fwd_row *step;                 /* [rows] for whoever composes a step (run/session.c) */
    float *x;                             /* [rows][hidden] residual stream */
    struct acts_buf z;                    /* normed input, or the MTP concat [rows][2 hidden] */
    float *q, *k, *v;                     /* [rows][heads * head_dim] */
    struct acts_buf mix;                  /* attention output, [rows][q width] */
    float *t;                             /* [rows][hidden] a sublayer's output */
    float *cs[ROPES_MAX], *sn[ROPES_MAX]; /* [rows][rope dims / 2] */
    float *gate, *up;                     /* [rows][dense or shared FFN width, >= hidden] */
    struct acts_buf act;                  /* SwiGLU output of the same */
    float *router;                        /* [rows][experts] logits, then scores */
    uint32_t *expert;                     /* [rows][top_k] ascending */
    float *mixing;                        /* [rows][top_k] weights of those */
    uint32_t *pair;                       /* [rows][top_k] index among the pairs */
    uint32_t *first;                      /* [experts + 1] pairs by expert */
    uint32_t *slot;                       /* [pairs] row * top_k + k of a pair */
    struct acts_buf pair_z;               /* gathered inputs, [pairs][hidden] */
    float *pair_gate, *pair_up;           /* [pairs][expert FFN width] */
    struct acts_buf pair_act;
    float *pair_out;                      /* [pairs][hidden] */
    float *shared_out;                    /* [rows][hidden]; in a serving step it is gate */
    struct linear_job *jobs;              /* [2 * experts + 4] */
    float *logits;                        /* [HEAD_ROWS][vocab] */
    float *panel;                         /* [threads][PANEL_ROWS][widest k] f32 weights */
    size_t panel_stride;
    void *memory;
    uint64_t n_bytes;
};

/* Bytes for steps of `rows` tokens; UINT64_MAX if that overflows. */
uint64_t workspace_bytes(const struct plan *p, size_t rows, int n_threads);

/* Makes room for `rows` tokens (keeps a larger one). */
bool workspace_reserve(struct workspace *ws, const struct plan *p, size_t rows, int n_threads,
                       struct err *err);
void workspace_release(struct workspace *ws);

#endif
