/* Norms backward over many rows: the gain's sum over rows keeps one order. */
#include "model/train/tape.h"

void norm_rows_backward(const struct tape *t, const struct norm_bwd *nb, size_t row, size_t n)
{
    const struct model *m = t->m;
    size_t width = nb->per * nb->dim;
    for (size_t r = 0; r < n; r += GAIN_ROWS) {
        size_t rows = n - r < GAIN_ROWS ? n - r : GAIN_ROWS;
        float *dg = nb->dgain ? t->d.gain[nb->gain_at] + (row + r) / GAIN_ROWS * nb->dim : NULL;
        if (dg)
            memset(dg, 0, nb->dim * sizeof *dg);
        m->kern->rmsnorm_bwd(nb->dx + r * width, dg, nb->dy + r * width, nb->x + r * width,
                             nb->gain, rows * nb->per, nb->dim, (float)m->plan.eps);
    }
}

void gain_add(const struct tape *t, enum gain at, float *dgain, size_t dim)
{
    size_t chunks = (t->n + GAIN_ROWS - 1) / GAIN_ROWS;
    for (size_t c = 0; dgain && c < chunks; c++)
        t->m->kern->add_fwd(dgain, t->d.gain[at] + c * dim, dim);
}

struct norm_task {
    const struct tape *t;
    const struct norm_bwd *nb;
};

static void norm_chunks(void *arg, size_t begin, size_t end, int worker)
{
    const struct norm_task *k = arg;
    struct norm_bwd nb = *k->nb;
    size_t row = begin * GAIN_ROWS, last = end * GAIN_ROWS, at = row * nb.per * nb.dim;
    (void)worker;
    nb.dx += at;
    nb.dy += at;
    nb.x += at;
    norm_rows_backward(k->t, &nb, row, (last < k->t->n ? last : k->t->n) - row);
}

void norm_backward(struct tape *t, const struct norm_bwd *nb)
{
    struct norm_task k = { t, nb };
    pool_run(t->m->pool, (t->n + GAIN_ROWS - 1) / GAIN_ROWS, 1, norm_chunks, &k);
    gain_add(t, nb->gain_at, nb->dgain, nb->dim);
}
