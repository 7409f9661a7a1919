"""kexa synth and kexa quantize: their files read by the official gguf package.

Weights come from synth (any machine writes the same), are dequantised by the package, and
every type's error is held against the original; Ctrl-C and refusals leave nothing.
"""
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import gguf
import numpy as np

from e2e import expect, KEXA, TREE, totals

CONFIG = {
    "model_type": "exaone_moe", "hidden_size": 256, "intermediate_size": 512,
    "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
    "vocab_size": 999, "rms_norm_eps": 1e-5, "max_position_embeddings": 2048,
    "tie_word_embeddings": False, "num_experts": 8, "num_experts_per_tok": 2,
    "num_shared_experts": 1, "moe_intermediate_size": 96, "n_group": 1, "topk_group": 1,
    "norm_topk_prob": True, "sliding_window": 16, "sliding_window_pattern": "LLLG",
    "first_k_dense_replace": 1, "rope_theta": 1e6, "num_nextn_predict_layers": 1,
}
# Largest relative error of normal-like weights; uniform ones of synth are a little better.
BOUNDS = {"F32": 0, "F16": 3e-4, "BF16": 2.3e-3, "Q8_0": 5.6e-3, "Q4_0": 0.09, "Q4_1": 0.08,
          "Q4_K": 0.08, "Q6_K": 0.02}
SYNTH_SHA256 = "b5b31fd866c4c7f82c197395500d5343de47b224835482bebf93cb9c4bbb1d0e"


def kexa(*args, status=0):
    done = subprocess.run([KEXA, *map(str, args)], capture_output=True, text=True, timeout=300)
    if done.returncode != status:
        raise RuntimeError(f"kexa {args[0]}: status {done.returncode}: {done.stderr.strip()}")
    return done.stdout if status == 0 else done.stderr


def tensors(path):
    return {t.name: t for t in gguf.GGUFReader(path).tensors}


def floats(t):
    return gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64)


def wanted(name, shape, kind):
    """The rule of src/model/recipe.h, written again."""
    if len(shape) < 2 or not name.endswith(".weight") or "norm" in name or "gate_inp" in name:
        return "F32"
    kind = {True: "Q4_K", False: "Q8_0"}["_exps." in name] if kind == "k-exaone" else kind
    block = {"Q4_K": 256, "Q6_K": 256, "F32": 1, "F16": 1, "BF16": 1}.get(kind, 32)
    if shape[0] % block == 0:
        return kind
    return "Q8_0" if block == 256 and shape[0] % 32 == 0 else "F16"


def check_file(path, source, kind):
    found = tensors(path)
    types = all(t.tensor_type.name == wanted(t.name, list(t.shape), kind)
                for t in found.values())
    expect(types and list(found) == list(source), f"{kind}: every tensor's type")
    worst = ""
    for name, t in found.items():
        x, y = floats(source[name]), floats(t)
        error = np.sqrt(((x - y) ** 2).mean() / max((x ** 2).mean(), 1e-30))
        if not error <= BOUNDS[t.tensor_type.name]:
            worst += f" {name} ({t.tensor_type.name}): {error:.5f}"
    expect(not worst, f"{kind}: errors{worst}")


def field(path, key):
    f = gguf.GGUFReader(path).fields[key]
    return f.parts[f.data[0]]


def test_types(folder):
    kexa("synth", folder / "config.json", folder / "f32.gguf", "--recipe", "F32")
    source = tensors(folder / "f32.gguf")
    digest = hashlib.sha256()
    for t in source.values():
        digest.update(t.data.tobytes())
    expect(digest.hexdigest() == SYNTH_SHA256, f"synth: the bytes, {digest.hexdigest()}")
    expect(all((t.data == 1).all() for n, t in source.items() if "norm" in n), "norms are 1")
    for kind in [*BOUNDS, "k-exaone"]:
        out = folder / f"{kind}.gguf"
        kexa("quantize", folder / "f32.gguf", out, kind.lower(), "-t", 2)
        check_file(out, source, kind)
    expect(field(folder / "Q6_K.gguf", "general.file_type")[0] == 18, "general.file_type")
    text = kexa("run", "-m", folder / "k-exaone.gguf", "-n", 4, "--seed", 1, "Some text")
    expect(len(text) > 4, "a quantised model runs")


