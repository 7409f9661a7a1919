"""Ids of kexa's tokenizers against the `tokenizers` and `sentencepiece` packages.

For each of the pre-tokenizers a small byte-level BPE is trained on
tests/gold/text/sample.txt, written as tokenizer.json or GGUF, and both sides encode the
same strings: random ones dense in awkward characters, and random windows of the sample.
SentencePiece models are trained the same way, and compared as GGUF with the sentencepiece
package and as tokenizer.json with tokenizers.  The SmolLM2 vocabulary of $KEXA_MODEL is
compared too, where that file is there.

    test_tokenizers.py            50,000 strings each (KEXA_FUZZ_STRINGS=N: that many)
    test_tokenizers.py speed      MB/s of both, one thread each, instead of the tests
"""
import collections
import io
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import unicodedata

import gguf
import sentencepiece
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers as pre, processors, trainers)

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
TOOL = os.path.join(BUILD, "tests/unit/text/tokenize_lines")
SAMPLE = os.path.join(ROOT, "tests/gold/text/sample.txt")
SMOLLM2 = os.environ.get("KEXA_MODEL", "")
N_STRINGS = int(os.environ.get("KEXA_FUZZ_STRINGS", "50000"))
BATCH = 50000

EXAONE_MOE = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
              r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
              r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+")

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>"]
PARTS = [
    "a", "Z", "s", "the", " the", " of the", "ing", "é", "e\u0301", "ß", "ſ", "ñ", "K",
    "Å", "\u212b", "ệ", "e\u0323\u0302", "한국어", "각", "ㄱ", "\u1112\u1161\u11ab", "\u1100",
    "\u1161", "\u11a8", "日本", "ガ", "カ\u3099", "が", "ก", "ำ", "नि", "\u093f", "אֲ", "ﷺ",
    " ", " ", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", "\v", "\u0085", "\u00a0",
    "\u3000", "\u2028", "\u2009", "\u200b", "\ufeff", "0", "7", "42", "٣", "९", "Ⅷ", "½", "²",
    "①", "𝟘", "一", "１", "\u0301", "\u0323", "\ufe0f", "\u200d", "'", "'s", "'S", "'re",
    "'VE", "'ll", "'d", "'T", "'m", "'ſ", "''", "’", "!", "...", ".", "/", "//", "-", "_",
    "$", "<|", "|>", "“", "—", "€", "😀", "👩\u200d💻", "👍🏽", "🇰🇷", "\x00", "\x01", "\x7f",
    "\ue000", "Ⓐ", "🅚", "<|im_end|>", "<|im_start|>", "<think>", "<strip>", "<word>", "<nfc\u00e9>",
    "nfce\u0301", "def f(x):\n    return x\n", "https://a.b/c?d=1", "{\"k\": [1, 2]}",
]


def known_to_package(c):
    """The package orders marks by older Unicode tables than ours (15.0): a combining mark it
    does not know stays where it is, so such marks are left out of the comparison."""
    k = unicodedata.combining(c)
    if not k:
        return True
    s = "x\u0301" + c if k < 230 else "x" + c + "\u0323"
    return normalizers.NFC().normalize_str(s) == unicodedata.normalize("NFC", s)


