/*
 * exaone_moe: K-EXAONE 1.0 (236B-A23B), and per-layer windows and SwiGLU clamps as 2.0
 * needs them.  "K-EXAONE Technical Report", arXiv 2601.01739; K-EXAONE 2.0 card, 2026.
 *
 *     h  = x + O Attn(RMS(x; input_layernorm))
 *     x' = h + FFN(RMS(h; post_attention_layernorm))      (a pre-FFN norm, as in Llama)
 *
 * Sliding layers see `window` tokens (the current one included) and have RoPE; global
 * layers see all and have none.  q and k are RMS-normed per head before RoPE.  The first
 * layers are dense; the others have a sigmoid router whose bias selects but does not
 * weigh, and a shared expert.  The MTP block is dense, global, without RoPE.
 */
#include "model/families/weight_rows.h"
#include "model/model.h"

static const struct config_key keys[] = {
    KEYS_LAYERS,
    { "num_nextn_predict_layers", NULL, "nextn_predict_layers", CONFIG_U32, false, P(n_mtp),
      0, 1 },
    KEYS_EXPERTS, KEYS_GROUPS,
    { .at = SIZE_MAX }
};

static bool read_router(struct plan *p, const struct config *c, struct err *err)
{
    p->router.scoring = MOE_SIGMOID;
    p->router_bias = true;
    const char *scoring = config_hf_string(c, "scoring_func");
    const struct gguf_kv *kv = config_gguf(c, "expert_gating_func");
    uint64_t gating = 2;
    if (kv && !gguf_elem_u64(kv, 0, &gating))
        return fail(err, ERR_FORMAT, "%s: expert_gating_func is not a number", c->file);
    if ((scoring && strcmp(scoring, "sigmoid")) || (gating != 2 && gating != 0))
        return fail(err, ERR_UNSUPPORTED, "%s: router scoring %s%llu; exaone_moe has sigmoid",
                    c->file, scoring ? scoring : "function ", (unsigned long long)gating);
    return true;
}

/* The MTP block's own keys; global without them. */
static bool mtp_window(const struct config *c, uint32_t j, uint32_t *out, struct err *err)
{
    const char *t = json_string_value(json_array_get(config_json(c, "mtp_layer_types"), j));
    double v = 0;
    uint64_t n = 0;
    bool found = false;
    if (!config_list(c, "mtp_sliding_windows", NULL, j, &v, &n, &found, err))
        return false;
    *out = found && v > 0 && v <= (1 << 28) ? (uint32_t)v : 0;
    return found || !t || strcmp(t, "sliding_attention") || config_window(c, out, err);
}

static bool read_window(const struct config *c, const struct plan *p, uint32_t i, uint32_t *out,
                        struct err *err)
{
    return c->json && plan_is_mtp(p, i) ? mtp_window(c, i - p->n_layers, out, err)
                                        : config_layer_window(c, i, 4, out, err);
}

static bool is_dense(const struct config *c, const struct plan *p, uint32_t i)
{
    json_t *types = config_json(c, "mlp_layer_types"), *old = config_json(c, "is_moe_layer");
    if (plan_is_mtp(p, i))
        return true;
    if (json_is_array(types))
        return json_string_value(json_array_get(types, i))
               && !strcmp(json_string_value(json_array_get(types, i)), "dense");
    if (json_is_array(old))
        return !json_is_true(json_array_get(old, i));
    return i < p->first_dense;
}

static bool fill_layer(struct plan *p, const struct config *c, uint32_t i, struct err *err)
{
    struct layer_plan *l = &p->layer[i];
    double limit = 0;
    uint64_t n = 0;
    bool found = false;
    if (!read_window(c, p, i, &l->window, err))
        return false;
    if (!plan_is_mtp(p, i)
        && !config_list(c, "swiglu_limits", "swiglu_limits", i, &limit, &n, &found, err))
        return false;
    l->swiglu_limit = (float)limit;
    l->rope = l->window != 0;
    l->qk_norm = true;
    l->sparse = !is_dense(c, p, i);
    l->ffn = l->sparse ? p->expert_ffn : p->ffn;
    l->shared_ffn = l->sparse ? p->n_shared * p->expert_ffn : 0;
    return true;
}

/* GGUF counts the MTP blocks in block_count; the first release's config.json has MTP
 * weights but no key for them. */
static bool count_layers(struct plan *p, const struct config *c, struct err *err)
{
    if (!c->gguf) {
        if (c->mtp_weights && !config_json(c, "num_nextn_predict_layers"))
            p->n_mtp = 1;
        return true;
    }
    if (p->n_mtp >= p->n_layers)
        return fail(err, ERR_FORMAT, "%s: %u MTP blocks in %u blocks", c->file, p->n_mtp,
                    p->n_layers);
    p->n_layers -= p->n_mtp;
    return true;
}

