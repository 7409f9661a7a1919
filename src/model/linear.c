#include "model/model.h"

/* Weight rows of one claimable unit, and bytes a piece should have: the products stream
 * small pieces at half the speed (src/kern/gemm/gemm.h). */
enum { UNIT_ROWS = 16, PIECE_BYTES = 128 << 10, ALONE_BYTES = 64 << 10 };

/* Fewer token rows than this do not fill tiles. */
enum { PACKED_ROWS = 16 };

/* From this many token rows on, and the blocks they are then cut into. */
enum {
    MANY_TOKENS = 64, BLOCK_TOKENS = 512, BLOCK_TOKENS_BF16 = 2048, BLOCK_ROWS = 512,
    BLOCK_ROWS_LEAST = 64
};

enum numeric_class weight_class(const struct model *m, const struct weight *w)
{
    return m->numerics == NUMERICS_F32 || w->f32_class ? CLASS_F32 : w->type->numeric;
}

unsigned acts_classes(const struct model *m, const struct weight *const *w, size_t n)
{
    unsigned set = 0;
    for (size_t i = 0; i < n; i++)
        if (w[i]->data)
            set |= 1u << weight_class(m, w[i]);
    return set;
}

void acts_round(const struct model *m, const struct acts_buf *x, size_t begin, size_t end, size_t k,
                unsigned classes)
{
    size_t at = begin * k, blocks = k / 32;
    for (size_t r = begin; classes & 1u << CLASS_Q8 && r < end; r++)
        m->kern->quant_q8(x->q + r * k, x->d + r * blocks, x->sum + r * blocks, x->f32 + r * k, k);
    if (classes & 1u << CLASS_BF16)
        m->kern->round_bf16(x->b16 + at, x->f32 + at, (end - begin) * k);
}

struct prepare {
    const struct model *m;
    const struct acts_buf *x;
    size_t k;
    unsigned classes;
};

static void prepare_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct prepare *p = arg;
    (void)worker;
    acts_round(p->m, p->x, begin, end, p->k, p->classes);
}

void acts_prepare(struct model *m, struct acts_buf *x, size_t rows, size_t k,
                  const struct weight *const *w, size_t n)
{
    struct prepare p = { m, x, k, acts_classes(m, w, n) };
    if (p.classes & ~(1u << CLASS_F32))
        pool_run(m->pool, rows, 4, prepare_rows, &p);
}

struct acts acts_at(const struct acts_buf *x, size_t row, size_t k)
{
    size_t blocks = k / 32;
    return (struct acts){ .f32 = x->f32 + row * k, .bf16 = x->b16 + row * k, .q = x->q + row * k,
                          .d = x->d + row * blocks, .sum = x->sum + row * blocks };
}

void acts_copy_row(const struct model *m, struct acts_buf *dst, size_t to,
                   const struct acts_buf *src, size_t from, size_t k,
                   const struct weight *const *w, size_t n)
{
    unsigned set = acts_classes(m, w, n);
    size_t blocks = k / 32;
    if (set & 1u << CLASS_F32)
        memcpy(dst->f32 + to * k, src->f32 + from * k, k * sizeof(float));
    if (set & 1u << CLASS_BF16)
        memcpy(dst->b16 + to * k, src->b16 + from * k, k * sizeof(bf16));
    if (set & 1u << CLASS_Q8) {
        memcpy(dst->q + to * k, src->q + from * k, k);
        memcpy(dst->d + to * blocks, src->d + from * blocks, blocks * sizeof(float));
        memcpy(dst->sum + to * blocks, src->sum + from * blocks, blocks * sizeof(int32_t));
    }
}

/*
 * A unit is a block of weight rows by a block of token rows.  Few tokens: 16 weight rows by all
 * of them, for the work is to read the weights.  Many: a few hundred of both, so that what a
 * product rearranges for a block serves many outputs and a block of x stays in the second
 * cache.
 */
struct linear {
    struct model *m;
    const struct linear_job *jobs;
    size_t n_jobs;
    size_t weight_rows, tokens;           /* of a unit */
};

static size_t parts(size_t n, size_t each)
{
    return n / each + (n % each != 0);
}

/* The products of bf16 pack weights once for all tokens of a block, and take x as it comes. */
static size_t block_tokens(const struct linear *l, const struct linear_job *j)
{
    bool packs = l->tokens == BLOCK_TOKENS && weight_class(l->m, j->w) == CLASS_BF16;
    return packs ? BLOCK_TOKENS_BF16 : l->tokens;
}

static size_t units_of(const struct linear *l, const struct linear_job *j)
{
    return parts(j->w->rows, l->weight_rows) * parts(j->rows, block_tokens(l, j));
}

static size_t all_units(const struct linear *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n_jobs; i++)
        n += units_of(l, &l->jobs[i]);
    return n;
}

/* Weight rows [r0, r1) as f32, a panel at a time, through the f32 product. */
static void run_f32(const struct linear *l, const struct linear_job *j, size_t r0, size_t r1,
                    int worker)
{
    struct model *m = l->m;
    size_t k = j->w->cols;
    float *panel = m->ws.panel + (size_t)worker * m->ws.panel_stride;
    for (size_t r = r0; r < r1; r += PANEL_ROWS) {
        size_t n = r1 - r < PANEL_ROWS ? r1 - r : PANEL_ROWS;
        for (size_t i = 0; i < n; i++)
            j->w->type->dequant(panel + i * k, j->w->data + (r + i) * j->w->row_bytes, k);
        m->kern->gemm_f32(j->y + r, j->y_stride, panel, k * sizeof(float), &j->x, j->rows, n, k);
    }
}

