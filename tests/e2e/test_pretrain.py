"""kexa pretrain: plans, refusals, and a tiny run that threads, Ctrl-C and a kill change nothing
of, to the last bit of the model."""
import fcntl
import hashlib
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess

from e2e import expect, in_new_folder, KEXA, TREE

RECIPE = """# tiny
[model]
layers = 4
hidden = 32
heads = 2
head_dim = 16
ffn = 64
experts = 4
top_k = 2
expert_ffn = 32
window = 8
[data]
tokenizer = tok
source = shards/a weight=2
source = shards/b
context = 48
heldout_rows = 4
[run]
out = out
steps = 14
batch_tokens = 576
micro_rows = 5
eval_every = 5
checkpoint_every = 4
sample_every = 7
sample_tokens = 8
prompt = "the cat"
"""


def kexa(*args, status=0, **options):
    done = subprocess.run([KEXA, *map(str, args)], capture_output=True, text=True, timeout=300,
                          check=False, **options)
    if done.returncode != status:
        raise RuntimeError(f"kexa {' '.join(map(str, args))}: status {done.returncode}: "
                           f"{done.stderr.strip()}")
    return done.stdout if status == 0 else done.stderr


def write_tokenizer(folder):
    """Single bytes in GPT-2's alphabet, and an end of text."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {b: chr(b) for b in plain}, 0
    for b in range(256):
        if b not in letters:
            letters[b] = chr(256 + extra)
            extra += 1
    vocab = {letters[b]: b for b in range(256)} | {"<|end|>": 256}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": True}
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": 256, "content": "<|end|>", "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": False, "special": True}],
        "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "vocab": vocab,
                  "merges": []}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>"}))


def write_texts(folder, seed):
    rng = random.Random(seed)
    words = "the cat a dog saw sat on under mat tree and then ran home".split()
    folder.mkdir()
    for i in range(60):
        text = " ".join(rng.choice(words) for _ in range(rng.randrange(4, 90)))
        (folder / f"{i:03}.txt").write_text(text + ".\n")


def prepare(root):
    write_tokenizer(root / "tok")
    (root / "shards").mkdir()
    for name, seed in (("a", 1), ("b", 2)):
        write_texts(root / name, seed)
        kexa("data", "pack", "--tokenizer", root / "tok", "--eos", "--held-out", 20, "--out",
             root / "shards" / name, root / name)
    (root / "tiny.recipe").write_text(RECIPE)


def test_plans(root):
    everything = kexa("pretrain", "--explain")
    expect(all(f"[{s}]" in everything for s in ("model", "data", "optimizer", "schedule", "loss",
                                                "run")), "--explain lists all sections")
    large = json.loads(kexa("pretrain", TREE / "recipes/k-exaone-236b/pretrain.recipe", "--dry-run",
                            "--json"))
    expect(large["weights"] == 236_571_156_352 and large["mtp_weights"] == 528_513_280,
           "K-EXAONE's recipe has K-EXAONE's weights, all of them")
    expect(not large["memory"]["fits"] and large["memory"]["total"] > 3e12,
           "its memory is planned, and said not to be here")
    said = kexa("pretrain", TREE / "recipes/k-exaone-236b/pretrain.recipe", "--dry-run")
    expect("YFLOP in all" in said and "e+" not in said, "its numbers have prefixes, not exponents")
    for path in sorted(TREE.glob("recipes/*/*.recipe")):
        plan = json.loads(kexa("pretrain", path, "-n", "--json", "--set", "model.vocab=153600"))
        expect(plan["event"] == "plan" and plan["tokens"] > 0, f"{path.name} can be planned")
    text = kexa("pretrain", "tiny.recipe", "-n", "--size", "200k", cwd=root)
    expect("shards/a: " in text and "14 steps of 12 rows of 48 tokens" in text,
           "a plan names shards and length")
    text = kexa("pretrain", "tiny.recipe", "-n", "--set", "data.source=shards/a weight=9 epochs=2",
                "--set", "data.source=shards/b", "--set", "run.steps=500", cwd=root)
    takes = [list(map(float, re.findall(r"; (.*) epochs, (.*) % of the tokens", line)[0]))
             for line in text.splitlines() if "shards/" in line and " rows " in line]
    rows = [json.loads(kexa("data", "stats", "--json", "--context", 48, root / "shards" / name))[0]
            for name in "ab"]
    often = (500 * 12 - 2 * rows[0]["rows"]) / rows[1]["rows"]
    share = 100 / (1 + often * rows[1]["tokens"] / (2 * rows[0]["tokens"]))
    expect(len(takes) == 2 and takes[0][0] == 2 and abs(takes[1][0] / often - 1) < 0.02 and
           abs(takes[0][1] / share - 1) < 0.02, f"how often a run reads its text: {takes}")
    text = kexa("pretrain", "tiny.recipe", "-n", "--size", "1m", cwd=root)
    expect("model.size is 1 M: batch" in text, "and a dial that the widths given are not of")
    text = kexa("pretrain", TREE / "recipes/nano/3m.recipe", "-n", "--set", "model.vocab=8192")
    expect("model.size is" not in text, "which is not said of widths that follow from it")
    expect(not (root / "out").exists(), "a plan makes no folder")


def refused(root, lines, status, *words, args=()):
    (root / "bad.recipe").write_text(RECIPE + lines)
    said = kexa("pretrain", "bad.recipe", *args, status=status, cwd=root)
    expect(all(w in said for w in words), f"refused: {said.strip()}")


def test_refusals(root):
    last = RECIPE.count("\n")
    refused(root, "[optimizer]\nlr = fast\n", 2, f"bad.recipe:{last + 2}", "optimizer.lr", "fast",
            "from 0 to 10")
    refused(root, "stepps = 3\n", 2, f"bad.recipe:{last + 1}", "stepps", "steps")
    refused(root, "steps = 3\n", 2, f"bad.recipe:{last + 1}",
            f"line {RECIPE.splitlines().index('steps = 14') + 1}")
    refused(root, "", 2, "--set", "model.kv_heads is 3", args=("--set", "model.kv_heads=3"))
    refused(root, "", 2, "--size", "model.size", "tiny", args=("--size", "tiny"))
    refused(root, "", 3, "nowhere", args=("--set", "data.source=nowhere", "--out", "new"))
    refused(root, "", 6, "last for", "run.steps is 1000",
            args=("--set", "data.source=shards/a epochs=2", "--set", "run.steps=1000"))
    refused(root, "", 6, "not finite", "optimizer.lr",
            args=("--set", "optimizer.lr=10", "--set", "optimizer.kind=adamw", "--set",
                  "run.steps=60", "--set", "optimizer.weight_decay=10", "--set",
                  "optimizer.clip=0", "--set", "run.sample_every=0", "--out", "lost"))
    refused(root, "", 7, "does not fit in memory", "TiB", "model.size",
            args=("--set", "model.hidden=65536", "--set", "model.layers=2000", "--out", "new"))
    refused(root, "", 2, "run.prompt", "0 tokens", args=("--set", "run.prompt="))
    refused(root, "", 2, "run.prompt", "90 tokens; 1 to 47",
            args=("--set", "run.prompt=" + "a" * 90))
    refused(root, "", 4, "--set: line 1 is not UTF-8", "0xff",
            args=("--set", b"run.prompt=\xff".decode(errors="surrogateescape")))
    (root / "bad.recipe").write_bytes(RECIPE.encode() + b"prompt = \xe9t\xe9\n")
    said = kexa("pretrain", "bad.recipe", status=4, cwd=root)
    expect(f"line {last + 1} is not UTF-8" in said, f"Latin-1: {said.strip()}")
    kexa("pretrain", "tiny.recipe", "-n", "--threads", 1024, cwd=root)      # ends soon
    (root / "letters").mkdir()
    for i in range(30):
        (root / f"letters/{i}.txt").write_text("a")
    kexa("data", "pack", "--tokenizer", root / "tok", "--out", root / "shards/letters",
         root / "letters")
    (root / "letters.recipe").write_text(RECIPE.replace("source = shards/a weight=2\n", "")
                                         .replace("shards/b", "shards/letters"))
    said = kexa("pretrain", "letters.recipe", "--set", "data.heldout_rows=0", "--out", "new",
                status=6, cwd=root)
    expect("single token" in said and "--eos" in said, f"nothing to learn: {said.strip()}")
    expect(not (root / "new").exists(), "what is refused makes no folder")
    refused(root, "", 2, "bad.recipe is no folder", args=("--out", "bad.recipe/run"))
    said = kexa("pretrain", status=2)
    expect("--explain" in said, "without a recipe it says where the keys are")


def test_disk(root):
    """1,002 checkpoints, of a vocabulary so large that they are more than the disk has."""
    vocab = shutil.disk_usage(root).free // 900 // (32 * 4 * 6)
    many = ("--set", f"model.vocab={vocab}", "--set", "run.steps=2000", "--set", "run.keep=1000",
            "--set", "run.checkpoint_every=1", "--out", "new/run")
    refused(root, "", 3, "no room", "1002 checkpoints of", "--out", "run.keep", args=many)
    expect(not (root / "new").exists(), "what finds no room makes no folder")
    said = kexa("pretrain", "tiny.recipe", "-n", *many, cwd=root)
    expect("it does not fit there" in said, "a plan says so too")


def run(root, out, *args, status=0):
    return kexa("pretrain", "tiny.recipe", "--out", out, "--json", *args, status=status, cwd=root)


def events(text, kind):
    return [e for e in map(json.loads, text.splitlines()) if e["event"] == kind]


def model_sum(root, out):
    return hashlib.sha256((root / out / "final/model.safetensors").read_bytes()).hexdigest()


def step_lines(root, out):
    lines = map(json.loads, (root / out / "log.jsonl").read_text().splitlines())
    return [{k: v for k, v in e.items() if k != "time"} for e in lines if e["event"] == "step"]


def test_run(root):
    plan = json.loads(kexa("pretrain", "tiny.recipe", "-n", "--json", cwd=root))["disk"]
    out = run(root, "one", "--threads", 1)
    steps, samples = events(out, "step"), events(out, "sample")
    expect([s["step"] for s in steps] == list(range(1, 15)), "14 steps are reported")
    expect(steps[-1]["loss"] < steps[0]["loss"] - 0.5, "the loss falls: "
           f"{steps[0]['loss']:.3f} to {steps[-1]['loss']:.3f}")
    expect([s["step"] for s in steps if s["heldout_bits_per_byte"] is not None] == [5, 10, 14],
           "held-out text is scored when it is due")
    expect([s["step"] for s in samples] == [7, 14], "samples are taken when they are due")
    sizes = [f.stat().st_size for f in (root / "one/checkpoints").iterdir()]
    model = (root / "one/final/model.safetensors").stat().st_size
    expect(plan["checkpoints"] == 4 and len(sizes) == 3, "one more is planned than stays")
    expect(0.8 < plan["checkpoint"] / max(sizes) <= 1 and 0.8 < plan["model"] / model <= 1,
           f"the disk's plan: {plan}; {sizes}, {model}")
    expect(events(out, "end") == [{"event": "end", "step": 14, "why": "done"}], "it ends")
    run(root, "two", "--threads", 2)
    expect(model_sum(root, "one") == model_sum(root, "two")
           and step_lines(root, "one") == step_lines(root, "two"),
           "two threads give the model and the log of one")
    answer = kexa("run", "-m", root / "one/final", "-n", 4, "--temp", 0, "the cat")
    expect(isinstance(answer, str), "the model of the run can be run")
    expect("<svg" in (root / "one/report.html").read_text(), "the run has a report")


def test_others(root):
    """Dense, AdamW, cosine, f32, without MTP; the model goes on to one file."""
    out = run(root, "new/dense", "--set", "model.experts=0", "--set", "optimizer.kind=adamw",
              "--set", "schedule.kind=cosine", "--set", "run.dtype=f32", "--set", "model.mtp=0",
              "--set", "run.steps=3", "--set", "run.sample_every=0", "--set",
              "data.heldout_rows=0")
    steps = events(out, "step")
    expect(len(steps) == 3 and steps[2]["loss"] < steps[0]["loss"]
           and all(s["heldout_bits_per_byte"] is None and s["mtp"] == 0 for s in steps),
           "a dense model with AdamW in f32, without MTP and evaluation")
    expect("two heads" in (root / "one/report.html").read_text()
           and "two heads" not in (root / "new/dense/report.html").read_text(),
           "a report tells of the heads that there are")
    kexa("convert", root / "new/dense/final", root / "dense.gguf")
    plain = kexa("run", "-m", root / "new/dense/final", "-n", 6, "--temp", 0, "the dog")
    expect(plain == kexa("run", "-m", root / "dense.gguf", "-n", 6, "--temp", 0, "the dog"),
           "its folder and its GGUF file say the same")


def stopped(root, out, how, after):
    """Begins a run, sends a signal once `after` steps were shown; the exit status."""
    p = subprocess.Popen([KEXA, "pretrain", "tiny.recipe", "--out", out, "--json"], cwd=root,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in p.stdout:
        if f'"step":{after},' in line:
            break
    p.send_signal(how)
    _, said = p.communicate(timeout=60)
    return p.returncode, said


def hang_up(root, out, after):
    """A run in a terminal that goes away once `after` steps were shown; its exit status."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(root)
        os.execv(KEXA, [KEXA, "pretrain", "tiny.recipe", "--out", out, "--json"])
    seen = b""
    while b'"step":%d,' % after not in seen:
        seen += os.read(terminal, 4096)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_stops(root):
    status, said = stopped(root, "ctrl-c", signal.SIGINT, 6)
    expect(status == 8 and "--resume" in said, f"Ctrl-C: {said.strip()}")
    said = run(root, "ctrl-c", status=2)
    expect("holds a run" in said and "--resume" in said, "a run is not written over")
    said = run(root, "ctrl-c", "--resume", "--set", "optimizer.lr=0.5", status=2)
    expect("optimizer.lr is 0.5" in said and "began with" in said, "another recipe does not go on")
    began = (root / "ctrl-c/run.recipe").read_text()
    with open(root / "ctrl-c/log.jsonl", "rb") as log:      # as a run that is going on has it
        fcntl.flock(log, fcntl.LOCK_EX)
        said = run(root, "ctrl-c", "--resume", "--set", "run.keep=7", status=2)
    expect("another run" in said and (root / "ctrl-c/run.recipe").read_text() == began,
           f"a second run changes nothing in the first one's folder: {said.strip()}")
    other = ("--set", "data.source=shards/b weight=2", "--set", "data.source=shards/a")
    said = run(root, "ctrl-c", "--resume", *other, status=4)
    expect("other shards" in said, f"other text does not go on: {said.strip()}")
    (root / "moved").symlink_to("shards")
    lone = root / "lone/checkpoints"                        # a checkpoint, and --resume forgotten
    lone.mkdir(parents=True)
    shutil.copy(max((root / "ctrl-c/checkpoints").iterdir()), lone)
    said = run(root, "lone", status=2)
    expect("--resume" in said and len(list((root / "lone").iterdir())) == 1,
           f"a checkpoint alone is a run: {said.strip()}")
    run(root, "ctrl-c", "--resume", "--threads", 1, "--set", "data.source=moved/a weight=2",
        "--set", f"data.source={root}/moved/b")
    expect(model_sum(root, "ctrl-c") == model_sum(root, "one")
           and step_lines(root, "ctrl-c") == step_lines(root, "one"),
           "stopped and gone on: the same model, the same log")
    p = subprocess.Popen([KEXA, "pretrain", "tiny.recipe", "--out", "pipe", "--json"], cwd=root,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while '"step":5,' not in p.stdout.readline():
        pass
    p.stdout.close()
    for out, status in (("hung-up", hang_up(root, "hung-up", 5)), ("pipe", p.wait(60))):
        saved = max(int(c.name[5:13]) for c in (root / out / "checkpoints").iterdir())
        expect(status == 3 and saved in (5, 6, 7), f"{out}: nobody reads it: saved at {saved}")
        run(root, out, "--resume")
        expect(model_sum(root, out) == model_sum(root, "one")
               and step_lines(root, out) == step_lines(root, "one"),
               "and it goes on: the same model, the same log")
    status, _ = stopped(root, "killed", signal.SIGKILL, 6)
    expect(status == -signal.SIGKILL, "killed")
    run(root, "killed", "--resume")
    expect(model_sum(root, "killed") == model_sum(root, "one")
           and step_lines(root, "killed") == step_lines(root, "one"),
           "killed and gone on: the same model, the same log")
    files = {f.name: f.read_bytes() for f in (root / "one/final").iterdir()}
    for more in ((), ("--resume",)):
        said = run(root, "one/final", *more, status=2)
        expect("folder of a model" in said, f"a model's folder stays as it is: {said.strip()}")
    expect(files == {f.name: f.read_bytes() for f in (root / "one/final").iterdir()},
           "and every file in it")
    said = run(root, "one", "--resume", status=2)
    expect("finished" in said, "a finished run is said to be finished")


def test_levels(root):
    """A vocabulary whose logits are made by parts where the CPU has tiles, and whole elsewhere."""
    sample = f"{TREE}/tests/gold/corpus/sample.jsonl"
    kexa("tokenizer", "train", "--vocab", 5001, "--superwords", 0, "-o", root / "tok5001", sample)
    kexa("data", "pack", "--tokenizer", root / "tok5001", "--out", root / "shards/5001", sample)
    recipe = RECIPE.replace("source = shards/a weight=2\n", "").replace("shards/b", "shards/5001")
    (root / "5001.recipe").write_text(recipe.replace("= tok", "= tok5001"))
    sums = set()
    for level in ("amx", "avx512", "avx2"):
        for threads in (1, 2):
            out = f"{level}{threads}"
            kexa("pretrain", "5001.recipe", "--set", "run.steps=3", "--set", "loss.z=1e-4", "--set",
                 "run.sample_every=0", "--threads", threads, "--out", out, cwd=root,
                 env={**os.environ, "KEXA_CPU": level})
            sums.add(model_sum(root, out))
    expect(len(sums) == 1, "every CPU level and number of threads gives one model")


if __name__ == "__main__":
    raise SystemExit(in_new_folder(prepare, test_plans, test_refusals, test_disk, test_run,
                                   test_others, test_levels, test_stops))
