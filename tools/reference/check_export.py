#!/usr/bin/env python
"""Does transformers make the same of a folder that kexa has written?

    kexa logits -m FOLDER --tokens t.npy --numerics f32 --kv-type f32 --out x.npy
    check_export.py FOLDER t.npy x.npy [--bound 2e-4]

Loads FOLDER with AutoModelForCausalLM (every tensor must be found and used, but mtp.*, which
transformers does not know), runs the tokens as one document in float32 and compares with x.npy:
max |difference| / max |logit| must be within the bound, and each most likely token the same
unless two are closer than that.  If FOLDER has a tokenizer, it must load and have no id beyond
the vocabulary.
"""

import argparse
import pathlib
import sys

import numpy as np
import torch
import transformers


def load(folder):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    unused = [k for k in info["unexpected_keys"] if not k.startswith("mtp.")]
    problems = [f"{what}: {sorted(keys)[:4]}" for what, keys in
                (("missing", info["missing_keys"]), ("not used", unused),
                 ("other shapes", info["mismatched_keys"])) if keys]
    return model.eval(), problems


def compare(model, tokens, found, bound):
    with torch.no_grad():
        logits = model(torch.tensor(tokens.astype(np.int64).ravel())[None],
                       use_cache=False).logits[0].numpy()
    if logits.shape != found.shape:
        return [f"shape {found.shape}, transformers has {logits.shape}"]
    distance = float(np.abs(found - logits).max() / np.abs(logits).max())
    best = logits.argmax(-1)
    gap = logits.max(-1) - np.take_along_axis(logits, found.argmax(-1)[:, None], 1)[:, 0]
    other = int((gap > 2 * bound * np.abs(logits).max()).sum())
    print(f"{len(best)} positions: max |difference| / max |logit| {distance:.2g}, "
          f"{int((found.argmax(-1) == best).sum())} most likely tokens the same")
    problems = [f"difference {distance:.2g} is above {bound:g}"] if not distance <= bound else []
    return problems + ([f"{other} most likely tokens differ"] if other else [])


def check_tokenizer(folder, vocab):
    if not (folder / "tokenizer.json").exists():
        print("no tokenizer.json")
        return []
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = "A line of text, 한국어, e\u0301 and 123.\n"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    print(f"tokenizer: {len(tokenizer)} ids, {len(text.encode()) / len(ids):.2f} bytes each of "
          "a test line")
    return [f"ids up to {max(ids)}, but {vocab} logits"] if max(ids) >= vocab else []


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("tokens", type=pathlib.Path)
    parser.add_argument("logits", type=pathlib.Path)
    parser.add_argument("--bound", type=float, default=2e-4)
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    model, problems = load(options.folder)
    found = np.load(options.logits)
    problems += compare(model, np.load(options.tokens), found, options.bound)
    problems += check_tokenizer(options.folder, found.shape[-1])
    for problem in problems:
        print("FAILED", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
