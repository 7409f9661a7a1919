"""Makes a transformers model compute in float64 from end to end.

transformers casts to float32 in four places even when the model is float64: the norms, the
attention softmax, the router, and the cosines and sines of RoPE.  widen() lifts all four, so
that the result is the exact value of the equations to about 1e-15, and narrow() takes it back
(to measure what the casts cost).
"""

import math

import torch


class Torch64:
    """Stands in for the name `torch` inside a modeling module: float32 means float64."""

    float32 = torch.float64
    float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def scale_llama3(rope, freq, head_dim):
    factor, original = rope["factor"], rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = original * freq / (2 * torch.pi)        # full turns within the original context
    blend = ((turns - low) / (high - low)).clamp(0, 1)
    return freq / factor * (1 - blend) + freq * blend


def scale_yarn(rope, freq, head_dim):
    """Pairs that turn beta_fast times or more keep their frequency, those that turn beta_slow
    times or less are slowed by the factor, on a straight line over the pair's number."""
    def pair(turns):
        original = rope["original_max_position_embeddings"]
        return head_dim * math.log(original / (turns * 2 * math.pi)) \
            / (2 * math.log(rope["rope_theta"]))

    low = max(math.floor(pair(rope.get("beta_fast", 32))), 0)
    high = min(math.ceil(pair(rope.get("beta_slow", 1))), head_dim - 1)
    number = torch.arange(len(freq), dtype=torch.float64)
    ramp = ((number - low) / max(high - low, 1e-3)).clamp(0, 1)
    return freq / rope["factor"] * ramp + freq * (1 - ramp)


def scale_linear(rope, freq, head_dim):
    return freq / rope["factor"]


SCALE = {"default": lambda rope, freq, head_dim: freq, "linear": scale_linear,
         "llama3": scale_llama3, "yarn": scale_yarn}


def rope_freq(rope, head_dim):
    """RoPE's frequencies in float64: theta^(-2p/hd), scaled as `rope` says."""
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    return SCALE[rope["rope_type"]](rope, rope["rope_theta"] ** -exponent, head_dim)


def rope_magnitude(rope):
    """What YaRN multiplies cosines and sines with."""
    if rope["rope_type"] != "yarn":
        return 1.0
    return rope.get("attention_factor") or 0.1 * math.log(rope["factor"]) + 1


def rotary(rope, head_dim):
    freq, magnitude = rope_freq(rope, head_dim), rope_magnitude(rope)

    def rotate(x, position_ids):
        angle = position_ids[..., None].to(torch.float64) * freq
        angle = torch.cat((angle, angle), dim=-1)
        return angle.cos() * magnitude, angle.sin() * magnitude

    return rotate


def rotary_of(config, scaled=True):
    """forward() of the model's rotary embedding: some have one for each kind of layer."""
    head_dim = getattr(config, "head_dim", None)
    head_dim = head_dim or config.hidden_size // config.num_attention_heads
    ropes = config.rope_parameters
    if "rope_type" in ropes:
        return rotary(ropes if scaled else ropes | {"rope_type": "default"}, head_dim)
    kinds = {kind: rotary(rope, head_dim) for kind, rope in ropes.items()}
    return lambda x, position_ids, layer_type: kinds[layer_type](x, position_ids)


def gemma_norm(norm, x):
    """transformers casts with x.float(), which Torch64 cannot catch."""
    x = x.double()
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.eps) * (1 + norm.weight)


def widen(model, modeling):
    """Returns a function that undoes it."""
    module = model.model.rotary_emb
    norm = getattr(modeling, "Gemma3RMSNorm", None)
    right = norm and norm.forward
    modeling.torch = Torch64()
    module.forward = rotary_of(model.config)
    if norm:
        norm.forward = gemma_norm
        model.model.embed_tokens.embed_scale = torch.tensor(model.config.hidden_size ** 0.5,
                                                            dtype=torch.float64)

    def narrow():
        modeling.torch = torch
        del module.forward
        if norm:
            norm.forward = right

    return narrow
