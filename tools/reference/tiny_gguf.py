"""Writes a tiny model as GGUF, with the official `gguf` package.

llama: q and k rows are permuted, because its RoPE turns adjacent pairs.  exaone-moe: not
permuted, experts stacked into one 3-D tensor, the MTP block as the last block.  The tokenizer
is byte-level BPE over printable ASCII and newline, plus a few merges.
"""

import gguf
import numpy as np
import torch

from tiny_specs import bias_name, head_dim, layer_types, mlp_types, rope_of
from widen import rope_freq

CONTROL, NORMAL = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
MERGES = ["t h", "h e", "i n", "a n", "e r", "Ġ th", "Ġ a", "o n", "o u", "an d", "r e", "e n",
          "o r", "Ġ w", "Ġ s", "i s", "Ġth e", "e d", "a t", "Ġ o", "Ġ b", "Ġ c", "Ġ h", "in g",
          "Ġ f", "e s", "i t", "Ġ p", "Ġ m", "h a", "l l", "a r", "Ġ l"]


def add_tokenizer(writer, n_vocab):
    tokens = ["<pad>", "<s>", "</s>", "Ġ", "Ċ"] + [chr(c) for c in range(33, 127)]
    n_merges = n_vocab - len(tokens)
    if not 0 <= n_merges <= len(MERGES):
        raise ValueError(f"vocabulary of {n_vocab} does not fit the tiny tokenizer")
    merges = MERGES[:n_merges]
    tokens += [m.replace(" ", "") for m in merges]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([CONTROL] * 3 + [NORMAL] * (n_vocab - 3))
    writer.add_token_merges(merges)
    writer.add_pad_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)


