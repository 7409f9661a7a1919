/*
 * gemm_outer: c[r][j] += sum_i a(r, i) * b(i, j), which all three products of training are, for
 * registers of any width.  Lanes are columns j; each output is its own chain over i.
 *
 * Whoever includes this has defined what gemm_outer_block.h wants, and vec_from_bf16.  Panels of
 * two registers of columns wait in the second cache as floats, a block's rows in the first.
 */
#ifndef KEXA_KERN_GEMM_OUTER_H
#define KEXA_KERN_GEMM_OUTER_H

#include <stdbool.h>
#include <string.h>

#include "kern/gemm/gemm.h"
#include "kern/gemm/gemm_bwd.h"
#include "kern/gemm/gemm_outer_block.h"

static _Thread_local struct {
    _Alignas(64) float b[PANELS][DEPTH * WIDTH];
    _Alignas(64) float a[DEPTH * A_GAP];
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

/* Columns [j, j + cols), whose b is in scratch.b for i in [i, i + n). */
struct outer_part {
    const struct outer *g;
    size_t i, n, j, cols;
    bool zero;
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
    const bf16 *from = p;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vec_store(to + i, vec_from_bf16(from + i));
    for (; i < n; i++)
        to[i] = bf16_to_f32(from[i]);
}

typedef void widen_fn(float *to, const void *p, size_t n);

/* Rows [r, r + rows) of a, as the part wants them: along i (dx) or i by i (dw). */
static inline void pack_a(struct outer_block *p, const struct outer_part *at, size_t r,
                          size_t rows, size_t size, widen_fn *widen)
{
    const struct outer *g = at->g;
    const uint8_t *a = (const uint8_t *)g->a + (r * g->a_row + at->i * g->a_step) * size;
    size_t padded = whole_steps(at->n);
    bool along = g->a_step == 1;
    p->row = along ? LINE : 1;
    p->step = along ? 1 : A_GAP;
    for (size_t q = 0; along && q < rows; q++) {
        widen(scratch.a + q * LINE, a + q * g->a_row * size, at->n);
        memset(scratch.a + q * LINE + at->n, 0, (padded - at->n) * sizeof(float));
    }
    bool wide = g->rows - r >= A_GAP;     /* as many as A_GAP are there: no tail, no call */
    for (size_t i = 0; !along && i < at->n; i++)
        if (wide)
            widen(scratch.a + i * A_GAP, a + i * g->a_step * size, A_GAP);
        else
            widen(scratch.a + i * A_GAP, a + i * g->a_step * size, rows);
    if (!along)
        memset(scratch.a + at->n * A_GAP, 0, (padded - at->n) * A_GAP * sizeof(float));
}

/* Calls block for all panels of `rows` rows from row r on. */
#define OUTER_ROWS(type, size, rows)                                                         \
    static void rows_##type##_##rows(const struct outer_part *at, size_t r)                  \
    {                                                                                        \
        const struct outer *g = at->g;                                                       \
        struct outer_block p = { .c_stride = g->c_stride, .a = scratch.a, .zero = at->zero,  \
                                 .n = at->n };                                               \
        pack_a(&p, at, r, rows, size, widen_##type);                                         \
        for (size_t j = 0; j < at->cols; j += WIDTH) {                                       \
            size_t width = at->cols - j;                                                     \
            p.c = g->c + r * g->c_stride + at->j + j;                                        \
            p.b = scratch.b[j / WIDTH];                                                      \
            p.some[0] = vec_some(width);                                                     \
            p.some[1] = vec_some(width > LANES ? width - LANES : 0);                         \
            block_##type(&p, rows);                                                          \
        }                                                                                    \
    }

OUTER_ROWS(f32, 4, F32_ROWS)
OUTER_ROWS(f32, 4, F32_FEW)
OUTER_ROWS(f32, 4, 1)
OUTER_ROWS(bf16, 2, BF16_ROWS)
OUTER_ROWS(bf16, 2, 1)

static void all_rows_f32(const struct outer_part *at)
{
    size_t r = 0, rows = at->g->rows;
    for (; r + F32_ROWS <= rows; r += F32_ROWS)
        rows_f32_F32_ROWS(at, r);
    for (; r + F32_FEW <= rows; r += F32_FEW)
        rows_f32_F32_FEW(at, r);
    for (; r < rows; r++)
        rows_f32_1(at, r);
}

static void all_rows_bf16(const struct outer_part *at)
{
    size_t r = 0, rows = at->g->rows;
    for (; r + BF16_ROWS <= rows; r += BF16_ROWS)
        rows_bf16_BF16_ROWS(at, r);
    for (; r < rows; r++)
        rows_bf16_1(at, r);
}

typedef void rows_fn(const struct outer_part *at);

/* b's rows as panels of floats; zeros beside them, and below up to a whole step. */
static inline void pack_b(const struct outer_part *at, size_t size, widen_fn *widen)
{
    const uint8_t *b = at->g->b + at->i * at->g->b_bytes + at->j * size;
    for (size_t i = 0; i < whole_steps(at->n); i++, b += at->g->b_bytes)
        for (size_t j = 0; j < at->cols; j += WIDTH) {
            float *to = scratch.b[j / WIDTH] + i * WIDTH;
            size_t width = at->cols - j < WIDTH ? at->cols - j : WIDTH;
            if (i < at->n && width == WIDTH) {
                widen(to, b + j * size, WIDTH);
                continue;
            }
            memset(to, 0, WIDTH * sizeof *to);
            if (i < at->n)
                widen(to, b + j * size, width);
        }
}

/* 16 bytes of LANES rows of b, as floats: lane r of line i at to[i * WIDTH] is row r's. */
typedef void turn_fn(float *to, const uint8_t *b, size_t bytes);

/* pack_b where b's rows lie along i, one for each column. */
static inline void turn_b(const struct outer_part *at, size_t size, widen_fn *widen, turn_fn *turn)
{
    const struct outer *g = at->g;
    const uint8_t *b = g->b + at->j * g->b_bytes + at->i * size;
    size_t many = 16 / size, wide = at->cols / LANES * LANES, whole = at->n / many * many;
    float line[16];
    for (size_t j = 0; j < wide; j += LANES)
        for (size_t i = 0; i < whole; i += many)
            turn(scratch.b[j / WIDTH] + i * WIDTH + j % WIDTH, b + j * g->b_bytes + i * size,
                 g->b_bytes);
    for (size_t j = 0; j < (at->cols + WIDTH - 1) / WIDTH * WIDTH; j++)
        for (size_t i = j < wide ? whole : 0; i < whole_steps(at->n); i++) {
            if (i < at->n && j < at->cols)
                widen(line, b + j * g->b_bytes + i * size, 1);
            else
                line[0] = 0;
            scratch.b[j / WIDTH][i * WIDTH + j % WIDTH] = line[0];
        }
}

static inline void outer_run(const struct outer *g, size_t size, widen_fn *widen, turn_fn *turn,
                             rows_fn *rows)
{
    for (size_t j = 0; j < g->cols; j += COLS)
        for (size_t i = 0; i < g->depth || (g->from_zero && i == 0); i += DEPTH) {
            struct outer_part at = { .g = g, .i = i, .j = j, .zero = g->from_zero && i == 0 };
            at.n = g->depth - i < DEPTH ? g->depth - i : DEPTH;
            at.cols = g->cols - j < COLS ? g->cols - j : COLS;
            if (g->turned)
                turn_b(&at, size, widen, turn);
            else
                pack_b(&at, size, widen);
            rows(&at);
        }
}

/* The products of a level; gemm_<type>_rows is gemm_<type>. */
#define GEMM_OUTER(type, element, member, level)                                             \
    void gemm_##type##_rows_##level(float *y, size_t y_stride, const void *w,                \
                                    size_t row_bytes, const struct acts *x, size_t rows,     \
                                    size_t n, size_t k)                                      \
    {                                                                                        \
        struct outer g = { y, y_stride, x->member, k, 1, w, row_bytes, rows, k, n, true,     \
                           true };                                                           \
        outer_run(&g, sizeof(element), widen_##type, turn_##type, all_rows_##type);          \
    }                                                                                        \
    void gemm_##type##_dx_##level(float *dx, size_t dx_stride, const element *dy,            \
                                  size_t dy_stride, const void *w, size_t row_bytes,         \
                                  size_t rows, size_t n, size_t k, bool add)                 \
    {                                                                                        \
        struct outer g = { dx, dx_stride, dy, dy_stride, 1, w, row_bytes, rows, n, k, !add,  \
                           false };                                                          \
        outer_run(&g, sizeof(element), widen_##type, turn_##type, all_rows_##type);          \
    }                                                                                        \
    void gemm_##type##_dw_##level(float *dw, size_t dw_stride, const element *dy,            \
                                  size_t dy_stride, const element *x, size_t x_stride,       \
                                  size_t rows, size_t n, size_t k)                           \
    {                                                                                        \
        struct outer g = { dw, dw_stride, dy, 1, dy_stride, (const uint8_t *)x,              \
                           x_stride * sizeof *x, n, rows, k, false, false };                 \
        outer_run(&g, sizeof(element), widen_##type, turn_##type, all_rows_##type);          \
    }

#endif
