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
    const struct kept_layer *kept;        /* training: what only gradients need, or NULL */
};

static inline struct step step_of(struct model *m, const struct fwd_row *rows, size_t n)
{
    return (struct step){ .m = m, .rows = rows, .n = n, .ws = &m->ws };
}

/* Cosines and sines of row r at position pos, once for all layers. */
void fill_angles(const struct model *m, struct workspace *ws, size_t r, uint32_t pos);

/* x[hidden] = the token's row of the embedding, scaled. */
void embed_row(struct model *m, uint32_t token, float *x);

void block_forward(const struct step *s, uint32_t layer);

/*
 * Its parts, which training takes a band of rows at a time (train/band.h): the stream's norm, q, k,
 * v, QK norm and RoPE; after the attention itself, which leaves ws.mix, the product with O, added
 * to the stream; the norm before the FFN, the dense FFN from ws.z to ws.t, and ws.t added.
 */
void attention_in(const struct step *s, uint32_t layer);
void attention_out(const struct step *s, uint32_t layer);
void ffn_in(const struct step *s, uint32_t layer);
void ffn_forward(const struct step *s, uint32_t layer);
void ffn_out(const struct step *s, uint32_t layer);

/* The mixture of experts from ws.z, in the classes of its weights, to ws.t; and its parts: the
 * choice for each row, the pairs by expert, the shared expert (a model that has none: not to be
 * called), each row's sum of pair_out and shared_out. */
void moe_forward(const struct step *s, uint32_t layer);
void moe_route_rows(const struct step *s, uint32_t layer);
void moe_sort_pairs(const struct step *s);
void moe_shared(const struct step *s, uint32_t layer);
void moe_combine(const struct step *s, uint32_t layer);

/* y[i] = act(gate) up, as the plan says; limit: the layer's clamp. */
void gate_values(const struct model *m, float *y, const float *gate, const float *up, size_t n,
                 float limit);

/* y[r][i] = act(gate) up over n_rows rows as wide as down wants them, in parallel, also in the
 * class of down; limit: the layer's. */
void gate_rows(struct model *m, const struct acts_buf *y, const float *gate, const float *up,
               size_t n_rows, const struct weight *down, float limit);

#endif
