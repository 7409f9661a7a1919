/*
 * band: some rows of a pass in the hands of one thread, which takes them through a chain of ops
 * while they are in its cache.  Inside model/train/ only.
 *
 * A band is like a small pass: row 0 of its workspaces and gradients is row `row` of the tape's,
 * and where the tape keeps nothing they are the worker's scratch, gone with the band.  Its model
 * has one thread, so ops that are called with it stay in this one.  How rows are cut into bands
 * changes no bits, for no op here looks at two rows.
 */
#ifndef KEXA_MODEL_BAND_H
#define KEXA_MODEL_BAND_H

#include "model/train/tape.h"

struct band {
    struct tape *t;
    uint32_t layer;
    size_t row, n;
    struct model m;
    struct workspace attn, ffn;
    struct kept_layer kept;
    struct kept_gates gates;              /* the rows', not the pairs' */
    struct step attn_step, ffn_step;      /* over attn and ffn */
    struct tape_grads d;
    struct scratch *scratch;
};

typedef void band_fn(struct band *b, void *arg);

/* fn over all rows of the pass at hand, bands in parallel. */
void bands_run(struct tape *t, uint32_t layer, band_fn *fn, void *arg);

#endif
