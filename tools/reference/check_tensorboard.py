"""Reads a run's event files with TensorBoard's own reader and compares them with log.jsonl.

    check_tensorboard.py OUT

Needs the package tensorboard (2.21.0 was used) in an environment outside the tree:

    python3 -m venv /tmp/tb && /tmp/tb/bin/pip install tensorboard
    build/tests/unit/train/write_run /tmp/run 1000 && build/tests/unit/train/write_run \\
        /tmp/run 1000 400 && /tmp/tb/bin/python tools/reference/check_tensorboard.py /tmp/run

What must come: all scalars and texts of the log, those of steps done again only once.
"""
import json
import math
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

PAIRS = {"train/loss": "loss", "train/ce": "ce", "train/mtp": "mtp", "optimizer/lr": "lr",
         "optimizer/grad_norm": "grad_norm", "router/balance": "balance",
         "train/bits_per_byte": "bits_per_byte",
         "heldout/bits_per_byte": "heldout_bits_per_byte"}


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def main():
    out = sys.argv[1]
    events = EventAccumulator(f"{out}/tb", size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    with open(f"{out}/log.jsonl", encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    steps = [x for x in lines if x["event"] == "step"]
    samples = [x for x in lines if x["event"] == "sample"]
    compared = 0
    for tag, member in PAIRS.items():
        want = [(x["step"], f32(x[member])) for x in steps if x[member] is not None]
        got = [(e.step, e.value) for e in events.Scalars(tag)]
        assert got == want, f"{tag}: {len(got)} points, {len(want)} in the log"
        compared += len(got)
    for i in range(len(steps[0].get("entropy", []))):
        for what in ("entropy", "load_max"):
            got = [(e.step, e.value) for e in events.Scalars(f"router/{what}/{i:02d}")]
            assert got == [(x["step"], f32(x[what][i])) for x in steps]
            compared += len(got)
    # TensorBoard forgets the scalars of steps that were done again, not the texts.
    texts = sorted({(e.step, e.tensor_proto.string_val[0].decode())
                    for e in events.Tensors("sample")})
    assert texts == [(x["step"], x["prompt"] + x["text"]) for x in samples]
    assert events.SummaryMetadata("sample").plugin_data.plugin_name == "text"
    speeds = [e.value for e in events.Scalars("speed/tokens_per_second")]
    assert all(math.isfinite(v) and v > 0 for v in speeds)
    print(f"{compared} scalars and {len(texts)} texts are those of the log")


if __name__ == "__main__":
    main()
