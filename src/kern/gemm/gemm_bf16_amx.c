/* Products of bf16 with AMX tiles: forward, and both of training. */
#if defined(__x86_64__)

#include "kern/gemm/gemm_bwd.h"
#include "kern/gemm/gemm_tiles_amx.h"

enum { PANEL_STEPS = 16, DEPTH = PANEL_STEPS * TILE_K, FEW_ROWS = 12 };

/* c[rows][cols] = A B: A's rows lie in memory as tiles want them, B's are packed. */
struct product {
    float *c;
    size_t c_stride;
    const uint8_t *a, *b;
    size_t a_bytes, b_bytes;              /* from row to row */
    size_t rows, depth, cols;
    size_t b_step, b_side;                /* bytes in b to the next 32 k, to the next 32 columns */
    pack_step_fn *pack;
};

/* The last n < 32 k of r rows of A, continued with zeros. */
static void copy_last(uint8_t *to, const uint8_t *a, size_t a_bytes, size_t r, size_t n)
{
    __mmask32 some = (1u << n) - 1;
    for (size_t q = 0; q < r; q++)
        _mm512_store_si512(to + 64 * q, _mm512_maskz_loadu_epi16(some, a + q * a_bytes));
}

/* All rows by one panel: columns from j on, k in [i, i + n). */
static void run_panel(const struct product *p, const uint8_t *panel, size_t i, size_t n, size_t j)
{
    _Alignas(64) uint8_t last[SIDE * 64];
    struct tile_sum s = { .c_stride = p->c_stride, .a_row = p->a_bytes, .a_step = 64, .b = panel,
                          .a_last = n % TILE_K ? last : NULL, .steps = n / TILE_K,
                          .zero = i == 0, .r = SIDE };
    s.width = p->cols - j < SIDE ? p->cols - j : SIDE;
    tiles_configure(SIDE);
    for (size_t t = 0; t < p->rows; t += SIDE) {
        if (p->rows - t < SIDE) {
            s.r = p->rows - t;
            tiles_configure(s.r);
        }
        s.c = p->c + t * p->c_stride + j;
        s.a = p->a + t * p->a_bytes + 2 * i;
        if (s.a_last)
            copy_last(last, s.a + 64 * s.steps, p->a_bytes, s.r, n % TILE_K);
        tile_sum_add(&s);
    }
}

static inline void run_product(const struct product *p)
{
    _Alignas(64) uint8_t panel[PANEL_STEPS * STEP_BYTES];
    for (size_t j = 0; j < p->cols; j += SIDE) {
        size_t width = p->cols - j < SIDE ? p->cols - j : SIDE;
        for (size_t i = 0; i < p->depth; i += DEPTH) {
            size_t n = p->depth - i < DEPTH ? p->depth - i : DEPTH;
            const uint8_t *b = p->b + i / TILE_K * p->b_step + j / SIDE * p->b_side;
            for (size_t at = 0; at < n; at += TILE_K)
                p->pack(panel + at / TILE_K * STEP_BYTES, b + at / TILE_K * p->b_step, p->b_bytes,
                        n - at < TILE_K ? n - at : TILE_K, width);
            run_panel(p, panel, i, n, j);
        }
    }
    tiles_release();
}

void gemm_bf16_amx(float *y, size_t y_stride, const void *w, size_t row_bytes,
                   const struct acts *x, size_t rows, size_t n, size_t k)
{
    struct product p = { y, y_stride, (const uint8_t *)x->bf16, w, 2 * k, row_bytes, rows, k, n,
                         64, SIDE * row_bytes, pack_along };
    if (rows < FEW_ROWS || k == 0)
        gemm_bf16_avx512(y, y_stride, w, row_bytes, x, rows, n, k);
    else
        run_product(&p);
}

void gemm_bf16_dx_amx(float *dx, size_t dx_stride, const bf16 *dy, size_t dy_stride,
                      const void *w, size_t row_bytes, size_t rows, size_t n, size_t k)
{
    struct product p = { dx, dx_stride, (const uint8_t *)dy, w, 2 * dy_stride, row_bytes, rows, n,
                         k, TILE_K * row_bytes, 64, pack_across };
    if (rows < FEW_ROWS || n == 0)
        gemm_bf16_dx_avx512(dx, dx_stride, dy, dy_stride, w, row_bytes, rows, n, k);
    else
        run_product(&p);
}

enum { DW_STEPS = 8, DW_DEPTH = DW_STEPS * TILE_K, DW_SIDES = 3 };

/* dw's rows [o, o + n) by all columns, tokens [t, t + depth): A turned, then B side by side. */
struct dw_part {
    float *dw;
    size_t dw_stride;
    const bf16 *dy, *x;
    size_t dy_stride, x_stride, depth, n, k;
};

static void pack_steps(uint8_t *to, pack_step_fn *pack, const bf16 *from, size_t stride,
                       size_t depth, size_t width)
{
    for (size_t at = 0; at < depth; at += TILE_K)
        pack(to + at / TILE_K * STEP_BYTES, (const uint8_t *)(from + at * stride), 2 * stride,
             depth - at < TILE_K ? depth - at : TILE_K, width);
}

static void run_dw_part(const struct dw_part *p)
{
    _Alignas(64) uint8_t a[DW_SIDES * DW_STEPS * STEP_BYTES], b[DW_STEPS * STEP_BYTES];
    struct tile_sum s = { .c_stride = p->dw_stride, .a_row = 64, .a_step = STEP_BYTES, .b = b,
                          .steps = (p->depth + TILE_K - 1) / TILE_K };
    for (size_t o = 0; o < p->n; o += SIDE)
        pack_steps(a + o / SIDE * DW_STEPS * STEP_BYTES, pack_turned, p->dy + o, p->dy_stride,
                   p->depth, p->n - o < SIDE ? p->n - o : SIDE);
    for (size_t j = 0; j < p->k; j += SIDE) {
        s.width = p->k - j < SIDE ? p->k - j : SIDE;
        pack_steps(b, pack_across, p->x + j, p->x_stride, p->depth, s.width);
        s.r = 0;
        for (size_t o = 0; o < p->n; o += SIDE) {
            size_t r = p->n - o < SIDE ? p->n - o : SIDE;
            if (r != s.r)
                tiles_configure(r);
            s.r = r;
            s.a = a + o / SIDE * DW_STEPS * STEP_BYTES;
            s.c = p->dw + o * p->dw_stride + j;
            tile_sum_add(&s);
        }
    }
}

void gemm_bf16_dw_amx(float *dw, size_t dw_stride, const bf16 *dy, size_t dy_stride,
                      const bf16 *x, size_t x_stride, size_t rows, size_t n, size_t k)
{
    enum { TALL = DW_SIDES * SIDE };
    for (size_t o = 0; o < n; o += TALL)
        for (size_t t = 0; t < rows; t += DW_DEPTH) {
            struct dw_part p = { dw + o * dw_stride, dw_stride, dy + t * dy_stride + o,
                                 x + t * x_stride, dy_stride, x_stride,
                                 rows - t < DW_DEPTH ? rows - t : DW_DEPTH,
                                 n - o < TALL ? n - o : TALL, k };
            run_dw_part(&p);
        }
    tiles_release();
}

#endif
