/*
 * gemm_outer: c[r][j] += sum_i a(r, i) * b[i][j], which both products of training are, for
 * registers of any width.  Lanes are columns j; each output is its own chain over i.
 *
 * Whoever includes this has defined VEC and the vec_* functions below, SOME (a choice of
 * lanes), LANES, and the rows of a block: F32_ROWS, F32_FEW, BF16_ROWS, BF16_FEW.  32 or 16
 * columns of b, two registers, become a panel of floats on the stack that serves all rows.
 */
#ifndef KEXA_KERN_GEMM_OUTER_H
#define KEXA_KERN_GEMM_OUTER_H

#include <stdbool.h>
#include <string.h>

#include "kern/gemm/gemm_bwd.h"

enum { WIDTH = 2 * LANES, DEPTH = 256, STEP = 32, A_GAP = 16 };

struct outer {
    float *c;
    size_t c_stride;
    const void *a;                        /* a(r, i) = a[r * a_row + i * a_step] */
    size_t a_row, a_step;
    const uint8_t *b;                     /* b[i] at b + i * b_bytes */
    size_t b_bytes;
    size_t rows, depth, cols;
    bool from_zero;                       /* c starts at +0, not at what it holds */
};

/* Where in c, and which part of i: [i, i + n) of the panel's columns [j, j + width). */
struct outer_part {
    const struct outer *g;
    const float *panel;                   /* [n, for bf16 up to a multiple of STEP][WIDTH] */
    size_t i, n, j;
    bool zero;
    SOME some[2];
};

static inline void load_sums(VEC *to, const struct outer_part *p, const float *c)
{
    to[0] = p->zero ? vec_zero() : vec_load_some(p->some[0], c);
    to[1] = p->zero ? vec_zero() : vec_load_some(p->some[1], c + LANES);
}

static inline void store_sums(const struct outer_part *p, float *c, const VEC *from)
{
    vec_store_some(p->some[0], c, from[0]);
    vec_store_some(p->some[1], c + LANES, from[1]);
}

/* `rows` (a constant) rows of c from row r on. */
static inline __attribute__((always_inline)) void block_f32(const struct outer_part *p, size_t r,
                                                            size_t rows)
{
    const struct outer *g = p->g;
    const float *a = (const float *)g->a + r * g->a_row + p->i * g->a_step, *b = p->panel;
    float *c = g->c + r * g->c_stride + p->j;
    size_t a_row = g->a_row, a_step = g->a_step;
    VEC sum[F32_ROWS][2];
#pragma GCC unroll 16
    for (size_t q = 0; q < rows; q++)
        load_sums(sum[q], p, c + q * g->c_stride);
    for (size_t i = 0; i < p->n; i++, a += a_step, b += WIDTH) {
        VEC b0 = vec_load(b), b1 = vec_load(b + LANES);
#pragma GCC unroll 16
        for (size_t q = 0; q < rows; q++) {
            VEC f = vec_set1(a[q * a_row]);
            sum[q][0] = vec_fma(f, b0, sum[q][0]);
            sum[q][1] = vec_fma(f, b1, sum[q][1]);
        }
    }
#pragma GCC unroll 16
    for (size_t q = 0; q < rows; q++)
        store_sums(p, c + q * g->c_stride, sum[q]);
}

static void all_rows_f32(const struct outer_part *p)
{
    size_t r = 0, rows = p->g->rows;
    for (; r + F32_ROWS <= rows; r += F32_ROWS)
        block_f32(p, r, F32_ROWS);
    for (; r + F32_FEW <= rows; r += F32_FEW)
        block_f32(p, r, F32_FEW);
    for (; r < rows; r++)
        block_f32(p, r, 1);
}

/* a(r, i) as floats at to[q * row + i * step]. */
struct outer_floats {
    float at[DEPTH * A_GAP];
    size_t row, step;
};

/* Consecutive i stand side by side (dx): a line of DEPTH for each row. */
static inline void widen_lines(struct outer_floats *f, const struct outer_part *p, const bf16 *a,
                               size_t rows)
{
    f->row = DEPTH;
    f->step = 1;
    for (size_t q = 0; q < rows; q++, a += p->g->a_row) {
        float *to = f->at + q * DEPTH;
        size_t i = 0;
        for (; i + LANES <= p->n; i += LANES)
            vec_store(to + i, vec_from_bf16(a + i));
        for (; i < (p->n + STEP - 1) / STEP * STEP; i++)
            to[i] = i < p->n ? bf16_to_f32(a[i]) : 0.0f;
    }
}

/* Consecutive rows stand side by side (dw): LANES of them at once where there are as many. */
static inline void widen_columns(struct outer_floats *f, const struct outer_part *p,
                                 const bf16 *a, size_t rows, size_t rows_left)
{
    f->row = 1;
    f->step = A_GAP;
    for (size_t i = 0; i < (p->n + STEP - 1) / STEP * STEP; i++, a += p->g->a_step) {
        float *to = f->at + i * A_GAP;
        if (i < p->n && rows_left >= LANES)
            vec_store(to, vec_from_bf16(a));
        else
            for (size_t q = 0; q < rows; q++)
                to[q] = i < p->n ? bf16_to_f32(a[q]) : 0.0f;
    }
}

