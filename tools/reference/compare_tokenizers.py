"""Encoding speed of kexa beside the `tokenizers` and `tiktoken` packages, by CPU-second.

    make build/bench/bench_encode build/tests/unit/text/tokenize_lines
    compare_tokenizers.py CORPUS [--peer-bytes N] NAME=TOKENIZER...

CORPUS is a folder of *.jsonl.zst with "text", "lang" and "id".  A document belongs to the sample
when crc32(id) % 16 is 0 or 2, so it is the same everywhere; a tokenizer trained on another part
has not seen it.  TOKENIZER is a tokenizer.json, or a GGUF file whose pre-tokenizer is smollm.
One thread for all three; time is the process's CPU time.  kexa: every document is one call; the
first pass, which starts with empty caches (the slower of two), and the median of the next five.
`tokenizers`: the fastest of encode, encode_batch and encode_batch_fast, of two turns, without
making lists of the ids.  The packages are slower, so they get --peer-bytes of each language.
The ids of `tokenizers` are compared with kexa's; tiktoken gets the same vocabulary, with ids as
ranks.
"""
import argparse
import collections
import glob
import json
import os
import random
import struct
import subprocess
import time
import zlib

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import gguf  # noqa: E402
import tiktoken  # noqa: E402
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers as pre  # noqa: E402

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BENCH = os.path.join(ROOT, "build/bench/bench_encode")
LINES = os.path.join(ROOT, "build/tests/unit/text/tokenize_lines")
SMOLLM = (r"\p{N}|'(?:[stmd]|re|ve|ll)| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+")


def sample(corpus):
    """Documents of the sample by language, and all of them in one fixed random order."""
    by = collections.defaultdict(list)
    for path in sorted(glob.glob(os.path.join(corpus, "*.jsonl.zst"))):
        data = subprocess.run(["zstd", "-dc", "--long=27", path], stdout=subprocess.PIPE,
                              check=True).stdout
        for line in data.splitlines():
            doc = json.loads(line)
            if zlib.crc32(doc["id"].encode()) % 16 in (0, 2):
                by[doc["lang"]].append(doc["text"])
    every = [text for lang in sorted(by) for text in by[lang]]
    random.Random(1).shuffle(every)
    return {"mixed": every, **{lang: by[lang] for lang in sorted(by)}}


def size(docs):
    return sum(len(text.encode()) for text in docs)


def first_bytes(docs, n_bytes):
    """Documents from the start until they are n_bytes."""
    taken, n = [], 0
    for text in docs:
        if n >= n_bytes:
            break
        taken.append(text)
        n += len(text.encode())
    return taken


def records(docs):
    return b"".join(struct.pack("<I", len(b)) + b for b in (t.encode() for t in docs))


def from_gguf(path):
    """A GGUF file's tokenizer as the two packages' objects want it."""
    fields = gguf.GGUFReader(path).fields
    assert fields["tokenizer.ggml.pre"].contents() == "smollm", path
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tok = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tok.pre_tokenizer = pre.Sequence([pre.Digits(individual_digits=True),
                                      pre.ByteLevel(add_prefix_space=False, use_regex=True)])
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(t) for t, k in zip(tokens, types) if k == 3])
    return tok, SMOLLM


def from_json(path):
    tok = Tokenizer.from_file(path)
    steps = json.loads(tok.to_str())["pre_tokenizer"]
    steps = steps.get("pretokenizers", [steps])
    patterns = [s["pattern"]["Regex"] for s in steps if s["type"] == "Split"]
    assert len(patterns) == 1, path
    return tok, patterns[0]


def byte_values():
    """The byte of each character of the byte-level alphabet."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in plain]
    return {**{chr(b): b for b in plain}, **{chr(256 + i): b for i, b in enumerate(other)}}


def tiktoken_of(name, tok, pattern):
    value = byte_values()
    special = {t.content for t in tok.get_added_tokens_decoder().values()}
    ranks = {bytes(value[c] for c in t): i for t, i in tok.get_vocab().items()
             if t not in special and all(c in value for c in t)}
    return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def cpu_speed(encode, docs):
    """MB per CPU-second."""
    start = time.process_time()
    for text in docs:
        encode(text)
    return size(docs) / (time.process_time() - start) / 1e6


def peer_speed(tok, docs):
    """MB per CPU-second of the `tokenizers` package, whichever way it is fastest."""
    ways = (lambda: [tok.encode(t, add_special_tokens=False) for t in docs],
            lambda: tok.encode_batch(docs, add_special_tokens=False),
            lambda: tok.encode_batch_fast(docs, add_special_tokens=False))
    speeds = []
    for way in ways * 2:
        start = time.process_time()
        way()
        speeds.append(size(docs) / (time.process_time() - start) / 1e6)
    return max(speeds)


def kexa_speed(path, docs, n_passes):
    out = subprocess.run([BENCH, path, str(n_passes)], input=records(docs),
                         stdout=subprocess.PIPE, check=True).stdout
    r = json.loads(out)
    return r["bytes"] / r["first"] / 1e6, r["bytes"] / r["median"] / 1e6, r["tokens"]


def kexa_ids(path, docs):
    out = subprocess.run([LINES, path], input=records(docs), stdout=subprocess.PIPE,
                         check=True).stdout
    at = 0
    for _ in docs:
        (n,) = struct.unpack_from("<I", out, at)
        yield list(struct.unpack_from("<%dI" % n, out, at + 4))
        at += 4 + 4 * n


def compare(name, path, docs_by, peer_bytes):
    tok, pattern = from_gguf(path) if path.endswith(".gguf") else from_json(path)
    tik = tiktoken_of(name, tok, pattern)
    print(f"\n{name}: {tok.get_vocab_size()} tokens\n"
          f"{'text':6} {'MB':>6} {'bytes/token':>11} {'first':>8} {'median':>8} "
          f"{'tokenizers':>10} {'tiktoken':>8} {'first/tokenizers':>16} {'median/':>8} {'ids':>10}")
    for lang, docs in docs_by.items():
        few = first_bytes(docs, peer_bytes)
        before = kexa_speed(path, docs, 1)[0]
        theirs = peer_speed(tok, few)
        other = cpu_speed(tik.encode_ordinary, few)
        first, median, n = kexa_speed(path, docs, 5)
        first = min(first, before)
        want = [tok.encode(t, add_special_tokens=False).ids for t in few]
        n_bad = sum(w != g for w, g in zip(want, kexa_ids(path, few)))
        print(f"{lang:6} {size(docs) / 1e6:6.1f} {size(docs) / n:11.2f} {first:8.1f} "
              f"{median:8.1f} {theirs:10.2f} {other:8.2f} {first / theirs:16.0f} "
              f"{median / theirs:8.0f} "
              f"{'the same' if not n_bad else f'{n_bad} differ':>10}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("corpus")
    p.add_argument("tokenizer", nargs="+", metavar="NAME=TOKENIZER")
    p.add_argument("--peer-bytes", type=int, default=4000000)
    args = p.parse_args()
    docs_by = sample(args.corpus)
    for arg in args.tokenizer:
        name, path = arg.split("=", 1)
        compare(name, path, docs_by, args.peer_bytes)


if __name__ == "__main__":
    main()
