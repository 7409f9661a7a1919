/* Norms backward over many rows: the gain's sum over rows keeps one order. */
#include "model/train/tape.h"

struct norm_task {
    struct tape *t;
    const struct norm_bwd *nb;
};

static void norm_chunks(void *arg, size_t begin, size_t end, int worker)
{
    const struct norm_task *k = arg;
    const struct norm_bwd *nb = k->nb;
    const struct model *m = k->t->m;
    size_t row = nb->per * nb->dim;
    (void)worker;
    for (size_t c = begin; c < end; c++) {
        size_t r0 = c * GAIN_ROWS, left = k->t->n - r0, n = left < GAIN_ROWS ? left : GAIN_ROWS;
        float *dg = nb->dgain ? k->t->d.gain + c * nb->dim : NULL;
        if (dg)
            memset(dg, 0, nb->dim * sizeof *dg);
        m->kern->rmsnorm_bwd(nb->dx + r0 * row, dg, nb->dy + r0 * row, nb->x + r0 * row, nb->gain,
                             n * nb->per, nb->dim, (float)m->plan.eps);
    }
}

void norm_backward(struct tape *t, const struct norm_bwd *nb)
{
    size_t chunks = (t->n + GAIN_ROWS - 1) / GAIN_ROWS;
    struct norm_task k = { t, nb };
    pool_run(t->m->pool, chunks, 1, norm_chunks, &k);
    for (size_t c = 0; nb->dgain && c < chunks; c++)
        t->m->kern->add_fwd(nb->dgain, t->d.gain + c * nb->dim, nb->dim);
}

struct add_task {
    struct tape *t;
    float *y;
    const float *x;
};

static void add_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct add_task *k = arg;
    size_t hidden = k->t->m->plan.hidden;
    (void)worker;
    k->t->m->kern->add_fwd(k->y + begin * hidden, k->x + begin * hidden, (end - begin) * hidden);
}

void add_rows(struct tape *t, float *y, const float *x)
{
    struct add_task k = { t, y, x };
    pool_run(t->m->pool, t->n, GAIN_ROWS, add_range, &k);
}
