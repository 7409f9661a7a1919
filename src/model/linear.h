/*
 * linear: matrix products of a step, split over threads by weight rows, and by tokens too where
 * there are many.
 *
 * acts_prepare() gives the activations in the class each weight wants, once for all
 * products that share them.  linear_run() does a list of products in one parallel loop:
 * bits do not depend on the split, because every output is one chain (kern/gemm).
 */
#ifndef KEXA_MODEL_LINEAR_H
#define KEXA_MODEL_LINEAR_H

#include "kern/kern.h"
#include "model/weights.h"
#include "model/workspace.h"

struct model;

struct linear_job {
    float *y;                             /* [rows][y_stride] */
    size_t y_stride;
    const struct weight *w;
    struct acts x;
    size_t rows;
};

enum numeric_class weight_class(const struct model *m, const struct weight *w);

/* The classes, as bits 1 << CLASS, that the n weights want of their common input. */
unsigned acts_classes(const struct model *m, const struct weight *const *w, size_t n);

/* x->f32 holds [rows][k]: fills the other forms that the classes need, of rows [begin, end);
 * what made the rows calls it while they are in the cache. */
void acts_round(const struct model *m, const struct acts_buf *x, size_t begin, size_t end, size_t k,
                unsigned classes);

/* The same for all rows, over threads. */
void acts_prepare(struct model *m, struct acts_buf *x, size_t rows, size_t k,
                  const struct weight *const *w, size_t n);

/* The activations from row `row` on, of k elements each. */
struct acts acts_at(const struct acts_buf *x, size_t row, size_t k);

/* Copies row `from` of src to row `to` of dst in all classes of the n weights. */
void acts_copy_row(const struct model *m, struct acts_buf *dst, size_t to,
                   const struct acts_buf *src, size_t from, size_t k,
                   const struct weight *const *w, size_t n);

void linear_run(struct model *m, const struct linear_job *jobs, size_t n_jobs);

/* One product in the calling thread alone, the pool's `worker`: the same bits.  Nobody observes
 * it. */
void linear_alone(struct model *m, const struct linear_job *job, int worker);

#endif
