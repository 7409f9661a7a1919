"""kexa ppl against numpy: the same windows cut by hand and sent through `kexa logits`."""
import json
import subprocess
import tempfile

import numpy as np

from e2e import expect, KEXA, TREE, totals

MODEL = TREE / "tests/gold/exaone_moe/lllg/model.gguf"


def kexa(*args):
    return subprocess.run([KEXA, *args, "-m", MODEL], capture_output=True, text=True, timeout=100)


def ppl(*args):
    r = kexa("ppl", "--json", *args)
    expect(r.returncode == 0, f"ppl {args}: {r.stderr}")
    return json.loads(r.stdout)


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def logits(folder, ids, *args):
    """[tokens][vocabulary] of one context."""
    tokens, out = folder + "/ids.npy", folder + "/out.npy"
    np.save(tokens, np.array(ids, dtype=np.int64))
    r = kexa("logits", "--tokens", tokens, "--out", out, *args)
    expect(r.returncode == 0, f"logits: {r.stderr}")
    return np.load(out)


def windows_by_hand(folder, ids, width, stride):
    """The scores of all tokens but the first, window after window."""
    nll, begin, done = [], 0, 0
    while True:
        end = min(begin + width, len(ids))
        rows = log_softmax(logits(folder, ids[begin:end]))
        nll += [-rows[t - begin][ids[t + 1]] for t in range(done, end - 1)]
        if end == len(ids):
            return np.array(nll)
        done, begin = end - 1, begin + stride


def near(a, b):
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))


with tempfile.TemporaryDirectory() as folder:
    text = folder + "/text"
    with open(TREE / "CONTRIBUTING.md", encoding="utf-8") as f:
        start = f.read()[:400]
    with open(text, "w", encoding="utf-8") as f:
        f.write(start)
    r = kexa("tokenize", "-f", text, "--json")
    ids = json.loads(r.stdout)["ids"]
    n = len(ids)
    expect(n > 100, f"{n} tokens")

    for width, stride in ((n, None), (n - 1, None), (90, 37), (65, 64)):
        args = ["-f", text, "--ctx", str(width)] + (["--stride", str(stride)] if stride else [])
        got = ppl(*args)
        nll = windows_by_hand(folder, ids, width, stride or (width + 1) // 2)
        expect(got["scored"] == n - 1 == len(nll), f"{width}/{stride}: {got['scored']} scored")
        expect(near(got["mean_nll"], nll.mean()), f"{width}/{stride}: mean {got['mean_nll']}")
        expect(near(got["perplexity"], np.exp(nll.mean())), f"{width}/{stride}: perplexity")
        error = np.exp(nll.mean()) * nll.std() / np.sqrt(len(nll))
        expect(abs(got["perplexity_error"] - error) < 1e-6 * error, f"{width}/{stride}: error")

    ref = logits(folder, ids, "--numerics", "f32", "--kv-type", "f32")
    ours = logits(folder, ids, "--kv-type", "bf16")
    p, q = log_softmax(ref), log_softmax(ours)
    kl = (np.exp(p) * (p - q)).sum(axis=1)
    np.save(folder + "/ref.npy", ref)
    got = ppl("-f", text, "--kl", folder + "/ref.npy", "--kv-type", "bf16")["kl"]
    expect(near(got["mean"], kl.mean()) or abs(got["mean"] - kl.mean()) < 1e-13,
           f"mean KL {got['mean']} {kl.mean()}")
    expect(kl.mean() > 0 and got["max_after_token"] == kl.argmax(), "where KL is greatest")
    expect(got["same_top"] == (ref.argmax(1) == ours.argmax(1)).mean(), "same likeliest token")
    mean = -p[np.arange(n - 1), ids[1:]].mean()
    expect(near(got["reference_perplexity"], np.exp(mean)), "reference's perplexity")
    same = ppl("-f", text, "--kl", folder + "/ref.npy", "--numerics", "f32", "--kv-type",
               "f32")["kl"]
    expect(same["mean"] == 0 and same["same_top"] == 1, "KL of a model and itself is 0")

    np.save(folder + "/short.npy", ref[:-1])
    spoiled = ref.copy()
    spoiled[7, 3] = np.nan
    np.save(folder + "/nan.npy", spoiled)
    open(folder + "/empty", "w").close()
    for args, word in ((["--kl", folder + "/short.npy"], "rows"),
                       (["--kl", folder + "/nan.npy"], "row 7"),
                       (["--kl", folder + "/ref.npy", "--ctx", "50"], "one window"),
                       (["--ctx", "50", "--stride", "50"], "--stride"),
                       (["--ctx", "1"], "--ctx"), (["--ctx", "100000"], "context"),
                       (["--kv-type", "q8_0"], "q8_0"), (["-f", folder + "/empty"], "2 or more"),
                       (["-f", folder + "/none"], "none")):
        r = kexa("ppl", "-f", text, *args)
        expect(1 <= r.returncode <= 125 and word in r.stderr and not r.stdout,
               f"{args}: {r.returncode} {r.stderr}")

raise SystemExit(totals())
