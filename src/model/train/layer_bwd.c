/*
 * One decoder layer backward:
 *     dt = post norm's gradient of dx    dx += pre norm's gradient of F's gradient of dt
 * first for the FFN, then for attention.  What belongs to a row goes by bands; the gradients of
 * weights, which sum over all rows, follow as products of their own.
 */
#include "model/linear_bwd.h"
#include "model/train/band.h"

enum { ROW_GRAIN = 8 };

struct layer_task {
    struct tape *t;
    uint32_t layer;
    const struct layer_weights *w, *g;
};

/* Gradient of a sublayer's output from that of the stream, before that changes. */
static const float *sublayer_out(const struct band *b, const float *kept,
                                 const struct weight *gain, const struct weight *dgain)
{
    size_t hidden = b->m.plan.hidden;
    struct norm_bwd nb = { GAIN_POST, b->d.t, grad_f32(dgain), b->d.x, kept, weight_f32(gain), 1,
                           hidden };
    if (b->m.plan.norms & NORM_POST)
        norm_rows_backward(b->t, &nb, b->row, b->n);
    else if (b->d.t)
        memcpy(b->d.t, b->d.x, b->n * hidden * sizeof(float));
    return b->d.t ? b->d.t : b->d.x;
}

/* The gradient of its input, dz, joins that of the stream. */
static void sublayer_in(const struct band *b, float *dz, const float *kept,
                        const struct weight *gain, const struct weight *dgain)
{
    struct norm_bwd nb = { GAIN_PRE, dz, grad_f32(dgain), dz, kept, weight_f32(gain), 1,
                           b->m.plan.hidden };
    if (b->m.plan.norms & NORM_PRE)
        norm_rows_backward(b->t, &nb, b->row, b->n);
    b->m.kern->add_fwd(b->d.x, dz, b->n * b->m.plan.hidden);
}

static void add_gains(const struct layer_task *k, const struct weight *post,
                      const struct weight *pre)
{
    const struct plan *p = &k->t->m->plan;
    if (p->norms & NORM_POST)
        gain_add(k->t, GAIN_POST, grad_f32(post), p->hidden);
    if (p->norms & NORM_PRE)
        gain_add(k->t, GAIN_PRE, grad_f32(pre), p->hidden);
}

/* A weight's part in a list that gives dx alone, or dw alone. */
static struct linear_bwd_job dx_job(struct band *b, const struct weight *w, const float *dy,
                                    bf16 *dy16, float *dx)
{
    return (struct linear_bwd_job){ .w = w, .dy = dy, .dy_stride = w->rows, .rows = b->n, .dx = dx,
                                    .dx_stride = w->cols, .dy16 = dy16 };
}

static struct linear_bwd_job dw_job(struct tape *t, const struct weight *w, const struct weight *g,
                                    const float *dy, bf16 *dy16, struct acts x)
{
    return (struct linear_bwd_job){ .w = w, .dy = dy, .dy_stride = w->rows, .rows = t->n, .x = x,
                                    .dw = grad_f32(g), .dy16 = dy16, .rounded = true };
}

/* Where the rounded gradients of a row's input products stand: one after another for all rows. */
static bf16 *in16_of(struct tape *t, size_t before, size_t row, size_t width)
{
    return t->d.in16 ? t->d.in16 + t->n * before + row * width : NULL;
}

/* gate, up and down of an FFN that every row goes through: dense, or the shared expert. */
struct ffn {
    const struct weight *gate, *up, *down;
};

