/*
 * One decoder layer backward:
 *     dt = post norm's gradient of dx    dx += pre norm's gradient of F's gradient of dt
 * first for the FFN, then for attention.
 */
#include "model/train/tape.h"

#include "model/linear_bwd.h"

enum { ROW_GRAIN = 8 };

/* Gradient of a sublayer's output from that of the stream. */
static const float *sublayer_out(struct tape *t, const float *kept, const struct weight *gain,
                                 const struct weight *dgain)
{
    if (!(t->m->plan.norms & NORM_POST))
        return t->d.x;
    struct norm_bwd nb = { .dx = t->d.t, .dgain = grad_f32(dgain), .dy = t->d.x, .x = kept,
                           .gain = weight_f32(gain), .per = 1, .dim = t->m->plan.hidden };
    norm_backward(t, &nb);
    return t->d.t;
}

/* The gradient of its input, d.z, joins that of the stream. */
static void sublayer_in(struct tape *t, const float *kept, const struct weight *gain,
                        const struct weight *dgain)
{
    struct norm_bwd nb = { .dx = t->d.z, .dgain = grad_f32(dgain), .dy = t->d.z, .x = kept,
                           .gain = weight_f32(gain), .per = 1, .dim = t->m->plan.hidden };
    if (t->m->plan.norms & NORM_PRE)
        norm_backward(t, &nb);
    add_rows(t, t->d.x, t->d.z);
}

struct gate_bwd_task {
    const struct tape *t;
    const struct workspace *ws;
    size_t width;
    float limit;
};

void gate_backward(const struct tape *t, const struct gate_bwd *g, size_t n, float limit)
{
    if (t->m->plan.act == ACT_GELU)
        t->m->kern->geglu_bwd(g->dgate, g->dup, g->dy, g->gate, g->up, n);
    else
        t->m->kern->swiglu_bwd(g->dgate, g->dup, g->dy, g->gate, g->up, n, limit);
}

static void gate_bwd_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct gate_bwd_task *k = arg;
    const struct tape_grads *d = &k->t->d;
    size_t at = begin * k->width;
    (void)worker;
    struct gate_bwd g = { d->gate + at, d->up + at, d->act + at, k->ws->gate + at,
                          k->ws->up + at };
    gate_backward(k->t, &g, (end - begin) * k->width, k->limit);
}

void gate_rows_backward(struct tape *t, const struct workspace *ws, size_t width, float limit)
{
    struct gate_bwd_task k = { t, ws, width, limit };
    pool_run(t->m->pool, t->n, ROW_GRAIN, gate_bwd_range, &k);
}

static void ffn_backward(struct tape *t, uint32_t layer, const float *dt, struct weights *grads)
{
    struct model *m = t->m;
    const struct layer_weights *w = &m->weights.layer[layer], *g = &grads->layer[layer];
    const struct workspace *ws = &t->ffn[layer];
    struct tape_grads *d = &t->d;
    size_t hidden = m->plan.hidden, width = w->gate.rows;
    struct linear_bwd_job down = { .w = &w->down, .dy = dt, .dy_stride = hidden, .rows = t->n,
                                   .x = acts_at(&ws->act, 0, width), .dx = d->act,
                                   .dx_stride = width, .dw = grad_f32(&g->down),
                                   .dy16 = d->rounded };
    linear_bwd_run(m, &down, 1);
    gate_rows_backward(t, ws, width, m->plan.layer[layer].swiglu_limit);
    struct linear_bwd_job in = { .w = &w->gate, .dy = d->gate, .dy_stride = width, .rows = t->n,
                                 .x = acts_at(&ws->z, 0, hidden), .dx = d->z,
                                 .dx_stride = hidden, .dw = grad_f32(&g->gate),
                                 .dy16 = d->rounded };
    struct linear_bwd_job jobs[] = { in, in };
    jobs[1].w = &w->up;
    jobs[1].dy = d->up;
    jobs[1].dw = grad_f32(&g->up);
    jobs[1].dx_add = true;
    jobs[1].dy16 += t->n * width;
    linear_bwd_run(m, jobs, 2);
}

struct attn_bwd_task {
    struct tape *t;
    uint32_t layer;
};

/* Units are (document, KV head) pairs. */
static void attend_bwd_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct attn_bwd_task *k = arg;
    struct tape *t = k->t;
    const struct plan *p = &t->m->plan;
    const struct workspace *ws = &t->attn[k->layer];
    size_t hd = p->head_dim, n_q = p->n_heads / p->n_kv_heads;
    size_t q_width = p->n_heads * hd, kv_width = p->n_kv_heads * hd;
    bool bf16_class = weight_class(t->m, &t->m->weights.layer[k->layer].q) == CLASS_BF16;
    (void)worker;
    for (size_t u = begin; u < end; u++) {
        size_t first = t->docs.first[u / p->n_kv_heads], h = u % p->n_kv_heads;
        size_t q = first * q_width + h * n_q * hd, kv = first * kv_width + h * hd;
        struct attn_bwd a = {
            .q = ws->q + q, .k = ws->k + kv, .v = ws->v + kv, .out = ws->mix.f32 + q,
            .dout = t->d.mix + q, .lse = t->kept[k->layer].lse + first * p->n_heads + h * n_q,
            .dq = t->d.q + q, .dk = t->d.k + kv, .dv = t->d.v + kv, .q_stride = q_width,
            .kv_stride = kv_width, .out_stride = q_width, .lse_stride = p->n_heads,
            .n = t->docs.first[u / p->n_kv_heads + 1] - first, .n_q = n_q, .hd = hd,
            .window = p->layer[k->layer].window, .scale = p->attn_scale,
        };
        if (bf16_class)
            t->m->kern->attn_bwd_bf16(&a);
        else
            t->m->kern->attn_bwd(&a);
    }
}

