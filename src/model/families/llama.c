/*
 * llama: the plain pre-norm transformer (Llama 2 and 3, SmolLM2, many small models).
 *
 *     h = x + O Attn(RMS(x));  x' = h + Down(silu(Gate RMS(h)) * Up RMS(h))
 *
 * GGUF files of this architecture have the rows of q and k permuted so that RoPE turns
 * adjacent pairs; Hugging Face files keep halves.  Both give the same numbers.
 */
#include "model/families/weight_rows.h"
#include "model/model.h"

static const struct config_key keys[] = { KEYS_LAYERS, { .at = SIZE_MAX } };

static bool fill(struct plan *p, const struct config *c, struct err *err)
{
    static const char *const extras[] = { "attention_bias", "mlp_bias", NULL };
    p->rope[0] = (struct rope_plan){ .base = 10000, .low = 1, .high = 4, .original_context = 8192 };
    if (!config_read(c, config_common_keys, p, err) || !config_read(c, keys, p, err)
        || !config_read_rope(c, &p->rope[0], err) || !config_refuse(c, extras, err))
        return false;
    plan_fill_defaults(p, c);
    p->rope[0].layout = c->gguf ? ROPE_PAIR : ROPE_HALF;
    if (!plan_take_layers(p, c->file, err))
        return false;
    for (uint32_t i = 0; i < p->n_layers; i++)
        p->layer[i] = (struct layer_plan){ .rope = true, .ffn = p->ffn };
    return true;
}

static bool describe(const struct plan *p, struct config_out *out, struct err *err)
{
    (void)p;
    (void)err;
    config_put_text(out, "hidden_act", NULL, "silu");
    config_put_number(out, "attention_bias", NULL, CONFIG_BOOL, 0);
    config_put_number(out, "mlp_bias", NULL, CONFIG_BOOL, 0);
    return true;
}

static const struct weight_row rows[] = {
    ROWS_EMBED("model.embed_tokens.weight"), ROWS_PRE_NORMS, ROWS_ATTENTION, ROWS_DENSE,
    ROWS_END("model.norm.weight"), ROWS_ROPE_FREQS, ROWS_STOP
};

static const char *const names[] = { "llama", NULL };

const struct family family_llama = {
    .name = "llama", .hf_types = names, .gguf_archs = names, .fill = fill, .weights = rows,
    .hf_layers = "model.layers.%u.", .hf_mtp = NULL, .keys = keys, .describe = describe,
    .hf_class = "LlamaForCausalLM", .gguf_pairs = true,
};
