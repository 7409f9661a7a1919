#include "train/optimizer.h"

#include <math.h>

/* Elements of a block: the unit of threads and of the norm's sum. */
enum { BLOCK = 16384 };

static size_t count_blocks(const struct params *ps, size_t *n_muon)
{
    size_t n = 0;
    *n_muon = 0;
    for (size_t i = 0; i < ps->n; i++) {
        n += ps->at[i].grad ? (ps->at[i].n + BLOCK - 1) / BLOCK : 0;
        *n_muon += ps->at[i].group == PARAM_MUON;
    }
    return n;
}

static void fill_blocks(struct optimizer *o)
{
    const struct params *ps = o->ps;
    size_t b = 0, k = 0;
    for (size_t i = 0; i < ps->n; i++) {
        const struct param *p = &ps->at[i];
        for (size_t at = 0; p->grad && at < p->n; at += BLOCK)
            o->block[b++] = (struct optimizer_block){
                (uint32_t)i, p->n - at < BLOCK ? (uint32_t)(p->n - at) : BLOCK, at };
        if (p->group == PARAM_MUON)
            o->muon[k++] = (struct muon_job){ .w = p->master, .momentum = p->m1, .g = p->grad,
                                              .rows = p->rows, .cols = p->cols };
    }
}

bool optimizer_open(struct optimizer *o, struct params *ps, const struct optimizer_rule *rule,
                    struct err *err)
{
    *o = (struct optimizer){ .ps = ps, .rule = *rule };
    o->n_blocks = count_blocks(ps, &o->n_muon);
    o->block = mem_take(o->n_blocks, sizeof *o->block);
    o->square = mem_take(o->n_blocks, sizeof *o->square);
    o->muon = mem_take(o->n_muon + 1, sizeof *o->muon);
    bool ok = o->block && o->square && o->muon;
    if (ok) {
        fill_blocks(o);
        o->scratch_bytes = muon_scratch_bytes(o->muon, o->n_muon, pool_threads(ps->model->pool));
        o->scratch = space_take_whole(o->scratch_bytes + 1);
    }
    if (ok && o->scratch)
        return true;
    optimizer_close(o);
    return fail(err, ERR_MEMORY, "out of memory for the optimizer");
}

void optimizer_close(struct optimizer *o)
{
    space_give(o->scratch, o->scratch_bytes + 1);
    mem_give(o->block);
    mem_give(o->square);
    mem_give(o->muon);
    *o = (struct optimizer){ 0 };
}

static void square_range(void *arg, size_t begin, size_t end, int worker)
{
    struct optimizer *o = arg;
    (void)worker;
    for (size_t b = begin; b < end; b++) {
        const struct optimizer_block *k = &o->block[b];
        o->ps->model->kern->sum_squares(&o->square[b], o->ps->at[k->param].grad + k->at, k->n);
    }
}

double optimizer_norm(struct optimizer *o)
{
    double sum = 0;
    pool_run(o->ps->model->pool, o->n_blocks, 4, square_range, o);
    for (size_t b = 0; b < o->n_blocks; b++)
        sum += o->square[b];
    return sqrt(sum);
}

struct adamw_task {
    struct optimizer *o;
    struct adamw decayed, plain;
};

/* The compute copy of a block whose master has changed. */
static void publish_block(const struct optimizer *o, const struct optimizer_block *k)
{
    const struct param *p = &o->ps->at[k->param];
    if (p->compute)
        o->ps->model->kern->round_bf16(p->compute + k->at, p->master + k->at, k->n);
}

/* A block's master is still in the cache when its copy is made. */
static void adamw_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct adamw_task *t = arg;
    (void)worker;
    for (size_t b = begin; b < end; b++) {
        const struct optimizer_block *k = &t->o->block[b];
        const struct param *p = &t->o->ps->at[k->param];
        if (p->group == PARAM_MUON)
            continue;
        t->o->ps->model->kern->adamw_step(p->master + k->at, p->m1 + k->at, p->m2 + k->at,
                                          p->grad + k->at, k->n,
                                          p->group == PARAM_ADAMW ? &t->decayed : &t->plain);
        publish_block(t->o, k);
    }
}

static void muon_publish_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct optimizer *o = arg;
    (void)worker;
    for (size_t b = begin; b < end; b++)
        if (o->ps->at[o->block[b].param].group == PARAM_MUON)
            publish_block(o, &o->block[b]);
}

static void move_biases(struct optimizer *o, const uint64_t *load)
{
    const struct plan *plan = &o->ps->model->plan;
    for (size_t i = 0; i < o->ps->n; i++) {
        const struct param *p = &o->ps->at[i];
        if (p->group != PARAM_BIAS || plan_is_mtp(plan, p->layer))
            continue;
        moe_bias_update(p->master, load, plan->router.n, (float)o->rule.bias_update);
        load += plan->router.n;
    }
}

void optimizer_step(struct optimizer *o, uint64_t t, double lr, double grad_scale,
                    const uint64_t *load)
{
    struct model *m = o->ps->model;
    struct adamw_rule plain = o->rule.adamw;
    plain.weight_decay = 0;
    struct adamw_task task = { o, adamw_at(&o->rule.adamw, t, lr, grad_scale),
                               adamw_at(&plain, t, lr, grad_scale) };
    pool_run(m->pool, o->n_blocks, 4, adamw_range, &task);
    struct muon_config c = { .lr = lr, .mu = o->rule.muon_momentum, .nesterov = true,
                             .weight_decay = o->rule.adamw.weight_decay,
                             .grad_scale = grad_scale, .bf16 = o->ps->bf16 };
    if (o->n_muon) {
        muon_step(m->kern, m->pool, o->muon, o->n_muon, &c, o->scratch);
        pool_run(m->pool, o->n_blocks, 4, muon_publish_range, o);
    }
    params_pack(o->ps);
    if (load && o->rule.bias_update != 0)
        move_biases(o, load);
}
