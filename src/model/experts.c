/*
 * The mixture of experts: route every row, put (row, expert) pairs together by expert, run the
 * experts' products, and add each row's results in ascending expert order, the shared expert
 * last.  That order and each product's bits are a row's own, so a row alone and a row in a
 * batch agree.  All products of one kind run as one list, shared out by weight rows, for there may
 * be a single row; training (train/block_fwd.c) has hundreds for each expert and gives experts out.
 */
#include "model/block.h"

enum { ROUTE_GRAIN = 8 };

/* Slots of one row sorted by expert id (top_k is small). */
static void sort_slots(uint32_t *id, float *weight, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t j = i; j && id[j - 1] > id[j]; j--) {
            uint32_t e = id[j];
            float w = weight[j];
            id[j] = id[j - 1];
            weight[j] = weight[j - 1];
            id[j - 1] = e;
            weight[j - 1] = w;
        }
}

struct route_task {
    const struct step *s;
    const float *bias;
};

static void route_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct route_task *t = arg;
    const struct moe_router *r = &t->s->m->plan.router;
    float *scores = t->s->ws->router;
    (void)worker;
    if (r->scoring == MOE_SIGMOID)
        t->s->m->kern->sigmoid_fwd(scores + begin * r->n, scores + begin * r->n,
                                   (end - begin) * r->n);
    for (size_t row = begin; row < end; row++) {
        uint32_t *id = t->s->ws->expert + row * r->top_k;
        float *mix = t->s->ws->mixing + row * r->top_k, *s = scores + row * r->n;
        if (r->scoring != MOE_SIGMOID)
            moe_scores(s, s, r);
        moe_choose(id, mix, NULL, s, t->bias, r);
        sort_slots(id, mix, r->top_k);
    }
}

void moe_route_rows(const struct step *s, uint32_t layer)
{
    struct model *m = s->m;
    const struct layer_weights *w = &m->weights.layer[layer];
    struct route_task t = { s, w->router_bias.data ? weight_f32(&w->router_bias) : NULL };
    linear_run(m, &(struct linear_job){ s->ws->router, m->plan.router.n, &w->router,
                                        acts_at(&s->ws->z, 0, m->plan.hidden), s->n }, 1);
    pool_run(m->pool, s->n, ROUTE_GRAIN, route_range, &t);
}

struct pair_task {
    const struct step *s;
    const struct layer_weights *w;
};

/* Inputs of pairs [begin, end). */
static void copy_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct pair_task *t = arg;
    const struct weight *in[] = { &t->w->gate_e[0], &t->w->up_e[0] };
    const struct workspace *ws = t->s->ws;
    uint32_t top_k = t->s->m->plan.router.top_k;
    (void)worker;
    for (size_t p = begin; p < end; p++)
        acts_copy_row(t->s->m, &t->s->ws->pair_z, p, &ws->z, ws->slot[p] / top_k,
                      t->s->m->plan.hidden, in, 2);
}

void moe_sort_pairs(const struct step *s)
{
    uint32_t *first = s->ws->first, n = s->m->plan.router.n;
    size_t pairs = s->n * s->m->plan.router.top_k;
    memset(first, 0, (n + 1) * sizeof *first);
    for (size_t i = 0; i < pairs; i++)
        first[s->ws->expert[i] + 1]++;
    for (uint32_t e = 0; e < n; e++)
        first[e + 1] += first[e];
    for (size_t i = 0; i < pairs; i++) {
        uint32_t p = first[s->ws->expert[i]]++;
        s->ws->pair[i] = p;
        s->ws->slot[p] = (uint32_t)i;
    }
    for (uint32_t e = n; e > 0; e--)
        first[e] = first[e - 1];
    first[0] = 0;
}

/* gate and up of every expert that has rows, and of the shared one. */
static void run_inputs(const struct step *s, uint32_t layer)
{
    struct model *m = s->m;
    const struct layer_weights *w = &m->weights.layer[layer];
    size_t hidden = m->plan.hidden, width = m->plan.layer[layer].ffn, n_jobs = 0;
    struct linear_job *job = s->ws->jobs;
    for (uint32_t e = 0; e < m->plan.router.n; e++) {
        size_t p0 = s->ws->first[e], rows = s->ws->first[e + 1] - p0;
        struct acts x = acts_at(&s->ws->pair_z, p0, hidden);
        if (!rows)
            continue;
        job[n_jobs++] = (struct linear_job){ s->ws->pair_gate + p0 * width, width, &w->gate_e[e],
                                             x, rows };
        job[n_jobs++] = (struct linear_job){ s->ws->pair_up + p0 * width, width, &w->up_e[e], x,
                                             rows };
    }
    if (w->gate_s.data) {
        struct acts z = acts_at(&s->ws->z, 0, hidden);
        job[n_jobs++] = (struct linear_job){ s->ws->gate, w->gate_s.rows, &w->gate_s, z, s->n };
        job[n_jobs++] = (struct linear_job){ s->ws->up, w->up_s.rows, &w->up_s, z, s->n };
    }
    linear_run(m, job, n_jobs);
}

