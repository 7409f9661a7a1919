"""Tokenizers that kexa trains, against the tokenizers package.

Plain BPE must have the merges and ids of the package's own trainer on the same words.  A
SuperBPE tokenizer must give the same ids in the package as in kexa, from tokenizer.json and from
GGUF, and its chat template, run by jinja2, what kexa's chat format writes.

    test_tokenizer_train.py       20,000 strings (KEXA_FUZZ_STRINGS=N: that many)
"""
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time

from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers as pre, trainers

import test_convert as convert
import test_tokenizers as tk

KEXA = os.path.join(tk.BUILD, "kexa")
CORPUS = os.path.join(tk.ROOT, "tests/gold/corpus/sample.jsonl")
N_STRINGS = int(os.environ.get("KEXA_FUZZ_STRINGS", "20000"))
WORDS = tk.EXAONE_MOE.replace(r"(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+", r"(?:\p{L}\p{M}*)+")


def small_files():
    """As a full disk: no file grows beyond 1,000 bytes, which one of the three does not need."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def kexa(*args, status=0, **options):
    done = subprocess.run([KEXA, *args], capture_output=True, text=True, timeout=600, check=False,
                          **options)
    if done.returncode != status:
        print(" ".join(args), "gave", done.returncode, done.stderr)
    assert done.returncode == status
    return done


def documents():
    with open(CORPUS, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def model_of(folder):
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
        root = json.load(f)
    return root, root["model"]["vocab"], [tuple(m) for m in root["model"]["merges"]]


def check_plain(folder):
    """The same merges in the same order, the same ids."""
    out, ok = os.path.join(folder, "plain"), True
    kexa("tokenizer", "train", "-o", out, "--vocab", "6000", "--superwords", "0", CORPUS)
    root, vocab, merges = model_of(out)
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre.Sequence([pre.Split(Regex(WORDS), behavior="isolated"),
                                      pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.train_from_iterator((d["text"] for d in documents()), trainers.BpeTrainer(
        vocab_size=6000, special_tokens=[t["content"] for t in root["added_tokens"]],
        initial_alphabet=pre.ByteLevel.alphabet(), min_frequency=2, show_progress=False))
    theirs = json.loads(tok.to_str())["model"]
    same = [tuple(m) for m in theirs["merges"]] == merges
    ok &= convert.expect("merges of the package's trainer", same and len(merges) > 5700)
    return ok & convert.expect("ids of the package's trainer", theirs["vocab"] == vocab)


def check_super(folder):
    out = os.path.join(folder, "super")
    args = ["--vocab", "9000", "--superwords", "0.4", CORPUS]
    kexa("tokenizer", "train", "-o", out, "-t", "1", *args)
    kexa("tokenizer", "train", "-o", out + "2", "-t", "3", *args)
    ok = convert.expect("threads", model_of(out) == model_of(out + "2"))
    n = sum(t.lstrip("Ġ").find("Ġ") > 0 for t in model_of(out)[1])
    ok &= convert.expect("superwords", n > 400, n)
    tok = Tokenizer.from_file(out + "/tokenizer.json")
    tk.SAMPLE = os.path.join(folder, "corpus.txt")
    with open(tk.SAMPLE, "w", encoding="utf-8", newline="") as f:
        f.write("\n\n".join(d["text"] for d in documents()))
    ok &= not tk.compare("super", out, tok, N_STRINGS, 31)
    ok &= not tk.compare("super, specials as text", out, tok, N_STRINGS // 10, 32, special=False)
    tok = Tokenizer.from_file(out + "/tokenizer.json")
    model = convert.make_llama(os.path.join(folder, "model"), 9000, "BF16", tok)
    for name in ("tokenizer_config.json", "generation_config.json"):
        os.link(os.path.join(out, name), os.path.join(model, name))
    convert.convert(model, model + ".gguf")
    root = model_of(out)[0]
    root["normalizer"] = None                         # GGUF has no key for NFC
    tok = Tokenizer.from_str(json.dumps(root))
    return ok & (not tk.compare("super in GGUF", model + ".gguf", tok, N_STRINGS // 4, 33))


def check_lines(folder):
    """Stage two over punctuation: the package's ids, a pattern of kexa's own also in GGUF."""
    out = os.path.join(folder, "lines")
    args = ["--vocab", "9000", "--superwords", "0.4", "--lines", CORPUS]
    kexa("tokenizer", "train", "-o", out, "-t", "1", *args)
    kexa("tokenizer", "train", "-o", out + "2", "-t", "3", *args)
    root, vocab, _ = model_of(out)
    ok = convert.expect("lines: threads", model_of(out) == model_of(out + "2"))
    n = sum(("Ġ" in t[1:] or "ã" in t) and any(c in t for c in (",", "ãĢģ")) for t in vocab)
    ok &= convert.expect("lines: tokens over punctuation", n > 50, n)
    tok = Tokenizer.from_file(out + "/tokenizer.json")
    ok &= not tk.compare("lines", out, tok, N_STRINGS, 41)
    model = convert.make_llama(os.path.join(folder, "model-lines"), 9000, "BF16", tok)
    for name in ("tokenizer_config.json", "generation_config.json"):
        os.link(os.path.join(out, name), os.path.join(model, name))
    convert.convert(model, model + ".gguf")
    root["normalizer"] = None
    tok = Tokenizer.from_str(json.dumps(root))
    return ok & (not tk.compare("lines in GGUF", model + ".gguf", tok, N_STRINGS // 4, 43))


def check_stats(folder):
    """Bytes per token as the package counts them, of all documents and of those held out."""
    out, ok = [os.path.join(folder, name) for name in ("plain", "super")], True
    toks = [Tokenizer.from_file(o + "/tokenizer.json") for o in out]
    for t in toks:
        t.encode_special_tokens = True
    said = json.loads(kexa("tokenizer", "stats", *out, "--on", CORPUS, "--json").stdout)
    rows = {r["lang"]: r for r in said["languages"]}
    for lang in sorted({d["lang"] for d in documents()}):
        texts = [d["text"] for d in documents() if d["lang"] == lang]
        counts = [sum(len(e.ids) for e in t.encode_batch(texts)) for t in toks]
        row = rows[lang]
        ok &= convert.expect("stats " + lang, row["tokens"] == counts and row["bytes"] == sum(
            len(t.encode()) for t in texts) and row["documents"] == len(texts))
    many = os.path.join(folder, "many.jsonl")
    with open(CORPUS, encoding="utf-8") as f, open(many, "w", encoding="utf-8") as g:
        g.write((f.read().rstrip() + "\n") * 5)
    fives = [json.loads(kexa("tokenizer", "stats", *out, "--on", many, "--on", CORPUS, "--json",
                             "-t", str(t)).stdout)["languages"][-1] for t in (1, 3)]
    ok &= convert.expect("stats of many batches", fives[0] == fives[1] and fives[0]["tokens"] == [
        6 * n for n in rows["all"]["tokens"]] and fives[0]["bytes"] == 6 * rows["all"]["bytes"])
    held = json.loads(kexa("tokenizer", "stats", out[0], "--on", CORPUS, "--held-out", "20",
                           "--json").stdout)["languages"][-1]
    trained = kexa("tokenizer", "train", "-o", os.path.join(folder, "held"), "--vocab", "1000",
                   "--superwords", "0", "--held-out", "20", CORPUS).stderr
    return ok & convert.expect("held out", f"; {held['documents']} held out" in trained)


def check_weights(folder):
    """A weight of 3 is each document three times, down to the rarest pair that --least allows."""
    ok, docs = True, [d for d in documents() if d["lang"] in ("ko", "vi")][:40]
    paths = [os.path.join(folder, name) for name in ("once.jsonl", "thrice.jsonl")]
    for path, times in zip(paths, (1, 3)):
        with open(path, "w", encoding="utf-8") as f:
            for d in docs:
                f.write((json.dumps(d) + "\n") * (times if d["lang"] == "vi" else 1))
    made = [os.path.join(folder, "w" + str(i)) for i in range(2)]
    args = ["--vocab", "1500", "--superwords", "0.3", "--least", "4"]
    kexa("tokenizer", "train", "-o", made[0], *args, "--weight", "vi=3", paths[0])
    kexa("tokenizer", "train", "-o", made[1], *args, paths[1])
    ok &= convert.expect("weight 3 is three times", model_of(made[0]) == model_of(made[1]))
    says = [kexa("tokenizer", "train", "-o", os.path.join(folder, "w2"), "--vocab", "900000",
                 "--superwords", "0", "--least", "4", *more, status=2).stderr
            for more in (["--weight", "vi=3", paths[0]], [paths[1]])]
    ok &= convert.expect("--least counts what weights count", says[0] == says[1] and
                         "occurs 4 times" in says[0], says)
    says = kexa("tokenizer", "train", "-o", os.path.join(folder, "w2"), *args, "--weight", "vi=3",
                "--weight", "vn=2", paths[0], status=2).stderr
    return ok & convert.expect("a language that is not there", '"vn"' in says and not
                               os.path.exists(os.path.join(folder, "w2")), says)


def check_template(folder):
    """What the template renders is what the cases of the chat format say."""
    with open(os.path.join(folder, "super/tokenizer_config.json"), encoding="utf-8") as f:
        config = json.load(f)
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda v: json.dumps(v, ensure_ascii=False)
    template = env.from_string(config["chat_template"])
    with open(os.path.join(tk.ROOT, "tests/gold/chat/k_exaone.json"), encoding="utf-8") as f:
        cases = json.load(f)["cases"]
    ok = convert.expect("bos and pad", config["bos_token"] == "[BOS]" and
                        config["pad_token"] == "[PAD]")
    for case in cases:
        messages = [{**m, "reasoning_content": m.get("reasoning"), "tool_calls": [
            {"type": "function", "function": {"name": c["name"],
                                              "arguments": json.loads(c["arguments"])}}
            for c in m.get("calls", [])]} for m in case["messages"]]
        text = template.render(messages=messages, enable_thinking=case["think"],
                               tools=[json.loads(t) for t in case["tools"]],
                               add_generation_prompt=case["generation"])
        ok &= convert.expect("template, " + case["about"], text == case["text"], repr(text))
    return ok


def check_refusals(folder):
    out, ok = os.path.join(folder, "no"), True
    for what, args, status, words in [
            ("no text", ["-o", out, os.path.join(folder, "none.txt")], 3, "none.txt"),
            ("no folder", [CORPUS], 2, "-o"),
            ("vocabulary too large", ["-o", out, "--vocab", "900000", CORPUS], 2, "--vocab"),
            ("special token", ["-o", out, "--special", b"a\xff", CORPUS], 2, "no UTF-8"),
            ("one text of two", ["-o", out, CORPUS, os.path.join(folder, "none.txt")], 3,
             "none.txt"),
            ("weight", ["-o", out, "--weight", "ko", CORPUS], 2, "LANG=X"),
            ("lines without stage two", ["-o", out, "--lines", "--superwords", "0", CORPUS], 2,
             "--superwords 0"),
            ("keep alone", ["-o", out, "--keep", "3", CORPUS], 2, "--extend"),
            ("no tokenizer", ["-o", out, "--extend", CORPUS, CORPUS], 4, "sample.jsonl")]:
        says = kexa("tokenizer", "train", *args, status=status).stderr
        ok &= convert.expect(what, words in says and not os.path.exists(out), says)
    full = kexa("tokenizer", "train", "--vocab", "2000", "-o", out, CORPUS, status=3,
                preexec_fn=small_files).stderr
    ok &= convert.expect("full disk", "tokenizer.json: cannot write" in full and
                         not os.path.exists(out), full)
    latin = os.path.join(folder, "latin.txt")
    with open(latin, "wb") as f:
        f.write("caf\u00e9 ".encode("latin-1") * 9)
    says = kexa("tokenizer", "train", "-o", out, latin, status=4).stderr
    ok &= convert.expect("no UTF-8", "latin.txt: no UTF-8: byte 3 is 0xe9" in says and
                         not os.path.exists(out), says)
    says = kexa("tokenizer", "stats", os.path.join(folder, "plain"), "--on", latin,
                status=4).stderr
    ok &= convert.expect("no UTF-8 to count", "latin.txt: no UTF-8: byte 3 is 0xe9" in says, says)
    says = kexa("tokenizer", "bake", status=2).stderr
    return ok & convert.expect("family", "tokenizer train, tokenizer stats" in says, says)


def check_folders(folder):
    """What cannot be written to is refused before the text is looked for; nothing is left."""
    new, none, ok = os.path.join(folder, "new"), os.path.join(folder, "none.txt"), True
    deep = os.path.join(new, "a", "b")
    args = ["--vocab", "700", "--superwords", "0"]
    kexa("tokenizer", "train", "-o", deep + "/", *args, CORPUS)
    ok &= convert.expect("made with all above it", len(model_of(deep)[1]) == 700)
    before = os.stat(os.path.join(deep, "tokenizer.json")).st_mtime_ns
    for what, out, status, words in [
            ("below a file", CORPUS + "/x/y", 2, CORPUS + " is no folder"),
            ("a file", CORPUS, 2, CORPUS + ": is there and is no folder"),
            ("a tokenizer there", deep, 2, "tokenizer.json is there already"),
            ("no folder can be made", "/proc/kexa/x", 3, "/proc/kexa: cannot make this folder"),
            ("nothing can be written", "/proc", 3, "cannot write there")]:
        says = kexa("tokenizer", "train", "-o", out, *args, none, status=status).stderr
        ok &= convert.expect(what, words in says and none not in says, says)
    ok &= convert.expect("the tokenizer there", os.stat(
        os.path.join(deep, "tokenizer.json")).st_mtime_ns == before)
    out = os.path.join(new, "c", "d")
    with subprocess.Popen([KEXA, "tokenizer", "train", "-o", out, "-t", "1", CORPUS],
                          stderr=subprocess.PIPE, text=True) as run:
        while run.poll() is None and not os.path.exists(out):
            time.sleep(0.002)
        run.send_signal(signal.SIGINT)
        says = run.communicate(timeout=60)[1]
    ok &= convert.expect("interrupted", run.returncode == 8 and "stopped" in says, says)
    ok &= convert.expect("interrupted, what is left", os.listdir(new) == ["a"], os.listdir(new))
    return ok


CHECKS = [check_plain, check_super, check_lines, check_stats, check_weights, check_template,
          check_refusals, check_folders]


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for check in CHECKS:
            ok = check(folder)
            failed += not ok
            if not ok:
                print("failed:", check.__name__)
    print(f"{len(CHECKS) - failed} passed, {failed} failed, 0 skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
