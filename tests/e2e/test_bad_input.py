#!/usr/bin/env python3
"""Broken, lying, huge and empty models given to the real program: each must end in under
five seconds with a sentence and an exit status from 1 to 125, never by a signal, also when
the program is built with sanitizers ($KEXA_BINARY).  Flipped bytes may also leave a model
that works.  Standard library only."""
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SANITIZED = os.path.join(TREE, "build/asan/kexa")
BINARY = os.environ.get("KEXA_BINARY") or (
    SANITIZED if os.path.exists(SANITIZED) else os.path.join(TREE, "build/kexa"))
GOLD = os.path.join(TREE, "tests/gold")
FOLDER = os.path.join(GOLD, "exaone_moe/lllg")
passed = failed = skipped = 0


def run(args, limit_bytes=None, stdin=b""):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    return subprocess.run([args[0]] + args[1:], input=stdin, capture_output=True, timeout=60,
                          preexec_fn=limit if limit_bytes else None)


def check(what, args, expect=None, may_work=False, limit_bytes=None, binary=BINARY):
    """One run; `expect`: a part of the sentence."""
    global passed, failed
    before = os.times()
    try:
        r = run([binary] + args, limit_bytes)
    except subprocess.TimeoutExpired:
        failed += 1
        print(f"FAIL {what}: still running after 60 s")
        return
    after = os.times()
    cpu = (after.children_user + after.children_system
           - before.children_user - before.children_system)
    text = r.stderr.decode("utf-8", "replace")
    ok = r.returncode == 0 if may_work and r.returncode == 0 else 1 <= r.returncode <= 125
    ok = ok and cpu < 5 and "Sanitizer" not in text and "runtime error" not in text
    if r.returncode != 0:
        ok = ok and text.startswith("kexa: ") and (expect is None or expect in text)
    if ok:
        passed += 1
    else:
        failed += 1
        print(f"FAIL {what}: status {r.returncode}, {cpu:.1f} s CPU, said: {text[:400]!r}")


def logits(path, *more):
    tokens = os.path.join(FOLDER, "tokens.npy")
    return ["logits", "-m", path, "--tokens", tokens, "--out", os.path.join(TMP, "x.npy"),
            "-t", "1", *more]


def config_with(name, **changes):
    """A copy of the tiny model whose config.json says something else (None: key removed)."""
    d = os.path.join(TMP, name)
    os.makedirs(d, exist_ok=True)
    c = json.load(open(os.path.join(FOLDER, "config.json")))
    for k, v in changes.items():
        if v is None:
            c.pop(k, None)
        else:
            c[k] = v
    with open(os.path.join(d, "config.json"), "w") as f:
        json.dump(c, f)
    target = os.path.join(d, "model.safetensors")
    if not os.path.exists(target):
        os.symlink(os.path.join(FOLDER, "model.safetensors"), target)
    return d


def write(name, data):
    path = os.path.join(TMP, name)
    with open(path, "wb") as f:
        f.write(data)
    return path


def bad_configs():
    cases = {
        "unknown family": ({"model_type": "mamba9"}, "not known"),
        "no family": ({"model_type": None}, "model_type"),
        "zero hidden": ({"hidden_size": 0}, "hidden_size"),
        "huge hidden": ({"hidden_size": 1 << 40}, "hidden_size"),
        "fraction": ({"hidden_size": 40.5}, "hidden_size"),
        "text for number": ({"num_attention_heads": "four"}, "num_attention_heads"),
        "heads do not divide": ({"num_key_value_heads": 3}, "multiple"),
        "negative": ({"num_hidden_layers": -1}, "num_hidden_layers"),
        "too many layers": ({"num_hidden_layers": 2000, "layer_types": None}, "missing"),
        "more experts": ({"num_experts": 16}, "shape"),
        "zero experts": ({"num_experts": 0}, "num_experts"),
        "top-k above experts": ({"num_experts_per_tok": 9}, "top 9"),
        "groups do not divide": ({"n_group": 3}, "group"),
        "other vocabulary": ({"vocab_size": 5000}, "embed_tokens"),
        "head dim": ({"head_dim": 17}, "head dimension"),
        "odd rope": ({"rope_scaling": {"rope_type": "longrope", "factor": 2}}, "RoPE scaling"),
        "rope of text": ({"rope_theta": "big"}, "rope_theta"),
        "infinite eps": ({"rms_norm_eps": 1e300}, "rms_norm_eps"),
        "window of text": ({"sliding_window": "x"}, "sliding_window"),
        "layer types": ({"layer_types": ["sliding_attention", "round"] * 4}, "layer_types"),
        "softmax router": ({"scoring_func": "softmax"}, "scoring"),
    }
    for what, (change, expect) in cases.items():
        check("config: " + what, logits(config_with(what.replace(" ", "_"), **change)), expect)
    for name, text in (("empty", b""), ("half", b'{"model_type": "llama", '),
                       ("list", b"[]"), ("deep", b"[" * 100000), ("binary", bytes(range(256)))):
        d = config_with("json_" + name)
        write(os.path.join("json_" + name, "config.json"), text)
        check("config.json " + name, ["inspect", d], "config.json")