static uint32_t leading_dense(const struct plan *p)
{
    uint32_t n = 0;
    while (n < p->n_layers && !p->layer[n].sparse)
        n++;
    return n;
}

static bool fill(struct plan *p, const struct config *c, struct err *err)
{
    p->rope[0] = (struct rope_plan){ .base = 1e6, .low = 1, .high = 4, .original_context = 8192 };
    p->router = (struct moe_router){ .n_group = 1, .topk_group = 1, .norm_topk = true,
                                     .scale = 2.5f };
    if (!config_read(c, config_common_keys, p, err) || !config_read(c, keys, p, err)
        || !config_read_rope(c, &p->rope[0], err) || !read_router(p, c, err)
        || !count_layers(p, c, err))
        return false;
    plan_fill_defaults(p, c);
    p->rope[0].layout = ROPE_HALF;
    if (!plan_take_layers(p, c->file, err))
        return false;
    for (uint32_t i = 0; i < plan_all_layers(p); i++)
        if (!fill_layer(p, c, i, err))
            return false;
    p->first_dense = leading_dense(p);
    return true;
}

static bool put_limits(const struct plan *p, struct config_out *out, struct err *err)
{
    double *limit = mem_take(p->n_layers, sizeof *limit);
    bool any = false;
    if (!limit)
        return fail(err, ERR_MEMORY, "out of memory for %u layers", p->n_layers);
    for (uint32_t i = 0; i < p->n_layers; i++) {
        limit[i] = (double)p->layer[i].swiglu_limit;
        any |= limit[i] != 0;
    }
    if (any)
        config_put_list(out, "swiglu_limits", "swiglu_limits", CONFIG_F32, limit, p->n_layers);
    mem_give(limit);
    return true;
}

static void put_mlp_types(const struct plan *p, struct config_out *out)
{
    json_t *types = out->json ? json_array() : NULL;
    for (uint32_t i = 0; types && i < p->n_layers; i++)
        out->failed |= json_array_append_new(types, json_string(p->layer[i].sparse ? "sparse"
                                                                                   : "dense")) != 0;
    if (out->json)
        out->failed |= json_object_set_new(out->json, "mlp_layer_types", types) != 0;
}

static bool describe(const struct plan *p, struct config_out *out, struct err *err)
{
    for (uint32_t i = p->first_dense; i < p->n_layers && out->gguf; i++)
        if (!p->layer[i].sparse)
            return fail(err, ERR_UNSUPPORTED, "layer %u is dense after a sparse one; GGUF can say "
                        "only how many dense layers come first", i);
    config_put_text(out, "hidden_act", NULL, "silu");
    config_put_text(out, "scoring_func", NULL, "sigmoid");
    config_put_text(out, "topk_method", NULL, "noaux_tc");
    config_put_number(out, NULL, "expert_gating_func", CONFIG_U32, 2);
    config_put_number(out, NULL, "expert_shared_feed_forward_length", CONFIG_U32,
                      (double)p->n_shared * p->expert_ffn);
    put_mlp_types(p, out);
    return put_limits(p, out, err) && config_put_windows(out, p, err);
}

#define ROW_MTP(gguf, hf, rows, cols, field) \
    { SCOPE_MTP, WHEN_ALWAYS, gguf ".weight", hf ".weight", NULL, rows, cols, T(field), false }
static const struct weight_row rows[] = {
    ROWS_EMBED("model.embed_tokens.weight"), ROWS_PRE_NORMS, ROWS_ATTENTION, ROWS_QK_NORM,
    ROWS_DENSE, ROWS_EXPERTS, ROWS_ROUTER_BIAS, ROWS_SHARED, ROWS_END("model.norm.weight"),
    ROW_MTP("nextn.eh_proj", "mtp.fc", DIM_HIDDEN, DIM_TWO_HIDDEN, fc),
    ROW_MTP("nextn.enorm", "mtp.pre_fc_norm_embedding", DIM_ONE, DIM_HIDDEN, embed_norm),
    ROW_MTP("nextn.hnorm", "mtp.pre_fc_norm_hidden", DIM_ONE, DIM_HIDDEN, hidden_norm),
    ROW_MTP("nextn.shared_head_norm", "mtp.norm", DIM_ONE, DIM_HIDDEN, norm),
    ROWS_STOP
};

static const char *const hf_types[] = { "exaone_moe", NULL };
static const char *const archs[] = { "exaone-moe", NULL };

const struct family family_exaone_moe = {
    .name = "exaone_moe", .hf_types = hf_types, .gguf_archs = archs, .fill = fill,
    .weights = rows, .hf_layers = "model.layers.%u.", .hf_mtp = "mtp.layers.%u.",
    .keys = keys, .describe = describe, .hf_class = "ExaoneMoeForCausalLM",
};
