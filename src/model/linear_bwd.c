#include "model/model.h"

/* Outputs of one claimable unit: an operand is rearranged once for each, so they are large;
 * the experts of a layer still give each thread several. */
enum { DX_ROWS = 512, DX_COLS = 128, DW_ROWS = 192, DW_COLS = 512, ROUND_ROWS = 16 };

/* Where a dx is added to, this many columns are multiplied at a time. */
enum { ADD_COLS = 32 };

struct linear_bwd {
    struct model *m;
    const struct linear_bwd_job *jobs;
    size_t n_jobs;
};

static size_t parts(size_t n, size_t each)
{
    return (n + each - 1) / each;
}

static size_t part_end(size_t begin, size_t each, size_t n)
{
    return n - begin < each ? n : begin + each;
}

static bool is_bf16(const struct linear_bwd *l, const struct linear_bwd_job *j)
{
    return weight_class(l->m, j->w) == CLASS_BF16;
}

/* Jobs that share a dx belong to the first of them. */
static bool leads_dx(const struct linear_bwd *l, size_t i)
{
    const struct linear_bwd_job *j = &l->jobs[i];
    return j->dx && (i == 0 || j[-1].dx != j->dx);
}

static size_t round_units(const struct linear_bwd *l, size_t i)
{
    return is_bf16(l, &l->jobs[i]) ? parts(l->jobs[i].rows, ROUND_ROWS) : 0;
}

static size_t dx_units(const struct linear_bwd *l, size_t i)
{
    const struct linear_bwd_job *j = &l->jobs[i];
    return leads_dx(l, i) ? parts(j->rows, DX_ROWS) * parts(j->w->cols, DX_COLS) : 0;
}

static size_t dw_units(const struct linear_bwd *l, size_t i)
{
    const struct linear_bwd_job *j = &l->jobs[i];
    return j->dw && j->rows ? parts(j->w->rows, DW_ROWS) * parts(j->w->cols, DW_COLS) : 0;
}

static size_t product_units(const struct linear_bwd *l, size_t i)
{
    return dx_units(l, i) + dw_units(l, i);
}

static void round_unit(const struct linear_bwd *l, size_t i, size_t unit)
{
    const struct linear_bwd_job *j = &l->jobs[i];
    size_t n = j->w->rows, begin = unit * ROUND_ROWS, end = part_end(begin, ROUND_ROWS, j->rows);
    for (size_t t = begin; t < end; t++)
        l->m->kern->round_bf16(j->dy16 + t * n, j->dy + t * j->dy_stride, n);
}

struct block {
    size_t r0, r1, c0, c1;                /* rows [r0, r1), columns [c0, c1) */
};

static struct block block_of(size_t unit, size_t rows, size_t cols, size_t each_row,
                             size_t each_col)
{
    size_t across = parts(cols, each_col);
    size_t r = unit / across * each_row, c = unit % across * each_col;
    return (struct block){ r, part_end(r, each_row, rows), c, part_end(c, each_col, cols) };
}

/* to[0 .. r1 - r0) = the product's rows and columns of b. */
static void multiply_dx(const struct linear_bwd *l, const struct linear_bwd_job *j,
                        const struct block *b, float *to, size_t stride)
{
    const struct kernels *k = l->m->kern;
    const struct weight *w = j->w;
    size_t rows = b->r1 - b->r0, cols = b->c1 - b->c0, n = w->rows;
    const uint8_t *at = w->data + qtype_row_bytes(w->type, b->c0);
    if (is_bf16(l, j))
        k->gemm_bf16_dx(to, stride, j->dy16 + b->r0 * n, n, at, w->row_bytes, rows, n, cols);
    else
        k->gemm_f32_dx(to, stride, j->dy + b->r0 * j->dy_stride, j->dy_stride, at, w->row_bytes,
                       rows, n, cols);
}

