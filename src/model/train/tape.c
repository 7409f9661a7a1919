/* Memory of a training pass. */
#include "model/train/tape.h"

#include "model/carve.h"

#include <inttypes.h>

/* Rows of logits beyond a near cache, where weights are packed for tiles; see end_loss.c. */
static bool by_parts(const struct tape_shape *s, const struct plan *p)
{
    return p->vocab > LOSS_WHOLE && s->in_bf16
           && kern_get(cpu_level_chosen())->gemm_bf16_packed;
}

struct widths {
    uint64_t hidden, q, kv, ffn, experts, expert_ffn, top_k, widest;
};

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static struct widths widths_of(const struct plan *p)
{
    struct widths w = { .hidden = p->hidden, .q = (uint64_t)p->n_heads * p->head_dim,
                        .kv = (uint64_t)p->n_kv_heads * p->head_dim, .experts = p->router.n,
                        .expert_ffn = p->expert_ffn, .top_k = p->router.top_k };
    for (uint32_t i = 0; i < plan_all_layers(p); i++)
        w.ffn = larger(w.ffn, p->layer[i].sparse ? p->layer[i].shared_ffn : p->layer[i].ffn);
    w.widest = larger(w.ffn, w.experts ? w.expert_ffn : 0);
    return w;
}

/* f32, bf16: in which classes the tape keeps them. */
static struct acts_buf carve_acts(struct carver *c, uint64_t rows, uint64_t k, bool f32, bool b16)
{
    struct acts_buf x = { 0 };
    if (f32)
        x.f32 = carve(c, rows * k, sizeof(float));
    if (b16)
        x.b16 = carve(c, rows * k, sizeof(bf16));
    return x;
}

static float *floats(struct carver *c, uint64_t rows, uint64_t k)
{
    return carve(c, rows * k, sizeof(float));
}

static void carve_shared(struct carver *c, struct workspace *ws, const struct plan *p,
                         const struct widths *w, uint64_t rows)
{
    ws->rows = (size_t)rows;
    ws->x = floats(c, rows, w->hidden);
    ws->pair_out = floats(c, rows * w->top_k, w->hidden);
    for (uint32_t i = 0; i < p->n_ropes; i++) {
        ws->cs[i] = floats(c, rows, p->rope[i].dims / 2);
        ws->sn[i] = floats(c, rows, p->rope[i].dims / 2);
    }
}

static void carve_attn(struct carver *c, struct workspace *ws, const struct widths *w,
                       uint64_t rows, bool b16)
{
    ws->z = carve_acts(c, rows, w->hidden, !b16, b16);
    ws->q = floats(c, rows, w->q);
    ws->k = floats(c, rows, w->kv);
    ws->v = floats(c, rows, w->kv);
    ws->mix = carve_acts(c, rows, w->q, true, b16);
}

static void carve_experts(struct carver *c, struct workspace *ws, const struct widths *w,
                          uint64_t rows)
{
    uint64_t pairs = rows * w->top_k;
    ws->router = floats(c, rows, w->experts);
    ws->expert = carve(c, pairs, sizeof(uint32_t));
    ws->mixing = floats(c, pairs, 1);
    ws->pair = carve(c, pairs, sizeof(uint32_t));
    ws->first = carve(c, w->experts + 1, sizeof(uint32_t));
    ws->slot = carve(c, pairs, sizeof(uint32_t));
}

static void carve_ffn(struct carver *c, struct workspace *ws, const struct widths *w,
                      bool sparse, uint64_t rows, bool b16)
{
    ws->z = carve_acts(c, rows, w->hidden, !b16, b16);
    if (sparse)
        carve_experts(c, ws, w, rows);
}

static void carve_gates(struct carver *c, struct kept_gates *g, const struct layer_plan *l,
                        const struct widths *w, uint64_t rows, bool b16)
{
    uint64_t width = l->sparse ? l->shared_ffn : l->ffn, pairs = l->sparse ? rows * w->top_k : 0;
    g->gate = carve_acts(c, rows, width, !b16, b16);
    g->up = carve_acts(c, rows, width, !b16, b16);
    g->pair_gate = carve_acts(c, pairs, w->expert_ffn, !b16, b16);
    g->pair_up = carve_acts(c, pairs, w->expert_ffn, !b16, b16);
}

static void carve_kept(struct carver *c, struct kept_layer *k, const struct plan *p,
                       const struct widths *w, bool qk_norm, uint64_t rows)
{
    *k = (struct kept_layer){ .x_attn = floats(c, rows, w->hidden),
                              .x_ffn = floats(c, rows, w->hidden),
                              .lse = floats(c, rows, p->n_heads) };
    if (p->norms & NORM_POST) {
        k->t_attn = floats(c, rows, w->hidden);
        k->t_ffn = floats(c, rows, w->hidden);
    }
    if (qk_norm) {
        k->q = floats(c, rows, w->q);
        k->k = floats(c, rows, w->kv);
    }
}