def bad_gguf():
    good = open(os.path.join(FOLDER, "model.gguf"), "rb").read()
    for n in (0, 1, 3, 4, 8, 23, 24, 100, 1000, 5000, len(good) // 2, len(good) - 1):
        check(f"gguf cut at {n}", logits(write("cut.gguf", good[:n])))
    for name, at, value in (("tensor count", 8, 1 << 62), ("key count", 16, 1 << 62),
                            ("key length", 24, 1 << 63), ("version", 4, 99)):
        data = bytearray(good)
        struct.pack_into("<I" if name == "version" else "<Q", data, at,
                         value & (0xffffffff if name == "version" else (1 << 64) - 1))
        check("gguf with a lying " + name, logits(write("lie.gguf", bytes(data))))
    rng = random.Random(7)
    for i in range(60):
        data = bytearray(good)
        for _ in range(rng.choice((1, 1, 3, 20))):
            data[rng.randrange(min(len(data), 9000))] = rng.randrange(256)
        check(f"gguf with flipped bytes {i}", logits(write("flip.gguf", bytes(data))),
              may_work=True)
    for name, data in (("html", b"<!doctype html><html>not found</html>" * 20),
                       ("pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
                       ("noise", rng.randbytes(4096))):
        check("gguf that is " + name, ["inspect", write(name + ".gguf", data)], name + ".gguf")


def one_as_bf16(good, header, part):
    """The file with the first F32 tensor whose name has `part` cut to BF16."""
    head = json.loads(good[8:8 + header])
    name = next(n for n in head if part in n)
    data, body = good[8 + header:], b""
    for n, t in sorted(((n, t) for n, t in head.items() if n != "__metadata__"),
                       key=lambda nt: nt[1]["data_offsets"]):
        raw = data[slice(*t["data_offsets"])]
        if n == name:
            raw, t["dtype"] = b"".join(raw[i + 2:i + 4] for i in range(0, len(raw), 4)), "BF16"
        t["data_offsets"] = [len(body), len(body) + len(raw)]
        body += raw
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + body


def bad_safetensors():
    good = open(os.path.join(FOLDER, "model.safetensors"), "rb").read()
    header = struct.unpack_from("<Q", good)[0]
    d = config_with("weights")
    os.unlink(os.path.join(d, "model.safetensors"))
    check("folder without weights", logits(d), "weights")

    def variant(what, data, **kw):
        write("weights/model.safetensors", data)
        check("safetensors " + what, logits(d), **kw)
    for n in (0, 7, 8, 9, header, header + 8, len(good) - 1):
        variant(f"cut at {n}", good[:n])
    variant("with a huge header", struct.pack("<Q", 1 << 60) + good[8:])
    variant("with a missing tensor", good.replace(b"model.norm.weight", b"model.nirm.weight"),
            expect="model.norm.weight")
    variant("of unreadable type", good.replace(b'"F32"', b'"I32"'), expect="I32")
    variant("with experts of two types", one_as_bf16(good, header, "experts.1.gate_proj"),
            expect="one type")
    rng = random.Random(11)
    for i in range(25):
        data = bytearray(good)
        for _ in range(rng.choice((1, 4))):
            data[rng.randrange(8 + header)] = rng.randrange(256)
        variant(f"with flipped bytes {i}", bytes(data), may_work=True)


def bad_calls():
    global skipped
    gguf = os.path.join(FOLDER, "model.gguf")
    ids = os.path.join(TMP, "ids.txt")

    def tokens(text):
        with open(ids, "w") as f:
            f.write(text)
        return ["logits", "-m", gguf, "--tokens", ids, "--out", os.path.join(TMP, "x.npy")]
    check("token beyond the vocabulary", tokens("1 2 5000"), "vocabulary")
    check("token that is a word", tokens("1 two"), "token id")
    check("no tokens", tokens(""), "tokens")
    check("too many tokens", tokens("1 " * 600), "takes")
    check("context beyond the model's", ["run", "-m", gguf, "--ctx", "100000", "a"], "takes")
    check("no such file", ["run", "-m", os.path.join(TMP, "none.gguf"), "a"], "none.gguf")
    check("a device", ["inspect", "/dev/zero"], "/dev/zero")
    check("a folder of nothing", ["inspect", "/proc"], "config.json")
    check("no tokenizer", ["run", "-m", FOLDER, "a"], "tokenizer")
    check("out into nowhere", logits(gguf, "--out", "/nonexistent/x.npy"), "/nonexistent")
    check("unknown option", ["run", "--wat"], "--wat")
    check("unknown command", ["rnu"], "run")
    plain = os.path.join(TREE, "build/kexa")
    huge = os.path.join(TREE, "recipes/k-exaone-236b/config.json")
    check("a description to run", ["run", "-m", huge, "a"])
    least = next(m for m in range(4, 1000, 2)
                 if run([plain, "--version"], m << 20).returncode == 0)
    for kib in range(least << 10, (least + 8) << 10, 256):
        check(f"address space of {kib} KiB", logits(gguf), binary=plain, may_work=True,
              limit_bytes=kib << 10)
    check("a small stack", ["-c", f"ulimit -s 1024; exec '{plain}' --version"], "ulimit -s",
          binary="/bin/sh")
    real = os.environ.get("KEXA_MODEL")
    if not real:
        print("skip a model that does not fit: no model; set KEXA_MODEL or run ./go model")
        skipped += 1
    else:
        check("a model that does not fit", ["run", "-m", real, "a"], binary=plain,
              limit_bytes=(least + 150) << 20)


if __name__ == "__main__":
    TMP = tempfile.mkdtemp(prefix="kexa-bad-")
    try:
        bad_configs()
        bad_gguf()
        bad_safetensors()
        bad_calls()
    finally:
        shutil.rmtree(TMP)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed != 0)
