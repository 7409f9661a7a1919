#!/usr/bin/env python
"""Builds tests/gold/train/<model>: tiny models with the gradients of their training loss.

    train_fixtures.py [--out tests/gold/train] [--only NAME] [--check]

What is in each folder: tests/gold/train/README.md.  --check builds nothing: it recomputes what
is stored, and holds the gradients against central differences of the loss.
"""

import argparse
import json
import pathlib
import platform
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from tiny_models import draw_weight
from tiny_specs import exaone_config, folder_config, llama_config, mlp_types, small_config, \
    tensor_shapes
from train_loss import MISTAKES, PARTS, Batch, Loss, Trainee, gradients, on_disk

SEED = 20261122
WEIGHTS = {"ce": 1.0, "mtp": 0.05, "balance": 0.01}
WEIGHTS_Z = WEIGHTS | {"z": 1e-3}
Z_TENSORS = ("lm_head.weight", "model.norm.weight", "model.layers.2.mlp.gate.weight",
             "model.layers.1.self_attn.q_proj.weight", "mtp.norm.weight")
DOCUMENTS = [[9, 1, 3, 2, 5], [13, 1, 8]]      # and padding up to WIDTH
WIDTH = 24
IDS = (1, 70)                                  # of 96: the others are never used
IDLE = ("model.layers.2.mlp.gate.e_score_correction_bias", 5)
MARGIN, MARGIN_LATER = 1e-3, 3e-4
STEPS, LR, BETAS, EPS, DECAY, CLIP, BIAS_STEP = 20, 1e-3, (0.9, 0.95), 1e-8, 0.1, 1.0, 1e-3

MOE = exaone_config(
    hidden_size=32, intermediate_size=48, num_hidden_layers=4, vocab_size=96,
    moe_intermediate_size=12, sliding_window=4, num_nextn_predict_layers=1,
    rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    layer_types=["sliding_attention"] * 3 + ["full_attention"],
    mlp_layer_types=["dense"] + ["sparse"] * 3, mtp_layer_types=["full_attention"])
DENSE = {
    "exaone4": small_config(
        "exaone4", "Exaone4ForCausalLM", num_hidden_layers=4, hidden_size=32, vocab_size=96,
        sliding_window=4, sliding_window_pattern="LLLG", rope_theta=10000.0, rope_scaling=None,
        layer_types=["sliding_attention"] * 3 + ["full_attention"]),
    "llama": llama_config(
        hidden_size=40, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=2,
        intermediate_size=56, vocab_size=96, tie_word_embeddings=True),
    "gemma3": small_config(
        "gemma3_text", "Gemma3ForCausalLM", num_hidden_layers=4, vocab_size=96,
        tie_word_embeddings=True, hidden_act="absent", hidden_activation="gelu_pytorch_tanh",
        num_key_value_heads=1, sliding_window=4, sliding_window_pattern=3,
        query_pre_attn_scalar=20, rope_theta=1000000.0, rope_local_base_freq=10000.0,
        rope_scaling=None),
}
DOCUMENT = 12                                  # tokens of the one document of DENSE
SPECS = DENSE | {"exaone_moe": MOE}
for spec in SPECS.values():                    # torch gives an embedding's padding row no
    spec.pop("pad_token_id", None)             # gradient


def draw_model(spec):
    rng = torch.Generator().manual_seed(SEED)
    gain = 0.0 if spec["model_type"] == "gemma3_text" else 1.0
    disk = {k: draw_weight(k, s, rng, gain) for k, s in tensor_shapes(spec).items()}
    if IDLE[0] in disk:
        disk[IDLE[0]][IDLE[1]] = -2.0          # a score is below 1: never chosen
    return disk


def draw_batch(name, seed):
    rng = np.random.default_rng(seed)
    rows, width = (DOCUMENTS, WIDTH) if name == "exaone_moe" else ([[DOCUMENT]], DOCUMENT)
    return Batch([[rng.integers(*IDS, n).tolist() for n in row] for row in rows], width)


def write_folder(folder, disk, spec):
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / "model.safetensors", disk)
    (folder / "config.json").write_text(json.dumps(folder_config(spec), indent=2) + "\n")


def save_tensors(path, tensors):
    save_file({k: v.float() for k, v in tensors.items()}, path, metadata={"format": "pt"})
    path.chmod(0o644)


def clip(grads, limit):
    norm = torch.sqrt(sum(g.square().sum() for g in grads))
    for g in grads:
        g.mul_(torch.clamp(limit / norm, max=1.0))
    return float(norm)