def test_importance(folder):
    text = folder / "text.txt"
    text.write_text("What goes in decides what an error costs. " * 30)
    kexa("quantize", folder / "f32.gguf", folder / "i.gguf", "Q4_0", "--imatrix", text,
         "--imatrix-out", folder / "im.gguf", "-t", 2)
    kexa("quantize", folder / "f32.gguf", folder / "i2.gguf", "Q4_0", "--imatrix",
         folder / "im.gguf", "-t", 1)
    same = (folder / "i.gguf").read_bytes() == (folder / "i2.gguf").read_bytes()
    expect(same, "importance measured, and read from its file: the same model")
    im, x = tensors(folder / "im.gguf"), tensors(folder / "f32.gguf")
    lower = total = 0
    with_im, without = tensors(folder / "i.gguf"), tensors(folder / "Q4_0.gguf")
    for name in x:
        weights = im.get(name + ".in_sum2")
        if weights is None or len(x[name].shape) != 2 or with_im[name].tensor_type.name != "Q4_0":
            continue
        w = weights.data.reshape(1, -1)
        a, b = (((floats(t[name]) - floats(x[name])) ** 2 * w).sum() for t in (with_im, without))
        lower += a < b
        total += 1
    expect(total > 20 and lower >= 0.9 * total, f"weighted error: {lower} of {total} lower")


def test_short_context(folder):
    """A model that takes fewer tokens than a stretch is measured on what it takes."""
    config, text = folder / "short.json", folder / "text.txt"
    config.write_text(json.dumps({**CONFIG, "max_position_embeddings": 96}))
    kexa("synth", config, folder / "short.gguf", "--recipe", "F32")
    kexa("quantize", folder / "short.gguf", folder / "short-q4_0.gguf", "Q4_0", "--imatrix", text,
         "--imatrix-out", folder / "short-im.gguf")
    n = json.loads(kexa("tokenize", "-m", folder / "short.gguf", "--add-special", "--json", "-f",
                        text))["n_tokens"]
    for name, stretch in (("im.gguf", 512), ("short-im.gguf", 96)):
        size, count = (field(folder / name, f"imatrix.chunk_{k}")[0] for k in ("size", "count"))
        expect(size == stretch and count == -(-n // stretch),
               f"{name}: {count} of {size}, {n} tokens")


def test_folder(folder):
    """From a Hugging Face folder: the same weights as from its GGUF twin."""
    for kind in ("F32", "Q8_0"):
        gold = TREE / "tests/gold/llama/untied"
        kexa("quantize", gold, folder / f"hf-{kind}.gguf", kind)
        kexa("quantize", gold / "model.gguf", folder / f"twin-{kind}.gguf", kind)
        a, b = (tensors(folder / f"{n}-{kind}.gguf") for n in ("hf", "twin"))
        expect(set(a) == set(b) and all((a[n].data == b[n].data).all() for n in a),
               f"{kind} from a folder and from GGUF")
    expect(not [n for n in os.listdir(folder) if "source" in n], "nothing else was left")


def test_refusals(folder):
    expect("exists already" in kexa("quantize", folder / "f32.gguf", folder / "Q4_0.gguf", "Q4_0",
                                    status=2), "a name that is taken")
    expect("no type or recipe" in kexa("quantize", folder / "f32.gguf", folder / "z", "Q9",
                                       status=2), "an unknown type")
    expect("reads but does not write" in kexa("quantize", folder / "f32.gguf", folder / "z",
                                              "Q5_0", status=2), "a type only read")
    expect("the model has 4" in kexa("synth", folder / "config.json", folder / "z", "--layers", 5,
                                     status=2), "too many layers")
    solar = TREE / "tests/gold/solar_open/yarn/config.json"
    expect("no GGUF architecture" in kexa("synth", solar, folder / "z", "--vocab", 300, status=5),
           "a family that GGUF does not know")
    expect(not (folder / "z").exists(), "nothing was written")


def test_interrupt(folder):
    """Some 30 seconds of work, stopped in the middle."""
    big = CONFIG | {"hidden_size": 2048, "intermediate_size": 8192, "vocab_size": 30000}
    (folder / "big.json").write_text(json.dumps(big))
    kexa("synth", folder / "big.json", folder / "big.gguf", "--recipe", "Q8_0")
    before = sorted(os.listdir(folder))
    at_work = subprocess.Popen([KEXA, "quantize", folder / "big.gguf", folder / "z", "Q4_K",
                                "-t", "1"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while sorted(os.listdir(folder)) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    at_work.send_signal(signal.SIGINT)
    error = at_work.communicate(timeout=120)[1]
    expect(at_work.returncode == 8 and "interrupted" in error, f"Ctrl-C: {error.strip()}")
    expect(sorted(os.listdir(folder)) == before, "Ctrl-C leaves nothing")


with tempfile.TemporaryDirectory() as name:
    place = pathlib.Path(name)
    (place / "config.json").write_text(json.dumps(CONFIG))
    for test in (test_types, test_importance, test_short_context, test_folder, test_refusals,
                 test_interrupt):
        test(place)
raise SystemExit(totals())
