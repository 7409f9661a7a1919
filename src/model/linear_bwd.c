#include "model/model.h"

/*
 * Outputs of one claimable unit.  An operand is rearranged once for each, so units are large,
 * but each thread should get a few: where there are not enough they are halved.
 */
enum { DX_ROWS = 2048, DX_COLS = 256, DW_ROWS = 512, DW_COLS = 512, ROUND_ROWS = 16 };
enum { HALVINGS = 6, UNITS_PER_THREAD = 4 };

struct linear_bwd {
    struct model *m;
    struct pool *pool;                    /* NULL: this thread alone */
    const struct linear_bwd_job *jobs;
    size_t n_jobs;
    size_t dx_rows, dx_cols, dw_rows, dw_cols;            /* of a unit */
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

/* The job before this one that has rows; NULL if none. */
static const struct linear_bwd_job *job_before(const struct linear_bwd *l, size_t i)
{
    while (i && !l->jobs[i - 1].rows)
        i--;
    return i ? &l->jobs[i - 1] : NULL;
}

/* Jobs that share a dx belong to the first of them. */
static bool leads_dx(const struct linear_bwd *l, size_t i)
{
    const struct linear_bwd_job *j = &l->jobs[i], *before = job_before(l, i);
    return j->dx && j->rows && (!before || before->dx != j->dx);
}

static size_t round_units(const struct linear_bwd *l, size_t i)
{
    const struct linear_bwd_job *j = &l->jobs[i];
    return is_bf16(l, j) && !j->rounded ? parts(j->rows, ROUND_ROWS) : 0;
}

static size_t dx_units(const struct linear_bwd *l, size_t i)
{
    const struct linear_bwd_job *j = &l->jobs[i];
    return leads_dx(l, i) ? parts(j->rows, l->dx_rows) * parts(j->w->cols, l->dx_cols) : 0;
}

static size_t dw_units(const struct linear_bwd *l, size_t i)
{
    const struct linear_bwd_job *j = &l->jobs[i];
    bool any = j->dw && j->rows;
    return any ? parts(j->w->rows, l->dw_rows) * parts(j->w->cols, l->dw_cols) : 0;
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

static void multiply_dx(const struct linear_bwd *l, const struct linear_bwd_job *j,
                        const struct block *b)
{
    const struct kernels *k = l->m->kern;
    const struct weight *w = j->w;
    size_t rows = b->r1 - b->r0, cols = b->c1 - b->c0, n = w->rows;
    const uint8_t *at = w->data + qtype_row_bytes(w->type, b->c0);
    float *dx = j->dx + b->r0 * j->dx_stride + b->c0;
    size_t panel = gemm_packed_bytes(w->packed_rows, 32);
    if (w->packed_dx && b->c0 % 32 == 0)
        k->gemm_bf16_packed(dx, j->dx_stride, j->dy16 + b->r0 * n, n,
                            w->packed_dx + b->c0 / 32 * panel, panel, rows, cols, n, j->dx_add);
    else if (is_bf16(l, j))
        k->gemm_bf16_dx(dx, j->dx_stride, j->dy16 + b->r0 * n, n, at, w->row_bytes, rows, n, cols,
                        j->dx_add);
    else
        k->gemm_f32_dx(dx, j->dx_stride, j->dy + b->r0 * j->dy_stride, j->dy_stride, at,
                       w->row_bytes, rows, n, cols, j->dx_add);
}

/* All jobs that share the dx of job i, in order. */
static void dx_unit(const struct linear_bwd *l, size_t i, size_t unit)
{
    const struct linear_bwd_job *j = &l->jobs[i], *end = l->jobs + l->n_jobs;
    struct block b = block_of(unit, j->rows, j->w->cols, l->dx_rows, l->dx_cols);
    for (const float *dx = j->dx; j < end && (j->dx == dx || !j->rows); j++)
        if (j->rows)
            multiply_dx(l, j, &b);
}

static void dw_unit(const struct linear_bwd *l, size_t i, size_t unit)
{
    const struct kernels *k = l->m->kern;
    const struct linear_bwd_job *j = &l->jobs[i];
    size_t n = j->w->rows, cols = j->w->cols;
    struct block b = block_of(unit, n, cols, l->dw_rows, l->dw_cols);
    float *dw = j->dw + b.r0 * cols + b.c0;
    if (is_bf16(l, j))
        k->gemm_bf16_dw(dw, cols, j->dy16 + b.r0, n, j->x.bf16 + b.c0, cols, j->rows, b.r1 - b.r0,
                        b.c1 - b.c0);
    else
        k->gemm_f32_dw(dw, cols, j->dy + b.r0, j->dy_stride, j->x.f32 + b.c0, cols, j->rows,
                       b.r1 - b.r0, b.c1 - b.c0);
}

/* dw first: it is the longest where there are many tokens. */
static void product_unit(const struct linear_bwd *l, size_t i, size_t unit)
{
    size_t dw = dw_units(l, i);
    if (unit < dw)
        dw_unit(l, i, unit);
    else
        dx_unit(l, i, unit - dw);
}

/* The list's units in a row, job after job. */
typedef size_t count_fn(const struct linear_bwd *l, size_t i);
typedef void unit_fn(const struct linear_bwd *l, size_t i, size_t unit);

struct unit_loop {
    const struct linear_bwd *l;
    count_fn *count;
    unit_fn *run;
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

static size_t count_all(const struct linear_bwd *l, count_fn *count)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n_jobs; i++)
        n += count(l, i);
    return n;
}

static void run_loop(const struct linear_bwd *l, count_fn *count, unit_fn *run)
{
    struct unit_loop u = { l, count, run };
    pool_run(l->pool, count_all(l, count), 1, run_units, &u);
}

static void choose_units(struct linear_bwd *l)
{
    size_t threads = l->pool ? (size_t)pool_threads(l->pool) : 1;
    l->dx_rows = DX_ROWS;
    l->dx_cols = DX_COLS;
    l->dw_rows = DW_ROWS;
    l->dw_cols = DW_COLS;
    for (int i = 0; i < HALVINGS && threads > 1; i++) {
        if (count_all(l, product_units) >= UNITS_PER_THREAD * threads)
            return;
        *(i % 3 == 2 ? &l->dx_cols : &l->dx_rows) /= 2;
        *(i % 2 ? &l->dw_cols : &l->dw_rows) /= 2;
    }
}

static void check_job(const struct linear_bwd *l, size_t i)
{
    const struct linear_bwd_job *j = &l->jobs[i], *before = job_before(l, i);
    if (!j->rows)
        return;
    check(is_bf16(l, j) ? j->w->type->id == QT_BF16 && j->dy16 : j->w->type->id == QT_F32);
    if (j->dx && !leads_dx(l, i))
        check(j->dx_add && before->rows == j->rows && before->w->cols == j->w->cols
              && before->dx_stride == j->dx_stride);
}

static void run_list(struct model *m, struct pool *pool, const struct linear_bwd_job *jobs,
                     size_t n_jobs)
{
    struct linear_bwd l = { .m = m, .pool = pool, .jobs = jobs, .n_jobs = n_jobs };
    for (size_t i = 0; i < n_jobs; i++)
        check_job(&l, i);
    choose_units(&l);
    run_loop(&l, round_units, round_unit);
    run_loop(&l, product_units, product_unit);
}

void linear_bwd_run(struct model *m, const struct linear_bwd_job *jobs, size_t n_jobs)
{
    run_list(m, m->pool, jobs, n_jobs);
}

void linear_bwd_alone(struct model *m, const struct linear_bwd_job *jobs, size_t n_jobs)
{
    run_list(m, NULL, jobs, n_jobs);
}
