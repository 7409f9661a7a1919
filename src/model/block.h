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

struct step {
    struct model *m;
    const struct fwd_row *rows;
    size_t n;
};

void block_forward(const struct step *s, uint32_t layer);

/* ws.z holds the rows it reads: leaves the FFN's output in ws.t. */
void ffn_forward(const struct step *s, uint32_t layer);
void moe_forward(const struct step *s, uint32_t layer);

/* y[r][i] = act(gate) up over n_rows rows of width, rows in parallel; limit: the layer's. */
void gate_rows(struct model *m, float *y, const float *gate, const float *up, size_t n_rows,
               size_t width, float limit);

#endif
