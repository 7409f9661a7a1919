/*
 * gemm_outer: c[r][j] += sum_i a(r, i) * b(i, j), which all three products of training are, for
 * registers of any width.  Lanes are columns j; each output is its own chain over i.
 *
 * Whoever includes this has defined what gemm_outer_block.h wants, and vec_from_bf16.  Both
 * operands are packed as floats: 256 i of a few hundred rows of a wait in the second cache and
 * stream past two registers of columns of b in the first.
 */
#ifndef KEXA_KERN_GEMM_OUTER_H
#define KEXA_KERN_GEMM_OUTER_H

#include <stdbool.h>
#include <string.h>

#include "kern/gemm/gemm.h"
#include "kern/gemm/gemm_bwd.h"
#include "kern/gemm/gemm_outer_block.h"
#include "kern/quant/blocks.h"

enum { STRIPS = 16 };

static _Thread_local struct {
    _Alignas(64) float b[DEPTH * WIDTH];
    _Alignas(64) float a[STRIPS][DEPTH * A_GAP];
} scratch;

struct outer {
    float *c;
    size_t c_stride;
    const void *a;                        /* a(r, i) = a[r * a_row + i * a_step]; one of both */
    size_t a_row, a_step;                 /* is 1 */
    const uint8_t *b;                     /* b(i, j): row i at b + i * b_bytes, or row j if */
    size_t b_bytes;                       /* the rows lie along i (turned) */
    size_t rows, depth, cols;
    bool from_zero;                       /* c starts at +0, not at what it holds */
    bool turned;
};

/* i in [i, i + n) of `count` strips of rows, which are in scratch.a, and of columns [j, j + width),
 * which are in scratch.b. */
struct outer_part {
    const struct outer *g;
    size_t i, n, j, width;
    struct { size_t r, rows; } strip[STRIPS];
    size_t count;
};

static inline size_t whole_steps(size_t n)
{
    return (n + STEP - 1) / STEP * STEP;
}

/* n elements from p on as floats, zeros after them up to a whole step of bf16. */
static inline void widen_f32(float *to, const void *p, size_t n)
{
    memcpy(to, p, n * sizeof *to);
}

static inline void widen_bf16(float *to, const void *p, size_t n)
{
    const uint8_t *from = p;              /* weights have any alignment */
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vec_store(to + i, vec_from_bf16(from + 2 * i));
    for (; i < n; i++)
        to[i] = bf16_to_f32(read_u16(from + 2 * i));
}

typedef void widen_fn(float *to, const void *p, size_t n);

/* Rows [r, r + rows) of a: along i (dx, y) or i by i (dw). */
static inline void pack_a(float *to, const struct outer_part *at, size_t r, size_t rows,
                          size_t size, widen_fn *widen)
{
    const struct outer *g = at->g;
    const uint8_t *a = (const uint8_t *)g->a + (r * g->a_row + at->i * g->a_step) * size;
    size_t padded = whole_steps(at->n);
    bool along = g->a_step == 1;
    for (size_t q = 0; along && q < rows; q++) {
        widen(to + q * LINE, a + q * g->a_row * size, at->n);
        memset(to + q * LINE + at->n, 0, (padded - at->n) * sizeof *to);
    }
    bool wide = g->rows - r >= A_GAP;     /* as many as A_GAP are there: no tail, no call */
    for (size_t i = 0; !along && i < at->n; i++)
        if (wide)
            widen(to + i * A_GAP, a + i * g->a_step * size, A_GAP);
        else
            widen(to + i * A_GAP, a + i * g->a_step * size, rows);
    if (!along)
        memset(to + at->n * A_GAP, 0, (padded - at->n) * A_GAP * sizeof *to);
}

/* b's rows as a panel of floats; zeros beside them, and below up to a whole step. */
static inline void pack_b(const struct outer_part *at, size_t size, widen_fn *widen)
{
    const uint8_t *b = at->g->b + at->i * at->g->b_bytes + at->j * size;
    float *to = scratch.b;
    for (size_t i = 0; i < whole_steps(at->n); i++, b += at->g->b_bytes, to += WIDTH) {
        if (i < at->n && at->width == WIDTH) {
            widen(to, b, WIDTH);
            continue;
        }
        memset(to, 0, WIDTH * sizeof *to);
        if (i < at->n)
            widen(to, b, at->width);
    }
}

/* 16 bytes of LANES rows of b, as floats: lane r of line i at to[i * WIDTH] is row r's. */
typedef void turn_fn(float *to, const uint8_t *b, size_t bytes);

/* pack_b where b's rows lie along i, one for each column. */
static inline void turn_b(const struct outer_part *at, size_t size, widen_fn *widen, turn_fn *turn)
{
    const struct outer *g = at->g;
    const uint8_t *b = g->b + at->j * g->b_bytes + at->i * size;
    size_t many = 16 / size, wide = at->width / LANES * LANES, whole = at->n / many * many;
    for (size_t j = 0; j < wide; j += LANES)
        for (size_t i = 0; i < whole; i += many)
            turn(scratch.b + i * WIDTH + j, b + j * g->b_bytes + i * size, g->b_bytes);
    for (size_t j = 0; j < WIDTH; j++)
        for (size_t i = j < wide ? whole : 0; i < whole_steps(at->n); i++) {
            float *to = scratch.b + i * WIDTH + j;
            *to = 0;
            if (i < at->n && j < at->width)
                widen(to, b + j * g->b_bytes + i * size, 1);
        }
}

