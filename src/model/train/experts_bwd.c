/*
 * The mixture of experts backward.  With y = sum_e w_e E_e(z) + shared(z):
 *     dE_e = w_e dy      dw_e = <dy, E_e(z)>      dz from the experts, the shared one and,
 * through dw and the balance loss, the router.  Choices were kept, not made again.
 */
#include "model/train/tape.h"

#include "model/linear_bwd.h"

enum { ROW_GRAIN = 8 };

struct moe_bwd_task {
    struct tape *t;
    const struct workspace *ws;
    const float *dt;
    size_t width;                         /* of gate, up and act below */
    float limit;
    float *dgate, *dup;
    const float *dact, *gate, *up;
};

/* Gradients of every pair's output and of its mixing weight. */
static void pair_out_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct moe_bwd_task *k = arg;
    struct tape *t = k->t;
    size_t hidden = t->m->plan.hidden, top_k = t->m->plan.router.top_k;
    (void)worker;
    for (size_t i = begin * top_k; i < end * top_k; i++) {
        const float *dy = k->dt + i / top_k * hidden;
        size_t at = k->ws->pair[i] * hidden;
        t->m->kern->scale_add_bwd(t->d.pair_out + at, t->d.mixing + i, dy, k->ws->pair_out + at,
                                  k->ws->mixing[i], hidden);
    }
}

/* down_e of every expert that had rows, and of the shared one. */
static void down_backward(struct tape *t, uint32_t layer, const float *dt, struct weights *grads)
{
    struct model *m = t->m;
    const struct layer_weights *w = &m->weights.layer[layer], *g = &grads->layer[layer];
    const struct workspace *ws = &t->ffn[layer];
    struct tape_grads *d = &t->d;
    size_t hidden = m->plan.hidden, width = m->plan.layer[layer].ffn, n_jobs = 0;
    for (uint32_t e = 0; e < m->plan.router.n; e++) {
        size_t p0 = ws->first[e], rows = ws->first[e + 1] - p0;
        if (rows)
            d->jobs[n_jobs++] = (struct linear_bwd_job){
                .w = &w->down_e[e], .dy = d->pair_out + p0 * hidden, .dy_stride = hidden,
                .rows = rows, .x = acts_at(&ws->pair_act, p0, width),
                .dx = d->pair_act + p0 * width, .dx_stride = width,
                .dw = grad_f32(&g->down_e[e]), .dy16 = d->rounded + p0 * hidden };
    }
    if (w->gate_s.data)
        d->jobs[n_jobs++] = (struct linear_bwd_job){
            .w = &w->down_s, .dy = dt, .dy_stride = hidden, .rows = t->n,
            .x = acts_at(&ws->act, 0, w->gate_s.rows), .dx = d->act,
            .dx_stride = w->gate_s.rows, .dw = grad_f32(&g->down_s),
            .dy16 = d->rounded + t->n * m->plan.router.top_k * hidden };
    linear_bwd_run(m, d->jobs, n_jobs);
}

static void swiglu_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct moe_bwd_task *k = arg;
    size_t at = begin * k->width, n = (end - begin) * k->width;
    (void)worker;
    k->t->m->kern->swiglu_bwd(k->dgate + at, k->dup + at, k->dact + at, k->gate + at, k->up + at,
                              n, k->limit);
}

static void gates_backward(struct tape *t, uint32_t layer)
{
    const struct workspace *ws = &t->ffn[layer];
    const struct layer_plan *l = &t->m->plan.layer[layer];
    struct tape_grads *d = &t->d;
    struct moe_bwd_task k = { .t = t, .width = l->ffn, .limit = l->swiglu_limit,
                              .dgate = d->pair_gate, .dup = d->pair_up, .dact = d->pair_act,
                              .gate = ws->pair_gate, .up = ws->pair_up };
    pool_run(t->m->pool, t->n * t->m->plan.router.top_k, ROW_GRAIN, swiglu_range, &k);
    if (!l->shared_ffn)
        return;
    k = (struct moe_bwd_task){ .t = t, .width = l->shared_ffn, .limit = l->swiglu_limit,
                               .dgate = d->gate, .dup = d->up, .dact = d->act,
                               .gate = ws->gate, .up = ws->up };
    pool_run(t->m->pool, t->n, ROW_GRAIN, swiglu_range, &k);
}

