#!/usr/bin/env python
"""How far logits are from the reference: mean and largest KL(ref || test), top-1 agreement.

    kl.py REF TEST.npy [TEST2.npy ...] [--rows N] [--max-kl X] [--min-top1 X]

REF is either a .npy of logits f4 [T, V], or a fixture folder (tokens.npy, lse.npy,
top_ids.npy, top_logprobs.npy, as gguf_reference.py writes), against which KL is taken over
the stored ids and one more event, "any other token": never more than the full KL (on this text
about three quarters of it).  TEST.npy is f4 [T, V] as `kexa logits --out` writes; a shorter TEST is
compared over its rows.  With --max-kl or --min-top1 the exit status says whether they hold.
Needs numpy only.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

CHUNK = 128


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def full_rows(ref, test):
    p, q = log_softmax(ref), log_softmax(test)
    return (np.exp(p) * (p - q)).sum(-1), p.argmax(-1) == q.argmax(-1)


def rest(log_p):
    """log of the probability that is left over."""
    return np.log(np.maximum(1 - np.exp(log_p).sum(-1), 1e-12))


def top_rows(ids, log_p, test):
    q = log_softmax(test)
    top_q = np.take_along_axis(q, ids.astype(np.int64), -1)
    log_p = log_p.astype(np.float64)
    kl = (np.exp(log_p) * (log_p - top_q)).sum(-1)
    kl += np.exp(rest(log_p)) * (rest(log_p) - rest(top_q))
    return kl, ids[:, 0] == q.argmax(-1)


def compare(ref, test_path, rows):
    test = np.load(test_path, mmap_mode="r")
    if ref.is_dir():
        ids, log_p = np.load(ref / "top_ids.npy"), np.load(ref / "top_logprobs.npy")
        pick = lambda a, b: top_rows(ids[a:b], log_p[a:b], test[a:b])
        n = len(ids)
    else:
        full = np.load(ref, mmap_mode="r")
        pick = lambda a, b: full_rows(full[a:b], test[a:b])
        n = len(full)
        if full.shape[1] != test.shape[1]:
            raise SystemExit(f"{ref} has {full.shape[1]} columns, {test_path} {test.shape[1]}")
    n = min(n, len(test), rows or n)
    parts = [pick(a, min(a + CHUNK, n)) for a in range(0, n, CHUNK)]
    kl, same = (np.concatenate(p) for p in zip(*parts))
    if not np.isfinite(kl).all():
        raise SystemExit(f"{test_path}: logits that are not finite")
    return {"rows": n, "mean_kl": float(kl.mean()), "max_kl": float(kl.max()),
            "top1": float(same.mean()), "top1_misses": int((~same).sum())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("ref", type=pathlib.Path)
    parser.add_argument("test", nargs="+", type=pathlib.Path)
    parser.add_argument("--rows", type=int, help="compare the first N rows only")
    parser.add_argument("--max-kl", type=float, help="fail above this mean KL")
    parser.add_argument("--min-top1", type=float, help="fail below this share of agreement")
    options = parser.parse_args()
    good = True
    for path in options.test:
        r = compare(options.ref, path, options.rows)
        print(path, json.dumps(r))
        good &= options.max_kl is None or r["mean_kl"] <= options.max_kl
        good &= options.min_top1 is None or r["top1"] >= options.min_top1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
