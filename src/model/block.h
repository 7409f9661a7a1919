/*
 * block: one decoder layer over the rows of a step.  Inside model/ only.
 *
 *     x += post(O Attn(pre(x)));  x += post(FFN(pre(x)))     x stands in ws.x [rows][hidden]
 *
 * pre and post are RMSNorms or nothing, as plan.norms says.
 */
#ifndef KEXA_MODEL_BLOCK_H
#define KEXA_MODEL_BLOCK_H

#include "model/model.h"

/* Rows of one document, at most SPAN_ROWS of them: the unit of attention in training. */
struct span {
    size_t document;                      /* the document's first row */
    size_t row, n_rows;                   /* rows of this span */
};

enum { SPAN_ROWS = 128 };

struct documents {
    struct span *span;
    size_t n_spans;
    size_t *first, n;                     /* [n + 1] first rows of all documents, and the end */
};

/* What gradients need beside the workspaces: [rows] of each. */
struct kept_layer {
    float *x_attn, *x_ffn;                /* the stream before each sublayer, [hidden] */
    float *t_attn, *t_ffn;                /* their outputs before a post norm; NULL: none */
    float *q, *k;                         /* before QK norm; NULL: none */
    float *lse;                           /* of the attention, [heads] */
};

struct step {
    struct model *m;
    const struct fwd_row *rows;           /* serving: one for each token; training: NULL */
    size_t n;
    struct workspace *ws;                 /* what the sublayer at hand reads and fills */
    struct workspace *ffn_ws;             /* ws for the FFN; serving: the same */
    const struct documents *docs;         /* training: who sees whom */
    struct kept_layer *kept;              /* training: what only gradients need, or NULL */
};

static inline struct step step_of(struct model *m, const struct fwd_row *rows, size_t n)
{
    return (struct step){ .m = m, .rows = rows, .n = n, .ws = &m->ws, .ffn_ws = &m->ws };
}

/* Cosines and sines of row r at position pos, once for all layers. */
void fill_angles(const struct model *m, struct workspace *ws, size_t r, uint32_t pos);

/* x[hidden] = the token's row of the embedding, scaled. */
void embed_row(struct model *m, uint32_t token, float *x);

void block_forward(const struct step *s, uint32_t layer);

/* ws.z holds the rows it reads, in the classes of its weights: leaves the FFN's output in ws.t. */
void ffn_forward(const struct step *s, uint32_t layer);
void moe_forward(const struct step *s, uint32_t layer);

/* y[i] = act(gate) up, as the plan says; limit: the layer's clamp. */
void gate_values(const struct model *m, float *y, const float *gate, const float *up, size_t n,
                 float limit);

/* y[r][i] = act(gate) up over n_rows rows as wide as down wants them, in parallel, also in the
 * class of down; limit: the layer's. */
void gate_rows(struct model *m, const struct acts_buf *y, const float *gate, const float *up,
               size_t n_rows, const struct weight *down, float limit);

#endif
