"""kexa bench on a tiny model: every figure asked for is there and makes sense."""
import json
import subprocess

from e2e import expect, KEXA, TREE, totals

MODEL = TREE / "tests/gold/exaone_moe/lllg/model.gguf"


def bench(*args):
    return subprocess.run([KEXA, "bench", "-m", MODEL, *args], capture_output=True, text=True,
                          timeout=200)


SHORT = ["--at", "0,40,150", "--batch", "1,3", "--prompt", "20", "-n", "4", "-r", "2"]
r = bench(*SHORT, "--json", "--roof", "-t", "2")
expect(r.returncode == 0, r.stderr)
report = json.loads(r.stdout)
found = [(f["what"], f["context"], f["batch"], f["tokens"]) for f in report["figures"]]
expect(found == [("prompt", 0, 1, 20), ("decode", 0, 1, 4), ("prompt", 40, 1, 20),
                 ("decode", 40, 1, 4), ("prompt", 150, 1, 20), ("decode", 150, 1, 4),
                 ("batch", 32, 1, 4), ("batch", 32, 3, 12)], found)
for f in report["figures"]:
    rate = f["tokens"] / f["seconds"]
    expect(f["seconds"] > 0 and abs(f["tokens_per_second"] / rate - 1) < 1e-3, f)
    # The CPU clock counts in ticks: over a few of them the share can be anything.
    expect(0 <= f["on_cpu"] and (f["seconds"] < 0.05 or f["on_cpu"] < 1.5), f)
roof = report["roof"]
expect(all(0 < v < 1e6 for v in roof.values()), roof)
expect(report["threads"] == 2 and report["repetitions"] == 2, report)

r = bench(*SHORT, "--kv-type", "f32")
expect(r.returncode == 0 and len(r.stdout.splitlines()) == 10, r.stdout + r.stderr)

# A model of 512 tokens: without --at the second length is what leaves room for the prompt.
r = bench("--batch", "1", "--prompt", "30", "-n", "4", "-r", "1", "--json")
expect(r.returncode == 0, r.stderr)
expect(sorted({f["context"] for f in json.loads(r.stdout)["figures"]}) == [0, 32, 482], r.stdout)

for args, word in ((["--at", "5,3"], "--at"), (["--at", ""], "--at"),
                   (["--batch", "0,1"], "--batch"),
                   (["--batch", "1,x"], "--batch"), (["--at", "500", "--prompt", "60"], "made for"),
                   (SHORT + ["--kv-type", "q8_0"], "q8_0"), (["-r", "0"], "reps")):
    r = bench(*args)
    expect(1 <= r.returncode <= 125 and word in r.stderr, f"{args}: {r.returncode} {r.stderr}")

raise SystemExit(totals())
