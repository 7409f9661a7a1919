"""kexa pretrain made longer: a run that goes on with more steps, from where its learning rate had
not begun to fall, is to the last bit the run that was planned so long from the beginning.  And
what a run says when another build of kexa wrote its checkpoint."""
import pathlib
import shutil
import signal
import subprocess

from e2e import counts, expect, in_new_folder, KEXA
from test_pretrain import model_sum, prepare, step_lines

SHORT, LONG, BRANCH = 20, 26, 16          # wsd, decay 0.2: the short run decays from step 17 on


def command(out, steps, *more, program=KEXA):
    return [program, "pretrain", "tiny.recipe", "--out", out, "--json", "--set",
            f"run.steps={steps}", "--set", "run.sample_every=0", "--set", "run.keep=1",
            "--set", "schedule.warmup=3", *more]


def run(root, *args, status=0, **options):
    done = subprocess.run(command(*args, **options), cwd=root, capture_output=True, text=True,
                          timeout=300)
    if done.returncode != status:
        raise RuntimeError(f"{args}: status {done.returncode}: {done.stderr.strip()}")
    return done.stderr


def stop_after(root, out, steps, after, *more):
    """A run that Ctrl-C stops once `after` steps were shown."""
    p = subprocess.Popen(command(out, steps, *more), cwd=root, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True)
    for line in p.stdout:
        if f'"step":{after},' in line:
            break
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=60)
    expect(p.returncode == 8, f"{out} is stopped")


def lines(root, out):
    """Steps without their evaluations, which are due at other steps of a longer run."""
    return [{k: v for k, v in e.items() if k != "heldout_bits_per_byte"}
            for e in step_lines(root, out)]


def same_as_long(root, out, first=0):
    return model_sum(root, out) == model_sum(root, "long") \
        and lines(root, out) == lines(root, "long")[first:]


def test_stopped(root):
    stop_after(root, "stopped", SHORT, 9)
    run(root, "stopped", LONG, "--resume")
    expect(same_as_long(root, "stopped"), "stopped early and made longer: the longer run")


def test_finished(root):
    run(root, "short", SHORT)
    names = sorted(p.name for p in (root / "short/checkpoints").iterdir())
    expect(names == [f"step-{BRANCH:08}.kxc", f"step-{SHORT:08}.kxc"],
           f"the checkpoint before the decay is kept: {names}")
    said = run(root, "short", LONG, "--resume", status=2)
    expect("finished" in said and "another folder" in said, f"finished: {said.strip()}")
    (root / "branch/checkpoints").mkdir(parents=True)
    shutil.copy(root / f"short/checkpoints/step-{BRANCH:08}.kxc", root / "branch/checkpoints")
    run(root, "branch", LONG, "--resume")
    expect(same_as_long(root, "branch", BRANCH), "from that one alone: the longer run")


def test_too_late(root):
    stop_after(root, "late", SHORT, BRANCH + 2)
    said = run(root, "late", LONG, "--resume", status=2)
    expect("run.steps 26 (it was 20)" in said and f"step-{BRANCH:08}.kxc" in said
           and "up to step 16" in said, f"in the decay: {said.strip()}")
    said = run(root, "late", 5, "--resume", status=2)
    expect("run.steps is 5" in said and "done already" in said, f"shorter: {said.strip()}")
    run(root, "late", SHORT, "--resume")
    expect(model_sum(root, "late") == model_sum(root, "short"), "as it began it goes on")


def test_cosine(root):
    cosine = ("--set", "schedule.kind=cosine")
    stop_after(root, "cosine", SHORT, 6, *cosine)
    said = run(root, "cosine", LONG, "--resume", *cosine, status=2)
    expect("a cosine has its length from the beginning" in said, f"cosine: {said.strip()}")


def other_build(root):
    """kexa with one byte of machine code changed: the unused operand of a long NOP."""
    code = bytearray(pathlib.Path(KEXA).read_bytes())
    nop = bytes.fromhex("662e0f1f840000000000")
    at = code.find(nop)
    if at < 0:
        return None
    code[at + 6] = 1
    (root / "other").write_bytes(code)
    (root / "other").chmod(0o755)
    return root / "other"


def test_build(root):
    other = other_build(root)
    if not other:
        counts["skipped"] += 1
        print("skip this compiler leaves no long NOP to change")
        return
    stop_after(root, "built", SHORT, 5)
    shutil.copytree(root / "built", root / "rebuilt")
    said = run(root, "built", SHORT, "--resume")
    expect("another build" not in said, "the same build says nothing of builds")
    said = run(root, "rebuilt", SHORT, "--resume", program=other)
    expect(said.count("another build (kexa ") == 1, f"another build: {said.strip()}")
    expect(model_sum(root, "rebuilt") == model_sum(root, "short"), "and goes on all the same")


def first(root):
    prepare(root)
    run(root, "long", LONG)


raise SystemExit(in_new_folder(first, test_stopped, test_finished, test_too_late, test_cosine,
                               test_build))
