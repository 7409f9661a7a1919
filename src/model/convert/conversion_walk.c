/* Walking the weight table; what of the source it leaves out. */
#include "model/convert/conversion.h"

static bool is_rope_freqs(const struct weight_row *row)
{
    return row->scope == SCOPE_MODEL && row->at == offsetof(struct weights, rope_freqs);
}

static const void *field(const struct conversion *c, const struct weight_row *row, uint32_t layer)
{
    const struct weights *w = &c->m->weights;
    const char *base = row->scope == SCOPE_MODEL ? (const char *)w
                     : row->scope == SCOPE_MTP ? (const char *)&w->mtp[layer - c->m->plan.n_layers]
                                               : (const char *)&w->layer[layer];
    return base + row->at;
}

static void name_piece(const struct conversion *c, struct piece *p, uint32_t layer,
                       uint32_t expert)
{
    weight_name(&c->m->plan, p->row, c->to_hf ? p->row->hf : p->row->gguf, c->to_hf, layer,
                expert, p->name, sizeof p->name);
}

static bool visit_one(struct conversion *c, const struct weight_row *row, uint32_t layer,
                      piece_fn *fn, struct err *err)
{
    struct piece p = { .row = row, .w = field(c, row, layer), .n = 1 };
    if (is_rope_freqs(row) && !p.w->data)
        p.w = &c->freqs;
    if (!p.w->data)
        return true;                      /* optional, and not in the source */
    name_piece(c, &p, layer, 0);
    return fn(c, &p, err);
}

static bool visit_experts(struct conversion *c, const struct weight_row *row, uint32_t layer,
                          piece_fn *fn, struct err *err)
{
    const struct weight *all = *(const struct weight *const *)field(c, row, layer);
    uint32_t n = c->m->plan.router.n, step = c->to_hf ? 1 : n;
    for (uint32_t e = 0; e < n; e += step) {
        struct piece p = { .row = row, .w = all + e, .n = step };
        name_piece(c, &p, layer, e);
        if (!fn(c, &p, err))
            return false;
    }
    return true;
}

static bool visit_row(struct conversion *c, const struct weight_row *row, uint32_t layer,
                      piece_fn *fn, struct err *err)
{
    bool here = row->scope != SCOPE_MTP || plan_is_mtp(&c->m->plan, layer);
    if (!here || !weight_applies(&c->m->plan, row, layer) || !(c->to_hf ? row->hf : row->gguf))
        return true;
    return row->scope == SCOPE_EXPERT ? visit_experts(c, row, layer, fn, err)
                                      : visit_one(c, row, layer, fn, err);
}

bool conversion_walk(struct conversion *c, piece_fn *fn, struct err *err)
{
    const struct weight_row *rows = c->m->plan.family->weights;
    for (const struct weight_row *row = rows; row->at != SIZE_MAX; row++)
        if (row->scope == SCOPE_MODEL && !visit_row(c, row, 0, fn, err))
            return false;
    for (uint32_t layer = 0; layer < plan_all_layers(&c->m->plan); layer++)
        for (const struct weight_row *row = rows; row->at != SIZE_MAX; row++)
            if (row->scope != SCOPE_MODEL && !visit_row(c, row, layer, fn, err))
                return false;
    return true;
}

struct known {
    struct map names;
    struct arena text;
};

static bool know(struct known *k, const struct model *m, const struct weight_row *row,
                 const char *form, uint32_t layer, uint32_t expert)
{
    char name[300];
    bool hf = !m->gguf.n_files;
    if (!form)
        return true;
    weight_name(&m->plan, row, form, hf, layer, expert, name, sizeof name);
    char *kept = arena_text(&k->text, name, strlen(name));
    return kept && map_put(&k->names, bytes_of(kept), 1);
}

/* The names under which the source may have a row's tensors in a layer. */
static bool know_row(struct known *k, const struct model *m, const struct weight_row *row,
                     uint32_t layer)
{
    bool hf = !m->gguf.n_files, ok = true;
    uint32_t n = row->scope == SCOPE_EXPERT && hf ? m->plan.router.n : 1;
    if (row->scope == SCOPE_MTP && !plan_is_mtp(&m->plan, layer))
        return true;
    for (uint32_t e = 0; ok && e < n; e++)
        ok = know(k, m, row, hf ? row->hf : row->gguf, layer, e);
    return ok && know(k, m, row, hf ? row->hf_alias : NULL, layer, 0);
}

static bool know_all(struct known *k, const struct model *m)
{
    for (const struct weight_row *row = m->plan.family->weights; row->at != SIZE_MAX; row++) {
        uint32_t n = row->scope == SCOPE_MODEL ? 1 : plan_all_layers(&m->plan);
        for (uint32_t layer = 0; layer < n; layer++)
            if (!know_row(k, m, row, layer))
                return false;
    }
    return true;
}

/* Old folders hold the angles of RoPE, which follow from the keys. */
static bool is_derived(const char *name)
{
    return strstr(name, "rotary_emb.inv_freq") != NULL;
}

bool conversion_count_left_out(struct conversion *c, struct err *err)
{
    const struct model *m = c->m;
    const struct tensors *t = m->gguf.n_files ? &m->gguf.tensors : &m->safetensors.tensors;
    struct known k = { 0 };
    uint32_t yes;
    uint64_t room = (plan_all_layers(&m->plan) + 2ull) * (64ull + m->plan.router.n * 4ull) * 320;
    if (!arena_init(&k.text, (size_t)room, err))
        return false;
    bool ok = know_all(&k, m) || fail(err, ERR_MEMORY, "out of memory for the names of tensors");
    for (size_t i = 0; ok && i < t->n; i++) {
        const char *name = t->at[i].name;
        if (map_find(&k.names, bytes_of(name), &yes) || is_derived(name))
            continue;
        if (!c->report->n_left_out++)
            snprintf(c->report->left_out, sizeof c->report->left_out, "%s", name);
    }
    map_release(&k.names);
    arena_release(&k.text);
    return ok;
}
