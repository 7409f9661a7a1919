/*
 * conversion: one conversion at work, inside model/convert only.
 *
 * The family's weight table is walked twice, the same way: to announce the tensors of the
 * new file and to put their bytes.
 */
#ifndef KEXA_MODEL_CONVERSION_H
#define KEXA_MODEL_CONVERSION_H

#include "model/model.h"

struct conversion {
    const struct model *m;
    const struct convert_options *o;
    struct convert_report *report;
    bool to_hf;
    const struct qtype *main_type;        /* of the new file's embedding */
    struct gguf_writer *gguf;             /* one of the two is open */
    struct safetensors_writer *folder;
    struct weight freqs;                  /* rope_freqs that the source says as keys, or none */
    struct progress bar;
    uint64_t done_bytes;
    float *row;                           /* room for one row as f32, and as anything */
    uint8_t *out_row;
};

/* One tensor of the new file. */
struct piece {
    const struct weight_row *row;
    const struct weight *w;               /* n matrices, or one vector */
    uint32_t n;                           /* experts stacked in a GGUF tensor; else 1 */
    char name[300];
};

typedef bool piece_fn(struct conversion *c, const struct piece *p, struct err *err);

/* fn for every tensor of the new file, in its order. */
bool conversion_walk(struct conversion *c, piece_fn *fn, struct err *err);

/* Announces a tensor to the writer; puts its bytes. */
bool piece_add(struct conversion *c, const struct piece *p, struct err *err);
bool piece_put(struct conversion *c, const struct piece *p, struct err *err);

/* Counts the source's tensors that no row of the table names. */
bool conversion_count_left_out(struct conversion *c, struct err *err);

/* Rooms for rows, the progress bar; then the walk that puts everything. */
bool conversion_put_all(struct conversion *c, struct err *err);

/* RoPE's divisors, where one kind of file has keys and the other a tensor. */
bool rope_to_freqs(const struct rope_plan *r, float *divisor);
bool rope_from_freqs(struct rope_plan *r, const float *divisor);

#endif
