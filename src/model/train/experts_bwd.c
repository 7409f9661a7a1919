/*
 * The experts backward.  With y = sum_e w_e D_e a_e, a_e what expert e's down projection D_e reads:
 *
 *     g = D_e^T dy        da_e = w_e g        dw_e = <g, a_e>        dD_e += dy (w_e a_e)^T
 *
 * so nothing as wide as y is needed but dy itself.  Choices were kept, not made again; a_e is made
 * again from gate and up.  Each expert goes to one thread, which takes some pairs at a time from
 * its outputs to its inputs and adds to the gradients of its weights while all of it is in the
 * cache.
 */
#include "model/linear_bwd.h"
#include "model/train/tape.h"

struct expert_task {
    struct tape *t;
    uint32_t layer;
    const struct layer_weights *w, *g;
};

/* Pairs [p, p + n) of expert e, and whose scratch they go through. */
struct pairs {
    const struct expert_task *k;
    size_t e, p, n;
    struct scratch *s;
};

/* Each pair's dy, in the class of the products. */
static void gather_outputs(const struct pairs *b)
{
    const struct tape *t = b->k->t;
    const uint32_t *slot = t->ffn[b->k->layer].slot + b->p;
    const float *dt = t->d.t ? t->d.t : t->d.x;
    size_t hidden = t->m->plan.hidden, top_k = t->m->plan.router.top_k;
    for (size_t i = 0; i < b->n; i++) {
        size_t from = slot[i] / top_k * hidden;
        if (t->shape.in_bf16)
            memcpy(b->s->t16 + i * hidden, t->d.t16 + from, hidden * sizeof(bf16));
        else
            memcpy(b->s->t + i * hidden, dt + from, hidden * sizeof(float));
    }
}

/* From the gradient of w a to those of gate, up and w; a again, times w. */
static void pair_gates_backward(const struct pairs *b, size_t width)
{
    const struct tape *t = b->k->t;
    const struct workspace *ws = &t->ffn[b->k->layer];
    const struct kept_gates *kept = &t->gates[b->k->layer];
    struct scratch *s = b->s;
    struct acts_buf gate = acts_from(&kept->pair_gate, b->p * width);
    struct acts_buf up = acts_from(&kept->pair_up, b->p * width);
    struct gate_bwd g = {
        .gate = &gate, .up = &up, .da = s->dact, .dgate = s->gate, .dup = s->up,
        .dgate16 = s->in16, .dup16 = s->in16 + b->n * width, .a = s->act, .mixing = ws->mixing,
        .dmixing = t->d.mixing, .slot = ws->slot + b->p, .n = b->n, .width = width,
        .limit = t->m->plan.layer[b->k->layer].swiglu_limit,
    };
    gates_backward(t, &g, s);
}

static void pairs_backward(const struct pairs *b)
{
    const struct expert_task *k = b->k;
    struct model *m = k->t->m;
    struct scratch *s = b->s;
    size_t hidden = m->plan.hidden, width = k->w->down_e[b->e].cols;
    struct linear_bwd_job down = { .w = &k->w->down_e[b->e], .dy = s->t, .dy_stride = hidden,
                                   .rows = b->n, .dx = s->dact, .dx_stride = width,
                                   .dy16 = s->t16, .rounded = true };
    struct linear_bwd_job gate = { .w = &k->w->gate_e[b->e], .dy = s->gate, .dy_stride = width,
                                   .rows = b->n, .x = acts_at(&s->pair_z, 0, hidden),
                                   .dx = k->t->d.pair_z + b->p * hidden, .dx_stride = hidden,
                                   .dw = grad_f32(&k->g->gate_e[b->e]), .dy16 = s->in16,
                                   .rounded = true };
    gather_inputs(k->t, k->layer, &s->pair_z, b->p, b->n);
    gather_outputs(b);
    linear_bwd_alone(m, &down, 1);
    pair_gates_backward(b, width);
    struct linear_bwd_job last[] = { gate, gate, down };
    last[1].w = &k->w->up_e[b->e];
    last[1].dy = s->up;
    last[1].dx_add = true;
    last[1].dw = grad_f32(&k->g->up_e[b->e]);
    last[1].dy16 += b->n * width;
    last[2].dx = NULL;
    last[2].x = acts_at(&s->act, 0, width);
    last[2].dw = grad_f32(&k->g->down_e[b->e]);
    linear_bwd_alone(m, last, 3);
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

void experts_backward(struct tape *t, uint32_t layer, struct weights *grads)
{
    struct expert_task k = { t, layer, &t->m->weights.layer[layer], &grads->layer[layer] };
    pool_run(t->m->pool, t->m->plan.router.n, 1, expert_range, &k);
}
