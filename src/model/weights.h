/*
 * weights: where the family's weight table points once a file is bound.
 *
 * A matrix stays where it is mapped; vectors (norm gains, biases) are kept as f32 copies.
 */
#ifndef KEXA_MODEL_WEIGHTS_H
#define KEXA_MODEL_WEIGHTS_H

#include "format/format.h"
#include "model/family.h"

struct weight {
    const struct qtype *type;
    const uint8_t *data;                  /* NULL: the model has no such weight */
    size_t rows, cols, row_bytes;
    bool f32_class;
    const uint8_t *packed_y, *packed_dx;  /* kern/gemm/gemm_packed.h; NULL: not packed */
    size_t packed_rows;                   /* of what packed_dx is of: these may be part of it */
};

struct layer_weights {
    struct weight attn_norm, ffn_norm, q_norm, k_norm, router_bias;      /* vectors */
    struct weight attn_post_norm, ffn_post_norm;                         /* vectors */
    struct weight q, k, v, o;
    struct weight gate, up, down;                                        /* dense FFN */
    struct weight router, gate_s, up_s, down_s;                          /* shared experts */
    struct weight *gate_e, *up_e, *down_e;                               /* [experts] */
};

struct mtp_weights {
    struct weight fc;                     /* [hidden, 2 hidden]: embedding half first */
    struct weight embed_norm, hidden_norm, norm;
};

struct weights {
    struct weight embed, norm, head, rope_freqs;
    struct layer_weights *layer;          /* n_layers + n_mtp */
    struct mtp_weights *mtp;              /* n_mtp */
    struct arena memory;                  /* the tables and the f32 copies */
    uint64_t copied_bytes;
};

/* The tensor's name for a row in layer `layer` (and expert `expert`); name: the row's name for
 * this kind of file (hf: by the Hugging Face column). */
void weight_name(const struct plan *p, const struct weight_row *row, const char *name, bool hf,
                 uint32_t layer, uint32_t expert, char *out, size_t cap);

/* Names and shapes of the table against the file's tensors; every mismatch names tensor,
 * found and expected.  hf: names by the Hugging Face column. */
bool weights_bind(struct weights *w, const struct plan *p, const struct tensors *t, bool hf,
                  const char *file, struct err *err);
void weights_release(struct weights *w);

/* Tables for weights without a file: shapes set, type F32, data NULL. */
bool weights_shape(struct weights *w, const struct plan *p, struct err *err);

/* Every weight the plan has, in the table's order (those of the model, then layer by layer),
 * each expert's alone, until fn returns false; whether it never did.  A tied head is not
 * visited: it is the embedding. */
typedef bool weight_fn(void *arg, const struct weight_row *row, uint32_t layer, uint32_t expert,
                       struct weight *w);
bool weights_each(struct weights *w, const struct plan *p, weight_fn *fn, void *arg);

static inline const float *weight_f32(const struct weight *w)
{
    return (const float *)(const void *)w->data;
}

/* What a plan's weights amount to, from the table alone. */
struct weight_counts {
    uint64_t main, mtp;                   /* parameters */
    uint64_t touched;                     /* read for one token: no input embedding, no MTP */
};
void plan_count(const struct plan *p, struct weight_counts *out);

/* Bytes of the bound weights read for one token, as they are stored. */
uint64_t weights_touched_bytes(const struct weights *w, const struct plan *p);

#endif
