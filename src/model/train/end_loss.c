/*
 * The end of a pass: logits, their cross-entropy and its gradient, for some rows at a time.
 *
 * Where products are fast (weights packed for tiles) and the vocabulary is large, a thread makes
 * logits for a part of it that stays in its cache, once for the sums and once more for the
 * gradients: writing and reading all of a row's logits takes longer.  Else they are made once.
 */
#include "model/train/tape.h"

#include "model/linear_bwd.h"

enum { ROW_GRAIN = 8 };

struct loss_task {
    struct tape *t;
    const struct end_loss *l;
    const struct acts_buf *h;
    size_t first, n, band;                /* the rows at hand, and how many of a band */
    size_t col, n_cols;                   /* the part of the vocabulary, in the loop that has one */
};

/* Some of these rows, in one thread. */
struct loss_band {
    const struct loss_task *k;
    size_t row, n;                        /* from k->first on */
    int worker;
};

/* Rows [at, at + n) of the head, at a multiple of 32: packed as gemm_packed.h says. */
static struct weight head_part(const struct weight *w, size_t at, size_t n)
{
    struct weight v = *w;
    v.data += at * w->row_bytes;
    v.rows = n;
    if (v.packed_y)
        v.packed_y += at / 32 * gemm_packed_bytes(w->cols, 32);
    if (v.packed_dx)
        v.packed_dx += at * 64;
    return v;
}

/* Columns [col, col + n_cols) of the band's logits, *stride apart. */
static float *band_logits(const struct loss_band *b, size_t col, size_t n_cols, size_t *stride)
{
    struct tape *t = b->k->t;
    struct weight w = head_part(&t->m->weights.head, col, n_cols);
    struct acts h = acts_at(b->k->h, b->k->first + b->row, w.cols);
    if (t->logits) {
        *stride = t->m->plan.vocab;
        return t->logits + b->row * *stride + col;
    }
    *stride = LOSS_STRIDE;
    float *y = t->scratch[b->worker].logits;
    linear_alone(t->m, &(struct linear_job){ y, *stride, &w, h, b->n }, b->worker);
    return y;
}

/* One part of the vocabulary joins the rows' sums. */
static void sum_part(const struct loss_band *b, size_t col, size_t n_cols)
{
    const struct loss_task *k = b->k;
    size_t stride, vocab = k->t->m->plan.vocab;
    const float *x = band_logits(b, col, n_cols, &stride);
    for (size_t i = 0; i < b->n; i++, x += stride) {
        size_t r = k->first + b->row + i, target = k->l->target[r];
        struct loss_row *row = &k->t->loss_row[b->row + i];
        if (target != NO_TARGET)
            k->t->m->kern->softmax_sum(&row->sum, x, n_cols);
        if (target - col < n_cols)
            row->target_logit = x[target - col];
        if (k->l->logits)
            memcpy(k->l->logits + r * vocab + col, x, n_cols * sizeof *x);
    }
}

static struct loss_band band_of(const struct loss_task *k, size_t i, int worker)
{
    size_t row = i * k->band, left = k->n - row;
    return (struct loss_band){ k, row, left < k->band ? left : k->band, worker };
}

static void sum_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct loss_task *k = arg;
    size_t vocab = k->t->m->plan.vocab, cols = k->n_cols;
    for (size_t r = begin * k->band; r < end * k->band && r < k->n; r++)
        k->t->loss_row[r].sum = SOFTMAX_BEGIN;
    for (size_t at = 0; at < vocab; at += cols)
        for (size_t i = begin; i < end; i++) {
            struct loss_band b = band_of(k, i, worker);
            sum_part(&b, at, vocab - at < cols ? vocab - at : cols);
        }
}

/* The part's logits of row r become gradients. */
static void grad_row(const struct loss_task *k, size_t r, float *x)
{
    const struct loss_row *row = &k->t->loss_row[r];
    size_t target = k->l->target[k->first + r];
    if (target == NO_TARGET || k->l->scale == 0) {
        memset(x, 0, k->n_cols * sizeof *x);
        return;
    }
    k->t->m->kern->softmax_grad(x, k->n_cols, row->sum.max, row->end.k);
    if (target - k->col < k->n_cols)
        x[target - k->col] = row->end.at_target;
}

