"""kexa pretrain killed at random, on one and two threads in turns, with a full disk, with a
damaged newest checkpoint: what comes out is the run that was never stopped, to the last bit of
the model and the last digit of the log.  KEXA_KILLS: how many kills (3; soak: 20)."""
import hashlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time

import tfevents
from e2e import expect, KEXA, totals
from test_pretrain import prepare

KILLS = int(os.environ.get("KEXA_KILLS", "3"))
SET = ["--set", "run.checkpoint_every=2", "--set", "run.keep=3", "--set", "run.sample_every=3",
       "--set", "run.steps=24"]


def command(out, threads, resume):
    return [KEXA, "pretrain", "tiny.recipe", "--out", out, "--threads", str(threads), "--json",
            *SET, *(["--resume"] if resume else [])]


def run(root, out, threads=1, resume=True, **options):
    return subprocess.run(command(out, threads, resume), cwd=root, capture_output=True, text=True,
                          timeout=300, **options)


def model_sum(root, out):
    return hashlib.sha256((root / out / "final/model.safetensors").read_bytes()).hexdigest()


def log_lines(root, out):
    """Steps and samples without their times."""
    lines = map(json.loads, (root / out / "log.jsonl").read_text().splitlines())
    return [{k: v for k, v in e.items() if k != "time"} for e in lines
            if e["event"] in ("step", "sample")]


def checkpoints(root, out):
    return sorted((root / out / "checkpoints").glob("step-*.kxc"))


def same(root, out):
    return model_sum(root, out) == model_sum(root, "whole") \
        and log_lines(root, out) == log_lines(root, "whole")


def same_events(root, out):
    """The same figures in TensorBoard, but for the speeds."""
    runs = [tfevents.read_run(str(root / name / "tb")) for name in ("whole", out)]
    scalars = [{k: v for k, v in s.items() if not k.startswith("speed/")} for s, _ in runs]
    return scalars[0] == scalars[1] and len(scalars[0]["train/loss"]) == 24 \
        and runs[0][1] == runs[1][1]


def kill_once(root, out, rng):
    """Starts or goes on, kills some steps and a moment later, or (one in four) soon after the
    start.  False when the run ended before the kill could strike."""
    p = subprocess.Popen(command(out, rng.randrange(1, 3), (root / out).exists()),
                         cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    left, moment = (0, 0.5) if rng.randrange(4) == 0 else (rng.randrange(1, 12), 0.03)
    while left and (line := p.stdout.readline()):
        left -= '"event":"step"' in line
    time.sleep(rng.uniform(0, moment))
    p.kill()
    _, said = p.communicate()
    if p.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"status {p.returncode}: {said.strip()}")
    return p.returncode != 0


def ended(root, out):
    last = json.loads((root / out / "log.jsonl").read_text().splitlines()[-1])
    return last["event"] == "end" and (root / out / "report.html").exists()


# What holds of a run however often it was killed.
WHOLE = {"the same model and log": same, "the same event files": same_events,
         "nothing half written is left": lambda r, out: not list((r / out).rglob("*.part-*")),
         "the end is logged and reported": ended}


def test_kills(root):
    """Only kills that strike count, and the checks are as many however many runs they fall in."""
    seed = random.SystemRandom().randrange(1 << 30)
    rng, kills, torn, runs = random.Random(seed), 0, 0, []
    print(f"seed {seed}")
    while kills < KILLS:
        out = f"killed-{len(runs)}"
        runs.append(out)
        while kills < KILLS and kill_once(root, out, rng):
            kills += 1
            torn += bool(list((root / out).glob("checkpoints/*.part-*")))
            if (root / out / "final").exists():
                break
    if not (root / out / "final").exists():
        done = run(root, out, rng.randrange(1, 3))
        if done.returncode:
            raise RuntimeError(f"{out}: the last part: {done.stderr.strip()}")
    print(f"{kills} kills in {len(runs)} runs, {torn} in the middle of a checkpoint")
    for what, holds in WHOLE.items():
        broken = [out for out in runs if not holds(root, out)]
        expect(not broken, f"killed at random: {what}" + (f": not {broken}" if broken else ""))
    shutil.copytree(root / runs[0], root / "reported")
    done = subprocess.run([KEXA, "report", "reported"], cwd=root, capture_output=True, text=True,
                          timeout=60)
    page = (root / "reported/report.html").read_text() if done.returncode == 0 else ""
    expect("could not be used" not in page and 'id="samples"' in page, "it has a report")


def part_of_a_run(root, out, steps):
    """A run killed once it has logged so many steps."""
    p = subprocess.Popen(command(out, 1, False), cwd=root, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True)
    for line in p.stdout:
        if f'"step":{steps},' in line:
            break
    p.kill()
    p.communicate()


def test_damaged(root):
    part_of_a_run(root, "torn", 9)
    newest = checkpoints(root, "torn")[-2:]
    data = newest[1].read_bytes()
    newest[1].write_bytes(data[:len(data) // 2])
    broken = bytearray(newest[0].read_bytes())
    broken[len(broken) // 3] ^= 4
    newest[0].write_bytes(broken)
    done = run(root, "torn", 2)
    expect(done.returncode == 0 and all(p.name in done.stderr for p in newest)
           and "going on from step" in done.stderr and "\n\n" not in done.stderr,
           f"said: {done.stderr.strip()}")
    expect(same(root, "torn"), "two damaged checkpoints: the same model and log")
    expect(newest[0].name not in [p.name for p in checkpoints(root, "torn")]
           or newest[0].read_bytes() != bytes(broken), "the damaged ones are gone")


def test_full_disk(root):
    part_of_a_run(root, "full", 7)
    kept = checkpoints(root, "full")[-1]
    data = kept.read_bytes()

    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(data) // 2, len(data) // 2))
    done = run(root, "full", 1, preexec_fn=small_files)
    expect(done.returncode == 3 and "cannot write" in done.stderr, f"said: {done.stderr.strip()}")
    expect(checkpoints(root, "full")[-1] == kept and kept.read_bytes() == data
           and not list((root / "full/checkpoints").glob("*.part-*")),
           "a full disk leaves the checkpoints as they were")
    done = run(root, "full", 2)
    expect(done.returncode == 0 and same(root, "full"), "with room again: the same model and log")


def test_all_damaged(root):
    part_of_a_run(root, "lost", 5)
    for path in checkpoints(root, "lost"):
        path.write_bytes(b"KEXACKPT")
    done = run(root, "lost")
    expect(done.returncode == 4 and "none of" in done.stderr and "is sound" in done.stderr,
           f"no sound checkpoint is not a fresh run: {done.stderr.strip()}")


def test_two_at_once(root):
    p = subprocess.Popen(command("twice", 1, False), cwd=root, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True)
    for line in p.stdout:
        if '"step":3,' in line:
            break
    p.send_signal(signal.SIGSTOP)
    done = run(root, "twice")
    p.send_signal(signal.SIGCONT)
    p.communicate(timeout=100)
    expect(done.returncode == 2 and "another run is writing it" in done.stderr,
           f"two in one folder: {done.stderr.strip()}")
    expect(p.returncode == 0 and same(root, "twice"), "the first one is not disturbed")


def main():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        prepare(root)
        done = run(root, "whole", resume=False)
        expect(done.returncode == 0, f"a whole run: {done.stderr.strip()}")
        expect(sum(e["event"] == "sample" for e in log_lines(root, "whole")) == 8, "8 samples")
        test_kills(root)
        for test in (test_damaged, test_full_disk, test_all_damaged, test_two_at_once):
            test(root)
    return totals()


raise SystemExit(main())
