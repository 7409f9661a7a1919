/*
 * exaone: EXAONE 3.0, 3.5 and Deep ("EXAONE 3.5", arXiv 2412.04862).  The arithmetic is
 * that of llama; config keys and tensors in Hugging Face files have GPT-2's names, and q and
 * k of GGUF files are not permuted.
 */
#include "model/families/weight_rows.h"
#include "model/model.h"

static const struct config_key keys[] = { KEYS_LAYERS, { .at = SIZE_MAX } };

static bool fill(struct plan *p, const struct config *c, struct err *err)
{
    p->rope[0] = (struct rope_plan){ .base = 10000, .low = 1, .high = 4,
                                     .original_context = 8192 };
    if (!config_read(c, config_common_keys, p, err) || !config_read(c, keys, p, err)
        || !config_read_rope(c, &p->rope[0], err))
        return false;
    plan_fill_defaults(p, c);
    p->rope[0].layout = ROPE_HALF;
    if (!plan_take_layers(p, c->file, err))
        return false;
    for (uint32_t i = 0; i < p->n_layers; i++)
        p->layer[i] = (struct layer_plan){ .rope = true, .ffn = p->ffn };
    return true;
}

static bool describe(const struct plan *p, struct config_out *out, struct err *err)
{
    (void)err;
    config_put_text(out, "activation_function", NULL, "silu");
    config_put_number(out, "num_layers", NULL, CONFIG_U32, p->n_layers);
    config_put_number(out, "layer_norm_epsilon", NULL, CONFIG_F64, p->eps);
    return true;
}

static const struct weight_row rows[] = {
    ROWS_EMBED("transformer.wte.weight"),
    ROW_VECTOR(WHEN_ALWAYS, "attn_norm", "ln_1", DIM_HIDDEN, attn_norm),
    ROW_MATRIX(WHEN_ALWAYS, "attn_q", "attn.attention.q_proj", DIM_Q, DIM_HIDDEN, q),
    ROW_MATRIX(WHEN_ALWAYS, "attn_k", "attn.attention.k_proj", DIM_KV, DIM_HIDDEN, k),
    ROW_MATRIX(WHEN_ALWAYS, "attn_v", "attn.attention.v_proj", DIM_KV, DIM_HIDDEN, v),
    ROW_MATRIX(WHEN_ALWAYS, "attn_output", "attn.attention.out_proj", DIM_HIDDEN, DIM_Q, o),
    ROW_VECTOR(WHEN_ALWAYS, "ffn_norm", "ln_2", DIM_HIDDEN, ffn_norm),
    ROW_MATRIX(WHEN_ALWAYS, "ffn_gate", "mlp.c_fc_0", DIM_FFN, DIM_HIDDEN, gate),
    ROW_MATRIX(WHEN_ALWAYS, "ffn_up", "mlp.c_fc_1", DIM_FFN, DIM_HIDDEN, up),
    ROW_MATRIX(WHEN_ALWAYS, "ffn_down", "mlp.c_proj", DIM_HIDDEN, DIM_FFN, down),
    ROWS_END("transformer.ln_f.weight"), ROWS_ROPE_FREQS, ROWS_STOP
};

static const char *const names[] = { "exaone", NULL };

const struct family family_exaone = {
    .name = "exaone", .hf_types = names, .gguf_archs = names, .fill = fill, .weights = rows,
    .hf_layers = "transformer.h.%u.", .hf_mtp = NULL, .keys = keys, .describe = describe,
    .hf_class = "ExaoneForCausalLM",
};
