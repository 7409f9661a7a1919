/* A pass: trunk, head, MTP block, and the way back. */
#include "model/train/tape.h"

#include "model/linear_bwd.h"

enum { ROW_GRAIN = 8 };

struct pass_task {
    struct tape *t;
    const struct batch *b;
};

static void add_document(struct documents *d, size_t first, size_t end)
{
    d->first[d->n++] = first;
    for (size_t row = first; row < end; row += SPAN_ROWS)
        d->span[d->n_spans++] = (struct span){ first, row,
                                               end - row < SPAN_ROWS ? end - row : SPAN_ROWS };
}

/* Documents begin where pos is 0, and with every sequence. */
static void find_documents(struct tape *t, const struct batch *b)
{
    struct documents *d = &t->docs;
    size_t first = 0;
    d->n = d->n_spans = 0;
    for (size_t r = 1; r < t->n; r++)
        if (b->pos[r] == 0 || r % b->context == 0) {
            add_document(d, first, r);
            first = r;
        }
    add_document(d, first, t->n);
    d->first[d->n] = t->n;
}

static void start_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct pass_task *k = arg;
    struct tape *t = k->t;
    struct workspace *ws = &t->attn[0];
    (void)worker;
    for (size_t r = begin; r < end; r++) {
        embed_row(t->m, k->b->token[r], ws->x + r * t->m->plan.hidden);
        fill_angles(t->m, ws, r, k->b->pos[r]);
    }
    for (uint32_t i = 0; t->shape.backward && i < t->m->plan.n_ropes; i++) {
        size_t half = t->m->plan.rope[i].dims / 2;
        for (size_t j = begin * half; j < end * half; j++)
            t->sn_back[i][j] = -ws->sn[i][j];
    }
}

struct final_task {
    struct tape *t;
    struct tape_end *e;
    const struct weight *norm;
};

static void final_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct final_task *k = arg;
    size_t hidden = k->t->m->plan.hidden, at = begin * hidden;
    (void)worker;
    memcpy(k->e->x + at, k->t->attn[0].x + at, (end - begin) * hidden * sizeof(float));
    k->t->m->kern->rmsnorm_fwd(k->e->h.f32 + at, k->e->x + at, weight_f32(k->norm), end - begin,
                               hidden, (float)k->t->m->plan.eps);
}

static void finish(struct tape *t, struct tape_end *e, const struct weight *norm)
{
    struct final_task k = { t, e, norm };
    pool_run(t->m->pool, t->n, ROW_GRAIN, final_range, &k);
}

static void trunk_forward(struct tape *t, const struct batch *b, const struct objective *o,
                          struct pass_sums *sums)
{
    struct model *m = t->m;
    struct pass_task k = { .t = t, .b = b };
    t->n = b->n_rows * b->context;
    check(t->n <= t->rows && b->n_rows <= t->shape.n_rows && t->n);
    find_documents(t, b);
    pool_run(m->pool, t->n, ROW_GRAIN, start_range, &k);
    for (uint32_t i = 0; i < m->plan.n_layers; i++) {
        layer_forward(t, i);
        if (!t->shape.backward && m->plan.layer[i].sparse)
            router_sums(t, b, o, i, NULL, sums);
    }
    finish(t, &t->main, &m->weights.norm);
}

/* The MTP block's input: the next token's embedding and the trunk's row, both normed.  Where
 * there is no next token, token 0 stands in: no row with a target sees it. */
static void mtp_in_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct pass_task *k = arg;
    struct tape *t = k->t;
    struct model *m = t->m;
    const struct mtp_weights *w = &m->weights.mtp[0];
    size_t hidden = m->plan.hidden;
    float eps = (float)m->plan.eps;
    (void)worker;
    for (size_t r = begin; r < end; r++) {
        uint32_t next = k->b->target[r] == NO_TARGET ? 0 : k->b->target[r];
        float *e = t->mtp_embed + r * hidden, *u = t->mtp_in.f32 + r * 2 * hidden;
        embed_row(m, next, e);
        m->kern->rmsnorm_fwd(u, e, weight_f32(&w->embed_norm), 1, hidden, eps);
        m->kern->rmsnorm_fwd(u + hidden, t->main.h.f32 + r * hidden, weight_f32(&w->hidden_norm),
                             1, hidden, eps);
    }
}

static void mtp_forward(struct tape *t, const struct batch *b)
{
    struct model *m = t->m;
    const struct mtp_weights *w = &m->weights.mtp[0];
    const struct weight *fc[] = { &w->fc };
    size_t hidden = m->plan.hidden;
    struct pass_task k = { .t = t, .b = b };
    pool_run(m->pool, t->n, ROW_GRAIN, mtp_in_range, &k);
    acts_prepare(m, &t->mtp_in, t->n, 2 * hidden, fc, 1);
    linear_run(m, &(struct linear_job){ t->attn[0].x, hidden, fc[0],
                                        acts_at(&t->mtp_in, 0, 2 * hidden), t->n }, 1);
    layer_forward(t, m->plan.n_layers);
    finish(t, &t->mtp, &w->norm);
}

