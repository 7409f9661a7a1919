/* Attention, the dense FFN, and how a layer puts them together. */
#include "model/block.h"

enum { ROW_GRAIN = 4, ATTEND_ROWS = 64, UNITS_PER_THREAD = 4 };

struct sublayer_task {
    const struct step *s;
    const float *gain;
    float *keep;                          /* training: a copy of what comes in; or NULL */
    unsigned classes;                     /* that the sublayer's weights want */
};

/* Rows [begin, end) of the stream x, normed or as they are, in the classes that are wanted. */
static void begin_rows(const struct sublayer_task *t, const float *x, size_t begin, size_t end)
{
    const struct model *m = t->s->m;
    const struct acts_buf *z = &t->s->ws->z;
    size_t hidden = m->plan.hidden, at = begin * hidden, rows = end - begin;
    float eps = (float)m->plan.eps;
    if (m->plan.norms & NORM_PRE && t->classes == 1u << CLASS_BF16) {
        m->kern->rmsnorm_fwd_bf16(z->b16 + at, x, t->gain, rows, hidden, eps);
        return;
    }
    if (m->plan.norms & NORM_PRE)
        m->kern->rmsnorm_fwd(z->f32 + at, x, t->gain, rows, hidden, eps);
    else
        memcpy(z->f32 + at, x, rows * hidden * sizeof *x);
    acts_round(m, z, begin, end, hidden, t->classes);
}

static void begin_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct sublayer_task *t = arg;
    size_t at = begin * t->s->m->plan.hidden, n = (end - begin) * t->s->m->plan.hidden;
    const float *x = t->s->ws->x + at;
    (void)worker;
    if (t->keep)
        memcpy(t->keep + at, x, n * sizeof *x);
    begin_rows(t, x, begin, end);
}

/* What a sublayer reads, into ws.z: the stream normed, or as it is. */
static void sublayer_begin(const struct step *s, const struct weight *pre, float *keep,
                           unsigned classes)
{
    struct sublayer_task t = { s, weight_f32(pre), keep, classes };
    pool_run(s->m->pool, s->n, ROW_GRAIN, begin_range, &t);
}

static void end_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct sublayer_task *t = arg;
    const struct model *m = t->s->m;
    size_t hidden = m->plan.hidden, at = begin * hidden, n = (end - begin) * hidden;
    float *y = t->s->ws->t + at;
    (void)worker;
    if (t->keep)
        memcpy(t->keep + at, y, n * sizeof *y);
    if (m->plan.norms & NORM_POST)
        m->kern->rmsnorm_fwd(y, y, t->gain, end - begin, hidden, (float)m->plan.eps);
    m->kern->add_fwd(t->s->ws->x + at, y, n);
}

/* What it made, in ws.t: normed or as it is, added to the stream. */
static void sublayer_end(const struct step *s, const struct weight *post, float *keep)
{
    struct sublayer_task t = { s, weight_f32(post), keep, 0 };
    pool_run(s->m->pool, s->n, ROW_GRAIN, end_range, &t);
}

struct gate_task {
    const struct model *m;
    const struct acts_buf *y;
    const float *gate, *up;
    size_t width;
    float limit;
    unsigned classes;
};

void gate_values(const struct model *m, float *y, const float *gate, const float *up, size_t n,
                 float limit)
{
    if (m->plan.act == ACT_GELU)
        m->kern->geglu_fwd(y, gate, up, n);
    else
        m->kern->swiglu_fwd(y, gate, up, n, limit);
}

static void gate_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct gate_task *t = arg;
    size_t at = begin * t->width;
    (void)worker;
    gate_values(t->m, t->y->f32 + at, t->gate + at, t->up + at, (end - begin) * t->width,
                t->limit);
    acts_round(t->m, t->y, begin, end, t->width, t->classes);
}

void gate_rows(struct model *m, const struct acts_buf *y, const float *gate, const float *up,
               size_t n_rows, const struct weight *down, float limit)
{
    struct gate_task t = { m, y, gate, up, down->cols, limit, acts_classes(m, &down, 1) };
    pool_run(m->pool, n_rows, ROW_GRAIN, gate_range, &t);
}

