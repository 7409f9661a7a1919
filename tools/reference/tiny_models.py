#!/usr/bin/env python
"""Builds the tiny golden models: random weights, expected logits from transformers in float64.

    tiny_models.py [--out tests/gold] [--only NAME] [--check]

Each model becomes a Hugging Face folder with
    config.json, model.safetensors   weights in F32, every value representable in BF16
    tokens.npy                       u4 [T]
    logits.npy                       f4 [T, V], the main model at every position
    mtp_logits.npy                   f4 [T-1, V] for slots 0..T-2 (models with mtp.* only)
    hidden.npy                       f4 [layers + 2, P, H]: after the embedding, after each
                                     layer, after the final norm, at the positions meta.json
                                     lists under "hidden_positions"
    model.gguf                       the same model as GGUF, with a tokenizer
    meta.json                        seed, versions, router gap, negative controls
A length-n run is checked with the first n rows: the models are causal.  --check builds nothing:
it recomputes the committed folders and says how far they are from what is stored.
"""

import argparse
import importlib
import json
import pathlib
import platform
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

import tiny_gguf
from mtp_torch import mtp_logits
from tiny_specs import (HF_ONLY, LARGE, SPECS, folder_config, folder_name, layer_types, mlp_types,
                        n_tokens, rope_of, tensor_shapes)
from widen import rotary_of, widen

SEED = 20261121
MIN_GAP = 1e-3                 # between the last expert chosen and the first one left out
POSITIONS = [0, 1, 2, 4, 5, 7, 8, 9, 16, 63, 150, 299]


def modeling_of(spec):
    """The module of transformers that has the model."""
    name = {"gemma3_text": "gemma3", "exaone": "llama"}.get(spec["model_type"],
                                                           spec["model_type"])
    return importlib.import_module(f"transformers.models.{name}.modeling_{name}")


def positions(name):
    return [p for p in POSITIONS if p < n_tokens(name)]


def draw_weight(name, shape, rng, gain=1.0):
    """Spread-out values, so that a mistake anywhere moves the logits a long way.  gain: what
    a norm's weight of no effect is (0 for gemma3)."""
    noise = torch.randn(shape, generator=rng, dtype=torch.float64)
    if name.endswith("e_score_correction_bias"):
        value = 0.25 * noise
    elif "self_attn" in name and len(shape) == 1:
        value = gain + 0.4 + 0.3 * noise
    elif len(shape) == 1:
        value = gain + 0.25 * noise
    elif "embed_tokens" in name:
        value = 0.7 * noise
    else:
        value = (2.0 if name.endswith("mlp.gate.weight") else 1.3) * noise / shape[1] ** 0.5
    return value.to(torch.bfloat16).to(torch.float32)


def transformers_config(spec):
    """The class transformers has for it.  Its exaone_moe cannot read a letter pattern, so the
    lists are always spelled out here."""
    keys = dict(spec)
    for key in ("architectures", "model_type", "torch_dtype", "dtype", "rope_scaling",
                "sliding_window_pattern"):
        keys.pop(key, None)
    keys.pop("rope_theta", None)
    keys["rope_parameters"] = rope_of(spec)
    if "rope_local_base_freq" in spec:
        keys["rope_parameters"] = {
            "full_attention": rope_of(spec),
            "sliding_attention": {"rope_type": "default",
                                  "rope_theta": keys.pop("rope_local_base_freq")}}
    if spec["model_type"] in ("exaone_moe", "exaone4", "gemma3_text"):
        keys.update(layer_types=layer_types(spec))
    if spec["model_type"] == "exaone_moe":
        keys.update(mlp_layer_types=mlp_types(spec))
    if spec["model_type"] == "solar_open":
        del keys["partial_rotary_factor"]
    kind = "llama" if spec["model_type"] == "exaone" else spec["model_type"]
    return transformers.CONFIG_MAPPING[kind](**keys)


def load_model(folder, spec):
    if spec["model_type"] == "exaone":          # transformers has it as llama
        model = transformers.LlamaForCausalLM(transformers_config(spec)).double()
        model.set_attn_implementation("eager")
        stored = load_file(folder / "model.safetensors")
        names = {folder_name(spec, k): k for k in tensor_shapes(spec)}
        model.load_state_dict({names[k]: v for k, v in stored.items()}, strict=False)
        model.tie_weights()
        return model.eval()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, config=transformers_config(spec), dtype=torch.float64,
        attn_implementation="eager", experts_implementation="eager")
    return model.double().eval()


def routers(model):
    return [layer.mlp.gate for layer in model.model.layers if hasattr(layer.mlp, "experts")]


def edge(values, k):
    """Gap between the k-th largest and the next, per row."""
    if k >= values.shape[-1]:
        return torch.full(values.shape[:-1], torch.inf, dtype=values.dtype)
    top = values.topk(k + 1, dim=-1)[0]
    return top[..., k - 1] - top[..., k]


