/* Attention, the dense FFN, and how a layer puts them together. */
#include "model/block.h"

enum { ROW_GRAIN = 4 };

struct norm_task {
    struct model *m;
    float *y;
    const float *x, *gain;
};

static void norm_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct norm_task *t = arg;
    size_t hidden = t->m->plan.hidden, at = begin * hidden;
    (void)worker;
    t->m->kern->rmsnorm_fwd(t->y + at, t->x + at, t->gain, end - begin, hidden,
                            (float)t->m->plan.eps);
}

/* What a sublayer reads, into ws.z: the stream normed, or as it is. */
static void sublayer_begin(const struct step *s, const struct weight *pre)
{
    struct model *m = s->m;
    struct norm_task t = { m, m->ws.z.f32, m->ws.x, weight_f32(pre) };
    if (m->plan.norms & NORM_PRE)
        pool_run(m->pool, s->n, ROW_GRAIN, norm_range, &t);
    else
        memcpy(m->ws.z.f32, m->ws.x, s->n * m->plan.hidden * sizeof(float));
}

/* What it made, in ws.t: normed or as it is, added to the stream. */
static void sublayer_end(const struct step *s, const struct weight *post)
{
    struct model *m = s->m;
    struct norm_task t = { m, m->ws.t, m->ws.t, weight_f32(post) };
    if (m->plan.norms & NORM_POST)
        pool_run(m->pool, s->n, ROW_GRAIN, norm_range, &t);
    m->kern->add_fwd(m->ws.x, m->ws.t, s->n * m->plan.hidden);
}

struct gate_task {
    struct model *m;
    float *y;
    const float *gate, *up;
    size_t width;
    float limit;
};

static void gate_row(const struct gate_task *t, size_t at)
{
    const struct kernels *k = t->m->kern;
    if (t->m->plan.act == ACT_GELU)
        k->geglu_fwd(t->y + at, t->gate + at, t->up + at, t->width);
    else
        k->swiglu_fwd(t->y + at, t->gate + at, t->up + at, t->width, t->limit);
}

static void gate_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct gate_task *t = arg;
    (void)worker;
    for (size_t r = begin; r < end; r++)
        gate_row(t, r * t->width);
}

void gate_rows(struct model *m, float *y, const float *gate, const float *up, size_t n_rows,
               size_t width, float limit)
{
    struct gate_task t = { m, y, gate, up, width, limit };
    pool_run(m->pool, n_rows, ROW_GRAIN, gate_range, &t);
}

struct attn_task {
    const struct step *s;
    uint32_t layer;
};

/* The order of a Hugging Face file, so that sums over a head, and with them all bits, are
 * the same from both kinds of file. */
static void pairs_to_halves(float *x, size_t n_heads, size_t hd, size_t half)
{
    float t[512];
    for (size_t h = 0; h < n_heads; h++, x += hd) {
        for (size_t i = 0; i < half; i++) {
            t[i] = x[2 * i];
            t[half + i] = x[2 * i + 1];
        }
        memcpy(x, t, 2 * half * sizeof *t);
    }
}

/* QK norm and RoPE of one row, then its k and v into the rings. */
static void place_row(const struct attn_task *t, size_t r)
{
    struct model *m = t->s->m;
    const struct plan *p = &m->plan;
    const struct layer_plan *l = &p->layer[t->layer];
    const struct layer_weights *w = &m->weights.layer[t->layer];
    const struct fwd_row *row = &t->s->rows[r];
    size_t hd = p->head_dim;
    float *q = m->ws.q + r * p->n_heads * hd, *k = m->ws.k + r * p->n_kv_heads * hd;
    const float *v = m->ws.v + r * p->n_kv_heads * hd;
    if (l->qk_norm) {
        m->kern->rmsnorm_fwd(q, q, weight_f32(&w->q_norm), p->n_heads, hd, (float)p->eps);
        m->kern->rmsnorm_fwd(k, k, weight_f32(&w->k_norm), p->n_kv_heads, hd, (float)p->eps);
    }
    if (l->rope) {
        const struct rope_plan *rp = &p->rope[l->rope_at];
        rope_half_fwd_fn *rope = rp->layout == ROPE_HALF ? m->kern->rope_half_fwd
                                                         : m->kern->rope_pair_fwd;
        size_t half = rp->dims / 2;
        const float *cs = m->ws.cs[l->rope_at] + r * half, *sn = m->ws.sn[l->rope_at] + r * half;
        rope(q, cs, sn, p->n_heads, hd, half);
        rope(k, cs, sn, p->n_kv_heads, hd, half);
        if (rp->layout == ROPE_PAIR) {
            pairs_to_halves(q, p->n_heads, hd, half);
            pairs_to_halves(k, p->n_kv_heads, hd, half);
        }
    }
    const struct kv_layer *kv = &row->kv->layer[t->layer];
    size_t row_bytes = kv_row_bytes(row->kv->type, hd), slot = row->pos % kv->ring;
    for (size_t h = 0; h < p->n_kv_heads; h++) {
        size_t at = (h * kv->ring + slot) * row_bytes;
        m->kern->kv_store((uint8_t *)kv->k + at, row->kv->type, k + h * hd, hd);
        m->kern->kv_store((uint8_t *)kv->v + at, row->kv->type, v + h * hd, hd);
    }
}

