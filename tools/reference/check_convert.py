#!/usr/bin/env python3
"""What transformers and llama.cpp make of `kexa convert`'s results.

    check_convert.py [--kexa build/kexa] [--probe llama_probe] [--smollm2 smollm2.gguf]

For every tiny model of tests/gold: folder -> GGUF -> folder; the folder in transformers (F32,
eager): tensors identical with the golden's, logits against the float64 golden; the GGUF file
in llama.cpp (KV in F32, no flash attention), with a toy tokenizer, which it needs.  With
--smollm2: to a folder in F32 against the gguf package's dequantisation, and its logits in
transformers against kexa's.  Runs in the environment that `setup` makes.
"""
import argparse
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM

TREE = Path(__file__).resolve().parents[2]


def run(*args):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])


def toy_tokenizer(path):
    tok = Tokenizer(models.BPE(vocab={"<s>": 0, "</s>": 1, "a": 2, "b": 3, "ab": 4},
                               merges=[("a", "b")]))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.add_special_tokens(["<s>", "</s>"])
    tok.save(str(path))


def in_transformers(folder, tokens):
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True,
        experts_implementation="eager")
    if info["missing_keys"]:
        raise RuntimeError(f"missing: {sorted(info['missing_keys'])[:3]}")
    with torch.no_grad():
        return model(torch.tensor(tokens.astype(np.int64).reshape(1, -1))).logits[0].numpy()


def distance(found, expected):
    return f"{np.abs(found - expected).max() / np.abs(expected).max():.1e}"


def same_tensors(gold, folder):
    a, b = load_file(gold / "model.safetensors"), load_file(folder / "model.safetensors")
    a = {k.replace(".mlp.gate.e_score", ".mlp.e_score"): v for k, v in a.items()}
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def check_gold(o, gold, work):
    source, there, back = work / "src", work / "m.gguf", work / "back"
    source.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(gold / name, source)
    toy_tokenizer(source / "tokenizer.json")
    run(o.kexa, "convert", source, there)
    run(o.kexa, "convert", there, back)
    tokens, want = np.load(gold / "tokens.npy"), np.load(gold / "logits.npy")
    line = "tensors " + ("identical" if same_tensors(gold, back) else "DIFFER")
    try:
        line += ", transformers " + distance(in_transformers(back, tokens), want)
    except (RuntimeError, ValueError) as e:
        line += f", transformers: {str(e)[:80]}"
    if o.probe:
        try:
            run(o.probe, "logits", there, gold / "tokens.npy", work / "l.npy", "kv=f32", "flash=0")
            line += ", llama.cpp " + distance(np.load(work / "l.npy"), want)
        except RuntimeError as e:
            line += f", llama.cpp: {str(e)[-80:]}"
    return line


NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
         "ffn_norm": "post_attention_layernorm"}


def smollm2_tensor(t):
    """Name and values in the folder of a tensor in the GGUF file."""
    x = gguf.quants.dequantize(t.data, t.tensor_type)
    found = re.match(r"blk\.(\d+)\.(\w+)\.weight", t.name)
    if not found:
        return {"token_embd.weight": "model.embed_tokens.weight",
                "output_norm.weight": "model.norm.weight"}[t.name], x
    if found[2] in ("attn_q", "attn_k"):           # heads of 64: pairs to halves
        x = x.reshape(x.shape[0] // 64, 32, 2, -1).swapaxes(1, 2).reshape(x.shape)
    return f"model.layers.{found[1]}.{NAMES[found[2]]}.weight", x


def check_smollm2(o, work):
    folder, tokens = work / "smol", np.load(TREE / "tests/gold/smollm2/tokens.npy").ravel()[:200]
    run(o.kexa, "convert", o.smollm2, folder)
    new = load_file(folder / "model.safetensors")
    wrong = [n for n, x in map(smollm2_tensor, gguf.GGUFReader(o.smollm2).tensors)
             if not np.array_equal(new[n].numpy(), x)]
    np.save(work / "t.npy", tokens.astype(np.int32))
    run(o.kexa, "logits", "-m", o.smollm2, "--tokens", work / "t.npy", "--numerics", "f32",
        "--kv-type", "f32", "--out", work / "l.npy")
    return (f"{len(new)} tensors, {len(wrong)} differ; kexa against transformers " +
            distance(np.load(work / "l.npy"), in_transformers(folder, tokens)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kexa", default=TREE / "build/kexa")
    parser.add_argument("--probe")
    parser.add_argument("--smollm2")
    o = parser.parse_args()
    for tokens in sorted(TREE.glob("tests/gold/*/*/tokens.npy")):
        config = tokens.with_name("config.json")
        with tempfile.TemporaryDirectory() as work:
            model = json.loads(config.read_text())["model_type"]
            try:
                line = check_gold(o, config.parent, Path(work))
            except RuntimeError as e:
                line = str(e)[-120:]
            print(f"{model} {config.parent.name}: {line}")
    if o.smollm2:
        with tempfile.TemporaryDirectory() as work:
            print("SmolLM2:", check_smollm2(o, Path(work)))


if __name__ == "__main__":
    main()