class Strings:
    """Reproducible strings; half random, half windows of the sample."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        with open(SAMPLE, encoding="utf-8", newline="") as f:
            self.sample = f.read()
        self.assigned = [chr(c) for c in range(0x110000)
                         if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")
                         and known_to_package(chr(c))]

    def one(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.4:
            return "".join(rng.choices(PARTS, k=rng.randrange(14)))
        if kind < 0.5:
            return "".join(rng.choice(self.assigned) if rng.random() < 0.5 else
                           rng.choice(PARTS) for _ in range(rng.randrange(10)))
        at = rng.randrange(len(self.sample))
        text = self.sample[at:at + rng.randrange(120)]
        return unicodedata.normalize("NFD", text) if kind > 0.9 else text

    def batch(self, n):
        return [self.one() for _ in range(n)]


def run_tool(path, strings, *options):
    """Ids of each string, by kexa."""
    records = b"".join(struct.pack("<I", len(b)) + b for b in
                       (s.encode("utf-8") for s in strings))
    out = subprocess.run([TOOL, path, *options], input=records, stdout=subprocess.PIPE,
                         check=True, timeout=600).stdout
    ids, at = [], 0
    for _ in strings:
        (n,) = struct.unpack_from("<I", out, at)
        ids.append(list(struct.unpack_from("<%dI" % n, out, at + 4)))
        at += 4 + 4 * n
    assert at == len(out)
    return ids


def ids_of(tok, batch, add):
    if isinstance(tok, sentencepiece.SentencePieceProcessor):
        return tok.encode(batch, add_bos=add)
    return [e.ids for e in tok.encode_batch(batch, add_special_tokens=add)]


def compare(name, path, tok, n_strings, seed, add=False, special=True):
    """Number of strings whose ids differ; shows the first few."""
    if not special:
        tok.encode_special_tokens = True
    options = (["special"] if special else []) + (["add"] if add else [])
    strings, n_bad = Strings(seed), 0
    for done in range(0, n_strings, BATCH):
        batch = strings.batch(min(BATCH, n_strings - done))
        # and texts long enough for what is done only for long texts
        batch += ["".join(batch[i:i + 100]) for i in range(0, len(batch) // 4, 100)]
        want = ids_of(tok, batch, add)
        for s, w, g in zip(batch, want, run_tool(path, batch, *options)):
            n_bad += w != g
            if w != g and n_bad <= 3:
                at = next((i for i, (x, y) in enumerate(zip(w, g)) if x != y), 0)
                print(f"{name}: {s[:200]!r} of {len(s)} characters, from id {at}\n"
                      f"  tokenizers {w[at:at + 20]}\n  kexa       {g[at:at + 20]}")
    return n_bad


def train(pre_tokenizer, n_tokens, normalizer=None, ignore_merges=False):
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tok.pre_tokenizer = pre_tokenizer
    tok.decoder = decoders.ByteLevel()
    if normalizer:
        tok.normalizer = normalizer
    with open(SAMPLE, encoding="utf-8", newline="") as f:
        text = f.read()
    tok.train_from_iterator(text.split("\n\n"), trainers.BpeTrainer(
        vocab_size=n_tokens, special_tokens=SPECIALS, show_progress=False,
        initial_alphabet=sorted(pre.ByteLevel.alphabet())))
    return tok


def add_odd_tokens(tok):
    """Added tokens with every flag."""
    tok.add_tokens([AddedToken("<strip>", lstrip=True, rstrip=True, normalized=False),
                    AddedToken("<word>", single_word=True, normalized=False),
                    AddedToken("<nfce\u0301>", normalized=True),
                    AddedToken("nfc\u00e9", normalized=True, single_word=True)])
    tok.add_special_tokens([AddedToken("//", lstrip=True), AddedToken("...", normalized=True)])


def save_json(tok, folder, merges_as_text=False):
    path = os.path.join(folder, "tokenizer.json")
    tok.save(path)
    if merges_as_text:
        with open(path, encoding="utf-8") as f:
            root = json.load(f)
        root["model"]["merges"] = [m if isinstance(m, str) else " ".join(m)
                                   for m in root["model"]["merges"]]
        with open(path, "w", encoding="utf-8") as f:
            json.dump(root, f, ensure_ascii=True)
    return path


def save_gguf(tok, folder, pre_name):
    path = os.path.join(folder, "vocab.gguf")
    model = json.loads(tok.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre_name)
    w.add_token_list(tokens)
    w.add_token_types([3 if t in SPECIALS else 1 for t in tokens])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    w.add_eos_token_id(0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    return path


def smollm_split():
    return pre.Sequence([pre.Digits(individual_digits=True),
                         pre.ByteLevel(add_prefix_space=False, use_regex=True)])


def exaone_moe_split():
    return pre.Sequence([pre.Split(Regex(EXAONE_MOE), behavior="isolated"),
                         pre.ByteLevel(add_prefix_space=False, use_regex=False)])


def check_smollm(folder):
    tok = train(smollm_split(), 3000)
    add_odd_tokens(tok)
    path = save_json(tok, folder, merges_as_text=True)
    return (compare("smollm", path, tok, N_STRINGS, 1) +
            compare("smollm, specials as text", path, tok, 5000, 2, special=False))


def check_gpt2(folder):
    tok = train(pre.ByteLevel(add_prefix_space=False), 3000, ignore_merges=True)
    tok.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A <|im_end|> <|endoftext|>",
        special_tokens=[(t, tok.token_to_id(t)) for t in SPECIALS])
    path = save_json(tok, folder)
    return (compare("gpt2", path, tok, N_STRINGS, 3) +
            compare("gpt2, with its template", path, tok, 5000, 4, add=True))


def check_exaone4(folder):
    tok = train(pre.ByteLevel(add_prefix_space=False), 3000)
    path = save_gguf(tok, folder, "exaone4")
    return (compare("exaone4", path, tok, N_STRINGS, 5) +
            compare("exaone4, specials as text", path, tok, 5000, 6, special=False))


def train_two_stages(n_tokens, n_superwords):
    """As superword vocabularies are made: merges inside words, then across them."""
    words = pre.Sequence([pre.Split(Regex(EXAONE_MOE), behavior="isolated"),
                          pre.Split(" ", behavior="merged_with_next"),
                          pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok = train(words, n_tokens, normalizer=normalizers.NFC())
    model = json.loads(tok.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(m) for m in model["merges"]]
    name = {i: t for t, i in vocab.items()}
    with open(SAMPLE, encoding="utf-8", newline="") as f:
        lines = f.read().split("\n")
    for _ in range(3):
        tok = Tokenizer(models.BPE(vocab, merges))
        tok.normalizer, tok.pre_tokenizer = normalizers.NFC(), exaone_moe_split()
        pairs = collections.Counter()
        for e in tok.encode_batch(lines):
            pairs.update((a, b) for (a, (_, end)), (b, (start, _)) in
                         zip(zip(e.ids, e.offsets), zip(e.ids[1:], e.offsets[1:]))
                         if end == start and name[b].startswith("Ġ") and name[b] != "Ġ"
                         and name[a] != "Ġ")
        for (a, b), _ in pairs.most_common(n_superwords // 3):
            joined = name[a] + name[b]
            merges.append((name[a], name[b]))
            if joined not in vocab:
                name[len(vocab)] = joined
                vocab[joined] = len(vocab)
    tok = Tokenizer(models.BPE(vocab, merges))
    tok.normalizer, tok.pre_tokenizer = normalizers.NFC(), exaone_moe_split()
    tok.add_special_tokens(SPECIALS)
    return tok


def check_two_stages(folder):
    tok = train_two_stages(5000, 1500)
    path = save_json(tok, folder)
    return compare("two stages", path, tok, N_STRINGS, 10)


def check_exaone_moe(folder):
    tok = train(exaone_moe_split(), 6000, normalizer=normalizers.NFC())
    n_superwords = sum(t.strip("Ġ").find("Ġ") > 0 for t in tok.get_vocab())
    assert n_superwords > 500, n_superwords
    add_odd_tokens(tok)
    path = save_json(tok, folder)
    return compare("exaone-moe", path, tok, N_STRINGS, 7)


def train_spm(n_tokens, **settings):
    """A model as gemma's is made: no normaliser, user-defined runs of spaces and lines."""
    with open(SAMPLE, encoding="utf-8", newline="") as f:
        lines = iter(f.read().split("\n"))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines, model_writer=model, vocab_size=n_tokens, model_type="bpe",
        normalization_rule_name="identity", remove_extra_whitespaces=False,
        character_coverage=0.999, num_threads=1, minloglevel=2, **settings)
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def spm_types(sp):
    def kind(i):
        return (2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i)
                else 5 if sp.is_unused(i) else 1)
    return [kind(i) for i in range(sp.get_piece_size())]