static void run_outputs(const struct step *s, uint32_t layer)
{
    struct model *m = s->m;
    const struct layer_weights *w = &m->weights.layer[layer];
    size_t hidden = m->plan.hidden, width = m->plan.layer[layer].ffn, n_jobs = 0;
    size_t pairs = s->n * m->plan.router.top_k, shared = m->plan.layer[layer].shared_ffn;
    float limit = m->plan.layer[layer].swiglu_limit;
    struct linear_job *job = s->ws->jobs;
    gate_rows(m, &s->ws->pair_act, s->ws->pair_gate, s->ws->pair_up, pairs, w->down_e, limit);
    for (uint32_t e = 0; e < m->plan.router.n; e++) {
        size_t p0 = s->ws->first[e], rows = s->ws->first[e + 1] - p0;
        if (rows)
            job[n_jobs++] = (struct linear_job){ s->ws->pair_out + p0 * hidden, hidden,
                                                 &w->down_e[e],
                                                 acts_at(&s->ws->pair_act, p0, width), rows };
    }
    if (w->gate_s.data) {
        gate_rows(m, &s->ws->act, s->ws->gate, s->ws->up, s->n, &w->down_s, limit);
        job[n_jobs++] = (struct linear_job){ s->ws->shared_out, hidden, &w->down_s,
                                             acts_at(&s->ws->act, 0, shared), s->n };
    }
    linear_run(m, job, n_jobs);
}

void moe_shared(const struct step *s, uint32_t layer)
{
    struct model *m = s->m;
    const struct layer_weights *w = &m->weights.layer[layer];
    size_t hidden = m->plan.hidden, width = w->gate_s.rows;
    struct acts z = acts_at(&s->ws->z, 0, hidden);
    const struct linear_job in[] = { { s->ws->gate, width, &w->gate_s, z, s->n },
                                     { s->ws->up, width, &w->up_s, z, s->n } };
    linear_run(m, in, 2);
    gate_rows(m, &s->ws->act, s->ws->gate, s->ws->up, s->n, &w->down_s,
              m->plan.layer[layer].swiglu_limit);
    linear_run(m, &(struct linear_job){ s->ws->shared_out, hidden, &w->down_s,
                                        acts_at(&s->ws->act, 0, width), s->n }, 1);
}

/* Each row's experts in ascending order, the shared one last. */
static void combine_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct pair_task *t = arg;
    const struct model *m = t->s->m;
    const struct workspace *ws = t->s->ws;
    size_t hidden = m->plan.hidden, top_k = m->plan.router.top_k;
    (void)worker;
    memset(ws->t + begin * hidden, 0, (end - begin) * hidden * sizeof(float));
    for (size_t r = begin; r < end; r++) {
        float *y = ws->t + r * hidden;
        for (size_t i = r * top_k; i < (r + 1) * top_k; i++)
            m->kern->scale_add_fwd(y, ws->mixing[i], ws->pair_out + ws->pair[i] * hidden, hidden);
        if (t->w->gate_s.data)
            m->kern->add_fwd(y, ws->shared_out + r * hidden, hidden);
    }
}

void moe_combine(const struct step *s, uint32_t layer)
{
    struct pair_task t = { .s = s, .w = &s->m->weights.layer[layer] };
    pool_run(s->m->pool, s->n, ROUTE_GRAIN, combine_range, &t);
}

void moe_forward(const struct step *s, uint32_t layer)
{
    struct pair_task t = { s, &s->m->weights.layer[layer] };
    moe_route_rows(s, layer);
    moe_sort_pairs(s);
    pool_run(s->m->pool, s->n * s->m->plan.router.top_k, ROUTE_GRAIN, copy_range, &t);
    run_inputs(s, layer);
    run_outputs(s, layer);
    moe_combine(s, layer);
}