/* From dt to the gradient of its input, which is set. */
static void ffn_rows(struct band *b, const struct ffn *f, const float *dt, float *dz)
{
    size_t width = f->down->cols;
    struct linear_bwd_job down = dx_job(b, f->down, dt, b->d.t16, b->scratch->dact);
    struct linear_bwd_job in[] = {
        dx_job(b, f->gate, b->d.gate, in16_of(b->t, 0, b->row, width), dz),
        dx_job(b, f->up, b->d.up, in16_of(b->t, width, b->row, width), dz) };
    struct gate_bwd g = {
        .gate = &b->gates.gate, .up = &b->gates.up, .da = b->scratch->dact, .dgate = b->d.gate,
        .dup = b->d.up, .dgate16 = in[0].dy16, .dup16 = in[1].dy16, .a = b->d.act, .n = b->n,
        .width = width, .limit = b->m.plan.layer[b->layer].swiglu_limit,
    };
    linear_bwd_run(&b->m, &down, 1);
    gates_backward(b->t, &g, b->scratch);
    in[0].rounded = in[1].rounded = in[1].dx_add = true;
    linear_bwd_run(&b->m, in, 2);
}

/* The gradients of its weights. */
static void ffn_weights(struct layer_task *k, const struct ffn *f, const struct ffn *g,
                        struct linear_bwd_job job[3])
{
    struct tape *t = k->t;
    const struct workspace *ws = &t->ffn[k->layer];
    size_t width = f->down->cols;
    const float *dt = t->d.t ? t->d.t : t->d.x;
    struct acts z = acts_at(&ws->z, 0, f->gate->cols);
    job[0] = dw_job(t, f->down, g->down, dt, t->d.t16, acts_at(&t->d.act, 0, width));
    job[1] = dw_job(t, f->gate, g->gate, t->d.gate, in16_of(t, 0, 0, width), z);
    job[2] = dw_job(t, f->up, g->up, t->d.up, in16_of(t, width, 0, width), z);
}

static void dense_rows(struct band *b, void *arg)
{
    struct layer_task *k = arg;
    struct ffn f = { &k->w->gate, &k->w->up, &k->w->down };
    const float *dt = sublayer_out(b, b->kept.t_ffn, &k->w->ffn_post_norm, &k->g->ffn_post_norm);
    ffn_rows(b, &f, dt, b->scratch->z);
    sublayer_in(b, b->scratch->z, b->kept.x_ffn, &k->w->ffn_norm, &k->g->ffn_norm);
}

static void dense_backward(struct layer_task *k)
{
    struct ffn f = { &k->w->gate, &k->w->up, &k->w->down };
    struct ffn g = { &k->g->gate, &k->g->up, &k->g->down };
    struct linear_bwd_job jobs[3];
    bands_run(k->t, k->layer, dense_rows, k);
    ffn_weights(k, &f, &g, jobs);
    linear_bwd_run(k->t->m, jobs, 3);
}

/* Up to the experts: dt, and through the shared one into d.z; what the router read, again. */
static void shared_rows(struct band *b, void *arg)
{
    struct layer_task *k = arg;
    struct ffn f = { &k->w->gate_s, &k->w->up_s, &k->w->down_s };
    size_t n = b->n * b->m.plan.hidden;
    const float *dt = sublayer_out(b, b->kept.t_ffn, &k->w->ffn_post_norm, &k->g->ffn_post_norm);
    if (f.gate->data)
        ffn_rows(b, &f, dt, b->d.z);
    else if (b->d.t16)
        b->m.kern->round_bf16(b->d.t16, dt, n);
    if (b->d.router_z && b->m.plan.norms & NORM_PRE)
        b->m.kern->rmsnorm_fwd(b->d.router_z, b->kept.x_ffn, weight_f32(&k->w->ffn_norm), b->n,
                               b->m.plan.hidden, (float)b->m.plan.eps);
    else if (b->d.router_z)
        memcpy(b->d.router_z, b->kept.x_ffn, n * sizeof(float));
}

/* Behind them: the router's, the shared expert's and the pairs' gradients of z together. */
static void sparse_in_rows(struct band *b, void *arg)
{
    struct layer_task *k = arg;
    size_t hidden = b->m.plan.hidden, top_k = b->m.plan.router.top_k;
    struct linear_bwd_job router = dx_job(b, &k->w->router, b->d.router, NULL, b->d.z);
    router.dx_add = k->w->gate_s.data != NULL;
    linear_bwd_run(&b->m, &router, 1);
    for (size_t i = 0; i < b->n * top_k; i++)
        b->m.kern->add_fwd(b->d.z + i / top_k * hidden, b->d.pair_z + b->ffn.pair[i] * hidden,
                           hidden);
    sublayer_in(b, b->d.z, b->kept.x_ffn, &k->w->ffn_norm, &k->g->ffn_norm);
}

