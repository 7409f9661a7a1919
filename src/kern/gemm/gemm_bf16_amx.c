/* Products of bf16 with AMX tiles: forward, and both of training. */
#if defined(__x86_64__)

#include "kern/gemm/gemm_bwd.h"
#include "kern/gemm/gemm_packed.h"
#include "kern/gemm/gemm_tiles_amx.h"

/*
 * A strip of 32 rows of A, up to DEPTH k of each, stays in the first cache while panels of 32
 * columns of B stream past it from the second.  What is packed waits there: GROUP rows of A, and
 * as much of B as B_BYTES hold.
 */
enum {
    DEPTH = 640, GROUP = 256, B_BYTES = 512 << 10, FEW_ROWS = 12, LINE = 64, SAME_LINES = 2048
};

static _Thread_local struct {
    _Alignas(LINE) uint8_t a[2 * DEPTH * GROUP], b[B_BYTES];
} scratch;

/* One step of up to 32 k and of `width` <= 32 rows or columns; see gemm_tiles_amx.h. */
typedef void pack_step_fn(uint8_t *to, const uint8_t *p, size_t bytes, size_t n, size_t width);

/* An operand in memory, and how it is packed; NULL: it lies as tiles want it. */
struct operand {
    const uint8_t *p;
    size_t bytes;                         /* from one of its rows to the next */
    size_t next_k, next;                  /* to the next k, to the next row or column of c */
    pack_step_fn *pack;
};

/* c[rows][cols] = or += A B. */
struct product {
    float *c;
    size_t c_stride, rows, depth, cols;
    struct operand a, b;
    bool from_zero;
};

/* A part of a product: columns [j, j + cols) of c, k in [i, i + n). */
struct part {
    const struct product *p;
    size_t j, cols, i, n, panel;          /* panel: bytes from one of B to the next */
    const uint8_t *b;
};

static size_t steps_of(size_t n)
{
    return (n + TILE_K - 1) / TILE_K;
}

static size_t at_most(size_t n, size_t most)
{
    return n < most ? n : most;
}

/* n k of `width` rows or columns from p on: 32 of them with all their steps, then the next.  Read
 * in the order in which they lie in memory. */
static void pack_all(uint8_t *to, const struct operand *o, const uint8_t *p, size_t n,
                     size_t width)
{
    size_t panels = (width + SIDE - 1) / SIDE, steps = steps_of(n), done = panels * steps;
    bool rows_along_k = o->next_k < o->next;
    for (size_t at = 0; at < done; at++) {
        size_t j = rows_along_k ? at / steps : at % panels;
        size_t i = rows_along_k ? at % steps : at / panels;
        o->pack(to + (j * steps + i) * STEP_BYTES,
                p + j * SIDE * o->next + i * TILE_K * o->next_k, o->bytes, n - i * TILE_K,
                at_most(width - j * SIDE, SIDE));
    }
}

/* The sums of r rows, for which the tiles are configured; c has SIDE columns. */
static void run_tiles(const struct tile_sum *s, float *c, size_t stride, size_t r)
{
    if (r > TILE_ROWS)
        sum_2x2(s, c, stride * sizeof *c, true);
    else
        sum_1x2(s, c, stride * sizeof *c);
}

/* As run_tiles where c has fewer columns: through a block of its own. */
static void run_narrow(const struct tile_sum *s, float *c, size_t stride, size_t r, size_t width)
{
    _Alignas(LINE) float edge[SIDE * SIDE];
    for (size_t q = 0; !s->zero && q < r; q++)
        memcpy(edge + q * SIDE, c + q * stride, width * sizeof *c);
    run_tiles(s, edge, SIDE, r);
    for (size_t q = 0; q < r; q++)
        memcpy(c + q * stride, edge + q * SIDE, width * sizeof *c);
}

/* r rows of c from row t on, by all columns of the part. */
static void run_strip(const struct part *at, struct tile_sum *s, size_t t, size_t r)
{
    float *c = at->p->c + t * at->p->c_stride + at->j;
    s->b = at->b;
    for (size_t j = 0; j < at->cols; j += SIDE, s->b += at->panel)
        if (at->cols - j >= SIDE)
            run_tiles(s, c + j, at->p->c_stride, r);
        else
            run_narrow(s, c + j, at->p->c_stride, r, at->cols - j);
}

static void run_part(const struct part *at)
{
    const struct product *p = at->p;
    const struct operand *a = &p->a, *b = &p->b;
    struct tile_sum s = { .a_row = a->pack ? LINE : a->bytes,
                          .a_step = a->pack ? STEP_BYTES : LINE, .steps = steps_of(at->n),
                          .zero = p->from_zero && at->i == 0 };
    if (b->pack)
        pack_all(scratch.b, b, b->p + at->j * b->next + at->i * b->next_k, at->n, at->cols);
    tiles_configure(SIDE);
    for (size_t t = 0; t < p->rows; t += SIDE) {
        const uint8_t *strip = a->p + t * a->next + at->i * a->next_k;
        size_t r = at_most(p->rows - t, SIDE);
        if (a->pack && t % GROUP == 0)
            pack_all(scratch.a, a, strip, at->n, at_most(p->rows - t, GROUP));
        s.a = a->pack ? scratch.a + t % GROUP / SIDE * s.steps * STEP_BYTES : strip;
        if (r < SIDE)
            tiles_configure(r);
        run_strip(at, &s, t, r);
    }
}

