/*
 * The mixture of experts: route every row, put (row, expert) pairs together by expert, run
 * all experts' products as one list, and add each row's results in ascending expert order,
 * the shared expert last.  That order and each product's bits are a row's own, so a row
 * alone and a row in a batch agree.
 */
#include "model/block.h"

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

static void route(const struct step *s, uint32_t layer)
{
    struct model *m = s->m;
    const struct moe_router *r = &m->plan.router;
    const struct layer_weights *w = &m->weights.layer[layer];
    const float *bias = w->router_bias.data ? weight_f32(&w->router_bias) : NULL;
    linear_run(m, &(struct linear_job){ m->ws.router, r->n, &w->router,
                                        acts_at(&m->ws.z, 0, m->plan.hidden), s->n }, 1);
    for (size_t row = 0; row < s->n; row++) {
        uint32_t *id = m->ws.expert + row * r->top_k;
        float *mix = m->ws.mixing + row * r->top_k;
        moe_route(id, mix, NULL, m->ws.router + row * r->n, bias, r);
        sort_slots(id, mix, r->top_k);
    }
}

/* Counting sort of the pairs by expert, rows ascending inside one; gathers their inputs. */
static void gather_pairs(const struct step *s, uint32_t layer)
{
    struct model *m = s->m;
    const struct layer_weights *w = &m->weights.layer[layer];
    const struct weight *in[] = { &w->gate_e[0], &w->up_e[0] };
    uint32_t *first = m->ws.first, n = m->plan.router.n, top_k = m->plan.router.top_k;
    size_t pairs = s->n * top_k;
    memset(first, 0, (n + 1) * sizeof *first);
    for (size_t i = 0; i < pairs; i++)
        first[m->ws.expert[i] + 1]++;
    for (uint32_t e = 0; e < n; e++)
        first[e + 1] += first[e];
    for (size_t i = 0; i < pairs; i++) {
        uint32_t at = first[m->ws.expert[i]]++;
        m->ws.pair[i] = at;
        acts_copy_row(m, &m->ws.pair_z, at, &m->ws.z, i / top_k, m->plan.hidden, in, 2);
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
    struct linear_job *job = m->ws.jobs;
    for (uint32_t e = 0; e < m->plan.router.n; e++) {
        size_t p0 = m->ws.first[e], rows = m->ws.first[e + 1] - p0;
        struct acts x = acts_at(&m->ws.pair_z, p0, hidden);
        if (!rows)
            continue;
        job[n_jobs++] = (struct linear_job){ m->ws.pair_gate + p0 * width, width, &w->gate_e[e],
                                             x, rows };
        job[n_jobs++] = (struct linear_job){ m->ws.pair_up + p0 * width, width, &w->up_e[e], x,
                                             rows };
    }
    if (w->gate_s.data) {
        struct acts z = acts_at(&m->ws.z, 0, hidden);
        job[n_jobs++] = (struct linear_job){ m->ws.gate, w->gate_s.rows, &w->gate_s, z, s->n };
        job[n_jobs++] = (struct linear_job){ m->ws.up, w->up_s.rows, &w->up_s, z, s->n };
    }
    linear_run(m, job, n_jobs);
}

static void run_outputs(const struct step *s, uint32_t layer)
{
    struct model *m = s->m;
    const struct layer_weights *w = &m->weights.layer[layer];
    const struct weight *down[] = { &w->down_e[0] }, *down_s[] = { &w->down_s };
    size_t hidden = m->plan.hidden, width = m->plan.layer[layer].ffn, n_jobs = 0;
    size_t pairs = s->n * m->plan.router.top_k, shared = m->plan.layer[layer].shared_ffn;
    float limit = m->plan.layer[layer].swiglu_limit;
    struct linear_job *job = m->ws.jobs;
    gate_rows(m, m->ws.pair_act.f32, m->ws.pair_gate, m->ws.pair_up, pairs, width, limit);
    acts_prepare(m, &m->ws.pair_act, pairs, width, down, 1);
    for (uint32_t e = 0; e < m->plan.router.n; e++) {
        size_t p0 = m->ws.first[e], rows = m->ws.first[e + 1] - p0;
        if (rows)
            job[n_jobs++] = (struct linear_job){ m->ws.pair_out + p0 * hidden, hidden,
                                                 &w->down_e[e],
                                                 acts_at(&m->ws.pair_act, p0, width), rows };
    }
    if (w->gate_s.data) {
        gate_rows(m, m->ws.act.f32, m->ws.gate, m->ws.up, s->n, shared, limit);
        acts_prepare(m, &m->ws.act, s->n, shared, down_s, 1);
        job[n_jobs++] = (struct linear_job){ m->ws.gate, hidden, &w->down_s,
                                             acts_at(&m->ws.act, 0, shared), s->n };
    }
    linear_run(m, job, n_jobs);
}

void moe_forward(const struct step *s, uint32_t layer)
{
    struct model *m = s->m;
    const struct layer_weights *w = &m->weights.layer[layer];
    const struct weight *in[] = { &w->gate_e[0], &w->up_e[0], &w->gate_s, &w->up_s };
    size_t hidden = m->plan.hidden, top_k = m->plan.router.top_k;
    acts_prepare(m, &m->ws.z, s->n, hidden, in, 4);
    route(s, layer);
    gather_pairs(s, layer);
    run_inputs(s, layer);
    run_outputs(s, layer);
    memset(m->ws.t, 0, s->n * hidden * sizeof(float));
    for (size_t r = 0; r < s->n; r++) {
        float *y = m->ws.t + r * hidden;
        for (size_t i = r * top_k; i < (r + 1) * top_k; i++)
            m->kern->scale_add_fwd(y, m->ws.mixing[i], m->ws.pair_out + m->ws.pair[i] * hidden,
                                   hidden);
        if (w->gate_s.data)
            m->kern->add_fwd(y, m->ws.gate + r * hidden, hidden);
    }
}