struct attn_task {
    const struct step *s;
    uint32_t layer;
    size_t unit_rows;                     /* serving: rows of a unit of attend_range */
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

/* QK norm and RoPE of one row, in place. */
static void turn_row(const struct attn_task *t, size_t r)
{
    const struct model *m = t->s->m;
    const struct plan *p = &m->plan;
    const struct workspace *ws = t->s->ws;
    const struct layer_plan *l = &p->layer[t->layer];
    const struct layer_weights *w = &m->weights.layer[t->layer];
    size_t hd = p->head_dim;
    float *q = ws->q + r * p->n_heads * hd, *k = ws->k + r * p->n_kv_heads * hd;
    if (l->qk_norm) {
        m->kern->rmsnorm_fwd(q, q, weight_f32(&w->q_norm), p->n_heads, hd, (float)p->eps);
        m->kern->rmsnorm_fwd(k, k, weight_f32(&w->k_norm), p->n_kv_heads, hd, (float)p->eps);
    }
    if (l->rope) {
        const struct rope_plan *rp = &p->rope[l->rope_at];
        rope_half_fwd_fn *rope = rp->layout == ROPE_HALF ? m->kern->rope_half_fwd
                                                         : m->kern->rope_pair_fwd;
        size_t half = rp->dims / 2;
        const float *cs = ws->cs[l->rope_at] + r * half, *sn = ws->sn[l->rope_at] + r * half;
        rope(q, cs, sn, p->n_heads, hd, half);
        rope(k, cs, sn, p->n_kv_heads, hd, half);
        if (rp->layout == ROPE_PAIR) {
            pairs_to_halves(q, p->n_heads, hd, half);
            pairs_to_halves(k, p->n_kv_heads, hd, half);
        }
    }
}

/* One row's k and v into the rings. */
static void store_row(const struct attn_task *t, size_t r)
{
    const struct model *m = t->s->m;
    const struct plan *p = &m->plan;
    const struct fwd_row *row = &t->s->rows[r];
    const struct kv_layer *kv = &row->kv->layer[t->layer];
    size_t hd = p->head_dim, row_bytes = kv_row_bytes(row->kv->type, hd);
    size_t slot = row->pos % kv->ring;
    const float *k = t->s->ws->k + r * p->n_kv_heads * hd;
    const float *v = t->s->ws->v + r * p->n_kv_heads * hd;
    for (size_t h = 0; h < p->n_kv_heads; h++) {
        size_t at = (h * kv->ring + slot) * row_bytes;
        m->kern->kv_store((uint8_t *)kv->k + at, row->kv->type, k + h * hd, hd);
        m->kern->kv_store((uint8_t *)kv->v + at, row->kv->type, v + h * hd, hd);
    }
}

/* Training keeps q and k as the norm gets them. */
static void keep_qk(const struct attn_task *t, size_t begin, size_t end)
{
    const struct plan *p = &t->s->m->plan;
    const struct kept_layer *kept = t->s->kept;
    size_t q = (size_t)p->n_heads * p->head_dim, k = (size_t)p->n_kv_heads * p->head_dim;
    if (!kept || !kept->q)
        return;
    memcpy(kept->q + begin * q, t->s->ws->q + begin * q, (end - begin) * q * sizeof(float));
    memcpy(kept->k + begin * k, t->s->ws->k + begin * k, (end - begin) * k * sizeof(float));
}

static void place_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct attn_task *t = arg;
    (void)worker;
    keep_qk(t, begin, end);
    for (size_t r = begin; r < end; r++) {
        turn_row(t, r);
        if (t->s->rows)
            store_row(t, r);
    }
}

/* One past the last row, at most `limit`, that continues row r's sequence without a gap. */
static size_t run_end(const struct fwd_row *rows, size_t r, size_t limit)
{
    size_t end = r + 1;
    while (end < limit && rows[end].kv == rows[r].kv && rows[end].pos == rows[r].pos + (end - r))
        end++;
    return end;
}

/* Rows r .. r + n - 1 of one sequence, and KV head h. */
static void attend_run(const struct attn_task *t, size_t r, size_t n, size_t h)
{
    struct model *m = t->s->m;
    const struct plan *p = &m->plan;
    const struct fwd_row *row = &t->s->rows[r];
    const struct kv_layer *kv = &row->kv->layer[t->layer];
    size_t hd = p->head_dim, n_q = p->n_heads / p->n_kv_heads, width = p->n_heads * hd;
    size_t row_bytes = kv_row_bytes(row->kv->type, hd), at = r * width + h * n_q * hd;
    struct attn_rows a = {
        .q = t->s->ws->q + at, .q_stride = width,
        .k = (const uint8_t *)kv->k + h * kv->ring * row_bytes,
        .v = (const uint8_t *)kv->v + h * kv->ring * row_bytes,
        .kv_stride = row_bytes, .kv_type = row->kv->type, .ring = kv->ring,
        .first_pos = row->pos, .n_rows = n, .window = p->layer[t->layer].window,
        .n_q = n_q, .hd = hd, .scale = p->attn_scale,
    };
    m->kern->attn_rows_fwd(t->s->ws->mix.f32 + at, width, &a);
}

