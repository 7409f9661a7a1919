/*
 * qwen3: Qwen 3, dense and with experts ("Qwen3 Technical Report", arXiv 2505.09388).
 *
 *     h = x + O Attn(RMS(x));  x' = h + FFN(RMS(h))
 *
 * q and k are RMS-normed per head before RoPE.  With experts every layer is sparse: the
 * softmax over all experts chooses, the chosen probabilities are divided by their sum;
 * there is no shared expert and no selection bias.
 */
#include "model/families/weight_rows.h"
#include "model/model.h"

static const struct config_key keys[] = { KEYS_LAYERS, { .at = SIZE_MAX } };
static const struct config_key moe_keys[] = { KEYS_LAYERS, KEYS_EXPERTS, { .at = SIZE_MAX } };

/* Published models with experts have them in every layer; the keys allow for others. */
static bool refuse_dense_layers(const struct config *c, struct err *err)
{
    json_t *step = config_json(c, "decoder_sparse_step");
    json_t *dense = config_json(c, "mlp_only_layers");
    if ((step && json_integer_value(step) != 1) || json_array_size(dense))
        return fail(err, ERR_UNSUPPORTED, "%s: decoder_sparse_step or mlp_only_layers makes some "
                    "layers dense; this build runs qwen3_moe with experts in every layer",
                    c->file);
    return true;
}

static bool fill(struct plan *p, const struct config *c, struct err *err)
{
    static const char *const extras[] = { "attention_bias", "use_sliding_window", NULL };
    bool sparse = p->family->keys == moe_keys;
    p->rope[0] = (struct rope_plan){ .base = 1e6, .low = 1, .high = 4, .original_context = 32768 };
    p->router = (struct moe_router){ .n_group = 1, .topk_group = 1, .scoring = MOE_SOFTMAX,
                                     .norm_topk = c->gguf != NULL, .scale = 1 };
    if (!config_refuse(c, extras, err) || !refuse_dense_layers(c, err)
        || !config_read(c, config_common_keys, p, err)
        || !config_read(c, p->family->keys, p, err) || !config_read_rope(c, &p->rope[0], err))
        return false;
    plan_fill_defaults(p, c);
    p->rope[0].layout = ROPE_HALF;
    if (!plan_take_layers(p, c->file, err))
        return false;
    for (uint32_t i = 0; i < p->n_layers; i++)
        p->layer[i] = (struct layer_plan){ .rope = true, .qk_norm = true, .sparse = sparse,
                                           .ffn = sparse ? p->expert_ffn : p->ffn };
    return true;
}

static bool describe(const struct plan *p, struct config_out *out, struct err *err)
{
    if (out->gguf && p->router.n && !p->router.norm_topk)
        return fail(err, ERR_UNSUPPORTED, "norm_topk_prob is false; GGUF files of qwen3moe have "
                    "no key for it, readers take true");
    config_put_text(out, "hidden_act", NULL, "silu");
    config_put_number(out, "attention_bias", NULL, CONFIG_BOOL, 0);
    return true;
}

static const struct weight_row rows[] = {
    ROWS_EMBED("model.embed_tokens.weight"), ROWS_PRE_NORMS, ROWS_ATTENTION, ROWS_QK_NORM,
    ROWS_DENSE, ROWS_EXPERTS, ROWS_END("model.norm.weight"), ROWS_STOP
};

static const char *const names[] = { "qwen3", NULL };
static const char *const moe_hf_types[] = { "qwen3_moe", NULL };
static const char *const moe_archs[] = { "qwen3moe", NULL };

const struct family family_qwen3 = {
    .name = "qwen3", .hf_types = names, .gguf_archs = names, .fill = fill, .weights = rows,
    .hf_layers = "model.layers.%u.", .hf_mtp = NULL, .keys = keys, .describe = describe,
    .hf_class = "Qwen3ForCausalLM",
};

const struct family family_qwen3_moe = {
    .name = "qwen3_moe", .hf_types = moe_hf_types, .gguf_archs = moe_archs, .fill = fill,
    .weights = rows, .hf_layers = "model.layers.%u.", .hf_mtp = NULL, .keys = moe_keys,
    .describe = describe, .hf_class = "Qwen3MoeForCausalLM",
};
