/* Binding: from the family's weight table and a file's tensors to struct weights. */
#include "model/model.h"

#include <inttypes.h>

struct binding {
    struct weights *w;
    const struct plan *plan;
    const struct tensors *tensors;
    bool hf;
    const char *file;
    struct err *err;
};

void weight_name(const struct plan *p, const struct weight_row *row, const char *name, bool hf,
                 uint32_t layer, uint32_t expert, char *out, size_t cap)
{
    char prefix[64] = "", rest[200];
    const struct family *f = p->family;
    bool bare = row->scope == SCOPE_MODEL || (row->scope == SCOPE_MTP && hf);
    if (!bare && !hf)
        snprintf(prefix, sizeof prefix, "blk.%u.", layer);
    else if (!bare && plan_is_mtp(p, layer))
        snprintf(prefix, sizeof prefix, f->hf_mtp, layer - p->n_layers);
    else if (!bare)
        snprintf(prefix, sizeof prefix, f->hf_layers, layer);
    snprintf(rest, sizeof rest, name, expert);
    snprintf(out, cap, "%s%s", prefix, rest);
}

static bool wrong_shape(const struct binding *b, const struct tensor *t, uint64_t rows,
                        uint64_t cols, uint64_t depth)
{
    return fail(b->err, ERR_FORMAT, "%s: tensor %s has shape [%" PRIu64 ", %" PRIu64 ", %" PRIu64
                "] (rows outermost), the model's description needs [%" PRIu64 ", %" PRIu64 ", %"
                PRIu64 "]", b->file, t->name, t->ne[2], t->ne[1], t->ne[0], depth, rows, cols);
}

static bool readable(const struct binding *b, const struct tensor *t)
{
    return t->qtype || fail(b->err, ERR_UNSUPPORTED, "%s: tensor %s is stored as %s, which this "
                            "build cannot read; use a file with F32, F16, BF16, Q8_0, Q4_0, Q4_1, "
                            "Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL, IQ4_XS or MXFP4 weights",
                            b->file, t->name, t->type_name);
}

/* A vector as f32: gains and biases meet f32 arithmetic only. */
static bool copy_vector(const struct binding *b, struct weight *to, const struct tensor *t)
{
    size_t n = (size_t)t->ne[0];
    float *copy = arena_take(&b->w->memory, n, sizeof *copy, 64);
    if (!copy)
        return fail(b->err, ERR_MEMORY, "%s: out of memory for %s", b->file, t->name);
    t->qtype->dequant(copy, t->data, n);
    for (size_t i = 0; b->hf && i < n; i++)
        copy[i] += b->plan->family->hf_gain_offset;
    b->w->copied_bytes += n * sizeof *copy;
    *to = (struct weight){ .type = qtype_find(QT_F32), .data = (const uint8_t *)copy, .rows = 1,
                           .cols = n, .row_bytes = n * sizeof *copy };
    return true;
}

static struct weight matrix_of(const struct tensor *t, uint64_t skip_rows, uint64_t rows,
                               bool f32_class)
{
    size_t row_bytes = qtype_row_bytes(t->qtype, (size_t)t->ne[0]);
    return (struct weight){ .type = t->qtype, .data = t->data + skip_rows * row_bytes,
                            .rows = (size_t)rows, .cols = (size_t)t->ne[0],
                            .row_bytes = row_bytes, .f32_class = f32_class };
}

static const struct tensor *find_named(const struct binding *b, const struct weight_row *row,
                                       uint32_t layer, uint32_t expert)
{
    char name[300];
    const char *given = b->hf ? row->hf : row->gguf;
    if (!given)
        return NULL;
    weight_name(b->plan, row, given, b->hf, layer, expert, name, sizeof name);
    const struct tensor *t = tensors_find(b->tensors, name);
    if (!t && b->hf && row->hf_alias) {
        weight_name(b->plan, row, row->hf_alias, true, layer, expert, name, sizeof name);
        t = tensors_find(b->tensors, name);
    }
    return t;
}

static bool missing(const struct binding *b, const struct weight_row *row, uint32_t layer,
                    uint32_t expert)
{
    char name[300];
    weight_name(b->plan, row, b->hf ? row->hf : row->gguf, b->hf, layer, expert, name,
                sizeof name);
    return fail(b->err, ERR_FORMAT, "%s: tensor %s is missing (family %s)", b->file, name,
                b->plan->family->name);
}