def save_spm(sp, folder, prefix, user=()):
    path = os.path.join(folder, "spm.gguf")
    pieces = [sp.id_to_piece(i) for i in range(sp.get_piece_size())]
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model("llama")
    w.add_token_list([p.replace("\u2581", " ") if p in user else p for p in pieces])
    w.add_token_scores([sp.get_score(i) for i in range(len(pieces))])
    w.add_token_types([4 if p in user else t for p, t in zip(pieces, spm_types(sp))])
    w.add_unk_token_id(sp.unk_id())
    w.add_bos_token_id(sp.bos_id())
    w.add_eos_token_id(sp.eos_id())
    w.add_add_space_prefix(prefix)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    return path


SPM_USER = ["\n", "\n\n", "\u2581\u2581", "\u2581" * 3, "<think>", "def\u2581"]


def check_spm(folder):
    sp = train_spm(3000, byte_fallback=True, add_dummy_prefix=False, split_digits=True,
                   user_defined_symbols=SPM_USER)
    path = save_spm(sp, folder, False, SPM_USER)
    return (compare("spm", path, sp, N_STRINGS, 11) +
            compare("spm, with BOS", path, sp, 5000, 12, add=True))


def check_spm_unknown(folder):
    """Without bytes, with a space before each text, and with pieces across words."""
    sp = train_spm(2500, byte_fallback=False, add_dummy_prefix=True, split_by_whitespace=False)
    path = save_spm(sp, folder, True)
    inner = sum("\u2581" in sp.id_to_piece(i)[1:] for i in range(sp.get_piece_size()))
    assert inner > 30, inner
    return compare("spm, unknown", path, sp, N_STRINGS, 13)


