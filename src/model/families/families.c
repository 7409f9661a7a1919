/* The one list of families, and what they share. */
#include "model/model.h"

#include <math.h>

extern const struct family family_llama, family_exaone_moe, family_exaone4, family_gemma3;
extern const struct family family_exaone, family_qwen3, family_qwen3_moe;
extern const struct family family_solar_open;

const struct family *const families[] = {
    &family_exaone_moe, &family_exaone4, &family_exaone, &family_gemma3, &family_llama,
    &family_qwen3, &family_qwen3_moe, &family_solar_open, NULL
};

static bool named(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (!strcmp(*names, name))
            return true;
    return false;
}

const struct family *family_find(const struct config *c, struct err *err)
{
    char known[256] = "";
    for (const struct family *const *f = families; *f; f++) {
        const char *const *names = c->json ? (*f)->hf_types : (*f)->gguf_archs;
        if (named(names, c->arch))
            return *f;
        for (; *names; names++) {
            size_t n = strlen(known);
            snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", *names);
        }
    }
    fail(err, ERR_UNSUPPORTED, "%s: model family \"%s\" is not known; this build runs: %s",
         c->file, c->arch, known);
    return NULL;
}

bool plan_read(struct plan *p, const struct config *c, struct err *err)
{
    struct plan got = { .family = family_find(c, err), .norms = NORM_PRE, .embed_scale = 1,
                        .n_ropes = 1 };
    if (!got.family)
        return false;
    if (!got.family->fill(&got, c, err) || !plan_check(&got, c->file, err)) {
        plan_release(&got);
        return false;
    }
    *p = got;
    return true;
}

uint64_t dim_size(const struct plan *p, enum dim d, uint32_t layer)
{
    const struct layer_plan *l = &p->layer[layer < plan_all_layers(p) ? layer : 0];
    switch (d) {
    case DIM_ONE: return 1;
    case DIM_HIDDEN: return p->hidden;
    case DIM_VOCAB: return p->vocab;
    case DIM_Q: return (uint64_t)p->n_heads * p->head_dim;
    case DIM_KV: return (uint64_t)p->n_kv_heads * p->head_dim;
    case DIM_HEAD: return p->head_dim;
    case DIM_FFN: return l->ffn;
    case DIM_SHARED: return l->shared_ffn;
    case DIM_EXPERTS: return p->router.n;
    case DIM_TWO_HIDDEN: return 2ull * p->hidden;
    case DIM_TWO_FFN: return 2ull * l->ffn;
    case DIM_ROPE_HALF: return p->rope[0].dims / 2;
    }
    check(!"dim");
}

bool weight_applies(const struct plan *p, const struct weight_row *w, uint32_t layer)
{
    const struct layer_plan *l = &p->layer[layer];
    if (w->scope == SCOPE_EXPERT && !l->sparse)
        return false;
    switch (w->when) {
    case WHEN_DENSE: return !l->sparse;
    case WHEN_SPARSE: return l->sparse;
    case WHEN_SHARED: return l->sparse && l->shared_ffn;
    case WHEN_ROUTER_BIAS: return l->sparse && p->router_bias;
    case WHEN_QK_NORM: return l->qk_norm;
    case WHEN_UNTIED: return !p->tied;
    default: return true;
    }
}

#define P(f) offsetof(struct plan, f)
const struct config_key config_common_keys[] = {
    { "hidden_size", NULL, "embedding_length", CONFIG_U32, true, P(hidden), 1, 1 << 20 },
    { "num_attention_heads", NULL, "attention.head_count", CONFIG_U32, true, P(n_heads), 1, 4096 },
    { "num_key_value_heads", NULL, "attention.head_count_kv", CONFIG_U32, false, P(n_kv_heads),
      1, 4096 },
    { "head_dim", NULL, "attention.key_length", CONFIG_U32, false, P(head_dim), 2, 512 },
    { "intermediate_size", NULL, "feed_forward_length", CONFIG_U32, true, P(ffn), 1, 1 << 22 },
    { "max_position_embeddings", NULL, "context_length", CONFIG_U32, true, P(context),
      1, 1 << 28 },
    { "vocab_size", NULL, "vocab_size", CONFIG_U32, false, P(vocab), 1, 1 << 24 },
    { "rms_norm_eps", "layer_norm_epsilon", "attention.layer_norm_rms_epsilon", CONFIG_F64, true,
      P(eps), 0, 1 },
    { .at = SIZE_MAX }
};
#undef P

bool config_refuse(const struct config *c, const char *const *keys, struct err *err)
{
    for (; *keys; keys++)
        if (config_json(c, *keys) && !json_is_false(config_json(c, *keys)))
            return fail(err, ERR_UNSUPPORTED, "%s: %s is set; this build runs %s models without "
                        "it only", c->file, *keys, c->arch);
    return true;
}