def decay_groups(params):
    decayed = [p for n, p in params.items() if p.dim() > 1 and "embed_tokens" not in n]
    rest = [p for n, p in params.items() if p.dim() == 1 or "embed_tokens" in n]
    return [{"params": decayed, "weight_decay": DECAY}, {"params": rest, "weight_decay": 0.0}]


def train(folder, disk, batch, margin=0.0):
    """STEPS steps of AdamW on the same batch.  None once a router's margin is below `margin`;
    else losses (each before its update), parts, gradient norms before clipping, margins, the
    last biases."""
    trainee = Trainee(folder, SPECS[folder.name], disk)
    adam = torch.optim.AdamW(decay_groups(trainee.params), lr=LR, betas=BETAS, eps=EPS)
    log = {"loss": [], "norm": [], "margin": []}
    for _ in range(STEPS):
        loss = Loss(trainee, batch)
        if loss.margin < margin:
            return None
        total = loss.total(WEIGHTS)
        adam.zero_grad()
        total.backward()
        log["loss"].append(float(total.detach()))
        log["margin"].append(loss.margin)
        log["norm"].append(clip([p.grad for p in trainee.params.values() if p.grad is not None],
                                CLIP))
        adam.step()
        for gate, load in zip(trainee.gates, loss.load):
            gate.e_score_correction_bias += BIAS_STEP * torch.sign(load.mean() - load)
    log["bias"] = torch.stack([g.e_score_correction_bias for g in trainee.gates]).tolist()
    trainee.narrow()
    return {k: np.array(v, "<f8") for k, v in log.items()}


def search(folder, disk):
    """The first batch whose routing is clear now and at every step of the training run."""
    for seed in range(SEED, SEED + 2000):
        batch = draw_batch(folder.name, seed)
        trainee = Trainee(folder, SPECS[folder.name], disk)
        loss = Loss(trainee, batch)
        trainee.narrow()
        if loss.margin_padding < MARGIN:
            continue
        log = train(folder, disk, batch, MARGIN_LATER)
        print(seed, loss.margin, None if log is None else log["margin"].min(), flush=True)
        if log is not None:
            return seed, batch, log
    raise RuntimeError("no seed keeps the routers away from ties")


def zeros_of(spec, batch, loss):
    """What must be exactly zero, by name: a list of rows of the embedding, whole tensors else.
    Without a balance loss nothing depends on a document's last token."""
    end = None if loss.load else -1
    used = {t for documents in batch.rows for ids in documents for t in ids[:end]}
    result = {}
    if not spec["tie_word_embeddings"]:
        result["model.embed_tokens.weight"] = \
            [i for i in range(spec["vocab_size"]) if i not in used]
    first_sparse = mlp_types(spec).index("sparse") if loss.load else 0
    for layer, load in enumerate(loss.reached, first_sparse):
        for e in torch.nonzero(load == 0).flatten().tolist():
            for part in ("gate", "up", "down"):
                result[f"model.layers.{layer}.mlp.experts.{e}.{part}_proj.weight"] = "all"
    return result


def verify_zeros(grads, zeros):
    for name, grad in grads.items():
        rows = zeros.get(name, [])
        zero = (grad == 0).all(-1) if grad.dim() > 1 else grad == 0
        wanted = torch.zeros_like(zero)
        if rows == "all":
            wanted[...] = True
        else:
            wanted[rows] = True
        if not torch.equal(zero, wanted):
            raise RuntimeError(f"{name}: other rows are zero than listed")


def compute(folder, disk, batch, mistake=None):
    trainee = Trainee(folder, SPECS[folder.name], disk, mistake)
    loss = Loss(trainee, batch)
    grads = gradients(trainee, loss, WEIGHTS, keep_graph=True)
    grads_z = gradients(trainee, loss, WEIGHTS_Z)
    trainee.narrow()
    missing = set(disk) - set(grads)
    if any("e_score" not in name for name in missing) or set(grads) - set(disk):
        raise RuntimeError(f"gradients and weights disagree: {missing}")
    return loss, grads, grads_z


def far(grads, other):
    """How many tensors are more than 1e-4 of their norm away, and the farthest."""
    ratios = [float((other[n] - g).norm() / g.norm()) for n, g in grads.items() if g.norm() > 0]
    return {"tensors": sum(r > 1e-4 for r in ratios), "of": len(ratios), "largest": max(ratios)}