static bool bind_one(const struct binding *b, const struct weight_row *row, uint32_t layer,
                     void *into)
{
    struct weight *to = (struct weight *)(void *)((char *)into + row->at);
    uint64_t rows = dim_size(b->plan, row->rows, layer), cols = dim_size(b->plan, row->cols, layer);
    const struct tensor *t = find_named(b, row, layer, 0);
    if (!t)
        return row->when == WHEN_IN_FILE || missing(b, row, layer, 0);
    if (!readable(b, t))
        return false;
    bool vector = row->rows == DIM_ONE;
    if (t->ne[0] != cols || t->ne[1] != rows || t->ne[2] != 1 || t->ne[3] != 1)
        return wrong_shape(b, t, rows, cols, 1);
    if (vector)
        return copy_vector(b, to, t);
    *to = matrix_of(t, 0, rows, row->f32_class);
    return true;
}

/*
 * One expert's matrix.  Three layouts are met: a matrix per expert (Hugging Face), a 3-D
 * tensor [experts, rows, cols] (GGUF, fused down_proj), and gate and up fused as
 * [experts, 2 rows, cols] with gate first.
 */
static bool bind_expert(const struct binding *b, const struct weight_row *row, uint32_t layer,
                        uint32_t expert, struct weight *to)
{
    uint64_t rows = dim_size(b->plan, row->rows, layer), cols = dim_size(b->plan, row->cols, layer);
    uint64_t n = b->plan->router.n;
    const struct tensor *t = find_named(b, row, layer, expert);
    if (!t)
        return missing(b, row, layer, expert);
    if (!readable(b, t))
        return false;
    bool single = t->ne[2] == 1 && t->n_dims == 2;
    bool fused = b->hf && !single && t->ne[1] == 2 * rows && row->rows == DIM_FFN;
    uint64_t depth = single ? 1 : n, each = fused ? 2 * rows : rows;
    if (t->ne[0] != cols || t->ne[1] != each || t->ne[2] != depth || t->ne[3] != 1)
        return wrong_shape(b, t, rows, cols, b->hf ? 1 : n);
    bool second_half = fused && row->at == offsetof(struct layer_weights, up_e);
    uint64_t skip = single ? 0 : expert * each + (second_half ? rows : 0);
    *to = matrix_of(t, skip, rows, row->f32_class);
    return true;
}

static bool bind_experts(const struct binding *b, const struct weight_row *row, uint32_t layer,
                         struct layer_weights *into)
{
    uint32_t n = b->plan->router.n;
    struct weight *w = arena_take(&b->w->memory, n, sizeof *w, 64);
    if (!w)
        return fail(b->err, ERR_MEMORY, "%s: out of memory for %u experts", b->file, n);
    *(struct weight **)(void *)((char *)into + row->at) = w;
    for (uint32_t e = 0; e < n; e++)
        if (!bind_expert(b, row, layer, e, &w[e]))
            return false;
        else if (w[e].type != w[0].type)  /* their inputs are prepared once, in one class */
            return fail(b->err, ERR_UNSUPPORTED, "%s: layer %u: expert %u is %s, expert 0 is %s; "
                        "this build needs one type for all", b->file, layer, e, w[e].type->name,
                        w[0].type->name);
    return true;
}

static bool bind_layer(const struct binding *b, uint32_t layer)
{
    for (const struct weight_row *row = b->plan->family->weights; row->at != SIZE_MAX; row++) {
        bool mtp_row = row->scope == SCOPE_MTP && plan_is_mtp(b->plan, layer);
        if (row->scope == SCOPE_MODEL || (row->scope == SCOPE_MTP && !mtp_row)
            || !weight_applies(b->plan, row, layer))
            continue;
        struct layer_weights *l = &b->w->layer[layer];
        bool ok = row->scope == SCOPE_EXPERT ? bind_experts(b, row, layer, l)
                : mtp_row ? bind_one(b, row, layer, &b->w->mtp[layer - b->plan->n_layers])
                : bind_one(b, row, layer, l);
        if (!ok)
            return false;
    }
    return true;
}

static bool bind_model(const struct binding *b)
{
    for (const struct weight_row *row = b->plan->family->weights; row->at != SIZE_MAX; row++)
        if (row->scope == SCOPE_MODEL && weight_applies(b->plan, row, 0)
            && !bind_one(b, row, 0, b->w))
            return false;
    if (b->plan->tied)
        b->w->head = b->w->embed;
    for (uint32_t i = 0; i < plan_all_layers(b->plan); i++)
        if (!bind_layer(b, i))
            return false;
    return true;
}

