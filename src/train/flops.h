/*
 * flops: the operations a run needs, counted from the plan.  One multiply-add is two.
 *
 * Counted are matrix products (2 for each weight a token meets: projections, router, the chosen
 * and the shared experts, head; the MTP block and its second head) and attention (q k and p v:
 * 4 head_dim for each head and key that a token really sees, itself included; so documents
 * and windows make it less).  The backward pass costs twice the forward pass: a product has
 * two gradients.  What an implementation computes again is not counted, nor norms,
 * activations, softmax and the optimizer; embedding rows are read, not multiplied.
 *
 * The usual 6 N D has N = weights read for a token with the head, without embedding and MTP.
 */
#ifndef KEXA_TRAIN_FLOPS_H
#define KEXA_TRAIN_FLOPS_H

#include "data/data.h"
#include "model/model.h"

struct train_flops {
    double trunk, mtp;                    /* forward products of one token; mtp: of one whose
                                             next but one is a target as well */
    double key;                           /* forward attention of one token and key, one layer */
    double active;                        /* N of 6 N D */
};

void train_flops_init(struct train_flops *f, const struct plan *p);

/* Keys that n tokens of one document see in all layers of the trunk (or of the MTP blocks),
 * when position 0 .. n - 1 sees the last `window` of those up to itself. */
double train_flops_keys(const struct plan *p, uint64_t n, bool mtp);

/* Both passes over the batch: its used tokens, its documents, its MTP targets. */
double train_flops_batch(const struct train_flops *f, const struct plan *p,
                         const struct batch *b);

/* Both passes of one token, in rows that hold one document of `context` tokens: at most. */
double train_flops_token(const struct train_flops *f, const struct plan *p, uint32_t context);

#endif