static void route_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct layer_task *k = arg;
    const struct tape_grads *d = &k->t->d;
    const struct workspace *ws = &k->t->ffn[k->layer];
    const struct moe_router *r = &k->t->m->plan.router;
    (void)worker;
    for (size_t row = begin; row < end; row++)
        moe_route_bwd(d->router + row * r->n, d->mixing + row * r->top_k,
                      ws->expert + row * r->top_k, ws->router + row * r->n, r);
}

static void sparse_weights(struct layer_task *k)
{
    struct tape *t = k->t;
    struct ffn f = { &k->w->gate_s, &k->w->up_s, &k->w->down_s };
    struct ffn g = { &k->g->gate_s, &k->g->up_s, &k->g->down_s };
    struct acts z = { .f32 = t->d.router_z ? t->d.router_z : t->ffn[k->layer].z.f32 };
    struct linear_bwd_job jobs[4] = { dw_job(t, &k->w->router, &k->g->router, t->d.router, NULL,
                                             z) };
    if (f.gate->data)
        ffn_weights(k, &f, &g, jobs + 1);
    linear_bwd_run(t->m, jobs, f.gate->data ? 4 : 1);
}

static void sparse_backward(struct layer_task *k, const struct batch *b,
                            const struct objective *o, struct weights *grads,
                            struct pass_sums *sums)
{
    struct tape *t = k->t;
    bands_run(t, k->layer, shared_rows, k);
    experts_backward(t, k->layer, grads);
    pool_run(t->m->pool, t->n, ROW_GRAIN, route_range, k);
    router_sums(t, b, o, k->layer, t->d.router, sums);
    bands_run(t, k->layer, sparse_in_rows, k);
    sparse_weights(k);
}

/* Through O, to the gradient of the attention's output. */
static void attention_out_rows(struct band *b, void *arg)
{
    struct layer_task *k = arg;
    const float *dt = sublayer_out(b, b->kept.t_attn, &k->w->attn_post_norm,
                                   &k->g->attn_post_norm);
    struct linear_bwd_job o = dx_job(b, &k->w->o, dt, b->d.t16, b->d.mix);
    linear_bwd_run(&b->m, &o, 1);
}

/* Units are (document, KV head) pairs. */
static void attend_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct layer_task *k = arg;
    struct tape *t = k->t;
    const struct plan *p = &t->m->plan;
    const struct workspace *ws = &t->attn[k->layer];
    size_t hd = p->head_dim, n_q = p->n_heads / p->n_kv_heads;
    size_t q_width = p->n_heads * hd, kv_width = p->n_kv_heads * hd;
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
        if (t->shape.in_bf16)
            t->m->kern->attn_bwd_bf16(&a);
        else
            t->m->kern->attn_bwd(&a);
    }
}

/* RoPE turned back. */
static void turn_back(const struct band *b)
{
    const struct plan *p = &b->m.plan;
    uint32_t at = p->layer[b->layer].rope_at;
    size_t hd = p->head_dim, half = p->rope[at].dims / 2;
    for (size_t r = 0; r < b->n; r++) {
        const float *cs = b->attn.cs[at] + r * half;
        const float *sn = b->t->sn_back[at] + (b->row + r) * half;
        b->m.kern->rope_half_fwd(b->d.q + r * p->n_heads * hd, cs, sn, p->n_heads, hd, half);
        b->m.kern->rope_half_fwd(b->d.k + r * p->n_kv_heads * hd, cs, sn, p->n_kv_heads, hd, half);
    }
}

