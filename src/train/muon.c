#include "train/muon.h"

#include <math.h>

#include "train/newton_schulz.h"

/* From here on (multiply-adds of one product) a matrix is shared by all threads: a product
 * of it takes longer than waking them. */
enum { LARGE = 64 << 20, ROW_GRAIN = 16, TILE = 16 };

/* One matrix on its way. */
struct muon_way {
    const struct kernels *k;
    const struct muon_config *c;
    const struct muon_job *job;
    struct ns_space s;
    float factor;                         /* of a pass over the rows */
};

struct muon_list {
    const struct kernels *k;
    const struct muon_config *c;
    const struct muon_job *jobs;
    char *scratch;
    size_t per_worker;
};

static size_t short_side(const struct muon_job *j)
{
    return j->rows < j->cols ? j->rows : j->cols;
}

static size_t long_side(const struct muon_job *j)
{
    return j->rows > j->cols ? j->rows : j->cols;
}

static bool is_large(const struct muon_job *j)
{
    return (double)short_side(j) * (double)short_side(j) * (double)long_side(j) >= LARGE;
}

/* The largest space one of the large or of the other jobs needs. */
static size_t space_for(const struct muon_job *jobs, size_t n, bool large)
{
    size_t most = 0;
    for (size_t i = 0; i < n; i++) {
        size_t bytes = ns_space_bytes(short_side(&jobs[i]), long_side(&jobs[i]));
        if (is_large(&jobs[i]) == large && bytes > most)
            most = bytes;
    }
    return most;
}

size_t muon_scratch_bytes(const struct muon_job *jobs, size_t n_jobs, int n_threads)
{
    size_t threads = n_threads > 1 ? (size_t)n_threads : 1;
    size_t large = space_for(jobs, n_jobs, true);
    size_t small = threads * space_for(jobs, n_jobs, false);
    return large > small ? large : small;
}

/* M and U; U into y if it still has to be turned, else into x. */
static void average_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct muon_way *w = arg;
    const struct muon_job *j = w->job;
    float mu = (float)w->c->mu, take = (float)((1 - w->c->mu) * w->c->grad_scale);
    float *to = j->rows > j->cols ? w->s.y : w->s.x;
    (void)worker;
    for (size_t i = begin * j->cols; i < end * j->cols; i++) {
        float g = take * j->g[i], m = mu * j->momentum[i] + g;
        j->momentum[i] = m;
        to[i] = w->c->nesterov ? g + mu * m : m;
    }
}

/* x = y turned: row c of x is column c of y.  A piece is some rows of x. */
static void turn_in(void *arg, size_t begin, size_t end, int worker)
{
    const struct muon_way *w = arg;
    size_t rows = w->job->rows, cols = w->job->cols;
    (void)worker;
    for (size_t c0 = begin; c0 < end; c0 += TILE)
        for (size_t r = 0; r < rows; r++)
            for (size_t c = c0; c < end && c < c0 + TILE; c++)
                w->s.x[c * rows + r] = w->s.y[r * cols + c];
}

static void scale_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct muon_way *w = arg;
    (void)worker;
    for (size_t i = begin * w->s.n; i < end * w->s.n; i++)
        w->s.x[i] *= w->factor;
}

/* W's rows; NS_SCALE O lies turned in x if the matrix was. */
static void apply_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct muon_way *w = arg;
    const struct muon_job *j = w->job;
    float keep = (float)(1 - w->c->lr * w->c->weight_decay);
    (void)worker;
    for (size_t r0 = begin; r0 < end; r0 += TILE)
        for (size_t r = r0; r < end && r < r0 + TILE; r++)
            for (size_t c = 0; c < j->cols; c++) {
                float o = j->rows > j->cols ? w->s.x[c * j->rows + r] : w->s.x[r * j->cols + c];
                j->w[r * j->cols + c] = j->w[r * j->cols + c] * keep - w->factor * o;
            }
}

static void step_one(struct muon_way *w, struct pool *pool, char *space)
{
    const struct muon_job *j = w->job;
    double norm;
    ns_space_divide(&w->s, space, short_side(j), long_side(j));
    pool_run(pool, j->rows, ROW_GRAIN, average_rows, w);
    if (j->rows > j->cols)
        pool_run(pool, j->cols, ROW_GRAIN, turn_in, w);
    w->k->sum_squares(&norm, w->s.x, j->rows * j->cols);
    w->factor = (float)((double)NS_SCALE / (sqrt(norm) + 1e-7));
    pool_run(pool, w->s.m, ROW_GRAIN, scale_rows, w);
    newton_schulz(&w->s, w->k, pool, w->c->bf16);
    w->factor = (float)(w->c->lr * 0.2 * sqrt((double)w->s.n) / (double)NS_SCALE);
    pool_run(pool, j->rows, ROW_GRAIN, apply_rows, w);
}

static void step_small(void *arg, size_t begin, size_t end, int worker)
{
    const struct muon_list *l = arg;
    for (size_t i = begin; i < end; i++) {
        struct muon_way w = { .k = l->k, .c = l->c, .job = &l->jobs[i] };
        if (!is_large(w.job))
            step_one(&w, NULL, l->scratch + (size_t)worker * l->per_worker);
    }
}

void muon_step(const struct kernels *k, struct pool *pool, const struct muon_job *jobs,
               size_t n_jobs, const struct muon_config *c, void *scratch)
{
    struct muon_list l = { k, c, jobs, scratch, space_for(jobs, n_jobs, false) };
    unsigned old = denormals_flush();
    for (size_t i = 0; i < n_jobs; i++) {
        struct muon_way w = { .k = k, .c = c, .job = &jobs[i] };
        if (is_large(w.job))
            step_one(&w, pool, scratch);
    }
    pool_run(pool, n_jobs, 1, step_small, &l);
    denormals_restore(old);
}
