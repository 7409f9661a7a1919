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
from tiny_specs import exaone_config, folder_config, tensor_shapes
from train_loss import PARTS, Batch, Loss, Trainee, gradients, on_disk

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

SPEC = exaone_config(
    hidden_size=32, intermediate_size=48, num_hidden_layers=4, vocab_size=96,
    moe_intermediate_size=12, sliding_window=4, num_nextn_predict_layers=1,
    rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    layer_types=["sliding_attention"] * 3 + ["full_attention"],
    mlp_layer_types=["dense"] + ["sparse"] * 3, mtp_layer_types=["full_attention"])
del SPEC["pad_token_id"]      # torch gives an embedding's padding row no gradient


def draw_model():
    rng = torch.Generator().manual_seed(SEED)
    disk = {k: draw_weight(k, s, rng) for k, s in tensor_shapes(SPEC).items()}
    disk[IDLE[0]][IDLE[1]] = -2.0              # a score is below 1: never chosen
    return disk


def draw_batch(seed):
    rng = np.random.default_rng(seed)
    return Batch([[rng.integers(*IDS, n).tolist() for n in row] for row in DOCUMENTS], WIDTH)


def write_folder(folder, disk):
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / "model.safetensors", disk)
    (folder / "config.json").write_text(json.dumps(folder_config(SPEC), indent=2) + "\n")


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
    trainee = Trainee(folder, SPEC, disk)
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
        batch = draw_batch(seed)
        trainee = Trainee(folder, SPEC, disk)
        loss = Loss(trainee, batch)
        trainee.narrow()
        if loss.margin_padding < MARGIN:
            continue
        log = train(folder, disk, batch, MARGIN_LATER)
        print(seed, loss.margin, None if log is None else log["margin"].min(), flush=True)
        if log is not None:
            return seed, batch, log
    raise RuntimeError("no seed keeps the routers away from ties")


def zeros_of(batch, loss):
    """What must be exactly zero, by name: a list of rows of the embedding, whole tensors else."""
    used = {t for documents in batch.rows for ids in documents for t in ids}
    result = {"model.embed_tokens.weight": [i for i in range(SPEC["vocab_size"])
                                            if i not in used]}
    first_sparse = SPEC["mlp_layer_types"].index("sparse")
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


def compute(folder, disk, batch):
    trainee = Trainee(folder, SPEC, disk)
    loss = Loss(trainee, batch)
    grads = gradients(trainee, loss, WEIGHTS, keep_graph=True)
    grads_z = gradients(trainee, loss, WEIGHTS_Z)
    trainee.narrow()
    missing = set(disk) - set(grads)
    if any("e_score" not in name for name in missing) or set(grads) - set(disk):
        raise RuntimeError(f"gradients and weights disagree: {missing}")
    return loss, grads, grads_z


def build(folder):
    disk = draw_model()
    write_folder(folder, disk)
    seed, batch, log = search(folder, disk)
    loss, grads, grads_z = compute(folder, disk, batch)
    zeros = zeros_of(batch, loss)
    verify_zeros(grads, zeros)
    for name, array in batch.arrays().items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "loss.npy", np.array([float(loss.parts[p].detach()) for p in PARTS], "<f8"))
    np.save(folder / "load.npy", torch.stack(loss.load).numpy().astype("<u4"))
    np.save(folder / "logits.npy", loss.logits.numpy().astype("<f4"))
    save_tensors(folder / "grads.safetensors", grads)
    save_tensors(folder / "grads_z.safetensors", {n: grads_z[n] for n in Z_TENSORS})
    for name, array in log.items():
        np.save(folder / f"adamw_{name}.npy", array)
    write_meta(folder, seed, loss, zeros, log)


def write_meta(folder, seed, loss, zeros, log):
    meta = {"made_by": "tools/reference/train_fixtures.py", "weights_seed": SEED,
            "batch_seed": seed, "torch": torch.__version__,
            "transformers": transformers.__version__, "numpy": np.__version__,
            "python": platform.python_version(), "loss_weights": WEIGHTS,
            "loss_weights_z": WEIGHTS_Z, "min_router_margin": loss.margin_padding,
            "adamw": {"steps": STEPS, "lr": LR, "beta1": BETAS[0], "beta2": BETAS[1],
                      "eps": EPS, "weight_decay": DECAY, "clip": CLIP,
                      "bias_step": BIAS_STEP, "min_router_margin": float(log["margin"].min())},
            "exact_zeros": zeros}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")


def differences(folder, disk, batch, grads, count=24, step=1e-6):
    """Worst |central difference - gradient| / (1e-6 + |gradient|) over random elements."""
    rng, worst = np.random.default_rng(1), 0.0
    trainee = Trainee(folder, SPEC, disk)
    views = on_disk({n: p.data for n, p in trainee.params.items()})
    owner = {n: p.data for n, p in trainee.params.items()}
    for name in rng.choice(sorted(set(views) & set(owner)), count):
        at = tuple(int(rng.integers(n)) for n in owner[name].shape)
        value = float(owner[name][at])
        sides = []
        for change in (step, -step):
            owner[name][at] = value + change
            with torch.no_grad():
                sides.append(float(Loss(trainee, batch).total(WEIGHTS)))
        owner[name][at] = value
        exact = float(grads[name][at])
        worst = max(worst, abs((sides[0] - sides[1]) / (2 * step) - exact) / (1e-3 + abs(exact)))
    trainee.narrow()
    return worst


def check(folder):
    disk = load_file(folder / "model.safetensors")
    batch = draw_batch(json.loads((folder / "meta.json").read_text())["batch_seed"])
    loss, grads, _ = compute(folder, disk, batch)
    stored = load_file(folder / "grads.safetensors")
    worst = max(float((stored[n].double() - g).norm() / g.norm()) for n, g in grads.items()
                if g.norm() > 0)
    drift = np.abs(train(folder, disk, batch)["loss"] - np.load(folder / "adamw_loss.npy")).max()
    central = differences(folder, disk, batch, grads)
    print(f"{folder.name}: stored gradients within {worst:.2g}, losses of the steps within "
          f"{drift:.2g}, central differences within {central:.2g}")
    return worst < 1e-7 and drift < 1e-9 and central < 1e-5


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/gold/train"))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    folder = options.out / "exaone_moe"
    if options.check:
        return 0 if check(folder) else 1
    build(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
