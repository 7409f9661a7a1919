/*
 * gemma3: the text part of Gemma 3 ("Gemma 3 Technical Report", arXiv 2503.19786).
 *
 *     x  = E[token] sqrt(hidden)
 *     h  = x + RMS(O Attn(RMS(x; input_layernorm)); post_attention_layernorm)
 *     x' = h + RMS(FFN(RMS(h; pre_feedforward_layernorm)); post_feedforward_layernorm)
 *
 * Five layers of six have windows and a RoPE with a shorter base; q and k are RMS-normed
 * per head before RoPE; the FFN's gate is GELU.  Hugging Face files hold norm gains less 1
 * and round the embedding's factor to the weights' type; GGUF files hold the gains, and the
 * factor here is sqrt(hidden) in f32 as llama.cpp has it.
 */
#include "model/families/weight_rows.h"
#include "model/model.h"

#include <math.h>

static const struct config_key keys[] = { KEYS_LAYERS, { .at = SIZE_MAX } };

static const struct config_key local_rope_keys[] = {
    { "rope_local_base_freq", NULL, "rope.freq_base_swa", CONFIG_F64, false,
      offsetof(struct rope_plan, base), 1e-3, 1e18 },
    { .at = SIZE_MAX }
};

struct query {
    double scalar;
};

static const struct config_key query_keys[] = {
    { "query_pre_attn_scalar", NULL, NULL, CONFIG_F64, false, offsetof(struct query, scalar),
      1e-3, 1e6 },
    { .at = SIZE_MAX }
};

static bool refuse_extras(const struct config *c, struct err *err)
{
    static const char *const extras[] = { "attn_logit_softcapping", "final_logit_softcapping",
                                          "use_bidirectional_attention", "attention_bias",
                                          NULL };
    const char *act = config_hf_string(c, "hidden_activation");
    if (!config_refuse(c, extras, err))
        return false;
    if (act && strcmp(act, "gelu_pytorch_tanh"))
        return fail(err, ERR_UNSUPPORTED, "%s: hidden_activation is %s; gemma3 has "
                    "gelu_pytorch_tanh", c->file, act);
    return true;
}

static double gguf_scalar(const struct plan *p)
{
    return p->n_layers == 62 ? (double)p->hidden / p->n_heads : p->head_dim;
}

/* No GGUF key has the scale: it is that of a head, but for the 27B with its 62 layers. */
static bool read_scale(struct plan *p, const struct config *c, struct err *err)
{
    struct query q = { c->json ? 256 : gguf_scalar(p) };
    if (!config_read(c, query_keys, &q, err))
        return false;
    p->attn_scale = 1.0f / sqrtf((float)q.scalar);
    p->embed_scale = sqrtf((float)p->hidden);
    return true;
}

/* The global layers' RoPE, then the windows'. */
static bool read_ropes(struct plan *p, const struct config *c, struct err *err)
{
    struct rope_plan plain = { .base = 1e6, .low = 1, .high = 4, .original_context = 8192 };
    p->n_ropes = 2;
    p->rope[0] = p->rope[1] = plain;
    p->rope[1].base = 1e4;
    return config_read_rope(c, &p->rope[0], err)
           && config_read_rope_kind(c, "full_attention", &p->rope[0], err)
           && config_read(c, local_rope_keys, &p->rope[1], err)
           && config_read_rope_kind(c, "sliding_attention", &p->rope[1], err);
}

static bool fill(struct plan *p, const struct config *c, struct err *err)
{
    p->head_dim = 256;
    p->tied = true;
    p->norms = NORM_BOTH;
    p->act = ACT_GELU;
    if (!refuse_extras(c, err) || !config_read(c, config_common_keys, p, err)
        || !config_read(c, keys, p, err) || !read_ropes(p, c, err))
        return false;
    plan_fill_defaults(p, c);
    p->rope[1].dims = p->rope[0].dims;
    if (!read_scale(p, c, err) || !plan_take_layers(p, c->file, err))
        return false;
    for (uint32_t i = 0; i < p->n_layers; i++) {
        struct layer_plan *l = &p->layer[i];
        *l = (struct layer_plan){ .rope = true, .qk_norm = true, .ffn = p->ffn };
        if (!config_layer_window(c, i, 6, &l->window, err))
            return false;
        l->rope_at = l->window != 0;
    }
    return true;
}

static bool describe(const struct plan *p, struct config_out *out, struct err *err)
{
    float scalar = roundf(1 / (p->attn_scale * p->attn_scale));
    if (out->gguf && scalar != roundf((float)gguf_scalar(p)))
        return fail(err, ERR_UNSUPPORTED, "query_pre_attn_scalar is %g; GGUF files of gemma3 have "
                    "no key for it, readers take %g", (double)scalar, gguf_scalar(p));
    if (p->rope[1].scaling)
        return fail(err, ERR_UNSUPPORTED, "the RoPE of sliding layers is scaled; the keys that "
                    "are written can scale the global layers' only");
    config_put_text(out, "hidden_activation", NULL, "gelu_pytorch_tanh");
    config_put_number(out, "query_pre_attn_scalar", NULL, CONFIG_U32, (double)scalar);
    config_put_number(out, "rope_local_base_freq", "rope.freq_base_swa", CONFIG_F64,
                      p->rope[1].base);
    return config_put_windows(out, p, err);
}

static const struct weight_row rows[] = {
    ROWS_EMBED("model.embed_tokens.weight"),
    ROW_VECTOR(WHEN_ALWAYS, "attn_norm", "input_layernorm", DIM_HIDDEN, attn_norm),
    ROWS_ATTENTION, ROWS_QK_NORM,
    ROW_VECTOR(WHEN_ALWAYS, "post_attention_norm", "post_attention_layernorm", DIM_HIDDEN,
               attn_post_norm),
    ROW_VECTOR(WHEN_ALWAYS, "ffn_norm", "pre_feedforward_layernorm", DIM_HIDDEN, ffn_norm),
    ROWS_DENSE,
    ROW_VECTOR(WHEN_ALWAYS, "post_ffw_norm", "post_feedforward_layernorm", DIM_HIDDEN,
               ffn_post_norm),
    ROWS_END("model.norm.weight"), ROWS_STOP
};

static const char *const hf_types[] = { "gemma3_text", NULL };
static const char *const archs[] = { "gemma3", NULL };

const struct family family_gemma3 = {
    .name = "gemma3", .hf_types = hf_types, .gguf_archs = archs, .fill = fill, .weights = rows,
    .hf_layers = "model.layers.%u.", .hf_mtp = NULL, .hf_gain_offset = 1, .keys = keys,
    .describe = describe, .hf_class = "Gemma3ForCausalLM",
};
