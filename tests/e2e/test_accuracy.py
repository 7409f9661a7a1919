"""SmolLM2's logits at the first 512 positions of a novel against transformers in float32.

The expected values are tests/gold/smollm2 (tools/reference/README.md says how they were
made); bench/RESULTS.md has the figures over all 4,096 positions.
"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from e2e import counts, expect, KEXA, TREE, totals

GOLD = TREE / "tests/gold/smollm2"
ROWS = 512

sys.path.insert(0, str(TREE / "tools/reference"))
from kl import compare  # noqa: E402


def largest_lse_error(path):
    """Of log(sum(exp(logits))): KL does not see a constant added to all logits, this does."""
    x = np.load(path, mmap_mode="r")
    want = np.load(GOLD / "lse.npy")[:ROWS]
    worst = 0.0
    for a in range(0, ROWS, 64):
        rows = x[a:a + 64].astype(np.float64)
        top = rows.max(-1)
        lse = top + np.log(np.exp(rows - top[:, None]).sum(-1))
        worst = max(worst, float(np.abs(lse - want[a:a + 64]).max()))
    return worst


def logits(folder, model, name, *options):
    out = folder / f"{name}.npy"
    tokens = folder / "tokens.npy"
    np.save(tokens, np.load(GOLD / "tokens.npy")[:ROWS])
    subprocess.run([KEXA, "logits", "-m", model, "--tokens", tokens, "--out", out, *options],
                   check=True, stdout=subprocess.DEVNULL)
    return out


def check(folder, model, meta):
    exact = logits(folder, model, "exact", "--numerics", "f32", "--kv-type", "f32")
    r = compare(GOLD, exact, ROWS)
    print("f32:", json.dumps(r))
    expect(r["mean_kl"] <= 1e-5, f"f32 activations: mean KL {r['mean_kl']:.3g} <= 1e-5")
    expect(r["top1"] >= 0.999, f"f32 activations: top-1 {r['top1']:.4f} >= 0.999")
    error = largest_lse_error(exact)
    expect(error <= 1e-3, f"f32 activations: logsumexp within {error:.3g} <= 1e-3")

    native = logits(folder, model, "native")
    r = compare(GOLD, native, ROWS)
    print("native:", json.dumps(r))
    limit = 1.1 * meta["llama_cpp_mean_kl_of_first_512"]
    expect(r["mean_kl"] <= limit, f"native: mean KL {r['mean_kl']:.4g} <= {limit:.4g}, which is "
           "1.1 times llama.cpp's")
    expect(r["mean_kl"] > 1e-4, "control: 8-bit activations are seen, so f32's bound can fail")


def main():
    meta = json.loads((GOLD / "meta.json").read_text())
    model = os.environ.get("KEXA_MODEL")
    if not model:
        counts["skipped"] = 1
        print("skip accuracy: the default model is not here")
    elif hashlib.sha256(open(model, "rb").read()).hexdigest() != meta["model_sha256"]:
        counts["skipped"] = 1
        print(f"skip accuracy: {model} is not the file the expected values are for")
    else:
        with tempfile.TemporaryDirectory() as folder:
            check(pathlib.Path(folder), model, meta)
    return totals()


if __name__ == "__main__":
    sys.exit(main())