def spm_json(sp, prefix, byte_fallback):
    """The same model as Hugging Face converts it: merges in order of score."""
    vocab = {sp.id_to_piece(i): i for i in range(sp.get_piece_size())}
    normal = [i for i, t in enumerate(spm_types(sp)) if t == 1]
    merges = [(p[:k], p[k:]) for i in sorted(normal, key=lambda i: -sp.get_score(i))
              for p in [sp.id_to_piece(i)] for k in range(1, len(p))
              if p[:k] in vocab and p[k:] in vocab]
    tok = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True,
                               byte_fallback=byte_fallback))
    steps = [normalizers.Prepend("\u2581")] if prefix else []
    tok.normalizer = normalizers.Sequence(steps + [normalizers.Replace(" ", "\u2581")])
    if not prefix:
        tok.pre_tokenizer = pre.Split(" ", behavior="merged_with_previous")
    tok.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tok


def check_spm_json(folder):
    sp = train_spm(3000, byte_fallback=True)
    tok = spm_json(sp, False, True)
    add_odd_tokens(tok)
    n_bad = compare("spm, tokenizer.json", save_json(tok, folder), tok, N_STRINGS, 14)
    tok = spm_json(train_spm(2500), True, False)
    add_odd_tokens(tok)
    return n_bad + compare("spm, Prepend", save_json(tok, folder), tok, N_STRINGS // 5, 15)


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split_by(pattern):
    return pre.Sequence([pre.Split(Regex(pattern), behavior="isolated"),
                         pre.ByteLevel(add_prefix_space=False, use_regex=False)])


def check_llama3(folder):
    """As GGUF, where a piece that is a token is taken whole."""
    tok = train(split_by(LLAMA3), 4000, ignore_merges=True)
    return compare("llama3", save_gguf(tok, folder, "llama-bpe"), tok, N_STRINGS, 16)


def check_qwen2(folder):
    tok = train(split_by(LLAMA3.replace("{1,3}", "")), 4000, normalizer=normalizers.NFC())
    return compare("qwen2", save_json(tok, folder), tok, N_STRINGS, 17)


O200K = ("|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"]))


def bytes_only():
    return pre.ByteLevel(add_prefix_space=False, use_regex=False)


GENERAL = [
    pre.Sequence([pre.Split(Regex(O200K), behavior="removed", invert=True), bytes_only()]),
    pre.Sequence([pre.Split(Regex(r"\p{N}{1,3}"), behavior="isolated"),
                  pre.Split(Regex(r"[一-龥ぁ-ん゠-ヿ]+"), behavior="isolated"),
                  pre.Split(Regex(r"[^\r\n\S]?+[!-/:-~]++|(?<=\s)\S+|$"), behavior="isolated"),
                  bytes_only()]),
    pre.Sequence([pre.Split(" ", behavior="merged_with_next"), pre.Digits(individual_digits=False),
                  pre.Split("e", behavior="contiguous"), bytes_only()]),
    pre.Sequence([pre.Split(Regex(r"[.\s]|^t"), behavior="merged_with_previous"),
                  pre.Split(Regex(r"[aeiou]"), behavior="merged_with_next", invert=True),
                  pre.ByteLevel(add_prefix_space=False, use_regex=True)]),
]


