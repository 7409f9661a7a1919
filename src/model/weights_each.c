/* Walking the weights of a plan, and the empty tables they stand in. */
#include "model/model.h"

static struct weight *one_of(struct weights *w, const struct plan *p, const struct weight_row *row,
                             uint32_t layer)
{
    char *base = row->scope == SCOPE_MODEL ? (char *)w
               : row->scope == SCOPE_MTP ? (char *)&w->mtp[layer - p->n_layers]
                                         : (char *)&w->layer[layer];
    return (struct weight *)(void *)(base + row->at);
}

static bool stands_here(const struct plan *p, const struct weight_row *row, uint32_t layer)
{
    return row->when != WHEN_IN_FILE && (row->scope != SCOPE_MTP || plan_is_mtp(p, layer))
           && weight_applies(p, row, layer);
}

static bool visit(struct weights *w, const struct plan *p, const struct weight_row *row,
                  uint32_t layer, weight_fn *fn, void *arg)
{
    struct weight *one = one_of(w, p, row, layer);
    if (row->scope != SCOPE_EXPERT)
        return fn(arg, row, layer, 0, one);
    struct weight *all = *(struct weight **)(void *)one;
    for (uint32_t e = 0; e < p->router.n; e++)
        if (!fn(arg, row, layer, e, all + e))
            return false;
    return true;
}

bool weights_each(struct weights *w, const struct plan *p, weight_fn *fn, void *arg)
{
    const struct weight_row *rows = p->family->weights;
    for (const struct weight_row *row = rows; row->at != SIZE_MAX; row++)
        if (row->scope == SCOPE_MODEL && stands_here(p, row, 0) && !visit(w, p, row, 0, fn, arg))
            return false;
    for (uint32_t i = 0; i < plan_all_layers(p); i++)
        for (const struct weight_row *row = rows; row->at != SIZE_MAX; row++)
            if (row->scope != SCOPE_MODEL && stands_here(p, row, i)
                && !visit(w, p, row, i, fn, arg))
                return false;
    return true;
}

static bool set_shape(void *arg, const struct weight_row *row, uint32_t layer, uint32_t expert,
                      struct weight *w)
{
    const struct plan *p = arg;
    (void)expert;
    *w = (struct weight){ .type = qtype_find(QT_F32), .rows = (size_t)dim_size(p, row->rows, layer),
                          .cols = (size_t)dim_size(p, row->cols, layer),
                          .f32_class = row->f32_class };
    w->row_bytes = w->cols * sizeof(float);
    return true;
}

static bool take_expert_tables(struct weights *w, const struct plan *p)
{
    for (uint32_t i = 0; i < plan_all_layers(p); i++)
        for (const struct weight_row *row = p->family->weights; row->at != SIZE_MAX; row++)
            if (row->scope == SCOPE_EXPERT && weight_applies(p, row, i)) {
                struct weight *table = arena_take(&w->memory, p->router.n, sizeof *table, 64);
                if (!table)
                    return false;
                *(struct weight **)(void *)one_of(w, p, row, i) = table;
            }
    return true;
}

bool weights_shape(struct weights *w, const struct plan *p, struct err *err)
{
    struct weights got = { 0 };
    uint64_t experts = 3ull * p->router.n * sizeof(struct weight) + 4096;
    uint64_t each = sizeof(struct layer_weights) + sizeof(struct mtp_weights) + experts;
    if (!arena_init(&got.memory, (size_t)((plan_all_layers(p) + 2) * each), err))
        return false;
    got.layer = arena_take(&got.memory, plan_all_layers(p), sizeof *got.layer, 64);
    got.mtp = arena_take(&got.memory, p->n_mtp + 1, sizeof *got.mtp, 64);
    if (!got.layer || !got.mtp || !take_expert_tables(&got, p)) {
        arena_release(&got.memory);
        return fail(err, ERR_MEMORY, "out of memory for the tables of the weights");
    }
    struct plan shape = *p;
    weights_each(&got, p, set_shape, &shape);
    *w = got;
    return true;
}
