"""Makes a transformers model compute in float64 from end to end.

transformers casts to float32 in four places even when the model is float64: the norms, the
attention softmax, the router, and the cosines and sines of RoPE.  widen() lifts all four, so
that the result is the exact value of the equations to about 1e-15, and narrow() takes it back
(to measure what the casts cost).
"""

import torch


class Torch64:
    """Stands in for the name `torch` inside a modeling module: float32 means float64."""

    float32 = torch.float64
    float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def exact_inv_freq(config):
    """RoPE's frequencies in float64: theta^(-2p/hd), with the llama3 correction if set."""
    rope = config.rope_parameters
    head_dim = getattr(config, "head_dim", None)
    head_dim = head_dim or config.hidden_size // config.num_attention_heads
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    freq = rope["rope_theta"] ** -exponent
    if rope["rope_type"] == "default":
        return freq
    if rope["rope_type"] != "llama3":
        raise ValueError(f"rope type {rope['rope_type']} is not handled here")
    factor, original = rope["factor"], rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = original * freq / (2 * torch.pi)        # full turns within the original context
    blend = ((turns - low) / (high - low)).clamp(0, 1)
    return freq / factor * (1 - blend) + freq * blend


def widen(model, modeling):
    """Returns a function that undoes it."""
    rotary = model.model.rotary_emb
    freq = exact_inv_freq(model.config)

    def rotate(x, position_ids):
        angle = position_ids[..., None].to(torch.float64) * freq
        angle = torch.cat((angle, angle), dim=-1)
        return angle.cos(), angle.sin()

    modeling.torch = Torch64()
    rotary.forward = rotate

    def narrow():
        modeling.torch = torch
        del rotary.forward

    return narrow