def check_general(folder):
    """Pre-tokenizers that no scanner knows."""
    n_bad = 0
    for i, steps in enumerate(GENERAL):
        tok = train(steps, 1500)
        n_bad += compare(f"general {i}", save_json(tok, folder), tok, N_STRINGS // 5, 18 + i)
    return n_bad


def check_gguf_refusals(folder):
    """What a GGUF file may not say; gives the number of wrong answers."""
    tok = train(pre.ByteLevel(add_prefix_space=False), 400)
    n_bad = 0
    for name in ("default", "tekken", "exaone\x1bmoe"):
        shown = name.replace("\x1b", "\\x1b")
        run = subprocess.run([TOOL, save_gguf(tok, folder, name)], input=b"", check=False,
                             stderr=subprocess.PIPE)
        says = run.stderr.decode()
        wrong = (run.returncode != 1 or f'pre is "{shown}"' not in says or
                 "smollm, gpt2, exaone, exaone4, exaone-moe, llama3, qwen2" not in says)
        n_bad += wrong
        if wrong:
            print(f"pre {name!r}: status {run.returncode}, {says}")
    return n_bad


def smollm2_object():
    fields = gguf.GGUFReader(SMOLLM2).fields
    assert fields["tokenizer.ggml.pre"].contents() == "smollm", SMOLLM2
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tok = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tok.pre_tokenizer = smollm_split()
    tok.add_special_tokens([AddedToken(t) for t, k in zip(tokens, types) if k == 3])
    return tok


def check_smollm2(_folder):
    tok = smollm2_object()
    return (compare("SmolLM2", SMOLLM2, tok, N_STRINGS, 8) +
            compare("SmolLM2, specials as text", SMOLLM2, tok, 5000, 9, special=False))


def speed(name, path, tok):
    """One text, one thread, both sides; the fastest of five passes."""
    with open(SAMPLE, encoding="utf-8", newline="") as f:
        text = f.read() * 4
    data = text.encode("utf-8")
    best = 1e30
    for _ in range(3):
        start = time.perf_counter()
        tok.encode(text)
        best = min(best, time.perf_counter() - start)
    out = subprocess.run([TOOL, path, "time", "5"], input=struct.pack("<I", len(data)) + data,
                         stdout=subprocess.PIPE, check=True).stdout.decode()
    theirs, ours = len(data) / best / 1e6, float(out.split()[2])
    print(f"{name:12} tokenizers {theirs:6.2f} MB/s   kexa {ours:7.1f} MB/s   {ours / theirs:.0f}x")


def measure():
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        tok = train(exaone_moe_split(), 6000, normalizer=normalizers.NFC())
        speed("exaone-moe", save_json(tok, folder), tok)
        tok = train_two_stages(5000, 1500)
        speed("two stages", save_json(tok, folder), tok)
        if os.path.exists(SMOLLM2):
            speed("SmolLM2", SMOLLM2, smollm2_object())


CHECKS = [check_smollm, check_gpt2, check_exaone4, check_exaone_moe, check_two_stages,
          check_llama3, check_qwen2, check_general, check_spm, check_spm_unknown, check_spm_json,
          check_gguf_refusals, check_smollm2]


def main():
    if sys.argv[1:] == ["speed"]:
        return measure()
    passed = failed = skipped = 0
    for check in CHECKS:
        if check is check_smollm2 and not os.path.exists(SMOLLM2):
            print(f"skip {check.__name__}: KEXA_MODEL is \"{SMOLLM2}\", no file")
            skipped += 1
            continue
        with tempfile.TemporaryDirectory() as folder:
            n_bad = check(folder)
        print(f"{check.__name__}: {n_bad} wrong")
        passed += n_bad == 0
        failed += n_bad != 0
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
