/*
 * imatrix: how much each input column of each matrix matters, measured on a text.
 *
 * A text runs through a model with f32 arithmetic; for every matrix the squares of its inputs
 * are added up by column.  The expected squared error of an output whose weights are off by
 * e[i] is sum of mean(x[i]^2) * e[i]^2 where inputs are uncorrelated: these means are the
 * importance that the encoders take.  One expert of a layer counts its own rows only.
 *
 * The file is GGUF with the keys and tensors llama.cpp's imatrix tool uses:
 *   general.type "imatrix"; imatrix.datasets (strings); imatrix.chunk_count, .chunk_size (u32)
 *   <tensor>.in_sum2  f32 {cols, matrices}   sums of squares
 *   <tensor>.counts   f32 {1, matrices}      rows that were added
 */
#ifndef KEXA_RUN_IMATRIX_H
#define KEXA_RUN_IMATRIX_H

#include "model/model.h"

enum { IMATRIX_CONTEXT = 512 };           /* most tokens of one stretch of the text */

struct imatrix_entry {
    char *name;                           /* of the tensor, as GGUF has it */
    uint64_t cols, matrices;
    double *sum;                          /* [matrices][cols] */
    double *count;                        /* [matrices] */
};

struct imatrix {
    struct imatrix_entry *at;
    size_t n, cap;
    uint32_t chunks, chunk_tokens;        /* stretches that were measured, and their length */
};

/*
 * Runs `ids` through a bound model, imatrix_stretch() tokens at a time, each stretch without the
 * ones before it.  The model's numerics must be NUMERICS_F32.  stop: as in requant.h.
 */
bool imatrix_measure(struct imatrix *im, struct model *m, const struct ids *ids,
                     const volatile int *stop, struct err *err);

/* IMATRIX_CONTEXT, or the model's own context where that is shorter. */
uint32_t imatrix_stretch(const struct plan *p);

bool imatrix_save(const struct imatrix *im, const char *path, const char *text, struct err *err);
bool imatrix_load(struct imatrix *im, const char *path, struct err *err);
void imatrix_release(struct imatrix *im); /* a zeroed struct is fine */

/* Whether the tensor has an entry of this shape. */
bool imatrix_has(const struct imatrix *im, const char *name, uint64_t matrices, uint64_t cols);

/* Its importance, [matrices][cols], each matrix with mean 1.  A column that was never used
 * keeps 1/1000 of the mean; a matrix that saw no row gets ones. */
void imatrix_weights(const struct imatrix *im, const char *name, float *out);

/* For imatrix_measure() and the loader: a new entry of zeros; NULL without memory. */
struct imatrix_entry *imatrix_add(struct imatrix *im, const char *name, uint64_t matrices,
                                  uint64_t cols);

#endif