/* A type's sizes and functions; all inlined. */
struct outer_type {
    size_t size, rows, few;               /* bytes of an element; rows of a block, of a small one */
    widen_fn *widen;
    turn_fn *turn;
    void (*block)(const struct outer_block *p, size_t rows, bool along);
};

/* As many strips from row r on as scratch.a holds; gives the row after them. */
static inline __attribute__((always_inline)) size_t pack_strips(struct outer_part *at, size_t r,
                                                                const struct outer_type *t)
{
    size_t all = at->g->rows;
    for (at->count = 0; r < all && at->count < STRIPS; at->count++) {
        size_t rows = all - r >= t->rows ? t->rows : all - r >= t->few ? t->few : 1;
        pack_a(scratch.a[at->count], at, r, rows, t->size, t->widen);
        at->strip[at->count].r = r;
        at->strip[at->count].rows = rows;
        r += rows;
    }
    return r;
}

/* The strips by one panel of columns. */
static inline __attribute__((always_inline)) void run_strips(const struct outer_part *at,
                                                             const struct outer_type *t,
                                                             bool along)
{
    const struct outer *g = at->g;
    struct outer_block p = { .c_stride = g->c_stride, .b = scratch.b, .n = at->n,
                             .zero = g->from_zero && at->i == 0 };
    p.some[0] = vec_some(at->width);
    p.some[1] = vec_some(at->width > LANES ? at->width - LANES : 0);
    for (size_t k = 0; k < at->count; k++) {
        p.c = g->c + at->strip[k].r * g->c_stride + at->j;
        p.a = scratch.a[k];
        for (size_t q = 0; k + 1 < at->count && q < at->strip[k + 1].rows; q++) {
            const float *next = p.c + (at->strip[k].rows + q) * g->c_stride;
            __builtin_prefetch(next);
            __builtin_prefetch(next + at->width - 1);
        }
        if (at->strip[k].rows == t->rows)
            t->block(&p, t->rows, along);
        else if (at->strip[k].rows == t->few)
            t->block(&p, t->few, along);
        else
            t->block(&p, 1, along);
    }
}

static inline __attribute__((always_inline)) void outer_run(const struct outer *g,
                                                            const struct outer_type *t)
{
    for (size_t i = 0; i < g->depth || (g->from_zero && i == 0); i += DEPTH) {
        struct outer_part at = { .g = g, .i = i };
        at.n = g->depth - i < DEPTH ? g->depth - i : DEPTH;
        for (size_t r = 0; r < g->rows;) {
            r = pack_strips(&at, r, t);
            for (at.j = 0; at.j < g->cols; at.j += WIDTH) {
                at.width = g->cols - at.j < WIDTH ? g->cols - at.j : WIDTH;
                if (g->turned)
                    turn_b(&at, t->size, t->widen, t->turn);
                else
                    pack_b(&at, t->size, t->widen);
                if (g->a_step == 1)
                    run_strips(&at, t, true);
                else
                    run_strips(&at, t, false);
            }
        }
    }
}

static void outer_run_f32(const struct outer *g)
{
    static const struct outer_type t = { 4, F32_ROWS, F32_FEW, widen_f32, turn_f32, block_f32 };
    outer_run(g, &t);
}

static void outer_run_bf16(const struct outer *g)
{
    static const struct outer_type t = { 2, BF16_ROWS, 1, widen_bf16, turn_bf16, block_bf16 };
    outer_run(g, &t);
}

/* The products of a level; gemm_<type>_rows is gemm_<type>. */
#define GEMM_OUTER(type, element, member, level)                                             \
    void gemm_##type##_rows_##level(float *y, size_t y_stride, const void *w,                \
                                    size_t row_bytes, const struct acts *x, size_t rows,     \
                                    size_t n, size_t k)                                      \
    {                                                                                        \
        struct outer g = { y, y_stride, x->member, k, 1, w, row_bytes, rows, k, n, true,     \
                           true };                                                           \
        outer_run_##type(&g);                                                                \
    }                                                                                        \
    void gemm_##type##_dx_##level(float *dx, size_t dx_stride, const element *dy,            \
                                  size_t dy_stride, const void *w, size_t row_bytes,         \
                                  size_t rows, size_t n, size_t k, bool add)                 \
    {                                                                                        \
        struct outer g = { dx, dx_stride, dy, dy_stride, 1, w, row_bytes, rows, n, k, !add,  \
                           false };                                                          \
        outer_run_##type(&g);                                                                \
    }                                                                                        \
    void gemm_##type##_dw_##level(float *dw, size_t dw_stride, const element *dy,            \
                                  size_t dy_stride, const element *x, size_t x_stride,       \
                                  size_t rows, size_t n, size_t k)                           \
    {                                                                                        \
        struct outer g = { dw, dw_stride, dy, 1, dy_stride, (const uint8_t *)x,              \
                           x_stride * sizeof *x, n, rows, k, false, false };                 \
        outer_run_##type(&g);                                                                \
    }

#endif
