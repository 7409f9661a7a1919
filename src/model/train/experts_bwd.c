/*
 * The experts backward.  With y = sum_e w_e E_e(z):   dE_e = w_e dy      dw_e = <dy, E_e(z)>
 * Choices were kept, not made again.  Each expert goes to one thread, some pairs at a time, which
 * takes them from its outputs to its inputs and adds to the gradients of its weights while all of
 * it is in the cache.
 */
#include "model/linear_bwd.h"
#include "model/train/tape.h"

struct expert_task {
    struct tape *t;
    uint32_t layer;
    const struct layer_weights *w, *g;
    const float *dt;
};

/* Pairs [p, p + n) of expert e, and whose scratch they go through. */
struct pairs {
    const struct expert_task *k;
    size_t e, p, n;
    struct scratch *s;
};

/* Gradients of their outputs, and of their mixing weights. */
static void outputs_backward(const struct pairs *b)
{
    const struct tape *t = b->k->t;
    const struct workspace *ws = &t->ffn[b->k->layer];
    size_t hidden = t->m->plan.hidden, top_k = t->m->plan.router.top_k;
    for (size_t i = 0; i < b->n; i++) {
        size_t slot = ws->slot[b->p + i];
        t->m->kern->scale_add_bwd(b->s->t + i * hidden, t->d.mixing + slot,
                                  b->k->dt + slot / top_k * hidden,
                                  ws->pair_out + (b->p + i) * hidden, ws->mixing[slot], hidden);
    }
}

static void pairs_backward(const struct pairs *b)
{
    const struct expert_task *k = b->k;
    struct model *m = k->t->m;
    const struct workspace *ws = &k->t->ffn[k->layer];
    struct scratch *s = b->s;
    size_t hidden = m->plan.hidden, width = k->w->down_e[b->e].cols, at = b->p * width;
    struct acts z = acts_at(&ws->pair_z, b->p, hidden);
    struct linear_bwd_job down = { .w = &k->w->down_e[b->e], .dy = s->t, .dy_stride = hidden,
                                   .rows = b->n, .x = acts_at(&ws->pair_act, b->p, width),
                                   .dx = s->act, .dx_stride = width,
                                   .dw = grad_f32(&k->g->down_e[b->e]), .dy16 = s->t16 };
    struct linear_bwd_job gate = { .w = &k->w->gate_e[b->e], .dy = s->gate, .dy_stride = width,
                                   .rows = b->n, .x = z, .dx = k->t->d.pair_z + b->p * hidden,
                                   .dx_stride = hidden, .dw = grad_f32(&k->g->gate_e[b->e]),
                                   .dy16 = s->in16 };
    struct linear_bwd_job in[] = { gate, gate };
    in[1].w = &k->w->up_e[b->e];
    in[1].dy = s->up;
    in[1].dx_add = true;
    in[1].dw = grad_f32(&k->g->up_e[b->e]);
    in[1].dy16 = s->in16 + b->n * width;
    outputs_backward(b);
    linear_bwd_alone(m, &down, 1);
    struct gate_bwd g = { s->gate, s->up, s->act, ws->pair_gate + at, ws->pair_up + at };
    gate_backward(m, &g, b->n * width, m->plan.layer[k->layer].swiglu_limit);
    linear_bwd_alone(m, in, 2);
}

static void expert_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct expert_task *k = arg;
    const uint32_t *first = k->t->ffn[k->layer].first;
    struct pairs b = { .k = k, .s = &k->t->scratch[worker] };
    for (b.e = begin; b.e < end; b.e++)
        for (b.p = first[b.e]; b.p < first[b.e + 1]; b.p += b.n) {
            size_t left = first[b.e + 1] - b.p;
            b.n = left < BAND_ROWS ? left : BAND_ROWS;
            pairs_backward(&b);
        }
}

void experts_backward(struct tape *t, uint32_t layer, const float *dt, struct weights *grads)
{
    struct expert_task k = { t, layer, &t->m->weights.layer[layer], &grads->layer[layer], dt };
    pool_run(t->m->pool, t->m->plan.router.n, 1, expert_range, &k);
}
