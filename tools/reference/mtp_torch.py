"""The multi-token prediction block of exaone_moe, written from its published equations.

    u = fc . concat( RMS(E[x_{t+1}]; pre_fc_norm_embedding), RMS(h_t; pre_fc_norm_hidden) )
    v = one pre-norm decoder layer on u: per-head QK norm, full causal attention without RoPE,
        dense SwiGLU
    m = RMS(v; mtp.norm)
    logits for x_{t+2} = lm_head . m

h_t is the main model's hidden state after its final norm.  Slot t sees slots <= t.  It shares
no code with transformers (which ignores these tensors) nor with kexa.
"""

import math

import torch


def rms(x, weight, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def heads(x, n, norm, eps):
    x = x.reshape(x.shape[0], n, -1).transpose(0, 1)
    return x if norm is None else rms(x, norm, eps)


def attention(z, w, config, variant):
    prefix = "mtp.layers.0.self_attn."
    n_q, n_kv, eps = config["num_attention_heads"], config["num_key_value_heads"], \
        config["rms_norm_eps"]
    q = heads(z @ w[prefix + "q_proj.weight"].T, n_q, w[prefix + "q_norm.weight"], eps)
    k = heads(z @ w[prefix + "k_proj.weight"].T, n_kv, w[prefix + "k_norm.weight"], eps)
    v = heads(z @ w[prefix + "v_proj.weight"].T, n_kv, None, eps)
    if variant == "rope":
        q, k = rope(q, config), rope(k, config)
    slot = torch.arange(z.shape[0])
    distance = slot[:, None] - slot[None, :]
    hidden = distance < 0
    if variant == "sliding":
        hidden |= distance >= config["sliding_window"]
    out = []
    for h in range(n_q):
        g = h // (n_q // n_kv)
        score = q[h] @ k[g].T / math.sqrt(q.shape[-1])
        out.append(torch.softmax(score.masked_fill(hidden, -math.inf), -1) @ v[g])
    return torch.cat(out, dim=-1) @ w[prefix + "o_proj.weight"].T


def rope(x, config):
    half = x.shape[-1] // 2
    p = torch.arange(half, dtype=torch.float64)
    freq = float(config["rope_theta"]) ** (-p / half)
    angle = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * freq
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


def mtp_logits(w, config, tokens, hidden, variant=None):
    """Logits [T-1, V] of slots 0..T-2; hidden [T, H] is post-norm.  `variant` is None, or names
    one thing done wrong, for the negative controls: rope, sliding, swapped, late."""
    eps = config["rms_norm_eps"]
    shift = 0 if variant == "late" else 1
    after = tokens[shift:len(tokens) - 1 + shift]
    e = rms(w["model.embed_tokens.weight"][after], w["mtp.pre_fc_norm_embedding.weight"], eps)
    h = rms(hidden[:-1], w["mtp.pre_fc_norm_hidden.weight"], eps)
    pair = (h, e) if variant == "swapped" else (e, h)
    x = torch.cat(pair, dim=-1) @ w["mtp.fc.weight"].T
    layer = "mtp.layers.0."
    x = x + attention(rms(x, w[layer + "input_layernorm.weight"], eps), w, config, variant)
    z = rms(x, w[layer + "post_attention_layernorm.weight"], eps)
    gate = z @ w[layer + "mlp.gate_proj.weight"].T
    up = z @ w[layer + "mlp.up_proj.weight"].T
    x = x + (gate * torch.sigmoid(gate) * up) @ w[layer + "mlp.down_proj.weight"].T
    return rms(x, w["mtp.norm.weight"], eps) @ w["lm_head.weight"].T