/* As block_f32, in the bf16 class. */
static inline __attribute__((always_inline)) void block_bf16(const struct outer_part *p, size_t r,
                                                             size_t rows)
{
    const struct outer *g = p->g;
    const bf16 *a16 = (const bf16 *)g->a + r * g->a_row + p->i * g->a_step;
    float *c = g->c + r * g->c_stride + p->j;
    struct outer_floats f;
    VEC sum[BF16_ROWS][2];
    if (g->a_step == 1)
        widen_lines(&f, p, a16, rows);
    else
        widen_columns(&f, p, a16, rows, g->rows - r);
    for (size_t q = 0; q < rows; q++)
        load_sums(sum[q], p, c + q * g->c_stride);
    for (size_t at = 0; at < p->n; at += STEP) {
        const float *a = f.at + at * f.step, *b = p->panel + at * WIDTH;
        size_t row = f.row, step = f.step;
        VEC e[BF16_ROWS][2], o[BF16_ROWS][2];
#pragma GCC unroll 8
        for (size_t q = 0; q < rows; q++)
            e[q][0] = e[q][1] = o[q][0] = o[q][1] = vec_zero();
        for (size_t i = 0; i < STEP; i += 2, a += 2 * step, b += 2 * WIDTH) {
#pragma GCC unroll 8
            for (size_t q = 0; q < rows; q++) {
                VEC even = vec_set1(a[q * row]), odd = vec_set1(a[q * row + step]);
                e[q][0] = vec_fma(even, vec_load(b), e[q][0]);
                e[q][1] = vec_fma(even, vec_load(b + LANES), e[q][1]);
                o[q][0] = vec_fma(odd, vec_load(b + WIDTH), o[q][0]);
                o[q][1] = vec_fma(odd, vec_load(b + WIDTH + LANES), o[q][1]);
            }
        }
#pragma GCC unroll 8
        for (size_t q = 0; q < rows; q++) {
            sum[q][0] = vec_add(sum[q][0], vec_add(e[q][0], o[q][0]));
            sum[q][1] = vec_add(sum[q][1], vec_add(e[q][1], o[q][1]));
        }
    }
    for (size_t q = 0; q < rows; q++)
        store_sums(p, c + q * g->c_stride, sum[q]);
}

static void all_rows_bf16(const struct outer_part *p)
{
    size_t r = 0, rows = p->g->rows;
    for (; r + BF16_ROWS <= rows; r += BF16_ROWS)
        block_bf16(p, r, BF16_ROWS);
    for (; r < rows; r++)
        block_bf16(p, r, 1);
}

/* width columns of n rows of b as floats; zeros beside them. */
static void pack_f32(float *panel, const uint8_t *b, size_t b_bytes, size_t n, size_t width)
{
    for (size_t i = 0; i < n; i++, b += b_bytes, panel += WIDTH) {
        memset(panel, 0, width < WIDTH ? WIDTH * sizeof *panel : 0);
        if (width == WIDTH)
            memcpy(panel, b, WIDTH * sizeof *panel);
        else
            memcpy(panel, b, width * sizeof *panel);
    }
}

/* As pack_f32 from bf16, and zeros below them up to a multiple of STEP rows. */
static void pack_bf16(float *panel, const uint8_t *b, size_t b_bytes, size_t n, size_t width)
{
    for (size_t i = 0; i < n; i++, b += b_bytes, panel += WIDTH) {
        bf16 some[WIDTH] = { 0 };
        const bf16 *from = (const bf16 *)(const void *)b;
        if (width < WIDTH)
            from = memcpy(some, b, width * sizeof *some);
        vec_store(panel, vec_from_bf16(from));
        vec_store(panel + LANES, vec_from_bf16(from + LANES));
    }
    memset(panel, 0, (n % STEP ? STEP - n % STEP : 0) * WIDTH * sizeof *panel);
}

typedef void pack_fn(float *panel, const uint8_t *b, size_t b_bytes, size_t n, size_t width);
typedef void rows_fn(const struct outer_part *p);

/* Panel by panel; the sums of a column's later panels go on from c. */
static inline void outer_run(const struct outer *g, size_t b_size, pack_fn *pack, rows_fn *rows)
{
    _Alignas(64) float panel[DEPTH * WIDTH];
    for (size_t j = 0; j < g->cols; j += WIDTH) {
        size_t width = g->cols - j < WIDTH ? g->cols - j : WIDTH;
        struct outer_part p = { .g = g, .panel = panel, .j = j };
        p.some[0] = vec_some(width);
        p.some[1] = vec_some(width > LANES ? width - LANES : 0);
        for (p.i = 0; p.i < g->depth || (g->from_zero && p.i == 0); p.i += DEPTH) {
            p.n = g->depth - p.i < DEPTH ? g->depth - p.i : DEPTH;
            p.zero = g->from_zero && p.i == 0;
            pack(panel, g->b + p.i * g->b_bytes + j * b_size, g->b_bytes, p.n, width);
            rows(&p);
        }
    }
}

/* The four products of a level. */
#define GEMM_OUTER(type, element, level)                                                     \
    void gemm_##type##_dx_##level(float *dx, size_t dx_stride, const element *dy,            \
                                  size_t dy_stride, const void *w, size_t row_bytes,         \
                                  size_t rows, size_t n, size_t k)                           \
    {                                                                                        \
        struct outer g = { dx, dx_stride, dy, dy_stride, 1, w, row_bytes, rows, n, k, true }; \
        outer_run(&g, sizeof(element), pack_##type, all_rows_##type);                        \
    }                                                                                        \
    void gemm_##type##_dw_##level(float *dw, size_t dw_stride, const element *dy,            \
                                  size_t dy_stride, const element *x, size_t x_stride,       \
                                  size_t rows, size_t n, size_t k)                           \
    {                                                                                        \
        struct outer g = { dw, dw_stride, dy, 1, dy_stride, (const uint8_t *)x,              \
                           x_stride * sizeof *x, n, rows, k, false };                        \
        outer_run(&g, sizeof(element), pack_##type, all_rows_##type);                        \
    }

#endif
