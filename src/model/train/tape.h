/*
 * tape: the memory of a training pass.  Inside model/train/ only.
 *
 * Each layer has workspaces of its own (block.h fills them) as far as gradients need what
 * stands in them, in the class in which they need it; the rest is NULL there and lies in the
 * scratch of a worker (band.h) or is shared by all layers.  A tape for losses alone shares
 * everything.
 */
#ifndef KEXA_MODEL_TAPE_H
#define KEXA_MODEL_TAPE_H

#include "model/block.h"
#include "model/train_pass.h"

/* Rows whose gain gradients are summed as one; rows of a band (band.h). */
enum { GAIN_ROWS = 64, BAND_ROWS = 256 };

/*
 * Logits that stand in memory at once (end_loss.c): those of LOSS_ROWS rows, or of a thread's
 * band and a part of the vocabulary where that is larger than LOSS_WHOLE.  A stride that is no
 * power of two, so that rows do not share lines of the first cache.
 */
enum { LOSS_ROWS = 256, LOSS_BAND = 128, LOSS_COLS = SOFTMAX_PART, LOSS_STRIDE = LOSS_COLS + 16,
       LOSS_WHOLE = 8 * LOSS_COLS };

struct loss_row {
    struct softmax_sum sum;
    float target_logit;
    struct softmax_end end;
};

/* Norms whose gains one band has parts of: after and before a sublayer, of q and of k. */
enum gain { GAIN_POST, GAIN_PRE, GAIN_Q, GAIN_K, GAINS };

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

/* Gate and up of a layer, kept in the class of its products: [rows][FFN], and of an expert's pairs
 * [pairs][expert FFN]. */
struct kept_gates {
    struct acts_buf gate, up, pair_gate, pair_up;
};

/* Where a pass ends: the trunk, or the MTP block. */
struct tape_end {
    float *x;                             /* [rows][hidden] the stream before the last norm */
    struct acts_buf h;                    /* and after it */
    float *dh;                            /* gradient of h */
};

/* Gradients on their way down, [rows] or [pairs] of what each is named after. */
struct tape_grads {
    float *x;                             /* of the stream */
    float *z;                             /* of a sparse sublayer's input */
    float *t;                             /* of a sublayer's output; NULL: d.x itself */
    float *q, *k, *v, *mix;
    float *gate, *up;                     /* NULL: only in16 has them */
    float *pair_z, *mixing, *router;
    struct acts_buf act;                  /* not a gradient: what down read, for its weights' */
    float *router_z;                      /* not one either: what the router read */
    float *mtp_in;                        /* [rows][2 hidden] */
    float *gain[GAINS];                   /* [chunks of GAIN_ROWS][hidden or head_dim] */
    bf16 *t16;                            /* [rows][hidden] t rounded */
    bf16 *in16;                           /* those of the input's products, one after another */
    bf16 *logits16;                       /* [LOSS_ROWS][vocab]; by parts [rows][LOSS_COLS] */
};

/* What a thread needs for one band of rows or pairs, [BAND_ROWS] of each. */
struct scratch {
    float *z, *t, *out;                   /* [hidden] */
    struct acts_buf act;                  /* [widest FFN] */
    float *gate, *up;                     /* the same; backward in class f32: gradients of pairs */
    float *dact;                          /* gradient of act */
    struct acts_buf pair_z;               /* gathered inputs, [hidden] */
    bf16 *t16, *in16;                     /* [hidden]; [2 expert FFN], class bf16 */
    float *row;                           /* [4][widest FFN]: of one row */
    float *logits;                        /* [LOSS_BAND][LOSS_STRIDE], or NULL */
};