/* Those of some bands, also rounded in class bf16. */
static void grad_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct loss_task *k = arg;
    bf16 *rounded = k->t->d.logits16;
    size_t stride;
    for (size_t i = begin; i < end; i++) {
        struct loss_band b = band_of(k, i, worker);
        float *x = band_logits(&b, k->col, k->n_cols, &stride);
        for (size_t r = b.row; r < b.row + b.n; r++, x += stride) {
            grad_row(k, r, x);
            if (rounded)
                k->t->m->kern->round_bf16(rounded + r * k->n_cols, x, k->n_cols);
        }
    }
}

/* Losses of the rows that have targets. */
static void row_ends(const struct loss_task *k)
{
    const struct end_loss *l = k->l;
    for (size_t r = 0; r < k->n; r++) {
        struct loss_row *row = &k->t->loss_row[r];
        if (l->target[k->first + r] == NO_TARGET)
            continue;
        row->end = softmax_end(&row->sum, row->target_logit, (float)l->scale, (float)l->z_coef);
        *l->sum += row->end.loss;
        *l->n_targets += 1;
        if (l->sum_z)
            *l->sum_z += row->end.lse * row->end.lse;
    }
}

/* Gradients of the part of the head's weights, and what it gives the rows. */
static void part_backward(const struct loss_task *k, struct tape_end *e, struct weights *grads)
{
    struct tape *t = k->t;
    size_t hidden = t->m->plan.hidden, vocab = t->m->plan.vocab;
    struct weight w = head_part(&t->m->weights.head, k->col, k->n_cols);
    linear_bwd_run(t->m, &(struct linear_bwd_job){
        .w = &w, .dy = t->logits ? t->logits + k->col : NULL, .dy_stride = vocab, .rows = k->n,
        .x = acts_at(&e->h, k->first, hidden), .dx = e->dh + k->first * hidden,
        .dx_stride = hidden, .dx_add = k->col > 0,
        .dw = grad_f32(&grads->head) + k->col * hidden, .dy16 = t->d.logits16, .rounded = true },
        1);
}

/* Rows that go through one part together; fewer where threads would have none. */
static size_t rows_of_band(const struct loss_task *k)
{
    size_t rows = k->t->logits ? ROW_GRAIN : LOSS_BAND;
    while (rows > ROW_GRAIN && k->n < rows * (size_t)pool_threads(k->t->m->pool))
        rows /= 2;
    return rows;
}

static void chunk_losses(struct loss_task *k, struct tape_end *e, struct weights *grads)
{
    struct tape *t = k->t;
    size_t vocab = t->m->plan.vocab, cols = t->logits ? vocab : LOSS_COLS;
    k->band = rows_of_band(k);
    size_t bands = (k->n + k->band - 1) / k->band, threads = (size_t)pool_threads(t->m->pool);
    struct acts h = acts_at(&e->h, k->first, t->m->plan.hidden);
    if (t->logits)
        linear_run(t->m, &(struct linear_job){ t->logits, vocab, &t->m->weights.head, h, k->n },
                   1);
    k->n_cols = cols;
    pool_run(t->m->pool, bands, (bands + threads - 1) / threads, sum_range, k);
    row_ends(k);
    for (k->col = 0; grads && k->col < vocab; k->col += cols) {
        k->n_cols = vocab - k->col < cols ? vocab - k->col : cols;
        pool_run(t->m->pool, bands, 1, grad_range, k);
        part_backward(k, e, grads);
    }
}

void end_losses(struct tape *t, struct tape_end *e, const struct end_loss *l,
                struct weights *grads)
{
    const struct weight *w[] = { &t->m->weights.head };
    size_t most = t->logits ? LOSS_ROWS : t->rows;
    acts_prepare(t->m, &e->h, t->n, t->m->plan.hidden, w, 1);
    for (size_t at = 0; at < t->n; at += most) {
        struct loss_task k = { .t = t, .l = l, .h = &e->h, .first = at,
                               .n = t->n - at < most ? t->n - at : most };
        chunk_losses(&k, e, grads);
    }
}