/* Packed columns begin at multiples of 32 of w's rows; single rows of x read w as it is. */
static bool run_packed(const struct linear *l, const struct linear_job *j, size_t r0, size_t r1)
{
    const struct weight *w = j->w;
    if (!w->packed_y || r0 % 32 || j->rows < PACKED_ROWS)
        return false;
    l->m->kern->gemm_bf16_packed(j->y + r0, j->y_stride, j->x.bf16, w->cols,
                                 w->packed_y + r0 / 32 * gemm_packed_bytes(w->cols, 32),
                                 gemm_packed_bytes(w->cols, 32), j->rows, r1 - r0, w->cols,
                                 false);
    return true;
}

static void run_range(const struct linear *l, const struct linear_job *j, size_t r0, size_t r1,
                      int worker)
{
    const struct weight *w = j->w;
    if (run_packed(l, j, r0, r1))
        return;
    if (weight_class(l->m, w) == CLASS_F32 && w->type->numeric != CLASS_F32) {
        run_f32(l, j, r0, r1, worker);
        return;
    }
    gemm_fn *gemm = kern_gemm(l->m->kern, w->type);
    gemm(j->y + r0, j->y_stride, w->data + r0 * w->row_bytes, w->row_bytes, &j->x, j->rows,
         r1 - r0, w->cols);
}

/* The job for `n` of its tokens from token t on. */
static struct linear_job job_part(const struct linear *l, const struct linear_job *j, size_t t,
                                  size_t n)
{
    struct linear_job part = *j;
    enum numeric_class class = weight_class(l->m, j->w);
    size_t k = j->w->cols;
    part.rows = n;
    part.y += t * j->y_stride;
    part.x.f32 += class == CLASS_F32 ? t * k : 0;
    part.x.bf16 += class == CLASS_BF16 ? t * k : 0;
    part.x.q += class == CLASS_Q8 ? t * k : 0;
    part.x.d += class == CLASS_Q8 ? t * (k / 32) : 0;
    part.x.sum += class == CLASS_Q8 ? t * (k / 32) : 0;
    return part;
}

/* Units [u0, u1) of one job: all weight rows of a block of tokens, then the next. */
static void run_job(const struct linear *l, const struct linear_job *j, size_t u0, size_t u1,
                    int worker)
{
    size_t across = parts(j->w->rows, l->weight_rows);
    while (u0 < u1) {
        size_t block = u0 / across, n = u1 - u0, left = across - u0 % across;
        n = n < left ? n : left;
        size_t each = block_tokens(l, j), t = block * each;
        size_t tokens = j->rows - t < each ? j->rows - t : each;
        size_t r0 = u0 % across * l->weight_rows, r1 = r0 + n * l->weight_rows;
        struct linear_job part = job_part(l, j, t, tokens);
        run_range(l, &part, r0, r1 < j->w->rows ? r1 : j->w->rows, worker);
        u0 += n;
    }
}

static void run_units(void *arg, size_t begin, size_t end, int worker)
{
    const struct linear *l = arg;
    size_t at = 0;
    for (size_t i = 0; i < l->n_jobs && at < end; i++) {
        size_t n = units_of(l, &l->jobs[i]);
        size_t u0 = begin > at ? begin - at : 0, u1 = end - at < n ? end - at : n;
        run_job(l, &l->jobs[i], u0, u1, worker);
        at += n;
    }
}

/* Units per piece: four pieces a thread, but not below PIECE_BYTES unless a thread would
 * be left without work.  What is read before another thread could help is one piece. */
static size_t grain_of(size_t units, size_t bytes, size_t n_threads)
{
    size_t many = (units + 4 * n_threads - 1) / (4 * n_threads);
    size_t few = (units + n_threads - 1) / n_threads;
    size_t large = bytes ? units * (size_t)PIECE_BYTES / bytes : 1;
    size_t grain = large > many ? large : many;
    grain = bytes < ALONE_BYTES ? units : grain < few ? grain : few;
    return grain ? grain : 1;
}

static void run_few(struct linear *l)
{
    size_t units = all_units(l), bytes = 0;
    for (size_t i = 0; i < l->n_jobs; i++)
        bytes += l->jobs[i].rows ? l->jobs[i].w->rows * l->jobs[i].w->row_bytes : 0;
    pool_run(l->m->pool, units, grain_of(units, bytes, (size_t)pool_threads(l->m->pool)),
             run_units, l);
}

/* Blocks are halved where there are fewer than four for a thread. */
static void run_many(struct linear *l)
{
    size_t threads = (size_t)pool_threads(l->m->pool);
    l->weight_rows = BLOCK_ROWS;
    l->tokens = BLOCK_TOKENS;
    while (threads > 1 && l->weight_rows > BLOCK_ROWS_LEAST && all_units(l) < 4 * threads)
        l->weight_rows /= 2;
    pool_run(l->m->pool, all_units(l), 1, run_units, l);
}

void linear_run(struct model *m, const struct linear_job *jobs, size_t n_jobs)
{
    if (m->observe)
        m->observe(m->observe_arg, jobs, n_jobs);
    struct linear l = { m, jobs, n_jobs, UNIT_ROWS, SIZE_MAX };
    size_t most = 0;
    for (size_t i = 0; i < n_jobs; i++)
        most = jobs[i].rows > most ? jobs[i].rows : most;
    if (most < MANY_TOKENS)
        run_few(&l);
    else
        run_many(&l);
}

void linear_alone(struct model *m, const struct linear_job *job, int worker)
{
    struct linear l = { m, job, 1, job->w->rows, SIZE_MAX };
    run_range(&l, job, 0, job->w->rows, worker);
}
