/*
 * forward: one step of the model over any rows of any sequences.
 *
 * A row is one token at one position of one sequence.  Rows of the same sequence must be
 * consecutive positions in ascending order, at most kv->chunk of them; the KV of all
 * earlier positions must be there.  A row's results do not depend on what else is in the
 * step.  Cannot fail: ids and positions are checked by the caller (run/session.c).
 */
#ifndef KEXA_MODEL_FORWARD_H
#define KEXA_MODEL_FORWARD_H

#include "model/kv.h"

struct model;

struct fwd_row {
    struct kv *kv;
    uint32_t token;                       /* main: this token; MTP: the next one */
    uint32_t pos;                         /* position, or MTP slot */
    const float *from;                    /* MTP: post-norm hidden row of position `pos` */
    float *logits;                        /* [vocab] out, or NULL */
    float *hidden;                        /* [hidden] out after the final norm, or NULL */
};

/* n <= workspace rows. */
void model_forward(struct model *m, const struct fwd_row *rows, size_t n);

/*
 * The MTP block (multi-token prediction): from the main model's post-norm hidden state of
 * position t and the token at t + 1 to the logits for t + 2:
 *     u = fc [ RMS(E[x_{t+1}]; embed_norm) ; RMS(h_t; hidden_norm) ]
 *     v = layer(u);  logits = head RMS(v; norm)
 * with its own KV: slot t attends to slots <= t.  Source: DeepSeek-AI, "DeepSeek-V3", 2024,
 * eqs. 21-23; the concatenation order and the norm of h are K-EXAONE's engines'.
 * Difference: DeepSeek's equation writes hidden first; the weights here have embedding first.
 */
void model_forward_mtp(struct model *m, const struct fwd_row *rows, size_t n);

#endif