/* RoPE turned back. */
static void turn_back_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct attn_bwd_task *k = arg;
    struct tape *t = k->t;
    const struct plan *p = &t->m->plan;
    uint32_t at = p->layer[k->layer].rope_at;
    size_t hd = p->head_dim, half = p->rope[at].dims / 2;
    (void)worker;
    for (size_t r = begin; r < end; r++) {
        const float *cs = t->attn[0].cs[at] + r * half, *sn = t->sn_back[at] + r * half;
        t->m->kern->rope_half_fwd(t->d.q + r * p->n_heads * hd, cs, sn, p->n_heads, hd, half);
        t->m->kern->rope_half_fwd(t->d.k + r * p->n_kv_heads * hd, cs, sn, p->n_kv_heads, hd, half);
    }
}

static void qk_norm_backward(struct tape *t, uint32_t layer, struct weights *grads)
{
    const struct plan *p = &t->m->plan;
    const struct layer_weights *w = &t->m->weights.layer[layer], *g = &grads->layer[layer];
    const struct kept_layer *kept = &t->kept[layer];
    struct norm_bwd q = { .dx = t->d.q, .dgain = grad_f32(&g->q_norm), .dy = t->d.q,
                          .x = kept->q, .gain = weight_f32(&w->q_norm), .per = p->n_heads,
                          .dim = p->head_dim };
    struct norm_bwd k = { .dx = t->d.k, .dgain = grad_f32(&g->k_norm), .dy = t->d.k,
                          .x = kept->k, .gain = weight_f32(&w->k_norm), .per = p->n_kv_heads,
                          .dim = p->head_dim };
    norm_backward(t, &q);
    norm_backward(t, &k);
}

/* q, k and v share their input: three products into one gradient. */
static void qkv_backward(struct tape *t, uint32_t layer, struct weights *grads)
{
    struct model *m = t->m;
    const struct layer_weights *w = &m->weights.layer[layer], *g = &grads->layer[layer];
    struct tape_grads *d = &t->d;
    size_t hidden = m->plan.hidden, q = w->q.rows, kv = w->k.rows;
    struct acts z = acts_at(&t->attn[layer].z, 0, hidden);
    const struct linear_bwd_job jobs[] = {
        { .w = &w->q, .dy = d->q, .dy_stride = q, .rows = t->n, .x = z, .dx = d->z,
          .dx_stride = hidden, .dw = grad_f32(&g->q), .dy16 = d->rounded },
        { .w = &w->k, .dy = d->k, .dy_stride = kv, .rows = t->n, .x = z, .dx = d->z,
          .dx_stride = hidden, .dx_add = true, .dw = grad_f32(&g->k),
          .dy16 = d->rounded + t->n * q },
        { .w = &w->v, .dy = d->v, .dy_stride = kv, .rows = t->n, .x = z, .dx = d->z,
          .dx_stride = hidden, .dx_add = true, .dw = grad_f32(&g->v),
          .dy16 = d->rounded + t->n * (q + kv) },
    };
    linear_bwd_run(m, jobs, 3);
}

static void attention_backward(struct tape *t, uint32_t layer, const float *dt,
                               struct weights *grads)
{
    struct model *m = t->m;
    const struct plan *p = &m->plan;
    const struct layer_weights *w = &m->weights.layer[layer];
    size_t hidden = p->hidden, width = w->q.rows;
    struct attn_bwd_task k = { t, layer };
    struct linear_bwd_job o = { .w = &w->o, .dy = dt, .dy_stride = hidden, .rows = t->n,
                                .x = acts_at(&t->attn[layer].mix, 0, width), .dx = t->d.mix,
                                .dx_stride = width, .dw = grad_f32(&grads->layer[layer].o),
                                .dy16 = t->d.rounded };
    linear_bwd_run(m, &o, 1);
    pool_run(m->pool, t->docs.n * p->n_kv_heads, 1, attend_bwd_range, &k);
    if (p->layer[layer].rope)
        pool_run(m->pool, t->n, ROW_GRAIN, turn_back_range, &k);
    if (p->layer[layer].qk_norm)
        qk_norm_backward(t, layer, grads);
    qkv_backward(t, layer, grads);
}

void block_backward(struct tape *t, const struct batch *b, const struct objective *o,
                    uint32_t layer, struct weights *grads, struct pass_sums *sums)
{
    const struct layer_weights *w = &t->m->weights.layer[layer], *g = &grads->layer[layer];
    const struct kept_layer *kept = &t->kept[layer];
    const float *dt = sublayer_out(t, kept->t_ffn, &w->ffn_post_norm, &g->ffn_post_norm);
    if (t->m->plan.layer[layer].sparse)
        experts_backward(t, b, o, layer, dt, grads, sums);
    else
        ffn_backward(t, layer, dt, grads);
    sublayer_in(t, kept->x_ffn, &w->ffn_norm, &g->ffn_norm);
    dt = sublayer_out(t, kept->t_attn, &w->attn_post_norm, &g->attn_post_norm);
    attention_backward(t, layer, dt, grads);
    sublayer_in(t, kept->x_attn, &w->attn_norm, &g->attn_norm);
}
