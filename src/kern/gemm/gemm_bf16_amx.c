/* Products of bf16 with AMX tiles: forward, and both of training. */
#if defined(__x86_64__)

#include "kern/gemm/gemm_bwd.h"
#include "kern/gemm/gemm_tiles_amx.h"

/*
 * 512 k of 512 columns of B and of 128 rows of A, packed, wait in the second cache; or 1024 k of
 * half as many where that spares c a second pass (not dw, whose A is dear to pack).  Of these 32
 * rows of A stay in the first while all of B streams past them.
 */
enum {
    DEPTH = 512, COLS = 512, ROWS = 128, FEW_ROWS = 12,
    GAP = 192,                            /* not all panels on the same cache lines */
    PANELS = COLS / SIDE, STRIPS = ROWS / SIDE, PANEL_BYTES = DEPTH / TILE_K * STEP_BYTES + GAP
};

static _Thread_local struct {
    _Alignas(64) uint8_t a[STRIPS * PANEL_BYTES], b[PANELS * PANEL_BYTES];
} scratch;

/* `width` rows or columns of an operand, n k of each, as steps from `to` on; the next SIDE of them
 * `panel` bytes further. */
typedef void pack_fn(uint8_t *to, size_t panel, const uint8_t *p, size_t bytes, size_t n,
                     size_t width);

/* An operand in memory, and how it is packed. */
struct operand {
    const uint8_t *p;
    size_t bytes;                         /* from one of its rows to the next */
    size_t next_k, next;                  /* to the next k, to the next row or column of c */
    pack_fn *pack;
};

static void pack_b_along(uint8_t *to, size_t panel, const uint8_t *p, size_t bytes, size_t n,
                         size_t width)
{
    for (size_t j = 0; j < width; j += SIDE, to += panel, p += SIDE * bytes)
        for (size_t i = 0; i < n; i += TILE_K)
            pack_along(to + i / TILE_K * STEP_BYTES, p + 2 * i, bytes, n - i, width - j);
}

/* Row by row, all columns of a pair. */
static void pack_b_across(uint8_t *to, size_t panel, const uint8_t *p, size_t bytes, size_t n,
                          size_t width)
{
    for (size_t i = 0; i < (n + TILE_K - 1) / TILE_K * TILE_K; i += 2, p += 2 * bytes) {
        uint8_t *line = to + i / TILE_K * STEP_BYTES + i % TILE_K * 32;
        for (size_t j = 0; j < width; j += SIDE, line += panel)
            pair_rows(line, p + 2 * j, bytes, n > i ? n - i : 0, first_words(width - j));
    }
}

static void pack_a_along(uint8_t *to, size_t panel, const uint8_t *p, size_t bytes, size_t n,
                         size_t width)
{
    for (size_t q = 0; q < width; q++, p += bytes)
        for (size_t i = 0; i < n; i += TILE_K)
            _mm512_store_si512(to + q / SIDE * panel + q % SIDE * 64
                               + i / TILE_K * STEP_BYTES,
                               _mm512_maskz_loadu_epi16(first_words(n - i), p + 2 * i));
}

static void pack_a_across(uint8_t *to, size_t panel, const uint8_t *p, size_t bytes, size_t n,
                          size_t width)
{
    for (size_t i = 0; i < n; i += TILE_K, to += STEP_BYTES, p += TILE_K * bytes)
        for (size_t j = 0; j < width; j += SIDE)
            pack_turned(to + j / SIDE * panel, p + 2 * j, bytes, n - i, width - j);
}

/* c[rows][cols] = or += A B. */
struct product {
    float *c;
    size_t c_stride, rows, depth, cols;
    struct operand a, b;
    bool from_zero;
};

static size_t at_most(size_t n, size_t most)
{
    return n < most ? n : most;
}

/* The sums of r rows, for which the tiles are configured; c has SIDE columns. */
static void run_tiles(const struct tile_sum *s, float *c, size_t stride, size_t r)
{
    if (r > TILE_ROWS)
        sum_2x2(s, c, stride * sizeof *c);
    else
        sum_1x2(s, c, stride * sizeof *c);
}

/* As run_tiles where c has fewer columns: through a block of its own. */
static void run_narrow(const struct tile_sum *s, float *c, size_t stride, size_t r, size_t width)
{
    _Alignas(64) float edge[SIDE * SIDE];
    for (size_t q = 0; !s->zero && q < r; q++)
        memcpy(edge + q * SIDE, c + q * stride, width * sizeof *c);
    run_tiles(s, edge, SIDE, r);
    for (size_t q = 0; q < r; q++)
        memcpy(c + q * stride, edge + q * SIDE, width * sizeof *c);
}