def add_common(writer, name, c):
    writer.add_name("tiny " + name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_vocab_size(c["vocab_size"])
    writer.add_head_count(c["num_attention_heads"])
    writer.add_head_count_kv(c["num_key_value_heads"])
    writer.add_key_length(head_dim(c))
    writer.add_value_length(head_dim(c))
    writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    writer.add_rope_dimension_count(head_dim(c))
    writer.add_rope_freq_base(float(rope_of(c)["rope_theta"]))


def add_exaone(writer, c):
    n_mtp = c.get("num_nextn_predict_layers", 0)
    writer.add_block_count(c["num_hidden_layers"] + n_mtp)
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    writer.add_sliding_window(c["sliding_window"])
    writer.add_sliding_window_pattern([t == "sliding_attention" for t in layer_types(c)])
    writer.add_expert_count(c["num_experts"])
    writer.add_expert_used_count(c["num_experts_per_tok"])
    writer.add_expert_shared_count(c["num_shared_experts"])
    writer.add_expert_group_count(c["n_group"])
    writer.add_expert_group_used_count(c["topk_group"])
    writer.add_expert_feed_forward_length(c["moe_intermediate_size"])
    writer.add_expert_shared_feed_forward_length(
        c["moe_intermediate_size"] * c["num_shared_experts"])
    writer.add_expert_weights_scale(c["routed_scaling_factor"])
    writer.add_expert_weights_norm(c["norm_topk_prob"])
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_leading_dense_block_count(mlp_types(c).count("dense"))
    writer.add_nextn_predict_layers(n_mtp)


def permute(weight, n_heads):
    """Row half*(hd/2)+p of a head goes to row 2p+half."""
    rows, columns = weight.shape
    halves = weight.reshape(n_heads, 2, rows // n_heads // 2, columns)
    return halves.transpose(0, 2, 1, 3).reshape(rows, columns)


BLOCK_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight", "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight", "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight", "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight", "mlp.gate.weight": "ffn_gate_inp.weight",
    "mlp.shared_experts.gate_proj.weight": "ffn_gate_shexp.weight",
    "mlp.shared_experts.up_proj.weight": "ffn_up_shexp.weight",
    "mlp.shared_experts.down_proj.weight": "ffn_down_shexp.weight",
}
MTP_NAMES = {
    "mtp.fc.weight": "nextn.eh_proj.weight",
    "mtp.pre_fc_norm_embedding.weight": "nextn.enorm.weight",
    "mtp.pre_fc_norm_hidden.weight": "nextn.hnorm.weight",
    "mtp.norm.weight": "nextn.shared_head_norm.weight",
}


def add_block(writer, c, weights, prefix, block):
    for hf, name in (BLOCK_NAMES | ARCHS[c["model_type"]][2]).items():
        if prefix + hf not in weights:
            continue
        value = weights[prefix + hf]
        if c["model_type"] == "llama" and name in ("attn_q.weight", "attn_k.weight"):
            n = c["num_attention_heads" if name[5] == "q" else "num_key_value_heads"]
            value = permute(value, n)
        writer.add_tensor(f"blk.{block}.{name}", value)


def add_experts(writer, c, weights, layer):
    if bias_name(c, layer) in weights:
        writer.add_tensor(f"blk.{layer}.exp_probs_b.bias", weights[bias_name(c, layer)])
    for part in ("gate", "up", "down"):
        stack = [weights[f"model.layers.{layer}.mlp.experts.{e}.{part}_proj.weight"]
                 for e in range(c["num_experts"])]
        writer.add_tensor(f"blk.{layer}.ffn_{part}_exps.weight", np.stack(stack))


def add_rope_freqs(writer, c):
    """llama3 scaling is stored as one divisor per frequency."""
    rope = rope_of(c)
    plain = rope_freq(rope | {"rope_type": "default"}, head_dim(c))
    divisor = plain / rope_freq(rope, head_dim(c))
    writer.add_tensor("rope_freqs.weight", divisor.to(torch.float32).numpy())


def add_exaone4(writer, c):
    writer.add_block_count(c["num_hidden_layers"])
    if c["sliding_window"]:
        writer.add_sliding_window(c["sliding_window"])
        writer.add_sliding_window_pattern([t == "sliding_attention" for t in layer_types(c)])


def add_gemma3(writer, c):
    """No key has the windows' pattern, the local base or the scale of q k."""
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_sliding_window(c["sliding_window"])
    if "rope_scaling" in c:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(c["rope_scaling"]["factor"])


def add_qwen3(writer, c):
    writer.add_block_count(c["num_hidden_layers"])
    if c.get("rope_scaling"):
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(c["rope_scaling"]["factor"])
        writer.add_rope_scaling_orig_ctx_len(
            c["rope_scaling"]["original_max_position_embeddings"])
    if "num_experts" in c:
        writer.add_expert_count(c["num_experts"])
        writer.add_expert_used_count(c["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(c["moe_intermediate_size"])


# model_type: architecture, what it adds to the metadata, names of norms that differ
ARCHS = {
    "llama": ("llama", lambda w, c: w.add_block_count(c["num_hidden_layers"]), {}),
    "exaone_moe": ("exaone-moe", add_exaone, {}),
    "exaone": ("exaone", lambda w, c: w.add_block_count(c["num_hidden_layers"]), {}),
    "qwen3": ("qwen3", add_qwen3, {}),
    "qwen3_moe": ("qwen3moe", add_qwen3, {}),
    "gemma3_text": ("gemma3", add_gemma3, {
        "post_attention_layernorm.weight": "post_attention_norm.weight",
        "pre_feedforward_layernorm.weight": "ffn_norm.weight",
        "post_feedforward_layernorm.weight": "post_ffw_norm.weight"}),
    "exaone4": ("exaone4", add_exaone4, {
        "post_attention_layernorm.weight": "post_attention_norm.weight",
        "post_feedforward_layernorm.weight": "post_ffw_norm.weight"}),
}


def write(path, name, c, tensors):
    arch, add_own, _ = ARCHS[c["model_type"]]
    gain = 1 if arch == "gemma3" else 0     # GGUF holds 1 + w
    weights = {k: v.numpy() + gain * (v.ndim == 1) for k, v in tensors.items()}
    writer = gguf.GGUFWriter(path, arch)
    add_common(writer, name, c)
    add_own(writer, c)
    add_tokenizer(writer, c["vocab_size"])
    writer.add_tensor("token_embd.weight", weights["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"])
    if not c["tie_word_embeddings"]:
        writer.add_tensor("output.weight", weights["lm_head.weight"])
    if rope_of(c).get("rope_type") == "llama3":
        add_rope_freqs(writer, c)
    for layer, kind in enumerate(mlp_types(c)):
        add_block(writer, c, weights, f"model.layers.{layer}.", layer)
        if kind == "sparse":
            add_experts(writer, c, weights, layer)
    if c.get("num_nextn_predict_layers", 0):
        block = c["num_hidden_layers"]
        add_block(writer, c, weights, "mtp.layers.0.", block)
        for hf, gguf_name in MTP_NAMES.items():
            writer.add_tensor(f"blk.{block}.{gguf_name}", weights[hf])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