struct tape {
    struct model *m;
    struct tape_shape shape;
    size_t rows;                          /* most tokens */
    size_t n;                             /* tokens of the pass at hand */
    struct documents docs;
    struct workspace *attn, *ffn;         /* [layers, MTP included] */
    struct kept_layer *kept;
    struct kept_gates *gates;             /* [layers], beside kept */
    struct tape_end main, mtp;
    float *mtp_embed;                     /* [rows][hidden] embeddings of the next tokens */
    struct acts_buf mtp_in;               /* [rows][2 hidden] both normed */
    float *logits;                        /* [LOSS_ROWS][vocab], or NULL: by parts */
    struct loss_row *loss_row;            /* of the rows at hand */
    double *seq_balance, *seq_entropy;    /* [n_rows] */
    uint64_t *seq_load;                   /* [n_rows][experts] */
    float *sn_back[ROPES_MAX];            /* minus the sines: the rotation back */
    uint32_t *order, *token_first;        /* rows by token: [2 rows], [vocab + 1] */
    struct tape_grads d;
    struct scratch *scratch;              /* [threads] */
    void *memory;
    uint64_t n_bytes;
};

/* What is kept of activations, from element `at` on; NULL stays NULL. */
static inline struct acts_buf acts_from(const struct acts_buf *x, size_t at)
{
    return (struct acts_buf){ .f32 = x->f32 ? x->f32 + at : NULL,
                              .b16 = x->b16 ? x->b16 + at : NULL };
}

static inline float *grad_f32(const struct weight *g)
{
    return (float *)(uintptr_t)g->data;
}

/* All rows through a layer, as block_forward does it. */
void layer_forward(struct tape *t, uint32_t layer);

/* z[n] = the inputs of the layer's pairs from p on, in the class of the experts' weights. */
void gather_inputs(const struct tape *t, uint32_t layer, struct acts_buf *z, size_t p, size_t n);

/* The gradient of the stream before layer `layer` from the one after it, in d.x. */
void layer_backward(struct tape *t, const struct batch *b, const struct objective *o,
                    uint32_t layer, struct weights *grads, struct pass_sums *sums);

/* From the gradient of the experts' output, in d.t or d.x and in class bf16 in d.t16, to that of
 * their input: pairs' in d.pair_z, and in d.mixing those of the mixing weights. */
void experts_backward(struct tape *t, uint32_t layer, struct weights *grads);

/* From a sparse layer's scores, which its workspace keeps: loads, entropy and balance loss; adds
 * the loss's gradient to dlogits [n][experts] unless it is NULL. */
void router_sums(struct tape *t, const struct batch *b, const struct objective *o,
                 uint32_t layer, float *dlogits, struct pass_sums *sums);

/*
 * dx = RMSNorm's gradient over n tokens of `per` vectors of dim elements (dx may be dy); the
 * gain's by chunks of GAIN_ROWS tokens.  dgain NULL: not wanted.
 */
struct norm_bwd {
    enum gain gain_at;
    float *dx, *dgain;
    const float *dy, *x, *gain;
    size_t per, dim;
};

/* n rows, the pass's from `row` on (a multiple of GAIN_ROWS), where nb points: parts of the gain
 * stay in d.gain until gain_add() has added all of them to dgain in their order. */
void norm_rows_backward(const struct tape *t, const struct norm_bwd *nb, size_t row, size_t n);
void gain_add(const struct tape *t, enum gain at, float *dgain, size_t dim);

/* Both, over all rows. */
void norm_backward(struct tape *t, const struct norm_bwd *nb);

/* A gated FFN of some rows, backward from a's gradient, a = act(gate) up. */
struct gate_bwd {
    const struct acts_buf *gate, *up;     /* as kept */
    float *da;                            /* [n][width]; with mixing it is changed */
    float *dgate, *dup;                   /* class f32: the gradients */
    bf16 *dgate16, *dup16;                /* class bf16 */
    struct acts_buf a;                    /* a again, as down's weights want it: f32 or b16 */
    /* An expert's pairs: mixing weights w by slot[i], or NULL.  da is then that of w a, so dw =
     * <da, a>, and a is given times w. */
    const float *mixing;
    float *dmixing;
    const uint32_t *slot;
    size_t n, width;
    float limit;                          /* clamp of gate and up */
};
void gates_backward(const struct tape *t, const struct gate_bwd *g, struct scratch *s);

/* Training keeps gate and up, n elements each, which it has in f32. */
void gates_keep(const struct tape *t, struct acts_buf *kept_gate, struct acts_buf *kept_up,
                const float *gate, const float *up, size_t n);

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
