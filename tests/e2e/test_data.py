"""kexa data: documents in, tokens out, none lost; the same files for any number of threads.

What comes out is compared with `kexa tokenize` on the same texts, with NumPy reading the byte
table of docs/formats.md.  Bad input is named by file and line; a stop, a kill and a full disk
leave no file under its name.
"""
import json
import pathlib
import resource
import signal
import struct
import subprocess
import tempfile
import time

import numpy as np

from e2e import expect, KEXA, TREE, totals

SAMPLE = TREE / "tests/gold/corpus/sample.jsonl"


def run(*args, **more):
    return subprocess.run([KEXA, *map(str, args)], capture_output=True, timeout=300, **more)


def kexa(*args):
    done = run(*args)
    if done.returncode != 0:
        raise RuntimeError(f"kexa {args}: {done.stderr.decode()}")
    return done.stdout.decode()


def byte_char(byte):
    """Byte-level BPE's letter for a byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return chr(byte if byte in plain else 256 + sorted(set(range(256)) - set(plain)).index(byte))


def make_tokenizer(folder, extra=()):
    """Bytes, a few merges, NFC, <|endoftext|>."""
    merges = ["a n", "an d", "\u0120 an", "\u0120 a", "e r", "i n", "\u00e1 \u012f", *extra]
    vocab = {byte_char(b): b for b in range(256)}
    for m in merges:
        vocab[m.replace(" ", "")] = len(vocab)
    end = len(vocab)
    (folder).mkdir()
    (folder / "tokenizer.json").write_text(json.dumps({
        "added_tokens": [{"id": end, "content": "<|endoftext|>", "special": True,
                          "normalized": False, "single_word": False, "lstrip": False,
                          "rstrip": False}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True,
                          "trim_offsets": True},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }))
    return end


def read_shard(path):
    """Documents by the byte table."""
    data = path.read_bytes()
    head = struct.unpack_from("<8sIIQIIQQQ", data)
    magic, version, held, hash_, vocab, zero, n, m, n_bytes = head
    assert (magic, version, zero) == (b"KEXATOKS", 1, 0) and vocab > 0 and hash_ > 0
    ids = np.frombuffer(data, "<u4", m, 72)
    ends = np.frombuffer(data, "<u8", n, 72 + 4 * (m + m % 2))
    assert len(data) == 72 + 4 * (m + m % 2) + 8 * n
    return held, n_bytes, [list(map(int, d)) for d in np.split(ids, ends.astype(int)[:-1])]


def tokenize(folder, text):
    out = subprocess.run([KEXA, "tokenize", "-m", folder, "--ids", "--special", "off"],
                         input=text.encode(), capture_output=True, timeout=60, check=True).stdout
    return json.loads(out) if out.strip().startswith(b"[") else list(map(int, out.split()))


def check_documents(work, tok, end):
    """Documents in their order, each with its tokens and the end token; NFD text becomes NFC."""
    texts = ["and an ant", "cafe\u0301 and tea", "", "\ud55c\uad6d\uc5b4 <|endoftext|> er",
             "x", "a\u0000b"]
    lines = [json.dumps({"text": t}) for t in texts]
    (work / "few.jsonl").write_text("\n".join(lines) + "\n\n")
    report = json.loads(kexa("data", "pack", "--tokenizer", tok, "--eos", "--out", work / "few",
                             "--held-out", "0", "--json", work / "few.jsonl"))
    held, n_bytes, docs = read_shard(work / "few/train-00000.kxs")
    want = [tokenize(tok, t) + [end] for t in texts if t]
    expect(docs == want, "documents are their tokens and the end token")
    expect(docs[2].count(end) == 1, "the end token's text in a document is text")
    expect(tokenize(tok, "caf\u00e9 and tea") + [end] == docs[1], "NFD text is packed as NFC")
    sizes = sum(len(t.encode()) for t in texts)
    expect(held == 0 and n_bytes == sizes and report["train"]["bytes"] == sizes and
           report["empty"] == 1 and report["train"]["documents"] == 5 and
           report["train"]["tokens"] == sum(map(len, docs)), "counts")
    expect(not (work / "few/heldout.kxs").exists(), "nothing held out, no file")


def files_of(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def check_files(work, tok):
    """A byte order mark is no text; frames to pass over, as pzstd writes them, hold none."""
    line = '{"id": 7, "text": "and tea"}\n'
    packed = b"\x28\xb5\x2f\xfd\x20" + bytes([len(line), 1 + len(line) * 8, 0, 0]) + line.encode()
    skip = b"\x50\x2a\x4d\x18\x04\x00\x00\x00size"
    (work / "mark.jsonl").write_bytes(b"\xef\xbb\xbf" + line.encode())
    (work / "mark.txt").write_bytes(b"\xef\xbb\xbfand tea")
    (work / "skip.jsonl.zst").write_bytes((skip + packed) * 2)
    done = run("data", "pack", "--tokenizer", tok, "--out", work / "mark", work / "mark.jsonl",
               work / "mark.txt", work / "skip.jsonl.zst")
    expect(done.returncode == 0 and b"none of the 4 documents is held out" in done.stderr,
           f"nothing held out is said: {done.stderr}")
    docs = read_shard(work / "mark/train-00000.kxs")[2]
    expect(docs == [tokenize(tok, "and tea")] * 4, f"text alone: {docs}")


def check_threads(work, tok):
    """The sample with 1, 2 and 5 threads; zstd; many shards; held out by hash."""
    made = []
    for threads in (1, 2, 5):
        out = work / f"t{threads}"
        kexa("data", "pack", "--tokenizer", tok, "--out", out, "--held-out", "5", "--shard-tokens",
             "300000", "-t", threads, SAMPLE)
        made.append(files_of(out))
    expect(made[0] == made[1] == made[2], f"{len(made[0])} files are the same for 1, 2, 5 threads")
    manifest = json.loads(made[0]["manifest.json"])
    shards = {n: read_shard(work / "t1" / n) for n in made[0] if n.endswith(".kxs")}
    expect(len(shards) > 3 and all(sum(map(len, s[2])) <= 300000 or len(s[2]) == 1
                                   for s in shards.values()), f"{len(shards)} shards")
    sums = {side: [sum(s[key][k] for s in manifest["sources"]) for k in ("documents", "tokens",
            "bytes")] for side, key in (("train", "train"), ("held", "held_out"))}
    totals = {side: [manifest[key][k] for k in ("documents", "tokens", "bytes")]
              for side, key in (("train", "train"), ("held", "held_out"))}
    found = {"train": [0, 0, 0], "held": [0, 0, 0]}
    for held, n_bytes, docs in shards.values():
        for i, n in enumerate((len(docs), sum(map(len, docs)), n_bytes)):
            found["held" if held else "train"][i] += n
    expect(sums == totals == found, f"shards, totals and sources agree: {totals}")
    records = [json.loads(line) for line in SAMPLE.open(encoding="utf-8")]
    expect(totals["train"][0] + totals["held"][0] == len(records), "no document is lost")
    expect(0.02 < totals["held"][0] / len(records) < 0.09, "about 5% are held out")
    named = {(s["source"], s["lang"], s["license"], s["attribution"]) for s in manifest["sources"]}
    expect(named == {tuple(r.get(k) or "" for k in ("source", "lang", "license", "attribution"))
                     for r in records}, "sources, licences and attributions are carried through")
    return shards


def check_split(work, tok, shards):
    """Shuffled and fewer documents: the same ones are held out; another seed: others."""
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    (work / "part.jsonl").write_text("\n".join(lines[::-2]) + "\n", encoding="utf-8")
    held = []
    for seed in (0, 1):
        out = work / f"seed{seed}"
        kexa("data", "pack", "--tokenizer", tok, "--out", out, "--held-out", "5", "--seed", seed,
             work / "part.jsonl")
        held.append({tuple(d) for d in read_shard(out / "heldout.kxs")[2]})
        train = {tuple(d) for d in read_shard(out / "train-00000.kxs")[2]}
        expect(not train & held[-1], f"seed {seed}: nothing is on both sides")
    all_held = {tuple(d) for d in shards["heldout.kxs"][2]}
    expect(held[0] < all_held, "a document stays held out, whatever is around it")
    expect(not held[1] <= all_held, "another seed holds out others")


def check_folder(work, tok):
    texts = work / "texts"
    (texts / "b").mkdir(parents=True)
    (texts / "b/two.md").write_text("in an inn")
    (texts / "a.txt").write_text("and one")
    (texts / "c.bin").write_text("passed over")
    kexa("data", "pack", "--tokenizer", tok, "--out", work / "folder", "--held-out", "0", texts,
         work / "few.jsonl")
    docs = read_shard(work / "folder/train-00000.kxs")[2]
    expect(docs[:2] == [tokenize(tok, "and one"), tokenize(tok, "in an inn")] and len(docs) == 7,
           "a folder of texts, then a JSONL file")
    (texts / "b/lines.jsonl").write_text('{"text": "and three"}\n')
    for args in (["data", "pack", "--tokenizer", tok, "--out", work / "beside", texts],
                 ["tokenizer", "stats", tok, "--on", texts],
                 ["tokenizer", "train", "-o", work / "beside-tok", "--vocab", "274", "--least", "1",
                  texts]):
        said = run(*args).stderr.decode()
        expect("2 .txt or .md files were not read" in said, f"{args[:2]} says what it leaves out")


def refused(work, tok, *args):
    done = run("data", "pack", "--tokenizer", tok, "--out", work / "bad", *args)
    left = sorted(p.name for p in (work / "bad").iterdir()) if (work / "bad").exists() else []
    expect(done.returncode not in (0, -11) and not left, f"refused, nothing left: {left}")
    return done.stderr.decode()


def check_bad(work, tok):
    good = '{"text": "and an inn"}'
    lines = [good, '{"text": 5}', '{"text": "open', good, '[1]', '{"text": "x", "license": 7}',
             good, '{"text": "\\ud800"}']
    path = work / "bad.jsonl"
    path.write_text("\n".join(lines) + "\n")
    (work / "bad.txt").write_bytes(b"fine \xff")
    expect(f"{path}, line 2" in refused(work, tok, path), "a bad field is named by file and line")
    expect("byte 5 is 0xff" in refused(work, tok, work / "bad.txt"), "bad UTF-8 is named")
    expect("none.jsonl" in refused(work, tok, path, work / "none.jsonl"),
           "a missing file is named, before those beside it are read")
    done = run("data", "pack", "--tokenizer", tok, "--out", work / "skip", "--skip-bad", "--json",
               "--held-out", "0", path, work / "bad.txt")
    report = json.loads(done.stdout)
    expect(report["bad"] == 6 and report["train"]["documents"] == 3 and
           f"{path}, line 2".encode() in done.stderr, "--skip-bad counts them and goes on")
    text = refused(work, tok, "--skip-bad", work / "bad.txt")
    expect("1 bad" in text and "byte 5 is 0xff" in text, f"nothing good, and why: {text.strip()}")
    (work / "cut.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd\x04\x00 and then nonsense")
    text = refused(work, tok, "--skip-bad", work / "cut.jsonl.zst")
    expect("cut.jsonl.zst" in text, "a damaged compressed file ends the run even with --skip-bad")
    done = run("data", "pack", "--tokenizer", tok, "--out", work / "few", work / "few.jsonl")
    expect(done.returncode == 2 and b"packed text already" in done.stderr, "no second pack")


def check_folders(work, tok):
    """The folder is made with all above it; a failure takes all of them away again."""
    kexa("data", "pack", "--tokenizer", tok, "--out", f"{work}/up/on//deep/", work / "few.jsonl")
    expect("manifest.json" in named(work / "up/on/deep"), "folders in new folders")
    for out, status, word in ((work / "up/on/way/out", 4, "no UTF-8"),
                              (work / "bad.txt/x", 2, "bad.txt is no folder")):
        done = run("data", "pack", "--tokenizer", tok, "--out", out, work / "bad.txt")
        expect(done.returncode == status and word.encode() in done.stderr, f"{out}: {done.stderr}")
    expect(named(work / "up/on") == ["deep"], f"nothing left: {named(work / 'up/on')}")


def check_shards(work, tok):
    """stats checks sums; an altered, a torn and a strange shard are refused."""
    out = json.loads(kexa("data", "stats", "--context", "64", "--json", work / "t1"))
    expect([o["held_out"] for o in out] == [False, True] and
           all(0.9 < o["fill"] <= 1 for o in out), f"rows of 64: {[o['fill'] for o in out]}")
    shard = work / "few/train-00000.kxs"
    good = shard.read_bytes()
    for what, data, word in (("altered", good[:80] + b"\x7e" + good[81:], "checksum"),
                             ("torn", good[:-8], "cut short"),
                             ("another shard", (work / "t1/train-00000.kxs").read_bytes(),
                              "not the shard")):
        shard.write_bytes(data)
        done = run("data", "stats", work / "few")
        expect(done.returncode == 4 and word.encode() in done.stderr, f"{what}: {done.stderr}")
    shard.write_bytes(good)
    expect(run("data", "stats", work / "few").returncode == 0, "put right again")
    (work / "few/manifest.json").rename(work / "few/other.json")
    done = run("data", "stats", work / "few")
    expect(done.returncode == 4 and b"not finished" in done.stderr, "no manifest, not finished")


def check_batches(work, tok, shards):
    """More than one batch of documents: the sample many times over is its tokens as often."""
    big = work / "big.jsonl"
    big.write_text(SAMPLE.read_text(encoding="utf-8") * 12, encoding="utf-8")
    kexa("data", "pack", "--tokenizer", tok, "--out", work / "big", "--held-out", "5", big)
    train = [d for name in sorted(shards) if name.startswith("train") for d in shards[name][2]]
    for name, want in (("train-00000.kxs", train), ("heldout.kxs", shards["heldout.kxs"][2])):
        found = read_shard(work / "big" / name)[2]
        expect(len(found) == 12 * len(want) and found == want * 12, f"{name}: 12 times the sample")
    return big


def start(work, tok, big, name, **more):
    return subprocess.Popen([KEXA, "data", "pack", "--tokenizer", str(tok), "--out",
                             str(work / name), "--shard-tokens", "100000", str(big)],
                            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, **more)


def named(folder):
    return [p.name for p in folder.iterdir() if ".part-" not in p.name] if folder.exists() else []


def check_stops(work, tok, big):
    """Killed, stopped and out of room while it writes: no file has its name."""
    for sig, status in ((signal.SIGKILL, -9), (signal.SIGINT, 8)):
        out = work / sig.name
        child = start(work, tok, big, sig.name)
        end = time.monotonic() + 60
        while not out.exists() or not list(out.iterdir()):
            if time.monotonic() > end or child.poll() is not None:
                break
            time.sleep(0.002)
        child.send_signal(sig)
        _, text = child.communicate(timeout=60)
        expect(child.returncode == status and not named(out),
               f"{sig.name}: status {child.returncode}, named {named(out)} {text.decode()[-200:]}")
    expect(not (work / "SIGINT").exists(), "Ctrl-C leaves nothing at all")
    limit = 2 << 20

    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    child = subprocess.Popen([KEXA, "data", "pack", "--tokenizer", str(tok), "--out",
                              str(work / "full"), str(big)], stderr=subprocess.PIPE,
                             preexec_fn=small_files)
    _, text = child.communicate(timeout=60)
    expect(child.returncode == 3 and b"cannot write" in text and not (work / "full").exists(),
           f"no room: {text.decode().strip()}")
    kexa("data", "pack", "--tokenizer", tok, "--out", work / "SIGKILL", SAMPLE)
    expect("manifest.json" in named(work / "SIGKILL"), "after a kill it can be done again there")
    left = [p.name for p in (work / "SIGKILL").iterdir() if ".part-" in p.name]
    expect(not left, f"and what the killed one left is gone: {left}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        tok = work / "tok"
        end = make_tokenizer(tok)
        check_documents(work, tok, end)
        check_files(work, tok)
        shards = check_threads(work, tok)
        check_split(work, tok, shards)
        check_folder(work, tok)
        check_bad(work, tok)
        check_folders(work, tok)
        check_shards(work, tok)
        big = check_batches(work, tok, shards)
        check_stops(work, tok, big)
    return totals()


if __name__ == "__main__":
    raise SystemExit(main())