/* For losses alone all layers share one pair of workspaces. */
static void carve_layers(struct carver *c, struct tape *t, const struct plan *p,
                         const struct widths *w, const struct workspace *shared)
{
    struct workspace one_attn = *shared, one_ffn = *shared;
    bool backward = t->shape.backward, b16 = t->shape.in_bf16;
    if (!backward) {
        carve_attn(c, &one_attn, w, t->rows, b16);
        carve_ffn(c, &one_ffn, w, w->experts > 0, t->rows, b16);
    }
    for (uint32_t i = 0; i < plan_all_layers(p); i++) {
        const struct layer_plan *l = &p->layer[i];
        struct workspace attn = one_attn, ffn = one_ffn;
        struct kept_layer kept = { 0 };
        struct kept_gates gates = { 0 };
        if (backward) {
            carve_attn(c, &attn, w, t->rows, b16);
            carve_ffn(c, &ffn, w, l->sparse, t->rows, b16);
            carve_gates(c, &gates, l, w, t->rows, b16);
            carve_kept(c, &kept, p, w, l->qk_norm, t->rows);
        }
        if (c->base) {
            t->attn[i] = attn;
            t->ffn[i] = ffn;
            t->kept[i] = kept;
            t->gates[i] = gates;
        }
    }
}

static void carve_end(struct carver *c, const struct tape *t, struct tape_end *e, uint64_t hidden)
{
    e->x = floats(c, t->rows, hidden);
    e->h = carve_acts(c, t->rows, hidden, true, t->shape.in_bf16);
    if (t->shape.backward)
        e->dh = floats(c, t->rows, hidden);
}

/* Gradients of products' outputs are kept for those of the weights, in the products' class. */
static void carve_rounded(struct carver *c, struct tape *t, const struct plan *p,
                          const struct widths *w)
{
    struct tape_grads *d = &t->d;
    uint64_t rows = t->rows;
    if (t->shape.in_bf16) {
        d->t16 = carve(c, rows * w->hidden, sizeof(bf16));
        d->in16 = carve(c, rows * larger(w->q + 2 * w->kv, 2 * w->ffn), sizeof(bf16));
        d->logits16 = by_parts(&t->shape, p)
                      ? carve(c, rows * LOSS_COLS, sizeof(bf16))
                      : carve(c, LOSS_ROWS * (uint64_t)p->vocab, sizeof(bf16));
        d->router_z = floats(c, w->experts ? rows : 0, w->hidden);
    } else {
        d->gate = floats(c, rows, w->ffn);
        d->up = floats(c, rows, w->ffn);
    }
    d->act = carve_acts(c, rows, w->ffn, !t->shape.in_bf16, t->shape.in_bf16);
    if (p->norms & NORM_POST || !t->shape.in_bf16)
        d->t = floats(c, rows, w->hidden);
}

static void carve_grads(struct carver *c, struct tape *t, const struct plan *p,
                        const struct widths *w)
{
    struct tape_grads *d = &t->d;
    uint64_t rows = t->rows, pairs = rows * w->top_k;
    uint64_t chunks = (rows + GAIN_ROWS - 1) / GAIN_ROWS;
    carve_rounded(c, t, p, w);
    d->x = floats(c, rows, w->hidden);
    d->z = floats(c, rows, w->hidden);
    d->q = floats(c, rows, w->q);
    d->k = floats(c, rows, w->kv);
    d->v = floats(c, rows, w->kv);
    d->mix = floats(c, rows, w->q);
    d->pair_z = floats(c, pairs, w->hidden);
    d->mixing = floats(c, pairs, 1);
    d->router = floats(c, rows, w->experts);
    d->mtp_in = floats(c, p->n_mtp ? rows : 0, 2 * w->hidden);
    for (int i = 0; i < GAINS; i++)
        d->gain[i] = floats(c, chunks, larger(w->hidden, p->head_dim));
    for (uint32_t i = 0; i < p->n_ropes; i++)
        t->sn_back[i] = floats(c, rows, p->rope[i].dims / 2);
    t->order = carve(c, 2 * rows, sizeof(uint32_t));
    t->token_first = carve(c, p->vocab + 1ull, sizeof(uint32_t));
}

