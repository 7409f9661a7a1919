"""The tiny models: their config.json as published files spell it, and their tensors.

Two spellings are used on purpose: exaone_moe/lllg has the older one (rope_theta, a letter
pattern, first_k_dense_replace), exaone_moe/groups the newer (rope_parameters, layer_types,
mlp_layer_types, the router's bias under mlp.gate).
"""


def n_tokens(name):
    return 300 if name.startswith(("llama/", "exaone_moe/")) else 200


def llama_config(**change):
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
        "hidden_size": 48, "intermediate_size": 88, "num_hidden_layers": 3,
        "num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 131,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "rope_scaling": None, "max_position_embeddings": 512, "tie_word_embeddings": False,
        "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2,
    }
    config.update(change)
    return {key: value for key, value in config.items() if value != "absent"}


def exaone_config(**change):
    config = {
        "architectures": ["ExaoneMoEForCausalLM"], "model_type": "exaone_moe",
        "torch_dtype": "float32", "hidden_size": 40, "intermediate_size": 56,
        "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "vocab_size": 101, "hidden_act": "silu", "rms_norm_eps": 1e-5,
        "max_position_embeddings": 512, "tie_word_embeddings": False,
        "num_experts": 8, "num_experts_per_tok": 2, "num_shared_experts": 1,
        "moe_intermediate_size": 10, "n_group": 1, "topk_group": 1, "norm_topk_prob": True,
        "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
        "sliding_window": 8, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }
    config.update(change)
    return config


