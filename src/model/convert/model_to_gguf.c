/* A Hugging Face folder as GGUF. */
#include "model/convert/conversion.h"

/* general.file_type: what most weights are, in ggml's numbering. */
static uint32_t file_type(const struct qtype *t)
{
    static const struct { enum qtype_id id; uint32_t type; } known[] = {
        { QT_F32, 0 }, { QT_F16, 1 }, { QT_BF16, 32 },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].id == t->id)
            return known[i].type;
    return 1024;                          /* "guessed" */
}

static bool put_metadata(struct conversion *c, struct err *err)
{
    const struct plan *p = &c->m->plan;
    struct config_out out = { .gguf = c->gguf, .arch = p->family->gguf_archs[0] };
    char name[256];
    model_name(c->m, name, sizeof name);
    gguf_put_string(c->gguf, "general.architecture", bytes_of(out.arch));
    gguf_put_string(c->gguf, "general.type", bytes_of("model"));
    gguf_put_string(c->gguf, "general.name", bytes_of(name));
    gguf_put_u32(c->gguf, "general.file_type", file_type(c->main_type));
    return config_write_plan(&out, p, err)
           && (!c->m->tokenizer || tokenizer_put_gguf(c->m->tokenizer, p->vocab, c->gguf, err));
}

/* Llama 3's scaling is keys in config.json and a tensor in GGUF. */
static bool take_freqs(struct conversion *c, struct err *err)
{
    const struct rope_plan *r = &c->m->plan.rope[0];
    if (r->scaling != ROPE_LLAMA3)
        return true;
    float *divisor = mem_take(r->dims, sizeof *divisor);
    c->freqs = (struct weight){ .type = qtype_find(QT_F32), .data = (const uint8_t *)divisor,
                                .rows = 1, .cols = r->dims / 2 };
    if (!divisor)
        return fail(err, ERR_MEMORY, "out of memory for RoPE");
    const struct weight_row *row = c->m->plan.family->weights;
    while (row->at != SIZE_MAX && (row->scope != SCOPE_MODEL
                                   || row->at != offsetof(struct weights, rope_freqs)))
        row++;
    if (row->at == SIZE_MAX || c->m->plan.n_ropes > 1 || !rope_to_freqs(r, divisor))
        return fail(err, ERR_UNSUPPORTED, "%s: RoPE scaling \"llama3\" has no place in GGUF files "
                    "of family %s", c->m->path, c->m->plan.family->name);
    return true;
}

static bool write_all(struct conversion *c, const char *path, struct err *err)
{
    return take_freqs(c, err) && conversion_count_left_out(c, err)
           && conversion_walk(c, piece_add, err) && put_metadata(c, err)
           && gguf_writer_begin(c->gguf, path, c->o->max_bytes, err)
           && conversion_put_all(c, err) && gguf_writer_end(c->gguf, err);
}

bool model_to_gguf(struct model *m, const char *path, const struct convert_options *o,
                   struct convert_report *report, struct err *err)
{
    struct gguf_writer w = { 0 };
    *report = (struct convert_report){ .tokenizer = m->tokenizer != NULL };
    struct conversion c = { .m = m, .o = o, .report = report, .gguf = &w,
                            .main_type = m->weights.embed.type };
    const struct family *f = m->plan.family;
    bool ok = f->gguf_archs[0] ? write_all(&c, path, err)
                               : fail(err, ERR_UNSUPPORTED, "%s: family %s has no GGUF "
                                      "architecture; keep it as a folder", m->path, f->name);
    gguf_writer_release(&w);
    mem_give((void *)(uintptr_t)c.freqs.data);
    return ok;
}
