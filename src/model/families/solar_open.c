/*
 * solar_open: Upstage Solar Open (100B), Hugging Face folders.
 *
 *     h = x + O Attn(RMS(x));  x' = h + FFN(RMS(h))
 *
 * Every layer sees all and has RoPE, scaled by YaRN.  All layers are sparse, with
 * exaone_moe's router: sigmoid, a bias that selects but does not weigh, a shared expert.
 */
#include "model/families/weight_rows.h"
#include "model/model.h"

static const struct config_key keys[] = {
    KEYS_LAYERS, KEYS_EXPERTS, KEYS_GROUPS, { .at = SIZE_MAX }
};

static bool refuse_dense_layers(const struct plan *p, const struct config *c, struct err *err)
{
    return !p->first_dense || fail(err, ERR_UNSUPPORTED, "%s: first_k_dense_replace is %u; this "
                                   "build runs solar_open with experts in every layer", c->file,
                                   p->first_dense);
}

static bool fill(struct plan *p, const struct config *c, struct err *err)
{
    static const char *const extras[] = { "attention_bias", "use_qk_norm", NULL };
    p->head_dim = 128;
    p->n_shared = 1;
    p->router_bias = true;
    p->router = (struct moe_router){ .n_group = 1, .topk_group = 1, .scoring = MOE_SIGMOID,
                                     .norm_topk = true, .scale = 1 };
    p->rope[0] = (struct rope_plan){ .base = 1e6, .low = 1, .high = 4, .original_context = 65536 };
    if (!config_refuse(c, extras, err) || !config_read(c, config_common_keys, p, err)
        || !config_read(c, keys, p, err) || !config_read_rope(c, &p->rope[0], err)
        || !refuse_dense_layers(p, c, err))
        return false;
    plan_fill_defaults(p, c);
    p->rope[0].layout = ROPE_HALF;
    if (!plan_take_layers(p, c->file, err))
        return false;
    for (uint32_t i = 0; i < p->n_layers; i++)
        p->layer[i] = (struct layer_plan){ .rope = true, .sparse = true, .ffn = p->expert_ffn,
                                           .shared_ffn = p->n_shared * p->expert_ffn };
    return true;
}

/* Upstage's GGUF files go by another architecture's name, which this build does not read. */
static bool describe(const struct plan *p, struct config_out *out, struct err *err)
{
    if (out->gguf)
        return fail(err, ERR_UNSUPPORTED, "solar_open has no GGUF architecture of its own; keep "
                    "it as a Hugging Face folder");
    config_put_text(out, "hidden_act", NULL, "silu");
    config_put_number(out, "n_routed_experts", NULL, CONFIG_U32, p->router.n);
    config_put_number(out, "n_shared_experts", NULL, CONFIG_U32, p->n_shared);
    return true;
}

static const struct weight_row rows[] = {
    ROWS_EMBED("model.embed_tokens.weight"), ROWS_PRE_NORMS, ROWS_ATTENTION, ROWS_EXPERTS,
    ROWS_ROUTER_BIAS, ROWS_SHARED, ROWS_END("model.norm.weight"), ROWS_STOP
};

static const char *const hf_types[] = { "solar_open", NULL };
static const char *const archs[] = { NULL };

const struct family family_solar_open = {
    .name = "solar_open", .hf_types = hf_types, .gguf_archs = archs, .fill = fill,
    .weights = rows, .hf_layers = "model.layers.%u.", .hf_mtp = NULL, .keys = keys,
    .describe = describe, .hf_class = "SolarOpenForCausalLM",
};