/* Of one thread. */
static struct scratch carve_scratch(struct carver *c, const struct plan *p, const struct widths *w,
                                    const struct tape_shape *shape)
{
    uint64_t hidden = w->hidden, expert = w->experts ? w->expert_ffn : 0;
    bool b16 = shape->in_bf16;
    struct scratch s = { .z = floats(c, BAND_ROWS, hidden), .t = floats(c, BAND_ROWS, hidden),
                         .out = floats(c, BAND_ROWS, hidden),
                         .act = carve_acts(c, BAND_ROWS, w->widest, true, b16),
                         .gate = floats(c, BAND_ROWS, w->widest),
                         .up = floats(c, BAND_ROWS, w->widest),
                         .pair_z = carve_acts(c, BAND_ROWS, hidden, !b16, b16) };
    if (by_parts(shape, p))
        s.logits = floats(c, LOSS_BAND, LOSS_STRIDE);
    if (!shape->backward)
        return s;
    s.row = floats(c, 4, w->widest);
    s.dact = floats(c, BAND_ROWS, w->widest);
    if (b16) {
        s.t16 = carve(c, BAND_ROWS * hidden, sizeof(bf16));
        s.in16 = carve(c, BAND_ROWS * 2 * expert, sizeof(bf16));
    }
    return s;
}

static void carve_scratches(struct carver *c, struct tape *t, const struct plan *p,
                            const struct widths *w)
{
    size_t threads = (size_t)t->shape.n_threads;
    t->scratch = carve(c, threads, sizeof *t->scratch);
    for (size_t i = 0; i < threads; i++) {
        struct scratch s = carve_scratch(c, p, w, &t->shape);
        if (c->base)
            t->scratch[i] = s;
    }
}

static void carve_all(struct carver *c, struct tape *t, const struct plan *p)
{
    struct widths w = widths_of(p);
    struct workspace shared = { 0 };
    size_t layers = plan_all_layers(p);
    t->attn = carve(c, layers, sizeof *t->attn);
    t->ffn = carve(c, layers, sizeof *t->ffn);
    t->kept = carve(c, layers, sizeof *t->kept);
    t->gates = carve(c, layers, sizeof *t->gates);
    t->docs.first = carve(c, t->rows + 1, sizeof *t->docs.first);
    t->docs.span = carve(c, t->rows, sizeof *t->docs.span);
    carve_scratches(c, t, p, &w);
    carve_shared(c, &shared, p, &w, t->rows);
    carve_layers(c, t, p, &w, &shared);
    carve_end(c, t, &t->main, w.hidden);
    if (p->n_mtp) {
        carve_end(c, t, &t->mtp, w.hidden);
        t->mtp_embed = floats(c, t->rows, w.hidden);
        t->mtp_in = carve_acts(c, t->rows, 2 * w.hidden, true, t->shape.in_bf16);
    }
    t->logits = by_parts(&t->shape, p) ? NULL : floats(c, LOSS_ROWS, p->vocab);
    t->loss_row = carve(c, t->rows, sizeof *t->loss_row);
    t->seq_balance = carve(c, t->shape.n_rows, sizeof(double));
    t->seq_entropy = carve(c, t->shape.n_rows, sizeof(double));
    t->seq_load = carve(c, t->shape.n_rows * w.experts, sizeof(uint64_t));
    if (t->shape.backward)
        carve_grads(c, t, p, &w);
}

uint64_t tape_bytes(const struct plan *p, const struct tape_shape *s)
{
    struct carver c = { 0 };
    struct tape t = { .shape = *s, .rows = s->n_rows * s->context };
    if (s->context && s->n_rows > UINT32_MAX / 2 / s->context)
        return UINT64_MAX;
    carve_all(&c, &t, p);
    return c.overflow || c.at > UINT64_MAX / 4 ? UINT64_MAX : c.at;
}

struct tape *tape_open(struct model *m, size_t n_rows, size_t context, bool backward,
                       struct err *err)
{
    struct tape_shape shape = { n_rows, context, backward,
                                weight_class(m, &m->weights.layer[0].q) == CLASS_BF16,
                                pool_threads(m->pool) };
    uint64_t n = tape_bytes(&m->plan, &shape);
    struct tape *t = mem_take(1, sizeof *t);
    void *memory = t && n < SIZE_MAX / 2 ? space_take_whole((size_t)n) : NULL;
    if (!memory) {
        mem_give(t);
        fail(err, ERR_MEMORY, "cannot reserve %" PRIu64 " bytes for passes of %zu rows of %zu "
             "tokens; use fewer rows at a time", n, n_rows, context);
        return NULL;
    }
    struct carver c = { .base = memory };
    *t = (struct tape){ .m = m, .shape = shape, .rows = n_rows * context, .memory = memory,
                        .n_bytes = n };
    carve_all(&c, t, &m->plan);
    return t;
}

void tape_close(struct tape *t)
{
    if (!t)
        return;
    space_give(t->memory, (size_t)t->n_bytes);
    mem_give(t);
}

size_t plan_sparse_layers(const struct plan *p)
{
    size_t n = 0;
    for (uint32_t i = 0; i < p->n_layers; i++)
        n += p->layer[i].sparse;
    return n;
}