/* Bytes the tables and copies can need at most: per layer a few vectors and the experts. */
static uint64_t memory_bound(const struct plan *p)
{
    uint64_t vectors = (uint64_t)p->hidden * 10 + p->head_dim * 4ull + p->router.n + 512;
    uint64_t per_layer = sizeof(struct layer_weights) + vectors * 4
                       + 3ull * p->router.n * sizeof(struct weight) + 4096;
    return (plan_all_layers(p) + 4ull) * (per_layer + sizeof(struct mtp_weights)) + (1 << 16);
}

bool weights_bind(struct weights *w, const struct plan *p, const struct tensors *t, bool hf,
                  const char *file, struct err *err)
{
    struct weights got = { 0 };
    struct binding b = { &got, p, t, hf, file, err };
    if (!arena_init(&got.memory, (size_t)memory_bound(p), err))
        return false;
    got.layer = arena_take(&got.memory, plan_all_layers(p), sizeof *got.layer, 64);
    got.mtp = arena_take(&got.memory, p->n_mtp + 1, sizeof *got.mtp, 64);
    bool ok = got.layer && got.mtp
              ? bind_model(&b) : fail(err, ERR_MEMORY, "%s: out of memory for the weights", file);
    if (ok)
        *w = got;
    else
        arena_release(&got.memory);
    return ok;
}

void weights_release(struct weights *w)
{
    arena_release(&w->memory);
    *w = (struct weights){ 0 };
}

/* Parameters of one row of the table in one layer. */
static uint64_t row_parameters(const struct plan *p, const struct weight_row *row, uint32_t layer)
{
    uint64_t n = dim_size(p, row->rows, layer) * dim_size(p, row->cols, layer);
    return row->scope == SCOPE_EXPERT ? n * p->router.n : n;
}

static void count_row(const struct plan *p, const struct weight_row *row, uint32_t layer,
                      struct weight_counts *out)
{
    bool mtp = row->scope != SCOPE_MODEL && plan_is_mtp(p, layer);
    if ((row->scope == SCOPE_MTP && !mtp) || row->when == WHEN_IN_FILE
        || !weight_applies(p, row, layer))
        return;
    uint64_t n = row_parameters(p, row, layer);
    if (mtp) {
        out->mtp += n;
        return;
    }
    out->main += n;
    bool embedding = row->scope == SCOPE_MODEL && row->at == offsetof(struct weights, embed);
    if (row->scope == SCOPE_EXPERT)
        out->touched += n / p->router.n * p->router.top_k;
    else if (!embedding || p->tied)
        out->touched += n;
}

void plan_count(const struct plan *p, struct weight_counts *out)
{
    *out = (struct weight_counts){ 0 };
    for (const struct weight_row *row = p->family->weights; row->at != SIZE_MAX; row++) {
        uint32_t n = row->scope == SCOPE_MODEL ? 1 : plan_all_layers(p);
        for (uint32_t i = 0; i < n; i++)
            count_row(p, row, i, out);
    }
}

static uint64_t stored_bytes(const struct weights *w, const struct plan *p,
                             const struct weight_row *row, uint32_t layer)
{
    const char *base = row->scope == SCOPE_MODEL ? (const char *)w
                                                 : (const char *)&w->layer[layer];
    const void *at = base + row->at;
    const struct weight *one = row->scope == SCOPE_EXPERT ? *(const struct weight *const *)at : at;
    uint64_t times = row->scope == SCOPE_EXPERT ? p->router.top_k : 1;
    return one && one->data ? times * one->rows * one->row_bytes : 0;
}

uint64_t weights_touched_bytes(const struct weights *w, const struct plan *p)
{
    uint64_t sum = 0;
    for (const struct weight_row *row = p->family->weights; row->at != SIZE_MAX; row++) {
        uint32_t n = row->scope == SCOPE_MODEL ? 1 : p->n_layers;
        bool embedding = row->scope == SCOPE_MODEL && row->at == offsetof(struct weights, embed);
        for (uint32_t i = 0; i < n && row->scope != SCOPE_MTP; i++)
            if (weight_applies(p, row, i) && (!embedding || p->tied))
                sum += stored_bytes(w, p, row, i);
    }
    return sum;
}
