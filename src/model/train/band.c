/* A tape seen from one of its rows on. */
#include "model/train/band.h"

static float *or_scratch(float *kept, size_t at, float *scratch)
{
    return kept ? kept + at : scratch;
}

/* NULL stays NULL. */
static float *from(float *p, size_t at)
{
    return p ? p + at : NULL;
}

/* What both workspaces have. */
static struct workspace rows_from(const struct band *b, const struct workspace *ws)
{
    const struct plan *p = &b->t->m->plan;
    struct workspace v = *ws;
    v.x += b->row * p->hidden;
    v.z = acts_from(&ws->z, b->row * p->hidden);
    if (!v.z.f32)
        v.z.f32 = b->scratch->z;
    v.t = b->scratch->t;
    for (uint32_t i = 0; i < p->n_ropes; i++) {
        v.cs[i] += b->row * (p->rope[i].dims / 2);
        v.sn[i] += b->row * (p->rope[i].dims / 2);
    }
    return v;
}

static struct workspace attn_from(const struct band *b, const struct workspace *ws)
{
    const struct plan *p = &b->t->m->plan;
    size_t q = (size_t)p->n_heads * p->head_dim, kv = (size_t)p->n_kv_heads * p->head_dim;
    struct workspace v = rows_from(b, ws);
    v.q += b->row * q;
    v.k += b->row * kv;
    v.v += b->row * kv;
    v.mix = acts_from(&ws->mix, b->row * q);
    return v;
}

/* The pairs of a sparse layer are not rows and stay where they are. */
static struct workspace ffn_from(const struct band *b, const struct workspace *ws)
{
    const struct plan *p = &b->t->m->plan;
    const struct layer_plan *l = &p->layer[b->layer];
    size_t width = l->sparse ? l->shared_ffn : l->ffn, slots = b->row * p->router.top_k;
    struct workspace v = rows_from(b, ws);
    v.gate = or_scratch(b->t->gates[b->layer].gate.f32, b->row * width, b->scratch->gate);
    v.up = or_scratch(b->t->gates[b->layer].up.f32, b->row * width, b->scratch->up);
    v.act = b->scratch->act;
    if (!l->sparse)
        return v;
    v.router += b->row * p->router.n;
    v.expert += slots;
    v.mixing += slots;
    v.pair += slots;
    v.shared_out = b->scratch->out;
    return v;
}

static struct kept_layer kept_from(const struct band *b, const struct kept_layer *k)
{
    const struct plan *p = &b->t->m->plan;
    size_t q = (size_t)p->n_heads * p->head_dim, kv = (size_t)p->n_kv_heads * p->head_dim;
    size_t at = b->row * p->hidden;
    return (struct kept_layer){ from(k->x_attn, at), from(k->x_ffn, at), from(k->t_attn, at),
                                from(k->t_ffn, at), from(k->q, b->row * q),
                                from(k->k, b->row * kv), from(k->lse, b->row * p->n_heads) };
}

static struct kept_gates gates_from(const struct band *b, const struct kept_gates *g)
{
    const struct layer_plan *l = &b->t->m->plan.layer[b->layer];
    size_t width = l->sparse ? l->shared_ffn : l->ffn;
    return (struct kept_gates){ .gate = acts_from(&g->gate, b->row * width),
                                .up = acts_from(&g->up, b->row * width) };
}

static struct tape_grads grads_from(const struct band *b, const struct tape_grads *d)
{
    const struct plan *p = &b->t->m->plan;
    const struct layer_plan *l = &p->layer[b->layer];
    size_t q = (size_t)p->n_heads * p->head_dim, kv = (size_t)p->n_kv_heads * p->head_dim;
    size_t width = l->sparse ? l->shared_ffn : l->ffn, at = b->row * p->hidden;
    struct tape_grads v = *d;
    v.x += at;
    v.z += at;
    v.t = from(d->t, at);
    v.q += b->row * q;
    v.k += b->row * kv;
    v.v += b->row * kv;
    v.mix += b->row * q;
    v.gate = from(d->gate, b->row * width);
    v.up = from(d->up, b->row * width);
    v.act = acts_from(&d->act, b->row * width);
    v.router_z = from(d->router_z, at);
    v.t16 = d->t16 ? d->t16 + at : NULL;
    v.in16 = NULL;                        /* several widths: in16_of() in layer_bwd.c */
    v.router = from(d->router, b->row * p->router.n);
    return v;
}

static void band_begin(struct band *b, struct tape *t, uint32_t layer, size_t row, size_t n)
{
    *b = (struct band){ .t = t, .layer = layer, .row = row, .n = n, .m = *t->m,
                        .scratch = b->scratch };
    b->m.pool = NULL;
    b->attn = attn_from(b, &t->attn[layer]);
    b->ffn = ffn_from(b, &t->ffn[layer]);
    if (t->shape.backward) {
        b->kept = kept_from(b, &t->kept[layer]);
        b->gates = gates_from(b, &t->gates[layer]);
        b->d = grads_from(b, &t->d);
    }
    const struct kept_layer *kept = t->shape.backward ? &b->kept : NULL;
    b->attn_step = (struct step){ .m = &b->m, .n = n, .ws = &b->attn, .kept = kept };
    b->ffn_step = (struct step){ .m = &b->m, .n = n, .ws = &b->ffn, .kept = kept };
}

struct band_task {
    struct tape *t;
    uint32_t layer;
    size_t rows;                          /* of a band */
    band_fn *fn;
    void *arg;
};

static void band_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct band_task *k = arg;
    struct band b = { .scratch = &k->t->scratch[worker] };
    for (size_t i = begin; i < end; i++) {
        size_t row = i * k->rows, left = k->t->n - row;
        band_begin(&b, k->t, k->layer, row, left < k->rows ? left : k->rows);
        k->fn(&b, k->arg);
    }
}

/* A few bands for each thread, if there are rows enough; whole chunks of the gains' sums. */
static size_t rows_of_band(const struct tape *t)
{
    size_t rows = BAND_ROWS, threads = (size_t)pool_threads(t->m->pool);
    while (threads > 1 && rows > GAIN_ROWS && t->n < 4 * threads * rows)
        rows /= 2;
    return rows;
}

void bands_run(struct tape *t, uint32_t layer, band_fn *fn, void *arg)
{
    struct band_task k = { t, layer, rows_of_band(t), fn, arg };
    pool_run(t->m->pool, (t->n + k.rows - 1) / k.rows, 1, band_range, &k);
}
