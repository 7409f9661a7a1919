#!/usr/bin/env python3
"""Makes tests/gold/dequant/<type>.bin: blocks and what gguf makes of them.

    python3 tests/gold/make_dequant.py        (needs numpy and gguf)

A file is the raw blocks of one row (K elements) followed by K little-endian f32 from
gguf.quants.dequantize.  Bytes are random; every f16 field (scales, minima, F16 values) is
drawn from halves that matter: 0, -0, subnormals of both signs, the largest, and ordinary
ones.  No NaN or infinity: their bits after arithmetic are nobody's contract.  (MXFP4's
largest scales give infinities, which have only one form.)
"""
import pathlib

import gguf
import numpy as np

HERE = pathlib.Path(__file__).parent / "dequant"
SPECIAL = [0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x83ff, 0x0400, 0x8400, 0x7bff, 0xfbff,
           0x3c00, 0xbc00, 0x2e66, 0xa1b2]
# type: (elements, offsets of f16 fields in a block)
KINDS = {"F32": (64, []), "F16": (128, [0]), "BF16": (128, []), "Q4_0": (1024, [0]),
         "Q4_1": (1024, [0, 2]), "Q8_0": (1024, [0]), "Q4_K": (3072, [0, 2]),
         "Q6_K": (3072, [208]), "Q5_0": (1024, [0]), "Q5_1": (1024, [0, 2]),
         "IQ4_NL": (1024, [0]), "MXFP4": (2048, []), "Q2_K": (3072, [80, 82]),
         "Q3_K": (3072, [108]), "Q5_K": (3072, [0, 2]), "IQ4_XS": (3072, [0])}
EXPONENTS = [0, 1, 2, 3, 126, 127, 128, 129, 250, 251, 252, 253, 254, 255]      # of MXFP4


def halves(rng, n):
    ordinary = (rng.integers(0, 2, n) << 15 | rng.integers(1, 31, n) << 10
                | rng.integers(0, 1024, n))
    special = np.resize(rng.permutation(SPECIAL), n)
    return np.where(rng.random(n) < 0.5, special, ordinary).astype("<u2")


def finite(block_bytes, name):
    """Raw F32 and BF16 values: no NaN, no infinity."""
    words = block_bytes.view("<u4" if name == "F32" else "<u2").copy()
    top = 0x7f800000 if name == "F32" else 0x7f80
    words[(words & top) == top] &= ~np.array(1 << (23 if name == "F32" else 7), words.dtype)
    return words.view(np.uint8)


def main():
    HERE.mkdir(exist_ok=True)
    for name, (k, fields) in KINDS.items():
        rng = np.random.default_rng(len(name) * 1000 + k + ord(name[1]))
        qtype = gguf.GGMLQuantizationType[name]
        block, size = gguf.GGML_QUANT_SIZES[qtype]
        raw = rng.integers(0, 256, (k // block, size)).astype(np.uint8)
        for at in fields:
            raw[:, at:at + 2] = halves(rng, k // block).view(np.uint8).reshape(-1, 2)
        if name == "MXFP4":
            raw[:len(EXPONENTS), 0] = EXPONENTS
        if name in ("F32", "BF16"):
            raw = finite(raw.reshape(-1), name)
        raw = raw.reshape(1, -1)
        values = gguf.quants.dequantize(raw, qtype).astype("<f4").reshape(-1)
        assert values.size == k and not np.isnan(values).any()
        (HERE / (name.lower() + ".bin")).write_bytes(raw.tobytes() + values.tobytes())


if __name__ == "__main__":
    main()