void plan_fill_defaults(struct plan *p, const struct config *c)
{
    if (!p->n_kv_heads)
        p->n_kv_heads = p->n_heads;
    if (!p->head_dim)
        p->head_dim = p->hidden / p->n_heads;
    if (!p->rope[0].dims)
        p->rope[0].dims = p->head_dim;
    p->attn_scale = 1.0f / sqrtf((float)p->head_dim);
    if (c->gguf) {
        const struct tensor *embed = tensors_find(&c->gguf->tensors, "token_embd.weight");
        if (!p->vocab && embed && embed->ne[1] <= 1u << 24)
            p->vocab = (uint32_t)embed->ne[1];
        p->tied = !tensors_find(&c->gguf->tensors, "output.weight");
    }
}

static const struct config_key rope_keys[] = {
    { "rope_theta", NULL, "rope.freq_base", CONFIG_F64, false, offsetof(struct rope_plan, base),
      1e-3, 1e18 },
    { NULL, NULL, "rope.dimension_count", CONFIG_U32, false, offsetof(struct rope_plan, dims),
      2, 512 },
    { "factor", NULL, "rope.scaling.factor", CONFIG_F64, false,
      offsetof(struct rope_plan, factor), 1e-6, 1e6 },
    { "low_freq_factor", NULL, NULL, CONFIG_F64, false, offsetof(struct rope_plan, low), 0, 1e6 },
    { "high_freq_factor", NULL, NULL, CONFIG_F64, false, offsetof(struct rope_plan, high), 0,
      1e6 },
    { "beta_fast", NULL, "rope.scaling.yarn_beta_fast", CONFIG_F64, false,
      offsetof(struct rope_plan, beta_fast), 1e-6, 1e6 },
    { "beta_slow", NULL, "rope.scaling.yarn_beta_slow", CONFIG_F64, false,
      offsetof(struct rope_plan, beta_slow), 1e-6, 1e6 },
    { "attention_factor", NULL, NULL, CONFIG_F64, false,
      offsetof(struct rope_plan, attention_factor), 1e-6, 1e6 },
    { "original_max_position_embeddings", NULL, "rope.scaling.original_context_length",
      CONFIG_F64, false,
      offsetof(struct rope_plan, original_context), 1, 1e9 },
    { .at = SIZE_MAX }
};

static bool rope_type(const struct config *c, struct rope_plan *r, const char *type,
                      struct err *err)
{
    if (!strcmp(type, "default") || !strcmp(type, "none") || !*type)
        r->scaling = ROPE_PLAIN;
    else if (!strcmp(type, "linear"))
        r->scaling = ROPE_LINEAR;
    else if (!strcmp(type, "llama3") && r->high > r->low)
        r->scaling = ROPE_LLAMA3;
    else if (!strcmp(type, "yarn"))
        r->scaling = ROPE_YARN;
    else
        return fail(err, ERR_UNSUPPORTED, "%s: RoPE scaling \"%s\" is not supported; this build "
                    "knows default, linear, llama3 and yarn", c->file, type);
    return r->scaling == ROPE_PLAIN || r->factor > 0
           || fail(err, ERR_FORMAT, "%s: RoPE scaling \"%s\" without a factor", c->file, type);
}

/* One object with rope_type and its numbers; a missing type leaves *type. */
static bool rope_object(const struct config *c, const char *name, struct rope_plan *r,
                        const char **type, struct err *err)
{
    static const char *const refused[] = { "mscale_all_dim", NULL };
    json_t *o = config_json(c, name);
    struct config inner = { .file = c->file, .json = o, .arch = "yarn" };
    if (!o)
        return true;
    if (!json_is_object(o))
        return fail(err, ERR_FORMAT, "%s: %s is not an object", c->file, name);
    if (!config_refuse(&inner, refused, err) || !config_read(&inner, rope_keys, r, err))
        return false;
    const char *t = config_hf_string(&inner, "rope_type");
    t = t ? t : config_hf_string(&inner, "type");
    *type = t ? t : *type;
    return true;
}

static bool rope_from_json(const struct config *c, struct rope_plan *r, struct err *err)
{
    const char *type = "default";
    return rope_object(c, "rope_scaling", r, &type, err)
           && rope_object(c, "rope_parameters", r, &type, err) && rope_type(c, r, type, err);
}

bool config_read_rope_kind(const struct config *c, const char *kind, struct rope_plan *r,
                           struct err *err)
{
    json_t *ropes = config_json(c, "rope_parameters");
    struct config inner = { .file = c->file, .json = ropes };
    const char *type = "default";
    if (!json_is_object(ropes) || !config_json(&inner, kind))
        return true;
    return rope_object(&inner, kind, r, &type, err) && rope_type(c, r, type, err);
}

bool config_read_rope(const struct config *c, struct rope_plan *r, struct err *err)
{
    if (!config_read(c, rope_keys, r, err))
        return false;
    if (c->json)
        return rope_from_json(c, r, err);
    const struct gguf_kv *kv = config_gguf(c, "rope.scaling.type");
    char type[32] = "none";
    if (kv && kv->type == GGUF_STRING && kv->raw.len < sizeof type) {
        memcpy(type, kv->raw.at, kv->raw.len);
        type[kv->raw.len] = 0;
    }
    return rope_type(c, r, type, err);
}