/* Both norms of its input, their gains by chunks of GAIN_ROWS tokens (as norm_backward). */
static void mtp_norm_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct pass_task *k = arg;
    struct tape *t = k->t;
    struct model *m = t->m;
    const struct mtp_weights *w = &m->weights.mtp[0];
    size_t hidden = m->plan.hidden;
    float eps = (float)m->plan.eps;
    (void)worker;
    for (size_t c = begin; c < end; c++) {
        size_t r0 = c * GAIN_ROWS, r1 = r0 + GAIN_ROWS < t->n ? r0 + GAIN_ROWS : t->n;
        float *dge = t->d.gain[GAIN_PRE] + c * hidden, *dgh = t->d.gain[GAIN_POST] + c * hidden;
        memset(dge, 0, hidden * sizeof *dge);
        memset(dgh, 0, hidden * sizeof *dgh);
        for (size_t r = r0; r < r1; r++) {
            float *d = t->d.mtp_in + r * 2 * hidden;
            m->kern->rmsnorm_bwd(d, dge, d, t->mtp_embed + r * hidden, weight_f32(&w->embed_norm),
                                 1, hidden, eps);
            m->kern->rmsnorm_bwd(d + hidden, dgh, d + hidden, t->main.h.f32 + r * hidden,
                                 weight_f32(&w->hidden_norm), 1, hidden, eps);
            m->kern->add_fwd(t->main.dh + r * hidden, d + hidden, hidden);
        }
    }
}

static void end_backward(struct tape *t, struct tape_end *e, const struct weight *norm,
                         const struct weight *dnorm)
{
    struct norm_bwd nb = { GAIN_PRE, t->d.x, grad_f32(dnorm), e->dh, e->x, weight_f32(norm), 1,
                           t->m->plan.hidden };
    norm_backward(t, &nb);
}

/* Leaves the gradient of the next tokens' embeddings in d.mtp_in and adds to main.dh. */
static void mtp_backward(struct tape *t, const struct batch *b, const struct objective *o,
                         struct weights *grads, struct pass_sums *sums)
{
    struct model *m = t->m;
    const struct mtp_weights *w = &m->weights.mtp[0];
    size_t hidden = m->plan.hidden, chunks = (t->n + GAIN_ROWS - 1) / GAIN_ROWS;
    struct mtp_weights *g = &grads->mtp[0];
    end_backward(t, &t->mtp, &w->norm, &g->norm);
    layer_backward(t, b, o, m->plan.n_layers, grads, sums);
    linear_bwd_run(m, &(struct linear_bwd_job){
        .w = &w->fc, .dy = t->d.x, .dy_stride = hidden, .rows = t->n,
        .x = acts_at(&t->mtp_in, 0, 2 * hidden), .dx = t->d.mtp_in, .dx_stride = 2 * hidden,
        .dw = grad_f32(&g->fc), .dy16 = t->d.t16 }, 1);
    struct pass_task k = { .t = t, .b = b };
    pool_run(m->pool, chunks, 1, mtp_norm_range, &k);
    gain_add(t, GAIN_PRE, grad_f32(&g->embed_norm), hidden);
    gain_add(t, GAIN_POST, grad_f32(&g->hidden_norm), hidden);
}

/* Both ends' losses; with grads their gradients down to the trunk's last row. */
static void run_ends(struct tape *t, const struct batch *b, const struct objective *o,
                     struct weights *grads, struct pass_sums *sums, float *logits)
{
    struct end_loss main = { b->target, o->scale_main, o->z_coef, &sums->ce, &sums->z,
                             &sums->n_targets, logits };
    struct end_loss mtp = { b->target2, o->scale_mtp, 0, &sums->mtp, NULL, &sums->n_targets2,
                            NULL };
    end_losses(t, &t->main, &main, grads);
    if (t->m->plan.n_mtp) {
        mtp_forward(t, b);
        end_losses(t, &t->mtp, &mtp, grads);
        if (grads)
            mtp_backward(t, b, o, grads, sums);
    }
    sums->n_bytes += b->n_bytes;
    for (size_t s = 0; s < b->n_rows; s++)
        sums->n_tokens += b->used[s];
}

void pass_forward(struct tape *t, const struct batch *b, const struct objective *o,
                  struct pass_sums *sums, float *logits)
{
    unsigned old = denormals_flush();
    check(!t->shape.backward);
    trunk_forward(t, b, o, sums);
    run_ends(t, b, o, NULL, sums, logits);
    denormals_restore(old);
}

void pass_gradients(struct tape *t, const struct batch *b, const struct objective *o,
                    struct weights *grads, struct pass_sums *sums)
{
    struct model *m = t->m;
    unsigned old = denormals_flush();
    check(t->shape.backward);
    trunk_forward(t, b, o, sums);
    run_ends(t, b, o, grads, sums, NULL);
    end_backward(t, &t->main, &m->weights.norm, &grads->norm);
    for (uint32_t i = m->plan.n_layers; i-- > 0;)
        layer_backward(t, b, o, i, grads, sums);
    embed_backward(t, b, t->d.x, m->plan.n_mtp ? t->d.mtp_in : NULL, grads);
    denormals_restore(old);
}
