#!/usr/bin/env python
"""Muon in float64 from its equations, and tests/gold/train/muon made with it.

    muon_torch.py [--out tests/gold/train/muon] [--check]

    m  <- mu m + (1 - mu) g                    m starts at zero
    g' <- (1 - mu) g + mu m
    X  <- g' / (||g'||_F + 1e-7)
    5 times, with (a, b, c) = (3.4445, -4.7750, 2.0315):
        A = X X^T (X^T X if rows > cols);  B = b A + c A^2;  X <- a X + B X (or X B)
    W  <- W - lr decay W - lr 0.2 sqrt(max(rows, cols)) X

Source: Jordan et al., "Muon", 2024; the scale and the decay: Liu et al., "Muon is Scalable for
LLM Training", arXiv 2502.16982.
"""

import argparse
import pathlib
import sys
import types

import torch
from safetensors.torch import load_file, save_file

SEED = 20261122
SHAPES = ((16, 16), (8, 24), (24, 8), (64, 32))
STEPS, LR, DECAY, MU, EPS = 5, 0.02, 0.1, 0.95, 1e-7
A, B, C = 3.4445, -4.7750, 2.0315


def orthogonalise(g):
    x = g / (torch.linalg.norm(g) + EPS)
    tall = x.shape[0] > x.shape[1]
    for _ in range(5):
        gram = x.T @ x if tall else x @ x.T
        poly = B * gram + C * (gram @ gram)
        x = A * x + (x @ poly if tall else poly @ x)
    return x


def orthogonalise_by_svd(g):
    """The same map on the singular values alone."""
    u, s, vt = torch.linalg.svd(g / (torch.linalg.norm(g) + EPS), full_matrices=False)
    for _ in range(5):
        s = A * s + B * s ** 3 + C * s ** 5
    return u @ torch.diag(s) @ vt


def run(weight, grads, newton_schulz=orthogonalise):
    """Weights after each step, the last momentum."""
    w, m, after = weight.double(), torch.zeros_like(weight, dtype=torch.float64), []
    for g in grads.double():
        m = MU * m + (1 - MU) * g
        x = newton_schulz((1 - MU) * g + MU * m)
        w = w - LR * DECAY * w - LR * 0.2 * max(w.shape) ** 0.5 * x
        after.append(w)
    return torch.stack(after), m


def run_torch(weight, grads, iterate_in):
    """torch.optim.Muon; it iterates in bfloat16 unless told that bfloat16 is something else."""
    module = sys.modules["torch.optim._muon"]
    names = dict(vars(torch)) | {"bfloat16": iterate_in}
    module.torch, kept = types.SimpleNamespace(**names), module.torch
    parameter = torch.nn.Parameter(weight.double())
    muon = torch.optim.Muon([parameter], lr=LR, weight_decay=DECAY, momentum=MU, eps=EPS,
                            adjust_lr_fn="match_rms_adamw")
    after = []
    for g in grads.double():
        parameter.grad = g.clone()
        muon.step()
        after.append(parameter.detach().clone())
    module.torch = kept
    return torch.stack(after)


def draw(shape, rng):
    """A weight and gradients of falling rank-one parts and noise: singular values spread over
    two decades, and steps that resemble each other."""
    weight = 0.3 * torch.randn(shape, generator=rng)
    n = min(shape)
    left, right = torch.randn(shape[0], n, generator=rng), torch.randn(n, shape[1], generator=rng)
    size = torch.logspace(0, -2, n)
    grads = [left @ torch.diag(size) @ right + 0.02 * torch.randn(shape, generator=rng)
             for _ in range(STEPS)]
    return weight, torch.stack(grads) * 0.01


def compare(name, weight, grads, after):
    """Prints how far the others are, relative to how far the weights went."""
    scale = (after[-1] - weight.double()).norm()
    others = {"by singular values": run(weight, grads, orthogonalise_by_svd)[0],
              "torch.optim.Muon in float64": run_torch(weight, grads, torch.float64),
              "torch.optim.Muon as it is": run_torch(weight, grads, torch.bfloat16)}
    figures = {k: float((v[-1] - after[-1]).norm() / scale) for k, v in others.items()}
    print(name, {k: f"{v:.2g}" for k, v in figures.items()})
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/gold/train/muon"))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    path = options.out / "muon.safetensors"
    rng = torch.Generator().manual_seed(SEED)
    stored = load_file(path) if options.check else {}
    tensors, good = {}, True
    for shape in SHAPES:
        name = f"{shape[0]}x{shape[1]}"
        weight, grads = draw(shape, rng)
        if options.check:
            weight, grads = stored[name + ".weight"], stored[name + ".grad"]
        after, momentum = run(weight, grads)
        figures = compare(name, weight, grads, after)
        good &= figures["by singular values"] < 1e-9
        good &= figures["torch.optim.Muon in float64"] < 1e-5
        tensors |= {name + ".weight": weight, name + ".grad": grads,
                    name + ".after": after.float(), name + ".momentum": momentum.float()}
    if options.check:
        return 0 if good and all(torch.equal(tensors[k], stored[k]) for k in stored) else 1
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
