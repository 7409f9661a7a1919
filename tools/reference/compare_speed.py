#!/usr/bin/env python
"""Speed of kexa and llama.cpp on one file, in turns, medians.

    compare_speed.py --model M.gguf --probe DIR/llama_probe [--turns 5] [--threads 1 2]

Each turn runs llama_probe (without and with flash attention) and kexa_speed once; a turn's
neighbours share whatever else the machine was doing.  On a busy machine take --clock cpu
--threads 1: tokens per second of CPU time.  Build kexa first (make).
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parents[1]


def build_kexa_speed():
    out = TREE / "build/kexa_speed"
    libraries = subprocess.run(["pkg-config", "--libs", "jansson", "libutf8proc", "libpcre2-8",
                                "libzstd"],
                               check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(["cc", "-O2", "-std=c11", f"-I{TREE}/include", HERE / "kexa_speed.c",
                    TREE / "build/libkexa.a", "-o", out, "-pthread", *libraries, "-lm"],
                   check=True)
    return out


def one(command):
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    prompt, decode = re.search(r"prompt ([\d.]+) tok/s decode ([\d.]+) tok/s", text).groups()
    return float(prompt), float(decode)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--probe", required=True)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=128)
    options = parser.parse_args()
    kexa = build_kexa_speed()
    for threads in options.threads:
        commands = {
            "llama.cpp": [options.probe, "speed", options.model, "flash=0"],
            "llama.cpp flash": [options.probe, "speed", options.model, "flash=1"],
            "kexa": [kexa, options.model]}
        seen = {name: [] for name in commands}
        for _ in range(options.turns):
            for name, command in commands.items():
                seen[name].append(one(command + [
                    f"threads={threads}", "rounds=1", f"prompt={options.prompt}",
                    f"decode={options.decode}", f"clock={options.clock}"]))
        print(f"{threads} thread(s), load {os.getloadavg()[0]:.2f}")
        for name, values in seen.items():
            for part, i in (("prompt", 0), ("decode", 1)):
                mine = [v[i] for v in values]
                best = [max(seen[o][t][i] for o in seen if o != "kexa")
                        for t in range(options.turns)]
                ratio = statistics.median(a / b for a, b in zip(mine, best))
                print(f"  {name:16} {part} median {statistics.median(mine):7.1f} tok/s "
                      f"({min(mine):.1f} to {max(mine):.1f}), "
                      f"{ratio:.2f} of the faster llama.cpp")


if __name__ == "__main__":
    main()
