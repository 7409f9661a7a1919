/*
 * exaone4: EXAONE 4.0 (1.2B: full attention; 32B: windows of 4096 in three layers of four).
 * "EXAONE 4.0: Unified Large Language Models", arXiv 2507.11407.
 *
 *     h  = x + RMS(O Attn(x); post_attention_layernorm)
 *     x' = h + RMS(FFN(h); post_feedforward_layernorm)
 *
 * Both sublayers read the stream as it is: the norms stand behind them, although one has
 * the name that Llama gives to the norm before its FFN.  q and k are RMS-normed per head
 * before RoPE.  Where layers have windows only these have RoPE, elsewhere all have it.
 */
#include "model/families/weight_rows.h"
#include "model/model.h"

static const struct config_key keys[] = {
    KEYS_LAYERS,
    { "num_nextn_predict_layers", NULL, "nextn_predict_layers", CONFIG_U32, false, P(n_mtp),
      0, 0 },
    { .at = SIZE_MAX }
};

/* GGUF files of the 32B without a pattern mean every fourth of its 64 layers. */
static bool fill_layers(struct plan *p, const struct config *c, struct err *err)
{
    uint32_t window, period = c->json || p->n_layers == 64 ? 4 : 0;
    if (!config_window(c, &window, err))
        return false;
    for (uint32_t i = 0; i < p->n_layers; i++) {
        struct layer_plan *l = &p->layer[i];
        *l = (struct layer_plan){ .qk_norm = true, .ffn = p->ffn };
        if (!config_layer_window(c, i, period, &l->window, err))
            return false;
        l->rope = l->window || !window;
    }
    return true;
}

static bool fill(struct plan *p, const struct config *c, struct err *err)
{
    p->rope[0] = (struct rope_plan){ .base = 1e6, .low = 1, .high = 4, .original_context = 8192 };
    p->norms = NORM_POST;
    if (!config_read(c, config_common_keys, p, err) || !config_read(c, keys, p, err)
        || !config_read_rope(c, &p->rope[0], err))
        return false;
    plan_fill_defaults(p, c);
    p->rope[0].layout = ROPE_HALF;
    return plan_take_layers(p, c->file, err) && fill_layers(p, c, err);
}

static bool describe(const struct plan *p, struct config_out *out, struct err *err)
{
    config_put_text(out, "hidden_act", NULL, "silu");
    return config_put_windows(out, p, err);
}

static const struct weight_row rows[] = {
    ROWS_EMBED("model.embed_tokens.weight"), ROWS_ATTENTION, ROWS_QK_NORM,
    ROW_VECTOR(WHEN_ALWAYS, "post_attention_norm", "post_attention_layernorm", DIM_HIDDEN,
               attn_post_norm),
    ROWS_DENSE,
    ROW_VECTOR(WHEN_ALWAYS, "post_ffw_norm", "post_feedforward_layernorm", DIM_HIDDEN,
               ffn_post_norm),
    ROWS_END("model.norm.weight"), ROWS_ROPE_FREQS, ROWS_STOP
};

static const char *const names[] = { "exaone4", NULL };

const struct family family_exaone4 = {
    .name = "exaone4", .hf_types = names, .gguf_archs = names, .fill = fill, .weights = rows,
    .hf_layers = "model.layers.%u.", .hf_mtp = NULL, .keys = keys, .describe = describe,
    .hf_class = "Exaone4ForCausalLM",
};
