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
    const struct layer_weights *w, *g;
    const float *dt;
    float limit;                          /* clamp of gate and up */
};

static size_t larger_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Gradients of one expert's outputs and of its mixing weights. */
static void outputs_backward(const struct moe_bwd_task *k, size_t p0, size_t rows)
{
    struct tape *t = k->t;
    size_t hidden = t->m->plan.hidden, top_k = t->m->plan.router.top_k;
    for (size_t p = p0; p < p0 + rows; p++) {
        size_t slot = k->ws->slot[p];
        t->m->kern->scale_add_bwd(t->d.pair_out + p * hidden, t->d.mixing + slot,
                                  k->dt + slot / top_k * hidden, k->ws->pair_out + p * hidden,
                                  k->ws->mixing[slot], hidden);
    }
}

/* One expert from its outputs to its inputs, while its rows are in the cache. */
static void expert_backward(const struct moe_bwd_task *k, size_t e, size_t p0, size_t rows)
{
    struct model *m = k->t->m;
    const struct workspace *ws = k->ws;
    struct tape_grads *d = &k->t->d;
    size_t hidden = m->plan.hidden, width = k->w->gate_e[e].rows, at = p0 * width;
    bf16 *rounded = d->rounded + p0 * larger_of(hidden, 2 * width);
    struct linear_bwd_job down = { .w = &k->w->down_e[e], .dy = d->pair_out + p0 * hidden,
                                   .dy_stride = hidden, .rows = rows,
                                   .x = acts_at(&ws->pair_act, p0, width),
                                   .dx = d->pair_act + at, .dx_stride = width,
                                   .dw = grad_f32(&k->g->down_e[e]), .dy16 = rounded };
    outputs_backward(k, p0, rows);
    linear_bwd_alone(m, &down, 1);
    struct gate_bwd g = { d->pair_gate + at, d->pair_up + at, d->pair_act + at,
                          ws->pair_gate + at, ws->pair_up + at };
    gate_backward(k->t, &g, rows * width, k->limit);
    struct linear_bwd_job gate = { .w = &k->w->gate_e[e], .dy = d->pair_gate + at,
                                   .dy_stride = width, .rows = rows,
                                   .x = acts_at(&ws->pair_z, p0, hidden),
                                   .dx = d->pair_z + p0 * hidden, .dx_stride = hidden,
                                   .dw = grad_f32(&k->g->gate_e[e]), .dy16 = rounded };
    struct linear_bwd_job in[] = { gate, gate };
    in[1].w = &k->w->up_e[e];
    in[1].dy = d->pair_up + at;
    in[1].dx_add = true;
    in[1].dw = grad_f32(&k->g->up_e[e]);
    in[1].dy16 += rows * width;
    linear_bwd_alone(m, in, 2);
}

static void expert_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct moe_bwd_task *k = arg;
    (void)worker;
    for (size_t e = begin; e < end; e++) {
        size_t p0 = k->ws->first[e], rows = k->ws->first[e + 1] - p0;
        if (rows)
            expert_backward(k, e, p0, rows);
    }
}

/* The shared expert down to the gradients of gate and up. */
static void shared_backward(const struct moe_bwd_task *k)
{
    struct tape *t = k->t;
    size_t hidden = t->m->plan.hidden, width = k->w->gate_s.rows;
    if (!k->w->gate_s.data)
        return;
    struct linear_bwd_job down = { .w = &k->w->down_s, .dy = k->dt, .dy_stride = hidden,
                                   .rows = t->n, .x = acts_at(&k->ws->act, 0, width),
                                   .dx = t->d.act, .dx_stride = width,
                                   .dw = grad_f32(&k->g->down_s), .dy16 = t->d.rounded };
    linear_bwd_run(t->m, &down, 1);
    gate_rows_backward(t, k->ws, width, k->limit);
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

/* What reads z itself: the shared expert's gate and up, then the router. */
static void inputs_backward(const struct moe_bwd_task *k)
{
    struct tape *t = k->t;
    struct tape_grads *d = &t->d;
    size_t hidden = t->m->plan.hidden, shared = k->w->gate_s.rows;
    size_t n = k->w->gate_s.data ? 0 : 2;
    struct linear_bwd_job job = { .w = &k->w->gate_s, .dy = d->gate, .dy_stride = shared,
                                  .rows = t->n, .x = acts_at(&k->ws->z, 0, hidden), .dx = d->z,
                                  .dx_stride = hidden, .dw = grad_f32(&k->g->gate_s),
                                  .dy16 = d->rounded };
    struct linear_bwd_job jobs[] = { job, job, job };
    jobs[1].w = &k->w->up_s;
    jobs[1].dy = d->up;
    jobs[1].dw = grad_f32(&k->g->up_s);
    jobs[1].dy16 += t->n * shared;
    jobs[1].dx_add = true;
    jobs[2].w = &k->w->router;
    jobs[2].dy = d->router;
    jobs[2].dy_stride = t->m->plan.router.n;
    jobs[2].dw = grad_f32(&k->g->router);
    jobs[2].dy16 = NULL;
    jobs[2].dx_add = n == 0;
    linear_bwd_run(t->m, jobs + n, 3 - n);
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
    struct moe_bwd_task k = { t, &t->ffn[layer], &t->m->weights.layer[layer],
                              &grads->layer[layer], dt, t->m->plan.layer[layer].swiglu_limit };
    struct pool *pool = t->m->pool;
    pool_run(pool, t->m->plan.router.n, 1, expert_range, &k);
    shared_backward(&k);
    pool_run(pool, t->n, ROW_GRAIN, route_bwd_range, &k);
    router_sums(t, b, o, layer, t->d.router, sums);
    inputs_backward(&k);
    pool_run(pool, t->n, ROW_GRAIN, pair_in_range, &k);
}
