/*
 * weight_rows: pieces of weight tables that families share, with the names of Llama's
 * descendants; and of tables of keys.  A family's table is a list of these and of its own
 * rows (family.h).
 */
#ifndef KEXA_MODEL_WEIGHT_ROWS_H
#define KEXA_MODEL_WEIGHT_ROWS_H

#include "model/family.h"

#define M(f) offsetof(struct weights, f)
#define L(f) offsetof(struct layer_weights, f)
#define T(f) offsetof(struct mtp_weights, f)

/* A layer's matrix, and a layer's vector. */
#define ROW_MATRIX(when, gguf, hf, rows, cols, field) \
    { SCOPE_LAYER, when, gguf ".weight", hf ".weight", NULL, rows, cols, L(field), false }
#define ROW_VECTOR(when, gguf, hf, cols, field) \
    { SCOPE_LAYER, when, gguf ".weight", hf ".weight", NULL, DIM_ONE, cols, L(field), false }

#define ROWS_EMBED(hf) \
    { SCOPE_MODEL, WHEN_ALWAYS, "token_embd.weight", hf, NULL, DIM_VOCAB, DIM_HIDDEN, \
      M(embed), false }
#define ROWS_END(hf_norm) \
    { SCOPE_MODEL, WHEN_ALWAYS, "output_norm.weight", hf_norm, NULL, DIM_ONE, DIM_HIDDEN, \
      M(norm), false }, \
    { SCOPE_MODEL, WHEN_UNTIED, "output.weight", "lm_head.weight", NULL, DIM_VOCAB, \
      DIM_HIDDEN, M(head), false }
#define ROWS_ROPE_FREQS \
    { SCOPE_MODEL, WHEN_IN_FILE, "rope_freqs.weight", NULL, NULL, DIM_ONE, DIM_ROPE_HALF, \
      M(rope_freqs), false }

#define ROWS_PRE_NORMS \
    ROW_VECTOR(WHEN_ALWAYS, "attn_norm", "input_layernorm", DIM_HIDDEN, attn_norm), \
    ROW_VECTOR(WHEN_ALWAYS, "ffn_norm", "post_attention_layernorm", DIM_HIDDEN, ffn_norm)
#define ROWS_ATTENTION \
    ROW_MATRIX(WHEN_ALWAYS, "attn_q", "self_attn.q_proj", DIM_Q, DIM_HIDDEN, q), \
    ROW_MATRIX(WHEN_ALWAYS, "attn_k", "self_attn.k_proj", DIM_KV, DIM_HIDDEN, k), \
    ROW_MATRIX(WHEN_ALWAYS, "attn_v", "self_attn.v_proj", DIM_KV, DIM_HIDDEN, v), \
    ROW_MATRIX(WHEN_ALWAYS, "attn_output", "self_attn.o_proj", DIM_HIDDEN, DIM_Q, o)
#define ROWS_QK_NORM \
    ROW_VECTOR(WHEN_QK_NORM, "attn_q_norm", "self_attn.q_norm", DIM_HEAD, q_norm), \
    ROW_VECTOR(WHEN_QK_NORM, "attn_k_norm", "self_attn.k_norm", DIM_HEAD, k_norm)
#define ROWS_DENSE \
    ROW_MATRIX(WHEN_DENSE, "ffn_gate", "mlp.gate_proj", DIM_FFN, DIM_HIDDEN, gate), \
    ROW_MATRIX(WHEN_DENSE, "ffn_up", "mlp.up_proj", DIM_FFN, DIM_HIDDEN, up), \
    ROW_MATRIX(WHEN_DENSE, "ffn_down", "mlp.down_proj", DIM_HIDDEN, DIM_FFN, down)

#define ROW_EXPERTS(gguf, hf, fused, rows, cols, field) \
    { SCOPE_EXPERT, WHEN_ALWAYS, gguf ".weight", "mlp.experts.%u." hf ".weight", \
      "mlp.experts." fused, rows, cols, L(field), false }
#define ROWS_EXPERTS \
    { SCOPE_LAYER, WHEN_SPARSE, "ffn_gate_inp.weight", "mlp.gate.weight", NULL, DIM_EXPERTS, \
      DIM_HIDDEN, L(router), true }, \
    ROW_EXPERTS("ffn_gate_exps", "gate_proj", "gate_up_proj", DIM_FFN, DIM_HIDDEN, gate_e), \
    ROW_EXPERTS("ffn_up_exps", "up_proj", "gate_up_proj", DIM_FFN, DIM_HIDDEN, up_e), \
    ROW_EXPERTS("ffn_down_exps", "down_proj", "down_proj", DIM_HIDDEN, DIM_FFN, down_e)
#define ROWS_ROUTER_BIAS \
    { SCOPE_LAYER, WHEN_ROUTER_BIAS, "exp_probs_b.bias", "mlp.e_score_correction_bias", \
      "mlp.gate.e_score_correction_bias", DIM_ONE, DIM_EXPERTS, L(router_bias), false }
#define ROWS_SHARED \
    ROW_MATRIX(WHEN_SHARED, "ffn_gate_shexp", "mlp.shared_experts.gate_proj", DIM_SHARED, \
               DIM_HIDDEN, gate_s), \
    ROW_MATRIX(WHEN_SHARED, "ffn_up_shexp", "mlp.shared_experts.up_proj", DIM_SHARED, \
               DIM_HIDDEN, up_s), \
    ROW_MATRIX(WHEN_SHARED, "ffn_down_shexp", "mlp.shared_experts.down_proj", DIM_HIDDEN, \
               DIM_SHARED, down_s)

#define ROWS_STOP { .at = SIZE_MAX }

#define P(f) offsetof(struct plan, f)
#define R(f) (offsetof(struct plan, router) + offsetof(struct moe_router, f))
#define KEYS_LAYERS \
    { "num_hidden_layers", "num_layers", "block_count", CONFIG_U32, true, P(n_layers), 1, \
      LAYERS_MAX }, \
    { "tie_word_embeddings", NULL, NULL, CONFIG_BOOL, false, P(tied), 0, 1 }
#define KEYS_EXPERTS \
    { "num_experts", "n_routed_experts", "expert_count", CONFIG_U32, true, R(n), 1, \
      MOE_EXPERTS_MAX }, \
    { "num_experts_per_tok", NULL, "expert_used_count", CONFIG_U32, true, R(top_k), 1, \
      MOE_TOPK_MAX }, \
    { "norm_topk_prob", NULL, "expert_weights_norm", CONFIG_BOOL, false, R(norm_topk), 0, 1 }, \
    { "moe_intermediate_size", NULL, "expert_feed_forward_length", CONFIG_U32, true, \
      P(expert_ffn), 1, 1 << 22 }
#define KEYS_GROUPS \
    { "n_group", NULL, "expert_group_count", CONFIG_U32, false, R(n_group), 1, \
      MOE_EXPERTS_MAX }, \
    { "topk_group", NULL, "expert_group_used_count", CONFIG_U32, false, R(topk_group), 1, \
      MOE_EXPERTS_MAX }, \
    { "num_shared_experts", "n_shared_experts", "expert_shared_count", CONFIG_U32, false, \
      P(n_shared), 0, 64 }, \
    { "first_k_dense_replace", "first_last_k_dense_replace", "leading_dense_block_count", \
      CONFIG_U32, false, P(first_dense), 0, LAYERS_MAX }, \
    { "routed_scaling_factor", NULL, "expert_weights_scale", CONFIG_F32, false, R(scale), \
      -1e6, 1e6 }

#endif