static void qk_norm_rows(const struct band *b, const struct layer_task *k)
{
    const struct plan *p = &b->m.plan;
    struct norm_bwd q = { GAIN_Q, b->d.q, grad_f32(&k->g->q_norm), b->d.q, b->kept.q,
                          weight_f32(&k->w->q_norm), p->n_heads, p->head_dim };
    struct norm_bwd kk = { GAIN_K, b->d.k, grad_f32(&k->g->k_norm), b->d.k, b->kept.k,
                           weight_f32(&k->w->k_norm), p->n_kv_heads, p->head_dim };
    norm_rows_backward(b->t, &q, b->row, b->n);
    norm_rows_backward(b->t, &kk, b->row, b->n);
}

/* q, k and v share their input: three products into one gradient. */
static void attention_in_rows(struct band *b, void *arg)
{
    struct layer_task *k = arg;
    size_t q = k->w->q.rows, kv = k->w->k.rows;
    float *dz = b->scratch->z;
    if (b->m.plan.layer[b->layer].rope)
        turn_back(b);
    if (b->m.plan.layer[b->layer].qk_norm)
        qk_norm_rows(b, k);
    struct linear_bwd_job jobs[] = {
        dx_job(b, &k->w->q, b->d.q, in16_of(b->t, 0, b->row, q), dz),
        dx_job(b, &k->w->k, b->d.k, in16_of(b->t, q, b->row, kv), dz),
        dx_job(b, &k->w->v, b->d.v, in16_of(b->t, q + kv, b->row, kv), dz) };
    jobs[1].dx_add = jobs[2].dx_add = true;
    linear_bwd_run(&b->m, jobs, 3);
    sublayer_in(b, dz, b->kept.x_attn, &k->w->attn_norm, &k->g->attn_norm);
}

static void attention_weights(struct layer_task *k)
{
    struct tape *t = k->t;
    const struct layer_weights *w = k->w, *g = k->g;
    const struct workspace *ws = &t->attn[k->layer];
    size_t q = w->q.rows, kv = w->k.rows;
    const float *dt = t->d.t ? t->d.t : t->d.x;
    struct acts z = acts_at(&ws->z, 0, w->q.cols), mix = acts_at(&ws->mix, 0, q);
    const struct linear_bwd_job jobs[] = {
        dw_job(t, &w->o, &g->o, dt, t->d.t16, mix),
        dw_job(t, &w->q, &g->q, t->d.q, in16_of(t, 0, 0, q), z),
        dw_job(t, &w->k, &g->k, t->d.k, in16_of(t, q, 0, kv), z),
        dw_job(t, &w->v, &g->v, t->d.v, in16_of(t, q + kv, 0, kv), z) };
    linear_bwd_run(t->m, jobs, 4);
}

static void attention_backward(struct layer_task *k)
{
    const struct plan *p = &k->t->m->plan;
    bands_run(k->t, k->layer, attention_out_rows, k);
    pool_run(k->t->m->pool, k->t->docs.n * p->n_kv_heads, 1, attend_range, k);
    bands_run(k->t, k->layer, attention_in_rows, k);
    attention_weights(k);
    add_gains(k, &k->g->attn_post_norm, &k->g->attn_norm);
    if (p->layer[k->layer].qk_norm) {
        gain_add(k->t, GAIN_Q, grad_f32(&k->g->q_norm), p->head_dim);
        gain_add(k->t, GAIN_K, grad_f32(&k->g->k_norm), p->head_dim);
    }
}

void layer_backward(struct tape *t, const struct batch *b, const struct objective *o,
                    uint32_t layer, struct weights *grads, struct pass_sums *sums)
{
    struct layer_task k = { t, layer, &t->m->weights.layer[layer], &grads->layer[layer] };
    if (t->m->plan.layer[layer].sparse)
        sparse_backward(&k, b, o, grads, sums);
    else
        dense_backward(&k);
    add_gains(&k, &k.g->ffn_post_norm, &k.g->ffn_norm);
    attention_backward(&k);
}