def controls(folder, disk, batch, grads):
    """What one mistake does to the gradients: each must be seen at a bound of 1e-4."""
    return {m: far(grads, compute(folder, disk, batch, m)[1]) for m in MISTAKES}


def build(folder):
    spec = SPECS[folder.name]
    disk = draw_model(spec)
    write_folder(folder, disk, spec)
    seed, batch, log = SEED, draw_batch(folder.name, SEED), None
    if spec is MOE:
        seed, batch, log = search(folder, disk)
    loss, grads, grads_z = compute(folder, disk, batch)
    zeros = zeros_of(spec, batch, loss)
    verify_zeros(grads, zeros)
    write_arrays(folder, batch, loss)
    save_tensors(folder / "grads.safetensors", grads)
    if spec is MOE:
        np.save(folder / "load.npy", torch.stack(loss.load).numpy().astype("<u4"))
        save_tensors(folder / "grads_z.safetensors", {n: grads_z[n] for n in Z_TENSORS})
        for name, array in log.items():
            np.save(folder / f"adamw_{name}.npy", array)
    write_meta(folder, seed, loss, zeros, log,
               controls(folder, disk, batch, grads) if spec is MOE else {})


def write_arrays(folder, batch, loss):
    for name, array in batch.arrays().items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "loss.npy", np.array([float(loss.parts[p].detach()) for p in PARTS], "<f8"))
    np.save(folder / "logits.npy", loss.logits.numpy().astype("<f4"))


def write_meta(folder, seed, loss, zeros, log, mistakes):
    meta = {"made_by": f"tools/reference/train_fixtures.py --only {folder.name}",
            "weights_seed": SEED, "batch_seed": seed, "torch": torch.__version__,
            "transformers": transformers.__version__, "numpy": np.__version__,
            "python": platform.python_version()}
    if log:
        meta |= {"loss_weights": WEIGHTS, "loss_weights_z": WEIGHTS_Z,
                 "min_router_margin": min(loss.margin, loss.margin_padding),
                 "adamw": {"steps": STEPS, "lr": LR, "beta1": BETAS[0], "beta2": BETAS[1],
                           "eps": EPS, "weight_decay": DECAY, "clip": CLIP,
                           "bias_step": BIAS_STEP,
                           "min_router_margin": float(log["margin"].min())}}
    meta |= {"negative_controls": mistakes} if mistakes else {}
    meta["exact_zeros"] = zeros
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")


def differences(folder, disk, batch, grads, count=40, step=1e-6):
    """Worst |central difference - gradient| / (1e-3 + |gradient|) over random elements."""
    rng, worst = np.random.default_rng(1), 0.0
    trainee = Trainee(folder, SPECS[folder.name], disk)
    views = on_disk({n: p.data for n, p in trainee.params.items()})
    for name in rng.choice(sorted(views), count):
        at = tuple(int(rng.integers(n)) for n in views[name].shape)
        value = float(views[name][at])
        sides = []
        for change in (step, -step):
            views[name][at] = value + change
            with torch.no_grad():
                sides.append(float(Loss(trainee, batch).total(WEIGHTS)))
        views[name][at] = value
        exact = float(grads[name][at])
        worst = max(worst, abs((sides[0] - sides[1]) / (2 * step) - exact) / (1e-3 + abs(exact)))
    trainee.narrow()
    return worst


def check(folder):
    disk = load_file(folder / "model.safetensors")
    seed = json.loads((folder / "meta.json").read_text())["batch_seed"]
    batch = draw_batch(folder.name, seed)
    loss, grads, _ = compute(folder, disk, batch)
    stored = load_file(folder / "grads.safetensors")
    worst = max(float((stored[n].double() - g).norm() / g.norm()) for n, g in grads.items()
                if g.norm() > 0)
    drift = 0.0
    if folder.name == "exaone_moe":
        drift = np.abs(train(folder, disk, batch)["loss"]
                       - np.load(folder / "adamw_loss.npy")).max()
    central = differences(folder, disk, batch, grads)
    print(f"{folder.name}: stored gradients within {worst:.2g}, losses of the steps within "
          f"{drift:.2g}, central differences within {central:.2g}")
    return worst < 1e-7 and drift < 1e-9 and central < 1e-5


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/gold/train"))
    parser.add_argument("--only", choices=sorted(SPECS))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    folders = [options.out / n for n in ([options.only] if options.only else sorted(SPECS))]
    if options.check:
        return 0 if all([check(folder) for folder in folders]) else 1
    for folder in folders:
        build(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