def router_gaps(gate, logits):
    """Per token, the smaller of the gap between experts and the gap between groups."""
    if not hasattr(gate, "e_score_correction_bias"):
        return edge(logits.double().softmax(-1), gate.top_k)
    choice = logits.double().sigmoid() + gate.e_score_correction_bias.double()
    if not hasattr(gate, "num_group"):
        return edge(choice, gate.top_k)
    grouped = choice.view(choice.shape[0], gate.num_group, -1)
    score = grouped.topk(2, dim=-1)[0].sum(-1)
    keep = torch.zeros_like(score, dtype=torch.bool)
    keep.scatter_(1, score.topk(gate.topk_group, dim=-1)[1], True)
    allowed = grouped.masked_fill(~keep[..., None], -torch.inf).flatten(1)
    return torch.minimum(edge(score, gate.topk_group), edge(allowed, gate.top_k))


def run(model, tokens):
    """Logits, hidden states [layers + 2, T, H] and per-token router gaps, all float64."""
    hidden, gaps, handles = [], [], []
    body = model.model
    handles.append(body.layers[0].register_forward_pre_hook(
        lambda m, args: hidden.append(args[0][0])))
    for layer in list(body.layers) + [body.norm]:
        handles.append(layer.register_forward_hook(
            lambda m, args, out: hidden.append((out[0] if isinstance(out, tuple) else out)[0])))
    for gate in routers(model):
        handles.append(gate.register_forward_hook(
            lambda m, args, out: gaps.append(router_gaps(m, out[0]))))
    with torch.no_grad():
        logits = model(torch.tensor(tokens)[None], use_cache=False).logits[0]
    for handle in handles:
        handle.remove()
    gap = torch.stack(gaps).min(0)[0] if gaps else torch.full((len(tokens),), torch.inf)
    return logits, torch.stack(hidden), gap


def draw_tokens(model, name, spec, rng):
    """Random tokens; one that puts a router within MIN_GAP of a tie is drawn again (a later
    token never changes an earlier decision)."""
    tokens = rng.integers(3, spec["vocab_size"], n_tokens(name)).tolist()
    redrawn = 0
    while True:
        gap = run(model, tokens)[2]
        near = torch.nonzero(gap < 2 * MIN_GAP)
        if len(near) == 0:
            return tokens, redrawn
        redrawn += 1
        if redrawn > 500:
            raise RuntimeError("the routers of this seed are always near a tie: change SEED")
        tokens[int(near[0])] = int(rng.integers(3, spec["vocab_size"]))


def moved(logits, other):
    """max |difference| over max |logit|."""
    return float((logits - other).abs().max() / logits.abs().max())


def biased_forward(gate):
    """The router with one thing wrong: the bias also enters the mixing weights."""
    right = gate.forward

    def wrong(x):
        logits, weights, chosen = right(x)
        biased = (logits.sigmoid() + gate.e_score_correction_bias).gather(1, chosen)
        if gate.norm_topk_prob:
            biased = biased / (biased.sum(-1, keepdim=True) + 1e-20)
        return logits, biased * gate.routed_scaling_factor, chosen

    return wrong


def window_controls(model, tokens, logits):
    config, result = model.config, {}
    window = config.sliding_window
    for change in (1, -1):
        config.sliding_window = window + change
        result[f"window{change:+d}"] = moved(logits, run(model, tokens)[0])
    config.sliding_window = window
    return result


def rope_control(model, tokens, logits):
    attentions = [layer.self_attn for layer in model.model.layers]
    window = model.config.sliding_window
    for attention in attentions:
        attention.sliding_window = None
    result = moved(logits, run(model, tokens)[0])
    for attention in attentions:
        attention.sliding_window = window
    return {"rope_on_all_layers": result}


def bias_control(model, tokens, logits):
    for gate in routers(model):
        gate.forward = biased_forward(gate)
    result = moved(logits, run(model, tokens)[0])
    for gate in routers(model):
        del gate.forward
    return {"biased_mixing_weights": result}


def norm_control(model, tokens, logits):
    """The q norm's gains taken as one."""
    norms = [layer.self_attn.q_norm for layer in model.model.layers]
    kept = [norm.weight.data for norm in norms]
    for norm in norms:
        norm.weight.data = torch.ones_like(norm.weight)
    result = moved(logits, run(model, tokens)[0])
    for norm, weight in zip(norms, kept):
        norm.weight.data = weight
    return {"q_norm_gains_of_one": result}


def scaling_control(model, tokens, logits):
    """RoPE without its scaling."""
    rotary = model.model.rotary_emb
    right = rotary.forward
    rotary.forward = rotary_of(model.config, scaled=False)
    result = moved(logits, run(model, tokens)[0])
    rotary.forward = right
    return {"rope_without_scaling": result}


def controls(spec, model, tokens, logits):
    """How far one mistake moves the logits: each must be far above the tolerance 2e-4."""
    which = []
    if spec["model_type"] == "llama":
        which.append(gguf_permutation_control)
    if spec.get("sliding_window"):
        which.append(window_controls)
    if spec.get("sliding_window") and spec["model_type"].startswith("exaone"):
        which.append(rope_control)
    if spec["model_type"] == "exaone_moe":
        which.append(bias_control)
    if not which and hasattr(model.model.layers[0].self_attn, "q_norm"):
        which.append(norm_control)
    if spec.get("rope_scaling") and spec["model_type"] != "gemma3_text":
        which.append(scaling_control)
    return {k: v for control in which for k, v in control(model, tokens, logits).items()}


