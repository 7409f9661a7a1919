/*
 * block: one decoder layer over the rows of a step.  Inside model/ only.
 *
 *     x += O Attn(RMS(x));  x += FFN(RMS(x))          x stands in ws.x [rows][hidden]
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

/* ws.z holds the normed rows: leaves the FFN's output in ws.t. */
void ffn_forward(const struct step *s, uint32_t layer);
void moe_forward(const struct step *s, uint32_t layer);

/* ws.z = RMS(ws.x; gain), rows in parallel. */
void norm_rows(const struct step *s, const struct weight *gain);

/* y[r][i] = swiglu over n_rows rows of width, rows in parallel. */
void swiglu_rows(struct model *m, float *y, const float *gate, const float *up, size_t n_rows,
                 size_t width, float limit);

#endif