static void place_range(void *arg, size_t begin, size_t end, int worker)
{
    (void)worker;
    for (size_t r = begin; r < end; r++)
        place_row(arg, r);
}

/* Units are (row, KV head) pairs. */
static void attend_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct attn_task *t = arg;
    struct model *m = t->s->m;
    const struct plan *p = &m->plan;
    size_t hd = p->head_dim, n_q = p->n_heads / p->n_kv_heads;
    uint32_t window = p->layer[t->layer].window;
    (void)worker;
    for (size_t u = begin; u < end; u++) {
        size_t r = u / p->n_kv_heads, h = u % p->n_kv_heads;
        const struct fwd_row *row = &t->s->rows[r];
        const struct kv_layer *kv = &row->kv->layer[t->layer];
        size_t head_bytes = kv->ring * kv_row_bytes(row->kv->type, hd);
        size_t at = (r * p->n_heads + h * n_q) * hd;
        struct attn_row a = {
            .q = m->ws.q + at,
            .k = (const uint8_t *)kv->k + h * head_bytes,
            .v = (const uint8_t *)kv->v + h * head_bytes,
            .kv_type = row->kv->type,
            .first = window && row->pos >= window ? row->pos - window + 1 : 0,
            .last = row->pos, .ring = kv->ring, .n_q = n_q, .hd = hd,
            .scale = p->attn_scale,
        };
        m->kern->attn_row_fwd(m->ws.mix.f32 + at, &a);
    }
}

static void attention(const struct step *s, uint32_t layer)
{
    struct model *m = s->m;
    const struct plan *p = &m->plan;
    const struct layer_weights *w = &m->weights.layer[layer];
    const struct weight *qkv[] = { &w->q, &w->k, &w->v }, *o[] = { &w->o };
    size_t n = s->n, hidden = p->hidden, width = w->q.rows;
    acts_prepare(m, &m->ws.z, n, hidden, qkv, 3);
    struct acts z = acts_at(&m->ws.z, 0, hidden);
    const struct linear_job jobs[] = { { m->ws.q, w->q.rows, &w->q, z, n },
                                       { m->ws.k, w->k.rows, &w->k, z, n },
                                       { m->ws.v, w->v.rows, &w->v, z, n } };
    linear_run(m, jobs, 3);
    struct attn_task t = { s, layer };
    pool_run(m->pool, n, ROW_GRAIN, place_range, &t);
    pool_run(m->pool, n * p->n_kv_heads, 1, attend_range, &t);
    acts_prepare(m, &m->ws.mix, n, width, o, 1);
    linear_run(m, &(struct linear_job){ m->ws.t, hidden, &w->o, acts_at(&m->ws.mix, 0, width),
                                        n }, 1);
}

void ffn_forward(const struct step *s, uint32_t layer)
{
    struct model *m = s->m;
    const struct layer_weights *w = &m->weights.layer[layer];
    const struct weight *in[] = { &w->gate, &w->up }, *out[] = { &w->down };
    size_t n = s->n, hidden = m->plan.hidden, width = w->gate.rows;
    acts_prepare(m, &m->ws.z, n, hidden, in, 2);
    struct acts z = acts_at(&m->ws.z, 0, hidden);
    const struct linear_job jobs[] = { { m->ws.gate, width, &w->gate, z, n },
                                       { m->ws.up, width, &w->up, z, n } };
    linear_run(m, jobs, 2);
    gate_rows(m, m->ws.act.f32, m->ws.gate, m->ws.up, n, width,
              m->plan.layer[layer].swiglu_limit);
    acts_prepare(m, &m->ws.act, n, width, out, 1);
    linear_run(m, &(struct linear_job){ m->ws.t, hidden, &w->down,
                                        acts_at(&m->ws.act, 0, width), n }, 1);
}

void block_forward(const struct step *s, uint32_t layer)
{
    const struct layer_weights *w = &s->m->weights.layer[layer];
    sublayer_begin(s, &w->attn_norm);
    attention(s, layer);
    sublayer_end(s, &w->attn_post_norm);
    sublayer_begin(s, &w->ffn_norm);
    if (s->m->plan.layer[layer].sparse)
        moe_forward(s, layer);
    else
        ffn_forward(s, layer);
    sublayer_end(s, &w->ffn_post_norm);
}
