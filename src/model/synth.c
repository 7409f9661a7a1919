/* synth.h: the list of tensors and the size of their weights. */
#include "model/model.h"

#include <stdio.h>

static uint64_t square_root(uint64_t v)   /* rounded down */
{
    uint64_t r = 0;
    for (uint64_t bit = (uint64_t)1 << 31; bit; bit >>= 1)
        if ((r + bit) * (r + bit) <= v)
            r += bit;
    return r;
}

/* 1024 times the root mean square of the codes of synth_fill.c, in steps of d. */
static uint64_t code_rms(const struct synth_tensor *t)
{
    switch ((int)t->type->id) {
    case QT_Q4_0: return 4284;            /* sqrt(17.5) */
    case QT_Q4_1: return 4720;            /* sqrt(21.25) */
    case QT_Q4_K: return 9441;            /* twice that */
    case QT_Q6_K: return 18923;           /* sqrt(341.5) */
    default:      return t->kind == SYNTH_SIGNS ? 1024 : 75229;      /* sqrt(5397.25) */
    }
}

/* The half with seven significant bits at or below deviation / rms of the codes; at least the
 * smallest normal one. */
static f16 choose_d(const struct synth_tensor *t, bool unit)
{
    uint64_t deviation = unit ? (uint64_t)1 << 30 : square_root(((uint64_t)1 << 60) / t->ne[0]);
    uint64_t d = (deviation << 10) / code_rms(t);                    /* in 2^-30 */
    uint32_t e = 16;
    if (d < 65536)
        return 0x0400;
    while (d >> (e + 1))
        e++;
    return (f16)((e - 15) << 10 | ((d >> (e - 6)) - 64) << 4);
}

struct listing {
    const struct plan *plan;
    const struct recipe *recipe;
    uint64_t seed;
    struct synth_tensor *at;
    size_t n, cap;
};

static enum synth_kind kind_of(const struct weight_row *row, const char *name)
{
    size_t n = strlen(name);
    if (row->rows == DIM_ONE)
        return n > 5 && !strcmp(name + n - 5, ".bias") ? SYNTH_ZEROS : SYNTH_ONES;
    return row->f32_class ? SYNTH_SIGNS : SYNTH_RANDOM;
}

static bool put_row(struct listing *l, const struct weight_row *row, uint32_t layer)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 256;
        void *grown = mem_grow(l->at, cap, sizeof *l->at);
        if (!grown)
            return false;
        l->at = grown;
        l->cap = cap;
    }
    struct synth_tensor *t = &l->at[l->n++];
    *t = (struct synth_tensor){ .seed = l->seed, .ne = { dim_size(l->plan, row->cols, layer),
                                dim_size(l->plan, row->rows, layer), 1, 1 } };
    if (row->scope == SCOPE_MODEL)
        snprintf(t->name, sizeof t->name, "%s", row->gguf);
    else
        snprintf(t->name, sizeof t->name, "blk.%u.%s", layer, row->gguf);
    if (row->scope == SCOPE_EXPERT)
        t->ne[2] = l->plan->router.n;
    t->n_dims = row->scope == SCOPE_EXPERT ? 3 : row->rows == DIM_ONE ? 1 : 2;
    t->kind = kind_of(row, t->name);
    t->type = recipe_type(l->recipe, t->name, t->n_dims, t->ne[0]);
    t->n_bytes = qtype_row_bytes(t->type, t->ne[0]) * t->ne[1] * t->ne[2];
    t->stream = hash_bytes(bytes_of(t->name), 0);
    bool embedding = row->scope == SCOPE_MODEL && row->at == offsetof(struct weights, embed);
    t->d = choose_d(t, embedding && !l->plan->tied);
    return true;
}

static bool put_rows(struct listing *l)
{
    const struct plan *p = l->plan;
    for (uint32_t i = 0; i < plan_all_layers(p); i++)
        for (const struct weight_row *row = p->family->weights; row->at != SIZE_MAX; row++) {
            bool once = row->scope == SCOPE_MODEL;
            if (!row->gguf || row->when == WHEN_IN_FILE || (once && i)
                || (row->scope == SCOPE_MTP && !plan_is_mtp(p, i))
                || !weight_applies(p, row, i))
                continue;
            if (!put_row(l, row, i))
                return false;
        }
    return true;
}

bool synth_list(const struct plan *p, const struct recipe *r, uint64_t seed,
                struct synth_tensor **out, size_t *n, struct err *err)
{
    struct listing l = { .plan = p, .recipe = r, .seed = seed };
    if (!put_rows(&l)) {
        mem_give(l.at);
        return fail(err, ERR_MEMORY, "out of memory for the list of tensors");
    }
    *out = l.at;
    *n = l.n;
    return true;
}