def small_config(model_type, architecture, **change):
    """What the later families have in common: dense, 200 tokens, small files."""
    config = {
        "architectures": [architecture], "model_type": model_type, "torch_dtype": "float32",
        "hidden_size": 36, "intermediate_size": 44, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12, "vocab_size": 103,
        "hidden_act": "silu", "rms_norm_eps": 1e-6, "max_position_embeddings": 512,
        "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }
    config.update(change)
    return {key: value for key, value in config.items() if value != "absent"}


LLAMA3_OLD = {"rope_type": "llama3", "factor": 16.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 64}

SPECS = {
    "exaone/tied": small_config(
        "exaone", "ExaoneForCausalLM", tie_word_embeddings=True, rms_norm_eps=1e-5,
        rope_theta=500.0, rope_scaling=LLAMA3_OLD | {"factor": 8.0}),
    "qwen3/yarn": small_config(
        "qwen3", "Qwen3ForCausalLM", rope_theta=1000.0, attention_bias=False,
        max_window_layers=3, use_sliding_window=False, sliding_window=None,
        rope_scaling={"rope_type": "yarn", "factor": 4.0,
                      "original_max_position_embeddings": 48}),
    "qwen3/moe": small_config(
        "qwen3_moe", "Qwen3MoeForCausalLM", num_experts=8, num_experts_per_tok=3,
        moe_intermediate_size=12, norm_topk_prob=True, decoder_sparse_step=1,
        mlp_only_layers=[], attention_bias=False, rope_theta=10000.0, rope_scaling=None),
    "solar_open/yarn": small_config(
        "solar_open", "SolarOpenForCausalLM", head_dim=16, n_routed_experts=8,
        num_experts_per_tok=2, moe_intermediate_size=10, n_shared_experts=2, n_group=1,
        topk_group=1, norm_topk_prob=True, routed_scaling_factor=1.5, first_k_dense_replace=0,
        rope_theta=1000.0, partial_rotary_factor=1.0, attention_bias=False,
        rope_scaling={"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64}),
    "gemma3/old": small_config(          # 4B's scaling of the global RoPE; one global layer
        "gemma3_text", "Gemma3ForCausalLM", num_hidden_layers=7, tie_word_embeddings=True,
        hidden_act="absent", hidden_activation="gelu_pytorch_tanh", num_key_value_heads=1,
        sliding_window=8, sliding_window_pattern=6, query_pre_attn_scalar=12,
        rope_theta=1000000.0, rope_local_base_freq=10000.0,
        rope_scaling={"rope_type": "linear", "factor": 8.0}),
    "gemma3/new": small_config(
        "gemma3_text", "Gemma3ForCausalLM", num_hidden_layers=4, tie_word_embeddings=True,
        hidden_act="absent", hidden_activation="gelu_pytorch_tanh", sliding_window=5,
        query_pre_attn_scalar=20,
        layer_types=["sliding_attention", "full_attention"] * 2,
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 500.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}}),
    "exaone4/full": small_config(
        "exaone4", "Exaone4ForCausalLM", num_attention_heads=3,
        num_key_value_heads=1, tie_word_embeddings=True, sliding_window=None,
        sliding_window_pattern=None, rope_theta=500.0, rope_scaling=LLAMA3_OLD),
    "exaone4/hybrid": small_config(
        "exaone4", "Exaone4ForCausalLM", num_hidden_layers=9, num_attention_heads=3,
        num_key_value_heads=1, hidden_size=32, sliding_window=8, sliding_window_pattern="LLLG",
        rms_norm_eps=1e-5, rope_theta=500.0, rope_scaling=LLAMA3_OLD,
        layer_types=(["sliding_attention"] * 3 + ["full_attention"]) * 2
        + ["sliding_attention"]),
    "llama/untied": llama_config(),
    "llama/tied": llama_config(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1,
        head_dim=24, intermediate_size=104, vocab_size=107, tie_word_embeddings=True,
        rms_norm_eps=1e-6, torch_dtype="absent", dtype="float32", rope_theta="absent",
        rope_scaling="absent",
        rope_parameters={"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0,
                         "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 64}),
    "exaone_moe/lllg": exaone_config(
        rope_theta=1000000, rope_scaling=None, sliding_window_pattern="LLLG",
        first_k_dense_replace=1, num_nextn_predict_layers=1,
        mtp_layer_types=["full_attention"]),
    "exaone_moe/groups": exaone_config(
        architectures=["ExaoneMoeForCausalLM"], hidden_size=48, num_hidden_layers=5,
        head_dim=16, num_attention_heads=6, num_key_value_heads=3, num_experts=16,
        num_experts_per_tok=3, n_group=4, topk_group=2, moe_intermediate_size=8,
        num_shared_experts=2, sliding_window=5, intermediate_size=64, vocab_size=103,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        layer_types=["sliding_attention"] * 3 + ["full_attention", "sliding_attention"],
        mlp_layer_types=["dense", "dense"] + ["sparse"] * 3),
}


# Not committed, for llama.cpp: it gives exaone4 windows only if there are 64 layers.
LARGE = {
    "exaone4/deep": SPECS["exaone4/hybrid"] | {
        "num_hidden_layers": 64, "hidden_size": 36, "intermediate_size": 20,
        "layer_types": (["sliding_attention"] * 3 + ["full_attention"]) * 16},
}

# What no GGUF key can say (a scale of q k of its own, a base for windows), or no GGUF has.
HF_ONLY = {"gemma3/new", "solar_open/yarn"}


def head_dim(c):
    return c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]


def rope_of(c):
    """The new style's rope_parameters from either style."""
    old = dict(c.get("rope_scaling") or {})
    old["rope_type"] = old.pop("type", None) or old.get("rope_type", "default")
    return c.get("rope_parameters") or old | {"rope_theta": c["rope_theta"]}


def layer_types(c):
    if "layer_types" in c:
        return c["layer_types"]
    pattern = c.get("sliding_window_pattern") or "G"
    if isinstance(pattern, int):
        pattern = "L" * (pattern - 1) + "G"
    kind = {"L": "sliding_attention", "G": "full_attention"}
    return [kind[pattern[i % len(pattern)]] for i in range(c["num_hidden_layers"])]


def mlp_types(c):
    if "moe_intermediate_size" not in c:
        return ["dense"] * c["num_hidden_layers"]
    dense = c.get("first_k_dense_replace", 0)
    return c.get("mlp_layer_types") or \
        ["dense" if i < dense else "sparse" for i in range(c["num_hidden_layers"])]


def bias_name(c, layer):
    under_gate = "mlp_layer_types" in c or c["model_type"] == "solar_open"
    return f"model.layers.{layer}.mlp." + ("gate." if under_gate else "") + \
        "e_score_correction_bias"


def swiglu_shapes(prefix, hidden, width):
    return {prefix + "gate_proj.weight": (width, hidden),
            prefix + "up_proj.weight": (width, hidden),
            prefix + "down_proj.weight": (hidden, width)}


def block_norms(c):
    """Their names without "_layernorm"."""
    if c["model_type"] == "exaone4":
        return ["post_attention", "post_feedforward"]
    if c["model_type"] == "gemma3_text":
        return ["input", "post_attention", "pre_feedforward", "post_feedforward"]
    return ["input", "post_attention"]


def block_shapes(c, prefix):
    """Norms and attention of one decoder layer."""
    h, hd = c["hidden_size"], head_dim(c)
    nq, nkv = c["num_attention_heads"] * hd, c["num_key_value_heads"] * hd
    shapes = {f"{prefix}{norm}_layernorm.weight": (h,) for norm in block_norms(c)}
    shapes |= {prefix + "self_attn.q_proj.weight": (nq, h),
               prefix + "self_attn.k_proj.weight": (nkv, h),
               prefix + "self_attn.v_proj.weight": (nkv, h),
               prefix + "self_attn.o_proj.weight": (h, nq)}
    if c["model_type"] not in ("llama", "exaone", "solar_open"):
        shapes[prefix + "self_attn.q_norm.weight"] = (hd,)
        shapes[prefix + "self_attn.k_norm.weight"] = (hd,)
    return shapes


def n_experts(c):
    return c.get("num_experts", c.get("n_routed_experts"))


def moe_shapes(c, layer):
    prefix = f"model.layers.{layer}.mlp."
    h, f = c["hidden_size"], c["moe_intermediate_size"]
    shapes = {prefix + "gate.weight": (n_experts(c), h)}
    if c["model_type"] != "qwen3_moe":
        shapes[bias_name(c, layer)] = (n_experts(c),)
    for e in range(n_experts(c)):
        shapes |= swiglu_shapes(f"{prefix}experts.{e}.", h, f)
    n_shared = c.get("num_shared_experts", c.get("n_shared_experts", 0))
    return shapes | (swiglu_shapes(prefix + "shared_experts.", h, f * n_shared)
                     if n_shared else {})


EXAONE_KEYS = {"num_hidden_layers": "num_layers", "rms_norm_eps": "layer_norm_epsilon",
               "hidden_act": "activation_function"}
EXAONE_NAMES = [
    ("model.embed_tokens", "transformer.wte"), ("model.norm", "transformer.ln_f"),
    ("model.layers", "transformer.h"), ("input_layernorm", "ln_1"),
    ("post_attention_layernorm", "ln_2"), ("self_attn.o_proj", "attn.attention.out_proj"),
    ("self_attn", "attn.attention"), ("gate_proj", "c_fc_0"), ("up_proj", "c_fc_1"),
    ("down_proj", "c_proj")]


def folder_config(c):
    """config.json: exaone has GPT-2's words for some keys."""
    words = EXAONE_KEYS if c["model_type"] == "exaone" else {}
    return {words.get(key, key): value for key, value in c.items()}


def folder_name(c, name):
    """A tensor's name in the folder: exaone has GPT-2's words, and llama's tensors."""
    for llama, exaone in EXAONE_NAMES if c["model_type"] == "exaone" else []:
        name = name.replace(llama, exaone)
    return name


def tensor_shapes(c):
    """name -> shape of every tensor of the Hugging Face folder, in file order."""
    h = c["hidden_size"]
    shapes = {"model.embed_tokens.weight": (c["vocab_size"], h)}
    for i, kind in enumerate(mlp_types(c)):
        prefix = f"model.layers.{i}."
        shapes |= block_shapes(c, prefix)
        shapes |= moe_shapes(c, i) if kind == "sparse" else \
            swiglu_shapes(prefix + "mlp.", h, c["intermediate_size"])
    shapes["model.norm.weight"] = (h,)
    if not c["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (c["vocab_size"], h)
    if c.get("num_nextn_predict_layers", 0):
        shapes |= {"mtp.fc.weight": (h, 2 * h), "mtp.norm.weight": (h,),
                   "mtp.pre_fc_norm_embedding.weight": (h,),
                   "mtp.pre_fc_norm_hidden.weight": (h,)}
        shapes |= block_shapes(c, "mtp.layers.0.")
        shapes |= swiglu_shapes("mtp.layers.0.mlp.", h, c["intermediate_size"])
    return shapes
