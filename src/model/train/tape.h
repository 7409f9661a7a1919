/*
 * tape: the memory of a training pass.  Inside model/train/ only.
 *
 * Each layer has workspaces of its own (block.h fills them) as far as gradients need what
 * stands in them; what they do not need is shared by all.  A tape for losses alone shares
 * everything.
 */
#ifndef KEXA_MODEL_TAPE_H
#define KEXA_MODEL_TAPE_H

#include "model/block.h"

/* Rows whose logits stand in memory at once; rows whose gain gradients are summed as one. */
enum { LOSS_ROWS = 256, GAIN_ROWS = 64 };

/* Where a pass ends: the trunk, or the MTP block. */
struct tape_end {
    float *x;                             /* [rows][hidden] the stream before the last norm */
    struct acts_buf h;                    /* and after it */
    float *dh;                            /* gradient of h */
};

/* Gradients on their way down, each [rows] or [pairs] of what it is named after. */
struct tape_grads {
    float *x;                             /* of the stream */
    float *z;                             /* of a sublayer's input */
    float *t;                             /* of its output, where a post norm stands between */
    float *q, *k, *v, *mix;
    float *gate, *up, *act;
    float *pair_z, *pair_out, *pair_gate, *pair_up, *pair_act;
    float *mixing, *router;
    float *mtp_in;                        /* [rows][2 hidden] */
    float *gain;                          /* [chunks of GAIN_ROWS][hidden or head_dim] */
    bf16 *rounded;                        /* dy16 of the products at hand */
};

struct tape {
    struct model *m;
    size_t n_rows, context, rows;         /* rows: most tokens, n_rows * context */
    bool backward;
    size_t n;                             /* tokens of the pass at hand */
    struct documents docs;
    struct workspace *attn, *ffn;         /* [layers, MTP included] */
    struct kept_layer *kept;
    struct tape_end main, mtp;
    float *mtp_embed;                     /* [rows][hidden] embeddings of the next tokens */
    struct acts_buf mtp_in;               /* [rows][2 hidden] both normed */
    float *logits;                        /* [LOSS_ROWS][vocab] */
    double *row_loss, *row_lse;           /* [rows] */
    double *seq_balance, *seq_entropy;    /* [n_rows] */
    uint64_t *seq_load;                   /* [n_rows][experts] */
    float *sn_back[ROPES_MAX];            /* minus the sines: the rotation back */
    uint32_t *order, *token_first;        /* rows by token: [2 rows], [vocab + 1] */
    struct tape_grads d;
    void *memory;
    uint64_t n_bytes;
};

static inline float *grad_f32(const struct weight *g)
{
    return (float *)(uintptr_t)g->data;
}

/* A layer's step over the tape's buffers. */
struct step tape_step(struct tape *t, uint32_t layer);

/* The gradient of the stream before layer `layer` from the one after it, in d.x. */
void block_backward(struct tape *t, const struct batch *b, const struct objective *o,
                    uint32_t layer, struct weights *grads, struct pass_sums *sums);

/* From the gradient of the experts' output dt to that of their input in d.z. */
void experts_backward(struct tape *t, const struct batch *b, const struct objective *o,
                      uint32_t layer, const float *dt, struct weights *grads,
                      struct pass_sums *sums);

/* From a sparse layer's scores, which its workspace keeps: loads, entropy and balance loss; adds
 * the loss's gradient to dlogits [n][experts] unless it is NULL. */
void router_sums(struct tape *t, const struct batch *b, const struct objective *o,
                 uint32_t layer, float *dlogits, struct pass_sums *sums);

/*
 * dx = RMSNorm's gradient over n tokens of `per` vectors of dim elements (dx may be dy); the
 * gain's is added to dgain (NULL: not wanted) by chunks of GAIN_ROWS tokens in their order.
 */
struct norm_bwd {
    float *dx, *dgain;
    const float *dy, *x, *gain;
    size_t per, dim;
};
void norm_backward(struct tape *t, const struct norm_bwd *nb);

/* Gradients of gate and up from that of act(gate) up, n elements; the clamp as in the forward. */
struct gate_bwd {
    float *dgate, *dup;
    const float *dy, *gate, *up;
};
void gate_backward(const struct tape *t, const struct gate_bwd *g, size_t n, float limit);

/* The same for all rows: from d.act to d.gate and d.up. */
void gate_rows_backward(struct tape *t, const struct workspace *ws, size_t width, float limit);

/* y += x, [n][hidden]. */
void add_rows(struct tape *t, float *y, const float *x);

/* Losses of the rows that have targets, and with grads the head's gradients and e->dh. */
struct end_loss {
    const uint32_t *target;
    double scale, z_coef;
    double *sum, *sum_z;
    uint64_t *n_targets;
    float *logits;                        /* [n][vocab] or NULL */
};
void end_losses(struct tape *t, struct tape_end *e, const struct end_loss *l,
                struct weights *grads);

/* Adds the gradients of the embedding's rows: trunk rows from dx, MTP rows from dmtp
 * [n] with a pitch of 2 hidden (NULL: none), whose tokens are the targets. */
void embed_backward(struct tape *t, const struct batch *b, const float *dx, const float *dmtp,
                    struct weights *grads);

#endif