static void add_dx(const struct linear_bwd *l, const struct linear_bwd_job *j,
                   const struct block *b)
{
    float product[DX_ROWS * ADD_COLS];
    for (size_t c = b->c0; c < b->c1; c += ADD_COLS) {
        struct block strip = { b->r0, b->r1, c, part_end(c, ADD_COLS, b->c1) };
        size_t cols = strip.c1 - c;
        multiply_dx(l, j, &strip, product, cols);
        for (size_t t = b->r0; t < b->r1; t++)
            for (size_t i = 0; i < cols; i++)
                j->dx[t * j->dx_stride + c + i] += product[(t - b->r0) * cols + i];
    }
}

/* All jobs that share the dx of job i, in order. */
static void dx_unit(const struct linear_bwd *l, size_t i, size_t unit)
{
    const struct linear_bwd_job *j = &l->jobs[i], *end = l->jobs + l->n_jobs;
    struct block b = block_of(unit, j->rows, j->w->cols, DX_ROWS, DX_COLS);
    for (const float *dx = j->dx; j < end && j->dx == dx; j++)
        if (j->dx_add)
            add_dx(l, j, &b);
        else
            multiply_dx(l, j, &b, j->dx + b.r0 * j->dx_stride + b.c0, j->dx_stride);
}

static void dw_unit(const struct linear_bwd *l, size_t i, size_t unit)
{
    const struct kernels *k = l->m->kern;
    const struct linear_bwd_job *j = &l->jobs[i];
    size_t n = j->w->rows, cols = j->w->cols;
    struct block b = block_of(unit, n, cols, DW_ROWS, DW_COLS);
    float *dw = j->dw + b.r0 * cols + b.c0;
    if (is_bf16(l, j))
        k->gemm_bf16_dw(dw, cols, j->dy16 + b.r0, n, j->x.bf16 + b.c0, cols, j->rows, b.r1 - b.r0,
                        b.c1 - b.c0);
    else
        k->gemm_f32_dw(dw, cols, j->dy + b.r0, j->dy_stride, j->x.f32 + b.c0, cols, j->rows,
                       b.r1 - b.r0, b.c1 - b.c0);
}

static void product_unit(const struct linear_bwd *l, size_t i, size_t unit)
{
    size_t dx = dx_units(l, i);
    if (unit < dx)
        dx_unit(l, i, unit);
    else
        dw_unit(l, i, unit - dx);
}

/* The list's units in a row, job after job. */
struct unit_loop {
    const struct linear_bwd *l;
    size_t (*count)(const struct linear_bwd *l, size_t i);
    void (*run)(const struct linear_bwd *l, size_t i, size_t unit);
};

static void run_units(void *arg, size_t begin, size_t end, int worker)
{
    const struct unit_loop *u = arg;
    size_t at = 0;
    (void)worker;
    for (size_t i = 0; i < u->l->n_jobs && at < end; i++) {
        size_t n = u->count(u->l, i);
        size_t u0 = begin > at ? begin - at : 0, u1 = end - at < n ? end - at : n;
        for (; u0 < u1; u0++)
            u->run(u->l, i, u0);
        at += n;
    }
}

static void run_loop(const struct linear_bwd *l,
                     size_t (*count)(const struct linear_bwd *l, size_t i),
                     void (*run)(const struct linear_bwd *l, size_t i, size_t unit))
{
    struct unit_loop u = { l, count, run };
    size_t n = 0;
    for (size_t i = 0; i < l->n_jobs; i++)
        n += count(l, i);
    pool_run(l->m->pool, n, 1, run_units, &u);
}

static void check_job(const struct linear_bwd *l, const struct linear_bwd_job *j)
{
    check(is_bf16(l, j) ? j->w->type->id == QT_BF16 && (j->dy16 || !j->rows)
                        : j->w->type->id == QT_F32);
}

void linear_bwd_run(struct model *m, const struct linear_bwd_job *jobs, size_t n_jobs)
{
    struct linear_bwd l = { m, jobs, n_jobs };
    for (size_t i = 0; i < n_jobs; i++)
        check_job(&l, &jobs[i]);
    run_loop(&l, round_units, round_unit);
    run_loop(&l, product_units, product_unit);
}
