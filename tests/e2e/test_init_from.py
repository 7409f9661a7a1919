"""kexa pretrain with model.init_from: another model's weights first.  From the model of an earlier
run and from its checkpoint, the same to the bit; from families that a recipe alone cannot make;
going on without the model it began from; and what does not fit, said by name."""
import json
import shutil
import signal
import subprocess

from e2e import expect, in_new_folder, KEXA, TREE
from test_pretrain import events, kexa, model_sum, prepare, step_lines

SHAPE = ("layers", "hidden", "heads", "head_dim", "ffn", "experts", "top_k", "expert_ffn", "window")
STILL = ("--set", "optimizer.lr=0", "--set", "loss.bias_update=0", "--set", "run.steps=1")


def run(root, out, *args, status=0):
    return kexa("pretrain", "plain.recipe", "--out", out, "--json", *args, status=status, cwd=root)


def begin(path):
    return "--set", f"model.init_from={path}"


def test_same(root):
    """A step at rate 0 changes nothing: the model that comes out is the one that went in."""
    newest = sorted((root / "first/checkpoints").iterdir())[-1]
    for name, path in (("folder", "first/final"), ("checkpoint", newest.relative_to(root))):
        run(root, name, *begin(path), *STILL)
        expect(model_sum(root, name) == model_sum(root, "first"), f"from a {name}: its weights")
    out = run(root, "second", *begin("first/final"))
    first, second = (events(text, "step") for text in (first_run, out))
    expect(second[0]["loss"] < 0.5 * first[0]["loss"]
           and second[-1]["heldout_bits_per_byte"] < first[-1]["heldout_bits_per_byte"],
           f"it goes on learning: {second[0]['loss']:.2f} after {first[0]['loss']:.2f}")
    expect("experts = 4" in (root / "second/run.recipe").read_text(), "its recipe says its shape")


def test_resume(root):
    shutil.copytree(root / "first/final", root / "gone")
    p = subprocess.Popen([KEXA, "pretrain", "plain.recipe", "--out", "again", "--json",
                          *begin("gone")], cwd=root, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True)
    for line in p.stdout:
        if '"step":5,' in line:
            break
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=60)
    shutil.rmtree(root / "gone")
    run(root, "again", *begin("gone"), "--resume")
    expect(model_sum(root, "again") == model_sum(root, "second")
           and step_lines(root, "again") == step_lines(root, "second"),
           "stopped and gone on without the model it began from: the same model, the same log")
    said = run(root, "again", "--resume", status=2)
    expect("init_from" in said and "began with gone" in said, f"not without it: {said.strip()}")


def test_families(root):
    """Random models with the shapes of tests/gold, their vocabularies widened."""
    for name in ("llama/tied", "exaone4/hybrid", "qwen3/moe", "gemma3/old", "exaone_moe/groups"):
        to = root / name.replace("/", "-")
        to.mkdir()
        config = json.loads((TREE / "tests/gold" / name / "config.json").read_text())
        (to / "config.json").write_text(json.dumps(config | {"vocab_size": 264}))
        kexa("synth", to / "config.json", to / "m.gguf")
        kexa("convert", "--no-tokenizer", to / "m.gguf", to / "hf")
        out = run(root, f"{to.name}-run", *begin(f"{to.name}/hf"), "--set", "run.steps=5")
        steps, final = events(out, "step"), root / f"{to.name}-run/final"
        made = json.loads((final / "config.json").read_text())
        expect(steps[-1]["loss"] < steps[0]["loss"] - 0.5
               and made["model_type"] == config["model_type"], f"{name}: {steps[0]['loss']:.2f} to "
               f"{steps[-1]['loss']:.2f}")
        kexa("run", "-m", final, "-n", 3, "--temp", 0, "the cat")


def other_tokenizer(root):
    """The same number of tokens, two of them changed over."""
    shutil.copytree(root / "tok", root / "other")
    path = root / "other/tokenizer.json"
    made = json.loads(path.read_text())
    vocab = made["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    path.write_text(json.dumps(made))
    kexa("data", "pack", "--tokenizer", root / "other", "--eos", "--out", root / "shards/other",
         root / "a")
    return ("--set", "data.tokenizer=other", "--set", "data.source=shards/other", "--set",
            "data.heldout_rows=0")


def test_refusals(root):
    def refused(status, *words, path="first/final", args=()):
        said = run(root, "no", *begin(path), *args, status=status)
        expect(all(w in said for w in words) and not any((root / "no").glob("*")),
               f"refused: {said.strip()}")
        shutil.rmtree(root / "no", ignore_errors=True)
    refused(2, "model.hidden is 64", "first/final", "has 32", args=("--set", "model.hidden=64"))
    refused(2, "model.experts is 0", "has 4", args=("--set", "model.experts=0"))
    refused(2, "folder of a run", "first/final", "first/checkpoints", path="first")
    refused(3, "nowhere", path="nowhere")
    refused(5, "kexa convert", "llama-tied/m.gguf", path="llama-tied/m.gguf")
    other = other_tokenizer(root)
    refused(2, "another tokenizer", args=other)
    newest = sorted((root / "first/checkpoints").iterdir())[-1]
    refused(2, "another tokenizer", path=newest.relative_to(root), args=other)
    small = root / "llama-tied/hf/config.json"
    config = json.loads(small.read_text())
    small.write_text(json.dumps(config | {"vocab_size": 256}))
    refused(2, "model.vocab is 256 in the model to begin with", "257 tokens", path="llama-tied/hf")
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    (root / "bad.kxc").write_bytes(data)
    refused(4, "bad.kxc", "checksum", path="bad.kxc")
    (root / "bad.kxc").write_bytes(data[:1000])
    refused(4, "bad.kxc", "cut short", path="bad.kxc")


def first(root):
    global first_run
    prepare(root)
    recipe = (root / "tiny.recipe").read_text()
    (root / "plain.recipe").write_text("\n".join(
        line for line in recipe.replace("sample_every = 7", "sample_every = 0").splitlines()
        if line.split(" =")[0] not in SHAPE))
    first_run = kexa("pretrain", "tiny.recipe", "--out", "first", "--json", cwd=root)


raise SystemExit(in_new_folder(first, test_same, test_resume, test_families, test_refusals))
