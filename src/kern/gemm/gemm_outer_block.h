/*
 * gemm_outer_block: a block of sums in registers, some rows by two registers of columns, in the
 * f32 and the bf16 class.
 *
 * Whoever includes this has defined VEC, the vec_* functions below, SOME (a choice of lanes),
 * LANES, and the rows of a block: F32_ROWS, F32_FEW, BF16_ROWS.
 */
#ifndef KEXA_KERN_GEMM_OUTER_BLOCK_H
#define KEXA_KERN_GEMM_OUTER_BLOCK_H

#include <stdbool.h>
#include <stddef.h>

enum {
    WIDTH = 2 * LANES, DEPTH = 256, STEP = 32,
    A_GAP = 16,                           /* at least LANES and any block's rows */
    LINE = DEPTH + 16                     /* not all rows on the same cache lines */
};

/* A block of c, of which `some` columns exist.  Of a, row by row LINE floats apart (along), or i
 * by i A_GAP apart: constants where they are used, or addresses would take up registers. */
struct outer_block {
    float *c;
    size_t c_stride, n;
    const float *a, *b;
    bool zero;
    SOME some[2];
};

static inline void load_sums(VEC *to, const struct outer_block *p, const float *c)
{
    to[0] = p->zero ? vec_zero() : vec_load_some(p->some[0], c);
    to[1] = p->zero ? vec_zero() : vec_load_some(p->some[1], c + LANES);
}

static inline void store_sums(const struct outer_block *p, float *c, const VEC *from)
{
    vec_store_some(p->some[0], c, from[0]);
    vec_store_some(p->some[1], c + LANES, from[1]);
}

/* `rows` rows; both are constants. */
static inline __attribute__((always_inline)) void block_f32(const struct outer_block *p,
                                                            size_t rows, bool along)
{
    const float *a = p->a, *b = p->b;
    size_t row = along ? LINE : 1, step = along ? 1 : A_GAP;
    VEC sum[F32_ROWS][2];
#pragma GCC unroll 16
    for (size_t q = 0; q < rows; q++)
        load_sums(sum[q], p, p->c + q * p->c_stride);
    for (size_t i = 0; i < p->n; i++, a += step, b += WIDTH) {
        VEC b0 = vec_load(b), b1 = vec_load(b + LANES);
#pragma GCC unroll 16
        for (size_t q = 0; q < rows; q++) {
            VEC f = vec_set1(a[q * row]);
            sum[q][0] = vec_fma(f, b0, sum[q][0]);
            sum[q][1] = vec_fma(f, b1, sum[q][1]);
        }
    }
#pragma GCC unroll 16
    for (size_t q = 0; q < rows; q++)
        store_sums(p, p->c + q * p->c_stride, sum[q]);
}

/* sum += e + o over one step. */
static inline __attribute__((always_inline)) void step_bf16(VEC sum[][2], const float *a,
                                                            const float *b, size_t rows,
                                                            bool along)
{
    size_t row = along ? LINE : 1, step = along ? 1 : A_GAP;
    VEC e[BF16_ROWS][2], o[BF16_ROWS][2];
#pragma GCC unroll 8
    for (size_t q = 0; q < rows; q++)
        e[q][0] = e[q][1] = o[q][0] = o[q][1] = vec_zero();
    for (size_t i = 0; i < STEP; i += 2, a += 2 * step, b += 2 * WIDTH) {
        VEC b0 = vec_load(b), b1 = vec_load(b + LANES);
        VEC b2 = vec_load(b + WIDTH), b3 = vec_load(b + WIDTH + LANES);
#pragma GCC unroll 8
        for (size_t q = 0; q < rows; q++) {
            VEC even = vec_set1(a[q * row]), odd = vec_set1(a[q * row + step]);
            e[q][0] = vec_fma(even, b0, e[q][0]);
            e[q][1] = vec_fma(even, b1, e[q][1]);
            o[q][0] = vec_fma(odd, b2, o[q][0]);
            o[q][1] = vec_fma(odd, b3, o[q][1]);
        }
    }
#pragma GCC unroll 8
    for (size_t q = 0; q < rows; q++) {
        sum[q][0] = vec_add(sum[q][0], vec_add(e[q][0], o[q][0]));
        sum[q][1] = vec_add(sum[q][1], vec_add(e[q][1], o[q][1]));
    }
}

/* As block_f32, in the bf16 class. */
static inline __attribute__((always_inline)) void block_bf16(const struct outer_block *p,
                                                             size_t rows, bool along)
{
    VEC sum[BF16_ROWS][2];
    for (size_t q = 0; q < rows; q++)
        load_sums(sum[q], p, p->c + q * p->c_stride);
    for (size_t i = 0; i < p->n; i += STEP)
        step_bf16(sum, p->a + i * (along ? 1 : A_GAP), p->b + i * WIDTH, rows, along);
    for (size_t q = 0; q < rows; q++)
        store_sums(p, p->c + q * p->c_stride, sum[q]);
}

#endif