/* A part of a product: columns [j, j + cols) of c, k in [i, i + n). */
struct part {
    const struct product *p;
    size_t j, cols, i, n, panel;          /* panel: bytes of one, or of a strip of A */
};

static void pack_operand(uint8_t *to, const struct part *at, const struct operand *o, size_t first,
                         size_t width)
{
    o->pack(to, at->panel, o->p + first * o->next + at->i * o->next_k, o->bytes, at->n, width);
}

/* r rows of c by the columns whose B is in scratch.b. */
static void run_strip(const struct part *at, struct tile_sum *s, size_t t, size_t r)
{
    float *c = at->p->c + t * at->p->c_stride + at->j;
    s->b = scratch.b;
    for (size_t j = 0; j < at->cols; j += SIDE, s->b += at->panel)
        if (at->cols - j >= SIDE)
            run_tiles(s, c + j, at->p->c_stride, r);
        else
            run_narrow(s, c + j, at->p->c_stride, r, at->cols - j);
}

static void run_part(const struct part *at)
{
    const struct product *p = at->p;
    struct tile_sum s = { .a_row = 64, .a_step = STEP_BYTES,
                          .steps = (at->n + TILE_K - 1) / TILE_K,
                          .zero = p->from_zero && at->i == 0, .stream = true };
    size_t group = at->n > DEPTH ? ROWS / 2 : ROWS;
    pack_operand(scratch.b, at, &p->b, at->j, at->cols);
    tiles_configure(SIDE);
    for (size_t t = 0; t < p->rows; t += group) {
        size_t rows = at_most(p->rows - t, group);
        pack_operand(scratch.a, at, &p->a, t, rows);
        s.a = scratch.a;
        for (size_t q = 0; q < rows; q += SIDE, s.a += at->panel) {
            size_t r = at_most(rows - q, SIDE);
            if (r < SIDE)
                tiles_configure(r);
            run_strip(at, &s, t + q, r);
        }
    }
}

static void run_product(const struct product *p)
{
    bool deep = p->from_zero && p->depth > DEPTH;
    size_t depth = deep ? 2 * DEPTH : DEPTH, cols = deep ? COLS / 2 : COLS;
    for (size_t j = 0; j < p->cols; j += cols)
        for (size_t i = 0; i < p->depth; i += depth) {
            struct part at = { p, j, at_most(p->cols - j, cols), i, at_most(p->depth - i, depth),
                               0 };
            at.panel = (at.n + TILE_K - 1) / TILE_K * STEP_BYTES + GAP;
            run_part(&at);
        }
    tiles_release();
}

/* The index summed over runs along the operand's rows, or across them. */
static struct operand along(const void *p, size_t bytes, pack_fn *pack)
{
    return (struct operand){ p, bytes, 2, bytes, pack };
}

static struct operand across(const void *p, size_t bytes, pack_fn *pack)
{
    return (struct operand){ p, bytes, bytes, 2, pack };
}

void gemm_bf16_amx(float *y, size_t y_stride, const void *w, size_t row_bytes,
                   const struct acts *x, size_t rows, size_t n, size_t k)
{
    struct product p = { y, y_stride, rows, k, n, along(x->bf16, 2 * k, pack_a_along),
                         along(w, row_bytes, pack_b_along), true };
    if (rows < FEW_ROWS || k == 0)
        gemm_bf16_avx512(y, y_stride, w, row_bytes, x, rows, n, k);
    else
        run_product(&p);
}

void gemm_bf16_dx_amx(float *dx, size_t dx_stride, const bf16 *dy, size_t dy_stride,
                      const void *w, size_t row_bytes, size_t rows, size_t n, size_t k, bool add)
{
    struct product p = { dx, dx_stride, rows, n, k, along(dy, 2 * dy_stride, pack_a_along),
                         across(w, row_bytes, pack_b_across), !add };
    if (rows < FEW_ROWS || n == 0)
        gemm_bf16_dx_avx512(dx, dx_stride, dy, dy_stride, w, row_bytes, rows, n, k, add);
    else
        run_product(&p);
}

void gemm_bf16_dw_amx(float *dw, size_t dw_stride, const bf16 *dy, size_t dy_stride,
                      const bf16 *x, size_t x_stride, size_t rows, size_t n, size_t k)
{
    struct product p = { dw, dw_stride, n, rows, k, across(dy, 2 * dy_stride, pack_a_across),
                         across(x, 2 * x_stride, pack_b_across), false };
    run_product(&p);
}

#endif
