/* One decoder layer over a tape: bands of rows, attention by documents, experts. */
#include "model/train/band.h"

static void before_attention(struct band *b, void *arg)
{
    (void)arg;
    attention_in(&b->attn_step, b->layer);
}

static void keep_gates(struct band *b)
{
    const struct layer_plan *l = &b->m.plan.layer[b->layer];
    size_t n = b->n * (l->sparse ? l->shared_ffn : l->ffn);
    if (b->t->shape.backward)
        gates_keep(b->t, &b->gates.gate, &b->gates.up, b->ffn.gate, b->ffn.up, n);
}

static void after_attention(struct band *b, void *arg)
{
    (void)arg;
    attention_out(&b->attn_step, b->layer);
    ffn_in(&b->ffn_step, b->layer);
    if (b->m.plan.layer[b->layer].sparse) {
        moe_route_rows(&b->ffn_step, b->layer);
    } else {
        ffn_forward(&b->ffn_step, b->layer);
        keep_gates(b);
        ffn_out(&b->ffn_step, b->layer);
    }
}

/* The shared expert, each row's sum, and the stream. */
static void after_experts(struct band *b, void *arg)
{
    const struct layer_weights *w = &b->m.weights.layer[b->layer];
    (void)arg;
    if (w->gate_s.data) {
        moe_shared(&b->ffn_step, b->layer);
        keep_gates(b);
    }
    moe_combine(&b->ffn_step, b->layer);
    ffn_out(&b->ffn_step, b->layer);
}

struct layer_task {
    struct tape *t;
    uint32_t layer;
};

/* Units are (span of a document, KV head) pairs. */
static void attend_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct layer_task *k = arg;
    const struct tape *t = k->t;
    const struct plan *p = &t->m->plan;
    const struct workspace *ws = &t->attn[k->layer];
    float *lse = t->shape.backward ? t->kept[k->layer].lse : NULL;
    size_t hd = p->head_dim, n_q = p->n_heads / p->n_kv_heads;
    size_t q_width = p->n_heads * hd, kv_width = p->n_kv_heads * hd;
    (void)worker;
    for (size_t u = begin; u < end; u++) {
        const struct span *span = &t->docs.span[u / p->n_kv_heads];
        size_t h = u % p->n_kv_heads, q_at = span->row * q_width + h * n_q * hd;
        size_t kv_at = span->document * kv_width + h * hd;
        struct attn_rows a = {
            .q = ws->q + q_at, .q_stride = q_width,
            .k = ws->k + kv_at, .v = ws->v + kv_at, .kv_stride = kv_width * sizeof(float),
            .kv_type = KV_F32, .first_pos = span->row - span->document, .n_rows = span->n_rows,
            .window = p->layer[k->layer].window, .ring = UINT64_MAX, .n_q = n_q, .hd = hd,
            .scale = p->attn_scale,
            .lse = lse ? lse + span->row * p->n_heads + h * n_q : NULL,
            .lse_stride = p->n_heads,
        };
        t->m->kern->attn_rows_fwd(ws->mix.f32 + q_at, q_width, &a);
    }
}

void gather_inputs(const struct tape *t, uint32_t layer, struct acts_buf *z, size_t p, size_t n)
{
    const struct layer_weights *w = &t->m->weights.layer[layer];
    const struct weight *in[] = { &w->gate_e[0], &w->up_e[0] };
    const struct workspace *ws = &t->ffn[layer];
    uint32_t top_k = t->m->plan.router.top_k;
    for (size_t i = 0; i < n; i++)
        acts_copy_row(t->m, z, i, &ws->z, ws->slot[p + i] / top_k, t->m->plan.hidden, in, 2);
}

/* Pairs [p, p + n) of expert e from its inputs to its outputs. */
static void expert_forward(const struct layer_task *k, size_t e, size_t p, size_t n, int worker)
{
    const struct tape *t = k->t;
    struct model *m = t->m;
    const struct layer_weights *w = &m->weights.layer[k->layer];
    const struct weight *down = &w->down_e[e];
    const struct workspace *ws = &t->ffn[k->layer];
    struct scratch *s = &t->scratch[worker];
    size_t hidden = m->plan.hidden, width = down->cols;
    const struct kept_gates *kept = &t->gates[k->layer];
    struct acts_buf kept_gate = acts_from(&kept->pair_gate, p * width);
    struct acts_buf kept_up = acts_from(&kept->pair_up, p * width);
    float *gate = kept_gate.f32 ? kept_gate.f32 : s->gate, *up = kept_up.f32 ? kept_up.f32 : s->up;
    struct acts z = acts_at(&s->pair_z, 0, hidden);
    gather_inputs(t, k->layer, &s->pair_z, p, n);
    linear_alone(m, &(struct linear_job){ gate, width, &w->gate_e[e], z, n }, worker);
    linear_alone(m, &(struct linear_job){ up, width, &w->up_e[e], z, n }, worker);
    if (t->shape.backward)
        gates_keep(t, &kept_gate, &kept_up, gate, up, n * width);
    gate_values(m, s->act.f32, gate, up, n * width, m->plan.layer[k->layer].swiglu_limit);
    acts_round(m, &s->act, 0, n, width, acts_classes(m, &down, 1));
    linear_alone(m, &(struct linear_job){ ws->pair_out + p * hidden, hidden, down,
                                          acts_at(&s->act, 0, width), n }, worker);
}

static void expert_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct layer_task *k = arg;
    const uint32_t *first = k->t->ffn[k->layer].first;
    for (size_t e = begin; e < end; e++)
        for (size_t p = first[e]; p < first[e + 1]; p += BAND_ROWS) {
            size_t left = first[e + 1] - p;
            expert_forward(k, e, p, left < BAND_ROWS ? left : BAND_ROWS, worker);
        }
}

void layer_forward(struct tape *t, uint32_t layer)
{
    struct layer_task k = { t, layer };
    struct step s = { .m = t->m, .n = t->n, .ws = &t->ffn[layer] };
    bands_run(t, layer, before_attention, NULL);
    pool_run(t->m->pool, t->docs.n_spans * t->m->plan.n_kv_heads, 1, attend_range, &k);
    bands_run(t, layer, after_attention, NULL);
    if (t->m->plan.layer[layer].sparse) {
        moe_sort_pairs(&s);
        pool_run(t->m->pool, t->m->plan.router.n, 1, expert_range, &k);
        bands_run(t, layer, after_experts, NULL);
    }
}