def gguf_permutation_control(model, tokens, logits):
    """llama: what RoPE on adjacent pairs instead of half-split does to these weights."""
    def interleaved(q, k, cos, sin, unsqueeze_dim=1):
        cos, sin = cos[:, None], sin[:, None]
        half = cos.shape[-1] // 2

        def turn(x):
            a, b = x[..., 0::2], x[..., 1::2]
            c, s = cos[..., :half], sin[..., :half]
            return torch.stack((a * c - b * s, b * c + a * s), -1).flatten(-2)

        return turn(q), turn(k)

    modeling = modeling_of({"model_type": "llama"})
    right = modeling.apply_rotary_pos_emb
    modeling.apply_rotary_pos_emb = interleaved
    result = moved(logits, run(model, tokens)[0])
    modeling.apply_rotary_pos_emb = right
    return {"rope_on_adjacent_pairs": result}


def expected(folder, name, spec, tokens=None, rng=None):
    """Everything the fixture stores: arrays by file name, and the measured part of meta."""
    weights = {k: v.double() for k, v in load_file(folder / "model.safetensors").items()}
    model = load_model(folder, spec)
    narrow = widen(model, modeling_of(spec))
    redrawn = 0
    if tokens is None:
        tokens, redrawn = draw_tokens(model, name, spec, rng)
    logits, hidden, gap = run(model, tokens)
    arrays = {"tokens": np.array(tokens, "<u4"), "logits": logits.numpy().astype("<f4"),
              "hidden": hidden[:, positions(name)].numpy().astype("<f4")}
    meta = {"max_abs_logit": float(logits.abs().max()), "rms_logit": float(logits.std())}
    if routers(model):
        meta |= {"min_router_gap": float(gap.min()), "tokens_redrawn": redrawn}
    meta["negative_controls"] = controls(spec, model, tokens, logits)
    if spec.get("num_nextn_predict_layers", 0):
        mtp_input = (weights, spec, torch.tensor(tokens), hidden[-1])
        mtp = mtp_logits(*mtp_input)
        arrays["mtp_logits"] = mtp.numpy().astype("<f4")
        meta["mtp_max_abs_logit"] = float(mtp.abs().max())
        meta["mtp_negative_controls"] = {
            v: moved(mtp, mtp_logits(*mtp_input, variant=v))
            for v in ("rope", "sliding", "swapped", "late")}
    narrow()
    meta["transformers_float32_casts"] = moved(logits, run(model, tokens)[0])
    return arrays, meta


def build(name, spec, out):
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    rng = torch.Generator().manual_seed(SEED)
    gain = 0.0 if spec["model_type"] == "gemma3_text" else 1.0
    weights = {k: draw_weight(k, s, rng, gain) for k, s in tensor_shapes(spec).items()}
    save_file({folder_name(spec, k): v for k, v in weights.items()},
              folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    (folder / "config.json").write_text(json.dumps(folder_config(spec), indent=2) + "\n")
    arrays, measured = expected(folder, name, spec, rng=np.random.default_rng(SEED))
    for key, array in arrays.items():
        np.save(folder / f"{key}.npy", array)
    if name not in HF_ONLY:
        tiny_gguf.write(folder / "model.gguf", name, spec, weights)
    meta = {"made_by": f"tools/reference/tiny_models.py --only {name}", "seed": SEED,
            "torch": torch.__version__, "transformers": transformers.__version__,
            "numpy": np.__version__, "python": platform.python_version(),
            "hidden_positions": positions(name)} | measured
    (folder / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
    fixture = sum(f.stat().st_size for f in folder.iterdir() if f.suffix != ".gguf")
    twin = sum(f.stat().st_size for f in folder.iterdir() if f.suffix == ".gguf")
    print(name, json.dumps(measured, indent=1), f"{fixture} bytes without model.gguf, "
          f"{twin} in it")
    if name in SPECS and max(fixture, twin) > 1_000_000:
        raise RuntimeError(f"{name} is larger than 1 MB")


def check(name, spec, out):
    """True when recomputing gives what is stored."""
    folder = out / name
    tokens = np.load(folder / "tokens.npy").tolist()
    arrays, measured = expected(folder, name, spec, tokens=tokens)
    worst = max(float(np.abs(np.load(folder / f"{k}.npy").astype(float) - a.astype(float)).max())
                for k, a in arrays.items())
    print(f"{name}: max |stored - recomputed| {worst:.3g}, "
          f"controls {measured['negative_controls']}")
    return worst <= 1e-6 * measured["max_abs_logit"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/gold"))
    parser.add_argument("--only", choices=sorted(SPECS | LARGE))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = [options.only] if options.only else sorted(SPECS)
    if options.check:
        return 0 if all([check(n, (SPECS | LARGE)[n], options.out) for n in names]) else 1
    for name in names:
        build(name, (SPECS | LARGE)[name], options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
