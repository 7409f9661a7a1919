/*
 * linear_bwd: matrix products of a training step taken backwards, over threads:
 *
 *     dx = dy W  (or dx += dy W)        dw += dy^T x
 *
 * for a list of jobs in two parallel loops, one that rounds dy where the weight's class is bf16
 * (unless `rounded`) and one over blocks of all dx and dw.  No sum is split (kern/gemm/gemm_bwd.h),
 * so bits do not depend on the number of threads.
 *
 * Several jobs may add to one dx (q, k and v of one input): they stand side by side in the
 * list, with the same dx, dx_stride, rows and w->cols, and the first may set it instead
 * (dx_add false).  Their products are added in the order of the list, each sum going on from what
 * dx held, as dw's do.  No two dw of a list overlap, and no two dx but those.
 */
#ifndef KEXA_MODEL_LINEAR_BWD_H
#define KEXA_MODEL_LINEAR_BWD_H

#include "model/linear.h"

struct linear_bwd_job {
    const struct weight *w;               /* F32, or BF16 in class bf16 */
    const float *dy;                      /* [rows][w->rows], rows dy_stride floats apart */
    size_t dy_stride, rows;
    struct acts x;                        /* as linear_run had them: [rows][w->cols] */
    float *dx;                            /* [rows][w->cols], rows dx_stride apart; NULL: none */
    size_t dx_stride;
    bool dx_add;                          /* dx += the product, else dx = */
    float *dw;                            /* [w->rows][w->cols], added to; NULL: frozen */
    bf16 *dy16;                           /* [rows][w->rows], filled; class f32: may be NULL */
    bool rounded;                         /* dy16 was filled before; class bf16: dy is not read */
};

/* A job without rows does nothing, wherever its dx points. */
void linear_bwd_run(struct model *m, const struct linear_bwd_job *jobs, size_t n_jobs);

/* The same bits in the calling thread alone, for a chain of small products whose data stays in
 * its cache (model/train/experts_bwd.c). */
void linear_bwd_alone(struct model *m, const struct linear_bwd_job *jobs, size_t n_jobs);

#endif
