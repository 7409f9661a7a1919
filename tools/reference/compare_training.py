#!/usr/bin/env python
"""Training speed of kexa and of transformers on this machine, in turns.

    compare_training.py --bench build/bench/bench_training [--turns 3] [--threads 1 2]
        [--config bench/train/3m-config.json ...] [--dense]

A step is 16 rows of 512 tokens on both sides: passes, gradient norm, AdamW.  Each turn runs
kexa (bf16 with f32 masters, 4 passes of 4 rows; MTP off, as the peer has none; its balance loss and
document masks stay on), then the peer in each dtype (train_throughput.py, the experts'
implementation that was the fastest here: grouped_mm).  Medians of the turns; the machine is
shared, so CPU time of all threads counts as well as the clock.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def dense_of(path, folder):
    keys = json.loads(pathlib.Path(path).read_text())
    keys["mlp_layer_types"] = ["dense"] * keys["num_hidden_layers"]
    out = pathlib.Path(folder) / "config.json"
    out.write_text(json.dumps(keys))
    return str(out)


def kexa(bench, config, threads, steps):
    out = subprocess.run([bench, config, "bf16", str(threads), "4", "512", str(steps), "adamw"],
                         env=dict(os.environ, PASSES="4"), capture_output=True, text=True,
                         check=True).stdout
    rate = re.search(r"tokens/s (\d+)  tokens per CPU-second (\d+)  on-CPU ([\d.]+)", out)
    roof = re.search(r"share of the roof ([\d.]+) % by the clock, ([\d.]+) % by CPU", out)
    work = re.search(r"GFLOP/s (\d+) .*roof (\d+)", out)
    return {"tps": float(rate[1]), "cpu": float(rate[2]), "on": float(rate[3]),
            "roof_clock": float(roof[1]), "roof_cpu": float(roof[2]), "gflops": float(work[1]),
            "roof": float(work[2])}


def peer(config, threads, dtype, steps, dense):
    with tempfile.NamedTemporaryFile(suffix=".json") as f:
        subprocess.run([sys.executable, HERE / "train_throughput.py", config, "--threads",
                        str(threads), "--dtype", dtype, "--experts", "grouped_mm", "--rows", "16",
                        "--steps", str(steps), "--json", f.name] + (["--dense"] if dense else []),
                       check=True, capture_output=True)
        row = json.load(open(f.name))["results"][0]
    return {"tps": row["wall"], "cpu": row["cpu"], "on": row["share"]}


def show(name, rows):
    mid = {k: statistics.median(r[k] for r in rows) for k in rows[0]}
    text = f"{name:34} {mid['tps']:8.0f} tok/s {mid['cpu']:8.0f} tok/CPU-s  on-CPU {mid['on']:.2f}"
    if "roof" in mid:
        text += (f"  {mid['gflops']:.0f} of {mid['roof']:.0f} GFLOP/s: {mid['roof_clock']:.1f} % "
                 f"by the clock, {mid['roof_cpu']:.1f} % by CPU time")
    print(text, flush=True)
    return mid


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", required=True)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16", "autocast"])
    parser.add_argument("--config", nargs="+", default=["bench/train/3m-config.json"])
    parser.add_argument("--dense", action="store_true")
    args = parser.parse_args()
    for config in args.config:
        with tempfile.TemporaryDirectory() as folder:
            ours = dense_of(config, folder) if args.dense else config
            for threads in args.threads:
                rows = {"kexa": []}
                for _ in range(args.turns):
                    rows["kexa"].append(kexa(args.bench, ours, threads, args.steps))
                    for dtype in args.dtype:
                        rows.setdefault(dtype, []).append(
                            peer(config, threads, dtype, args.steps, args.dense))
                kind = " dense" if args.dense else ""
                title = f"{pathlib.Path(config).stem}{kind}, {threads} thr"
                mine = show(f"{title}: kexa bf16", rows["kexa"])
                for dtype in args.dtype:
                    other = show(f"{title}: transformers {dtype}", rows[dtype])
                    print(f"{'':34} kexa is {mine['tps'] / other['tps']:.2f} times by the clock, "
                          f"{mine['cpu'] / other['cpu']:.2f} by CPU time", flush=True)


if __name__ == "__main__":
    main()
