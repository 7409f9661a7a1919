"""CPU-seconds of training plain BPE: kexa beside the trainer of the tokenizers package.

    compare_train.py KEXA VOCAB FILE.jsonl.zst...

Both see the same texts and learn the same words (K-EXAONE's pattern without its repetition over
spaces, NFC, merges that occur twice); whether the merges are the same is said too.  kexa's time
is that of the whole program, with unpacking, JSON and writing; the package's is that of
train_from_iterator over a list of strings.  kexa runs before and after it.  Needs zstdcat.
"""
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers as pre, trainers

WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*)+|\p{N}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+")


def children_cpu():
    u = resource.getrusage(resource.RUSAGE_CHILDREN)
    return u.ru_utime + u.ru_stime


def run_kexa(kexa, vocab, files, folder):
    before = children_cpu()
    done = subprocess.run([kexa, "tokenizer", "train", "-o", folder, "--vocab", str(vocab),
                           "--superwords", "0", *files], check=True, capture_output=True,
                          text=True)
    return children_cpu() - before, re.search(r"([\d.]+) MB", done.stderr).group(1)


def run_package(vocab, files, specials):
    texts = []
    for name in files:
        with subprocess.Popen(["zstdcat", name], stdout=subprocess.PIPE) as unpack:
            texts += [json.loads(line)["text"] for line in unpack.stdout]
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre.Sequence([pre.Split(Regex(WORDS), behavior="isolated"),
                                      pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    before = time.process_time()
    tok.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=specials, min_frequency=2, show_progress=False,
        initial_alphabet=pre.ByteLevel.alphabet()), length=len(texts))
    return time.process_time() - before, json.loads(tok.to_str())["model"]


def main():
    kexa, vocab, files = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    with tempfile.TemporaryDirectory() as folder:
        once, again = os.path.join(folder, "once"), os.path.join(folder, "again")
        first, size = run_kexa(kexa, vocab, files, once)
        with open(os.path.join(once, "tokenizer.json"), encoding="utf-8") as f:
            ours = json.load(f)
        theirs, model = run_package(vocab, files, [t["content"] for t in ours["added_tokens"]])
        second, _ = run_kexa(kexa, vocab, files, again)
    a, b = ([tuple(m) for m in x["merges"]] for x in (ours["model"], model))
    same = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    print(f"{size} MB, {vocab} tokens: kexa {first:.1f} and {second:.1f}, tokenizers {theirs:.1f} "
          f"CPU-seconds: {2 * theirs / (first + second):.1f} times")
    print(f"merges: {len(a)} and {len(b)}; the same up to {same}; {len(set(a) - set(b))} of ours "
          f"are not theirs")


if __name__ == "__main__":
    main()
