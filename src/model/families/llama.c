/*
 * llama: the plain pre-norm transformer (Llama 2 and 3, SmolLM2, many small models).
 *
 *     h = x + O Attn(RMS(x));  x' = h + Down(silu(Gate RMS(h)) * Up RMS(h))
 *
 * GGUF files of this architecture have the rows of q and k permuted so that RoPE turns
 * adjacent pairs; Hugging Face files keep halves.  Both give the same numbers.
 */
#include "model/model.h"

static bool refuse_bias(const struct config *c, const char *key, struct err *err)
{
    if (json_is_true(config_json(c, key)))
        return fail(err, ERR_UNSUPPORTED, "%s: %s is true; this build runs llama models without "
                    "biases only", c->file, key);
    return true;
}

static bool fill(struct plan *p, const struct config *c, struct err *err)
{
    const char *heads = "num_hidden_layers";
    const struct config_key layers[] = {
        { heads, NULL, "block_count", CONFIG_U32, true, offsetof(struct plan, n_layers),
          1, LAYERS_MAX },
        { "tie_word_embeddings", NULL, NULL, CONFIG_BOOL, false, offsetof(struct plan, tied),
          0, 1 },
        { .at = SIZE_MAX }
    };
    p->rope = (struct rope_plan){ .base = 10000, .low = 1, .high = 4, .original_context = 8192 };
    if (!config_read(c, config_common_keys, p, err) || !config_read(c, layers, p, err)
        || !config_read_rope(c, &p->rope, err) || !refuse_bias(c, "attention_bias", err)
        || !refuse_bias(c, "mlp_bias", err))
        return false;
    plan_fill_defaults(p, c);
    p->rope.layout = c->gguf ? ROPE_PAIR : ROPE_HALF;
    if (!plan_take_layers(p, c->file, err))
        return false;
    for (uint32_t i = 0; i < p->n_layers; i++)
        p->layer[i] = (struct layer_plan){ .rope = true, .ffn = p->ffn };
    return true;
}

#define M(f) offsetof(struct weights, f)
#define L(f) offsetof(struct layer_weights, f)
static const struct weight_row rows[] = {
    { SCOPE_MODEL, WHEN_ALWAYS, "token_embd.weight", "model.embed_tokens.weight", NULL,
      DIM_VOCAB, DIM_HIDDEN, M(embed), false },
    { SCOPE_LAYER, WHEN_ALWAYS, "attn_norm.weight", "input_layernorm.weight", NULL,
      DIM_ONE, DIM_HIDDEN, L(attn_norm), false },
    { SCOPE_LAYER, WHEN_ALWAYS, "attn_q.weight", "self_attn.q_proj.weight", NULL,
      DIM_Q, DIM_HIDDEN, L(q), false },
    { SCOPE_LAYER, WHEN_ALWAYS, "attn_k.weight", "self_attn.k_proj.weight", NULL,
      DIM_KV, DIM_HIDDEN, L(k), false },
    { SCOPE_LAYER, WHEN_ALWAYS, "attn_v.weight", "self_attn.v_proj.weight", NULL,
      DIM_KV, DIM_HIDDEN, L(v), false },
    { SCOPE_LAYER, WHEN_ALWAYS, "attn_output.weight", "self_attn.o_proj.weight", NULL,
      DIM_HIDDEN, DIM_Q, L(o), false },
    { SCOPE_LAYER, WHEN_ALWAYS, "ffn_norm.weight", "post_attention_layernorm.weight", NULL,
      DIM_ONE, DIM_HIDDEN, L(ffn_norm), false },
    { SCOPE_LAYER, WHEN_ALWAYS, "ffn_gate.weight", "mlp.gate_proj.weight", NULL,
      DIM_FFN, DIM_HIDDEN, L(gate), false },
    { SCOPE_LAYER, WHEN_ALWAYS, "ffn_up.weight", "mlp.up_proj.weight", NULL,
      DIM_FFN, DIM_HIDDEN, L(up), false },
    { SCOPE_LAYER, WHEN_ALWAYS, "ffn_down.weight", "mlp.down_proj.weight", NULL,
      DIM_HIDDEN, DIM_FFN, L(down), false },
    { SCOPE_MODEL, WHEN_ALWAYS, "output_norm.weight", "model.norm.weight", NULL,
      DIM_ONE, DIM_HIDDEN, M(norm), false },
    { SCOPE_MODEL, WHEN_UNTIED, "output.weight", "lm_head.weight", NULL,
      DIM_VOCAB, DIM_HIDDEN, M(head), false },
    { SCOPE_MODEL, WHEN_IN_FILE, "rope_freqs.weight", NULL, NULL,
      DIM_ONE, DIM_ROPE_HALF, M(rope_freqs), false },
    { .at = SIZE_MAX }
};

static const char *const names[] = { "llama", NULL };

const struct family family_llama = {
    .name = "llama", .hf_types = names, .gguf_archs = names, .fill = fill, .weights = rows,
    .hf_layers = "model.layers.%u.", .hf_mtp = NULL,
};
