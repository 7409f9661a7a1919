/* The end of a pass: logits a few rows at a time, their cross-entropy and its gradient. */
#include "model/train/tape.h"

#include "model/linear_bwd.h"

struct loss_task {
    struct tape *t;
    const struct end_loss *l;
    size_t first;                         /* row of logits row 0 */
};

static void loss_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct loss_task *k = arg;
    struct tape *t = k->t;
    size_t vocab = t->m->plan.vocab;
    float scale = t->shape.backward ? (float)k->l->scale : 0;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        float *x = t->logits + i * vocab;
        size_t r = k->first + i;
        bool has_target = k->l->target[r] != NO_TARGET;
        if (has_target)
            t->m->kern->cross_entropy(x, k->l->target[r], vocab, scale, (float)k->l->z_coef,
                                      &t->row_loss[r], &t->row_lse[r]);
        if (t->shape.backward && (!has_target || scale == 0))   /* scale 0 left the logits there */
            memset(x, 0, vocab * sizeof *x);
        if (t->d.logits16)
            t->m->kern->round_bf16(t->d.logits16 + i * vocab, x, vocab);
    }
}

static void chunk_losses(struct tape *t, struct tape_end *e, const struct end_loss *l,
                         struct weights *grads, size_t first, size_t n)
{
    struct model *m = t->m;
    size_t hidden = m->plan.hidden, vocab = m->plan.vocab;
    const struct weight *w = &m->weights.head;
    struct acts h = acts_at(&e->h, first, hidden);
    linear_run(m, &(struct linear_job){ t->logits, vocab, w, h, n }, 1);
    if (l->logits)
        memcpy(l->logits + first * vocab, t->logits, n * vocab * sizeof(float));
    struct loss_task k = { t, l, first };
    pool_run(m->pool, n, 4, loss_range, &k);
    if (grads)
        linear_bwd_run(m, &(struct linear_bwd_job){
            .w = w, .dy = t->logits, .dy_stride = vocab, .rows = n, .x = h,
            .dx = e->dh + first * hidden, .dx_stride = hidden, .dw = grad_f32(&grads->head),
            .dy16 = t->d.logits16, .rounded = true }, 1);
}

void end_losses(struct tape *t, struct tape_end *e, const struct end_loss *l,
                struct weights *grads)
{
    const struct weight *w[] = { &t->m->weights.head };
    acts_prepare(t->m, &e->h, t->n, t->m->plan.hidden, w, 1);
    for (size_t at = 0; at < t->n; at += LOSS_ROWS)
        chunk_losses(t, e, l, grads, at, t->n - at < LOSS_ROWS ? t->n - at : LOSS_ROWS);
    for (size_t r = 0; r < t->n; r++)
        if (l->target[r] != NO_TARGET) {
            *l->sum += t->row_loss[r];
            *l->n_targets += 1;
            if (l->sum_z)
                *l->sum_z += t->row_lse[r] * t->row_lse[r];
        }
}