/* Parts of k of about the same size, and as many columns as there is room for. */
static void run_product(const struct product *p)
{
    size_t parts = (p->depth + DEPTH - 1) / DEPTH;
    if (parts == 0)
        return;
    size_t depth = TILE_K * steps_of((p->depth + parts - 1) / parts);
    size_t cols = B_BYTES / (2 * depth) / SIDE * SIDE;
    for (size_t j = 0; j < p->cols; j += cols)
        for (size_t i = 0; i < p->depth; i += depth) {
            struct part at = { .p = p, .j = j, .cols = at_most(p->cols - j, cols), .i = i,
                               .n = at_most(p->depth - i, depth) };
            at.panel = p->b.pack ? steps_of(at.n) * STEP_BYTES : SIDE * p->b.next;
            at.b = p->b.pack ? scratch.b : p->b.p + j * p->b.next + i * p->b.next_k;
            run_part(&at);
        }
    tiles_release();
}

/* The index summed over runs along the operand's rows, or across them. */
static struct operand along(const void *p, size_t bytes, pack_step_fn *pack)
{
    return (struct operand){ p, bytes, 2, bytes, pack };
}

static struct operand across(const void *p, size_t bytes, pack_step_fn *pack)
{
    return (struct operand){ p, bytes, bytes, 2, pack };
}

/* A along k, in place where its rows are whole steps of whole cache lines, and a strip's do not
 * fall on the same lines of the first cache. */
static struct operand rows_along(const void *p, size_t bytes, size_t depth)
{
    bool lines = ((uintptr_t)p | bytes) % LINE == 0 && depth % TILE_K == 0;
    bool dense = bytes == 2 * depth && depth <= DEPTH;
    return along(p, bytes, lines && (dense || bytes % SAME_LINES) ? NULL : pack_rows);
}

/* Panels of 32 columns, `panel` bytes apart, their k after each other. */
static struct operand packed(const void *p, size_t panel)
{
    return (struct operand){ p, 0, STEP_BYTES / TILE_K, panel / SIDE, NULL };
}

void gemm_bf16_amx(float *y, size_t y_stride, const void *w, size_t row_bytes,
                   const struct acts *x, size_t rows, size_t n, size_t k)
{
    struct product p = { y, y_stride, rows, k, n, rows_along(x->bf16, 2 * k, k),
                         along(w, row_bytes, pack_along), true };
    if (rows < FEW_ROWS || k == 0)
        gemm_bf16_avx512(y, y_stride, w, row_bytes, x, rows, n, k);
    else
        run_product(&p);
}

void gemm_bf16_dx_amx(float *dx, size_t dx_stride, const bf16 *dy, size_t dy_stride,
                      const void *w, size_t row_bytes, size_t rows, size_t n, size_t k, bool add)
{
    struct product p = { dx, dx_stride, rows, n, k, rows_along(dy, 2 * dy_stride, n),
                         across(w, row_bytes, pack_across), !add };
    if (rows < FEW_ROWS || n == 0)
        gemm_bf16_dx_avx512(dx, dx_stride, dy, dy_stride, w, row_bytes, rows, n, k, add);
    else
        run_product(&p);
}

void gemm_bf16_dw_amx(float *dw, size_t dw_stride, const bf16 *dy, size_t dy_stride,
                      const bf16 *x, size_t x_stride, size_t rows, size_t n, size_t k)
{
    struct product p = { dw, dw_stride, n, rows, k, across(dy, 2 * dy_stride, pack_turned),
                         across(x, 2 * x_stride, pack_across), false };
    run_product(&p);
}

void gemm_bf16_packed_amx(float *c, size_t c_stride, const bf16 *a, size_t a_stride,
                          const void *b, size_t b_bytes, size_t rows, size_t cols, size_t depth,
                          bool add)
{
    struct product p = { c, c_stride, rows, depth, cols, rows_along(a, 2 * a_stride, depth),
                         packed(b, b_bytes), !add };
    run_product(&p);
}

void gemm_bf16_pack_y_amx(void *to, const void *w, size_t row_bytes, size_t n, size_t k)
{
    struct operand b = along(w, row_bytes, pack_along);
    pack_all(to, &b, b.p, k, n);
}

void gemm_bf16_pack_dx_amx(void *to, const void *w, size_t row_bytes, size_t n, size_t k)
{
    struct operand b = across(w, row_bytes, pack_across);
    pack_all(to, &b, b.p, n, k);
}

#endif
