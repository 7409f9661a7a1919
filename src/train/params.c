#include "train/params.h"

#include <math.h>

/* Each parameter begins at a multiple of this many floats. */
enum { ALIGN = 16 };

static size_t padded(size_t n)
{
    return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

static bool is_embedding(const struct weight_row *row)
{
    return row->scope == SCOPE_MODEL && row->at == offsetof(struct weights, embed);
}

static bool is_head(const struct weight_row *row)
{
    return row->scope == SCOPE_MODEL && row->at == offsetof(struct weights, head);
}

static enum param_group group_of(const struct weight_row *row, bool muon)
{
    if (row->scope == SCOPE_LAYER && row->at == offsetof(struct layer_weights, router_bias))
        return PARAM_BIAS;
    if (row->rows == DIM_ONE || is_embedding(row))
        return PARAM_ADAMW_PLAIN;
    return muon && !row->f32_class && !is_head(row) ? PARAM_MUON : PARAM_ADAMW;
}

static size_t moments_of(enum param_group g, size_t n)
{
    return g == PARAM_BIAS ? 0 : g == PARAM_MUON ? padded(n) : 2 * padded(n);
}

/* Totals first, then with memory in hand the same walk gives it out. */
struct layout {
    struct params *ps;                    /* NULL: only counts */
    bool bf16, muon, tied;
    bool packs;                           /* this CPU multiplies packed weights */
    size_t n, n_master, n_grad, n_moments, n_bf16, n_packed;
    uint64_t n_weights;
    bf16 *compute;
    uint8_t *packed;
};

static bool rounds(const struct layout *l, const struct weight_row *row)
{
    return l->bf16 && row->rows != DIM_ONE && !row->f32_class;
}

/* Bytes of one packed form; rows of the embedding are only looked up unless it is the head too. */
static size_t packed_bytes(const struct layout *l, const struct weight_row *row,
                           const struct weight *w)
{
    bool multiplies = rounds(l, row) && (!is_embedding(row) || l->tied);
    return l->packs && multiplies ? gemm_packed_bytes(w->rows, w->cols) : 0;
}

static void give_memory(struct layout *l, const struct weight_row *row, struct param *p)
{
    struct params *ps = l->ps;
    p->master = ps->master + l->n_master;
    if (p->group != PARAM_BIAS)
        p->grad = ps->grad + l->n_grad;
    if (moments_of(p->group, p->n))
        p->m1 = ps->moments + l->n_moments;
    if (p->m1 && p->group != PARAM_MUON)
        p->m2 = p->m1 + padded(p->n);
    if (rounds(l, row))
        p->compute = l->compute + l->n_bf16;
    for (size_t i = 0; row->rows == DIM_ONE && p->group != PARAM_BIAS && i < p->n; i++)
        p->master[i] = 1;
}

/* The weight reads the master, or its rounded copy, packed too where products take it so. */
static void point_at(struct weight *w, const struct param *p)
{
    w->packed_y = p->packed_y;
    w->packed_dx = p->packed_dx;
    w->packed_rows = w->rows;
    w->type = qtype_find(p->compute ? QT_BF16 : QT_F32);
    w->data = p->compute ? (const uint8_t *)p->compute : (const uint8_t *)p->master;
    w->row_bytes = qtype_row_bytes(w->type, w->cols);
}

static bool lay_one(void *arg, const struct weight_row *row, uint32_t layer, uint32_t expert,
                    struct weight *w)
{
    struct layout *l = arg;
    size_t n = w->rows * w->cols, packed = packed_bytes(l, row, w);
    enum param_group group = group_of(row, l->muon);
    if (l->ps) {
        char name[300];
        struct params *ps = l->ps;
        struct param *p = &ps->at[l->n];
        *p = (struct param){ .row = row, .layer = layer, .expert = expert, .group = group,
                             .rows = w->rows, .cols = w->cols, .n = n };
        weight_name(&ps->model->plan, row, row->hf, true, layer, expert, name, sizeof name);
        p->name = arena_text(&ps->names, name, strlen(name));
        if (!p->name)
            return false;
        give_memory(l, row, p);
        if (packed) {
            p->packed_y = l->packed + l->n_packed;
            p->packed_dx = p->packed_y + packed;
        }
        point_at(w, p);
    }
    l->n++;
    l->n_weights += n;
    l->n_master += padded(n);
    l->n_grad += group == PARAM_BIAS ? 0 : padded(n);
    l->n_moments += moments_of(group, n);
    l->n_bf16 += rounds(l, row) ? padded(n) : 0;
    l->n_packed += 2 * packed;
    return true;
}

static struct layout layout_for(const struct plan *p, bool in_bf16, bool muon)
{
    return (struct layout){ .bf16 = in_bf16, .muon = muon, .tied = p->tied,
                            .packs = kern_get(cpu_level_chosen())->gemm_bf16_packed != NULL };
}

/* Floats, compute copies, packed ones; each begins at a multiple of 64 bytes. */
static uint64_t bytes_before_packed(const struct layout *l)
{
    return ((l->n_master + l->n_grad + (uint64_t)l->n_moments) * sizeof(float)
            + l->n_bf16 * sizeof(bf16) + 63) / 64 * 64;
}

static uint64_t bytes_of_layout(const struct layout *l)
{
    return bytes_before_packed(l) + l->n_packed + 64;
}

static bool count_layout(struct layout *l, const struct plan *p)
{
    struct weights shape;
    if (!weights_shape(&shape, p, NULL))
        return false;
    weights_each(&shape, p, lay_one, l);
    weights_release(&shape);
    return true;
}

uint64_t params_bytes(const struct plan *p, bool in_bf16, bool muon)
{
    struct layout l = layout_for(p, in_bf16, muon);
    return count_layout(&l, p) ? bytes_of_layout(&l) : UINT64_MAX;
}

uint64_t params_saved_bytes(const struct plan *p, bool muon)
{
    struct layout l = layout_for(p, false, muon);
    return count_layout(&l, p) ? (l.n_master + (uint64_t)l.n_moments) * sizeof(float) : UINT64_MAX;
}

uint64_t params_model_bytes(const struct plan *p, bool in_bf16)
{
    struct layout l = layout_for(p, in_bf16, false);
    return count_layout(&l, p) ? l.n_master * sizeof(float) - l.n_bf16 * sizeof(bf16) : UINT64_MAX;
}

static bool take_memory(struct params *ps, const struct layout *l, struct err *err)
{
    ps->n_bytes = bytes_of_layout(l);
    ps->memory = space_take_whole((size_t)ps->n_bytes);
    ps->at = mem_take(l->n, sizeof *ps->at);
    if (!ps->memory || !ps->at)
        return fail(err, ERR_MEMORY, "cannot take %llu bytes for weights, gradients and optimizer "
                    "state", (unsigned long long)ps->n_bytes);
    ps->master = ps->memory;
    ps->grad = ps->master + l->n_master;
    ps->moments = ps->grad + l->n_grad;
    ps->n = l->n;
    ps->n_master = l->n_master;
    ps->n_grad = l->n_grad;
    ps->n_moments = l->n_moments;
    ps->n_weights = l->n_weights;
    return arena_init(&ps->names, l->n * 300 + 4096, err);
}

struct pointing {
    const struct params *ps;
    size_t at;
};

static bool point_grad(void *arg, const struct weight_row *row, uint32_t layer, uint32_t expert,
                       struct weight *w)
{
    struct pointing *p = arg;
    (void)row, (void)layer, (void)expert;
    w->data = (const uint8_t *)p->ps->at[p->at++].grad;
    return true;
}

static bool lay_out(struct params *ps, struct model *m, bool muon, struct err *err)
{
    struct layout count = layout_for(&m->plan, ps->bf16, muon);
    if (!weights_shape(&m->weights, &m->plan, err) || !weights_shape(&ps->grads, &m->plan, err))
        return false;
    weights_each(&m->weights, &m->plan, lay_one, &count);
    if (!take_memory(ps, &count, err))
        return false;
    struct layout l = layout_for(&m->plan, ps->bf16, muon);
    l.ps = ps;
    l.compute = (bf16 *)(ps->moments + ps->n_moments);
    l.packed = (uint8_t *)ps->memory + bytes_before_packed(&count);
    if (!weights_each(&m->weights, &m->plan, lay_one, &l))
        return fail(err, ERR_MEMORY, "out of memory for the names of the weights");
    weights_each(&ps->grads, &m->plan, point_grad, &(struct pointing){ ps, 0 });
    if (m->plan.tied) {
        m->weights.head = m->weights.embed;
        ps->grads.head = ps->grads.embed;
    }
    return true;
}

bool params_open(struct params *ps, struct model *m, int n_threads, bool in_bf16, bool muon,
                 struct err *err)
{
    *ps = (struct params){ .model = m, .bf16 = in_bf16 };
    if (m->plan.rope[0].layout != ROPE_HALF)
        return fail(err, ERR_UNSUPPORTED, "%s: training needs the Hugging Face order of q and k; "
                    "convert the GGUF file to a folder first (kexa convert)", m->path);
    if (!lay_out(ps, m, muon, err) || !model_ready(m, n_threads, NUMERICS_NATIVE, err)) {
        params_close(ps);
        return false;
    }
    params_publish(ps);
    return true;
}

void params_close(struct params *ps)
{
    if (ps->grads.memory.low)
        weights_release(&ps->grads);
    if (ps->names.low)
        arena_release(&ps->names);
    space_give(ps->memory, (size_t)ps->n_bytes);
    mem_give(ps->at);
    *ps = (struct params){ 0 };
}

struct params_task {
    struct params *ps;
    const struct model *from;
    uint64_t seed;
    double std;
};

/* Standard normal number i of a stream (Box and Muller, 1958). */
static double normal_at(uint64_t seed, uint64_t stream, uint64_t i)
{
    double u = ((double)(rng_u64_at(seed, stream, 2 * i) >> 11) + 1) * 0x1p-53;
    double v = (double)(rng_u64_at(seed, stream, 2 * i + 1) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static bool writes_stream(const struct weight_row *row)
{
    size_t at = row->at;
    return row->scope != SCOPE_MODEL && row->scope != SCOPE_MTP
           && (at == offsetof(struct layer_weights, o) || at == offsetof(struct layer_weights, down)
               || at == offsetof(struct layer_weights, down_s)
               || at == offsetof(struct layer_weights, down_e));
}

static void fill_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct params_task *t = arg;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        struct param *p = &t->ps->at[i];
        if (p->row->rows == DIM_ONE)
            continue;
        uint64_t stream = hash_bytes(bytes_of(p->name), 0);
        double std = t->std;
        if (writes_stream(p->row))
            std /= sqrt(2.0 * t->ps->model->plan.n_layers);
        for (size_t k = 0; k < p->n; k++)
            p->master[k] = (float)(std * normal_at(t->seed, stream, k));
    }
}

void params_fill_random(struct params *ps, uint64_t seed, double std)
{
    struct params_task t = { .ps = ps, .seed = seed, .std = std };
    pool_run(ps->model->pool, ps->n, 1, fill_range, &t);
    params_publish(ps);
}

struct copying {
    struct params *ps;
    size_t at;
    struct err *err;
};

static bool copy_one(void *arg, const struct weight_row *row, uint32_t layer, uint32_t expert,
                     struct weight *w)
{
    struct copying *c = arg;
    struct param *p = &c->ps->at[c->at++];
    (void)row, (void)layer, (void)expert;
    if (w->rows != p->rows || w->cols != p->cols || !w->data)
        return fail(c->err, ERR_FORMAT, "%s is [%zu, %zu] in the model to start from, [%zu, %zu] "
                    "here", p->name, w->rows, w->cols, p->rows, p->cols);
    for (size_t r = 0; r < w->rows; r++)
        w->type->dequant(p->master + r * p->cols, w->data + r * w->row_bytes, w->cols);
    return true;
}

bool params_copy_from(struct params *ps, const struct model *from, struct err *err)
{
    const struct plan *a = &ps->model->plan, *b = &from->plan;
    if (a->family != b->family || a->n_layers != b->n_layers || a->n_mtp != b->n_mtp
        || a->router.n != b->router.n || a->tied != b->tied)
        return fail(err, ERR_FORMAT, "%s has another structure than the model to train",
                    from->path);
    struct weights view = from->weights;
    struct copying c = { ps, 0, err };
    if (!weights_each(&view, b, copy_one, &c))
        return false;
    params_publish(ps);
    return true;
}

static void publish_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct params_task *t = arg;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        struct param *p = &t->ps->at[i];
        if (p->compute)
            t->ps->model->kern->round_bf16(p->compute, p->master, p->n);
    }
}

static void pack_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct params_task *t = arg;
    const struct kernels *k = t->ps->model->kern;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const struct param *p = &t->ps->at[i];
        size_t row_bytes = p->cols * sizeof *p->compute;
        if (!p->packed_y)
            continue;
        k->gemm_bf16_pack_y(p->packed_y, p->compute, row_bytes, p->rows, p->cols);
        k->gemm_bf16_pack_dx(p->packed_dx, p->compute, row_bytes, p->rows, p->cols);
    }
}

void params_pack(struct params *ps)
{
    struct params_task t = { .ps = ps };
    if (ps->bf16)
        pool_run(ps->model->pool, ps->n, 1, pack_range, &t);
}

void params_publish(struct params *ps)
{
    struct params_task t = { .ps = ps };
    if (ps->bf16)
        pool_run(ps->model->pool, ps->n, 1, publish_range, &t);
    params_pack(ps);
}

void params_clear_grads(struct params *ps)
{
    memset(ps->grad, 0, ps->n_grad * sizeof *ps->grad);
}
