/*
 * train_pass: one pass of training over a batch: the losses, and the gradient of every weight.
 *
 *     L = scale_main * sum CE(main, target)  [+ z_coef * lse^2 for each]
 *       + scale_mtp  * sum CE(mtp, target2)
 *       + balance    * sum over sequences and sparse layers of the balance loss / n_sequences
 *
 * The forward is the serving one (block.h) over buffers that are kept, so training logits
 * equal serving logits to the bit; the backward calls each op's backward in reverse.  Gradients
 * are added to `grads`, which has the shape of the weights with f32 data (NULL: frozen).
 * Every sum over tokens has one order: results are the same for any number of threads.
 *
 * A sequence of the balance loss is one packed row without its padding.
 */
#ifndef KEXA_MODEL_TRAIN_PASS_H
#define KEXA_MODEL_TRAIN_PASS_H

#include "model/batch.h"
#include "model/weights.h"

struct model;
struct tape;

struct objective {
    double scale_main, scale_mtp;         /* of each token's loss: 1 / targets of the step */
    double z_coef;                        /* 0: none */
    double balance;                       /* alpha / sequences of the step; 0: none */
};

/* Sums over a pass; they are added to, so several passes of one step share one struct. */
struct pass_sums {
    double ce, mtp, z;                    /* sums over tokens, unscaled (z: of lse^2) */
    double balance;                       /* sum over sequences and layers, without alpha */
    uint64_t n_targets, n_targets2, n_bytes, n_tokens;
    uint64_t *load;                       /* [sparse layers][experts] tokens; caller's, or NULL */
    double *entropy;                      /* [sparse layers] sum of the routers' entropy, nats */
};

struct tape_shape {
    size_t n_rows, context;               /* most sequences of a pass, and tokens of each */
    bool backward;                        /* with what gradients need */
    bool in_bf16;                         /* the class of the products */
    int n_threads;
};

/* Bytes of a tape; UINT64_MAX if that overflows. */
uint64_t tape_bytes(const struct plan *p, const struct tape_shape *s);

/* A tape for m's class and threads. */
struct tape *tape_open(struct model *m, size_t n_rows, size_t context, bool backward,
                       struct err *err);
void tape_close(struct tape *t);

/* Losses only; logits, if not NULL, takes the main logits [n_rows * context][vocab]. */
void pass_forward(struct tape *t, const struct batch *b, const struct objective *o,
                  struct pass_sums *sums, float *logits);

/* Losses and gradients. */
void pass_gradients(struct tape *t, const struct batch *b, const struct objective *o,
                    struct weights *grads, struct pass_sums *sums);

/* Sparse layers of the trunk, in order: the rows of pass_sums.load. */
size_t plan_sparse_layers(const struct plan *p);

#endif