/* Serving: units are (unit_rows rows, KV head) pairs. */
static void attend_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct attn_task *t = arg;
    size_t n_kv = t->s->m->plan.n_kv_heads;
    (void)worker;
    for (size_t u = begin; u < end; u++) {
        size_t r = u / n_kv * t->unit_rows, limit = r + t->unit_rows;
        limit = limit < t->s->n ? limit : t->s->n;
        for (size_t next; r < limit; r = next) {
            next = run_end(t->s->rows, r, limit);
            attend_run(t, r, next - r, u % n_kv);
        }
    }
}

/* How many rows a unit takes: whole tiles of queries, unless that leaves threads idle. */
static size_t attend_rows(const struct step *s)
{
    size_t per_thread = s->n * s->m->plan.n_kv_heads / (size_t)pool_threads(s->m->pool);
    size_t rows = per_thread / UNITS_PER_THREAD;
    return rows < 1 ? 1 : rows < ATTEND_ROWS ? rows : ATTEND_ROWS;
}

void attention_in(const struct step *s, uint32_t layer)
{
    struct model *m = s->m;
    const struct layer_weights *w = &m->weights.layer[layer];
    const struct weight *qkv[] = { &w->q, &w->k, &w->v };
    struct acts z = acts_at(&s->ws->z, 0, m->plan.hidden);
    const struct linear_job jobs[] = { { s->ws->q, w->q.rows, &w->q, z, s->n },
                                       { s->ws->k, w->k.rows, &w->k, z, s->n },
                                       { s->ws->v, w->v.rows, &w->v, z, s->n } };
    struct attn_task t = { .s = s, .layer = layer };
    sublayer_begin(s, &w->attn_norm, s->kept ? s->kept->x_attn : NULL, acts_classes(m, qkv, 3));
    linear_run(m, jobs, 3);
    pool_run(m->pool, s->n, ROW_GRAIN, place_range, &t);
}

static void attend(const struct step *s, uint32_t layer)
{
    struct attn_task t = { s, layer, attend_rows(s) };
    size_t units = (s->n + t.unit_rows - 1) / t.unit_rows * s->m->plan.n_kv_heads;
    pool_run(s->m->pool, units, 1, attend_range, &t);
}

void attention_out(const struct step *s, uint32_t layer)
{
    struct model *m = s->m;
    const struct layer_weights *w = &m->weights.layer[layer];
    const struct weight *o[] = { &w->o };
    size_t hidden = m->plan.hidden, width = w->q.rows;
    acts_prepare(m, &s->ws->mix, s->n, width, o, 1);
    linear_run(m, &(struct linear_job){ s->ws->t, hidden, &w->o, acts_at(&s->ws->mix, 0, width),
                                        s->n }, 1);
    sublayer_end(s, &w->attn_post_norm, s->kept ? s->kept->t_attn : NULL);
}

void ffn_forward(const struct step *s, uint32_t layer)
{
    struct model *m = s->m;
    const struct layer_weights *w = &m->weights.layer[layer];
    size_t n = s->n, hidden = m->plan.hidden, width = w->gate.rows;
    struct acts z = acts_at(&s->ws->z, 0, hidden);
    const struct linear_job jobs[] = { { s->ws->gate, width, &w->gate, z, n },
                                       { s->ws->up, width, &w->up, z, n } };
    linear_run(m, jobs, 2);
    gate_rows(m, &s->ws->act, s->ws->gate, s->ws->up, n, &w->down,
              m->plan.layer[layer].swiglu_limit);
    linear_run(m, &(struct linear_job){ s->ws->t, hidden, &w->down,
                                        acts_at(&s->ws->act, 0, width), n }, 1);
}

static unsigned ffn_classes(const struct model *m, const struct layer_weights *w)
{
    const struct weight *dense[] = { &w->gate, &w->up };
    const struct weight *sparse[] = { w->gate_e, w->up_e, &w->gate_s, &w->up_s, &w->router };
    return w->gate_e ? acts_classes(m, sparse, 5) : acts_classes(m, dense, 2);
}

void ffn_in(const struct step *s, uint32_t layer)
{
    const struct layer_weights *w = &s->m->weights.layer[layer];
    sublayer_begin(s, &w->ffn_norm, s->kept ? s->kept->x_ffn : NULL, ffn_classes(s->m, w));
}

void ffn_out(const struct step *s, uint32_t layer)
{
    const struct layer_weights *w = &s->m->weights.layer[layer];
    sublayer_end(s, &w->ffn_post_norm, s->kept ? s->kept->t_ffn : NULL);
}

void block_forward(const struct step *s, uint32_t layer)
{
    attention_in(s, layer);
    attend(s, layer);
    attention_out(s, layer);
    ffn_in(s, layer);
    if (s->m->plan.layer[layer].sparse)
        moe_forward(s, layer);
    else
        ffn_forward(s, layer);
    ffn_out(s, layer);
}