static void route_bwd_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct moe_bwd_task *k = arg;
    const struct moe_router *r = &k->t->m->plan.router;
    (void)worker;
    for (size_t row = begin; row < end; row++)
        moe_route_bwd(k->t->d.router + row * r->n, k->t->d.mixing + row * r->top_k,
                      k->ws->expert + row * r->top_k, k->ws->router + row * r->n, r);
}

/* What reads z itself: the shared expert and the router, in this order; then the experts. */
static void inputs_backward(struct tape *t, uint32_t layer, struct weights *grads)
{
    struct model *m = t->m;
    const struct layer_weights *w = &m->weights.layer[layer], *g = &grads->layer[layer];
    const struct workspace *ws = &t->ffn[layer];
    struct tape_grads *d = &t->d;
    size_t hidden = m->plan.hidden, width = m->plan.layer[layer].ffn, n_jobs = 0;
    size_t shared = m->plan.layer[layer].shared_ffn;
    bf16 *rounded = d->rounded;
    struct linear_bwd_job job = { .rows = t->n, .x = acts_at(&ws->z, 0, hidden), .dx = d->z,
                                  .dx_stride = hidden, .dy_stride = shared };
    for (int up = 0; shared && up < 2; up++) {
        job.w = up ? &w->up_s : &w->gate_s;
        job.dy = up ? d->up : d->gate;
        job.dw = grad_f32(up ? &g->up_s : &g->gate_s);
        job.dx_add = up;
        job.dy16 = rounded;
        rounded += t->n * shared;
        d->jobs[n_jobs++] = job;
    }
    job.w = &w->router;
    job.dy = d->router;
    job.dy_stride = m->plan.router.n;
    job.dw = grad_f32(&g->router);
    job.dx_add = shared != 0;
    job.dy16 = NULL;
    d->jobs[n_jobs++] = job;
    for (uint32_t i = 0; i < 2 * m->plan.router.n; i++) {
        uint32_t e = i / 2;
        size_t p0 = ws->first[e], rows = ws->first[e + 1] - p0;
        if (rows)
            d->jobs[n_jobs++] = (struct linear_bwd_job){
                .w = i % 2 ? &w->up_e[e] : &w->gate_e[e], .rows = rows,
                .dy = (i % 2 ? d->pair_up : d->pair_gate) + p0 * width, .dy_stride = width,
                .x = acts_at(&ws->pair_z, p0, hidden), .dx = d->pair_z + p0 * hidden,
                .dx_stride = hidden, .dx_add = i % 2,
                .dw = grad_f32(i % 2 ? &g->up_e[e] : &g->gate_e[e]),
                .dy16 = rounded + (2 * p0 + i % 2 * rows) * width };
    }
    linear_bwd_run(m, d->jobs, n_jobs);
}

static void pair_in_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct moe_bwd_task *k = arg;
    struct tape *t = k->t;
    size_t hidden = t->m->plan.hidden, top_k = t->m->plan.router.top_k;
    (void)worker;
    for (size_t i = begin * top_k; i < end * top_k; i++)
        t->m->kern->add_fwd(t->d.z + i / top_k * hidden, t->d.pair_z + k->ws->pair[i] * hidden,
                            hidden);
}

void experts_backward(struct tape *t, const struct batch *b, const struct objective *o,
                      uint32_t layer, const float *dt, struct weights *grads,
                      struct pass_sums *sums)
{
    struct moe_bwd_task k = { .t = t, .ws = &t->ffn[layer], .dt = dt };
    struct pool *pool = t->m->pool;
    pool_run(pool, t->n, ROW_GRAIN, pair_out_range, &k);
    down_backward(t, layer, dt, grads);
    gates_backward(t, layer);
    pool_run(pool, t->n, ROW_GRAIN, route_bwd_range, &k);
    router_sums(t, b, o, layer, t->d.router, sums);
    inputs_backward(t, layer, grads);
    pool_run(pool, t->n, ROW_GRAIN, pair_in_range, &k);
}
