#!/usr/bin/env python3
"""Files written by the official gguf, safetensors and numpy packages, read by kexa.

Compares every metadata value and, for every tensor, type, shape and bytes with what was
written; the real model, if there is one (KEXA_MODEL), with what the gguf package reads.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib

import gguf
import numpy as np
from safetensors.numpy import save_file

TREE = os.environ.get("KEXA_TREE", ".")
DUMP = os.path.join(TREE, "build/tests/unit/format/dump_tensors")
T = gguf.GGUFValueType
results = {"passed": 0, "failed": 0, "skipped": 0}
rng = np.random.default_rng(7)


def expect(what, found, expected):
    if found == expected:
        return True
    print(f"{what}: found {str(found)[:300]}, expected {str(expected)[:300]}", file=sys.stderr)
    return False


def run(*args):
    return subprocess.run([DUMP, *args], capture_output=True, text=True, timeout=120)


def dump(path):
    done = run(path)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


VALUES = {
    "v.u8": (255, T.UINT8), "v.i8": (-128, T.INT8), "v.u16": (65535, T.UINT16),
    "v.i16": (-32768, T.INT16), "v.u32": (2**32 - 1, T.UINT32), "v.i32": (-2**31, T.INT32),
    "v.f32": (float(np.float32(0.1)), T.FLOAT32), "v.bool": (True, T.BOOL),
    "v.string": ("문장 with \n and \u202e", T.STRING), "v.empty": ("", T.STRING),
    "v.u64": (2**64 - 1, T.UINT64), "v.i64": (-2**53, T.INT64), "v.f64": (1e-300, T.FLOAT64),
}
ARRAYS = {
    "a.i8": ([-1, 0, 127], T.INT8), "a.u16": ([1, 65535], T.UINT16),
    "a.i32": (list(range(-5, 300)), T.INT32), "a.f32": ([0.5, -2.0], T.FLOAT32),
    "a.u64": ([2**64 - 1], T.UINT64), "a.f64": ([1e300, 0.1], T.FLOAT64),
    "a.bool": ([True, False, True], T.BOOL), "a.string": (["a", "", "가나"], T.STRING),
}
NAMES = {
    T.UINT8: "u8", T.INT8: "i8", T.UINT16: "u16", T.INT16: "i16", T.UINT32: "u32",
    T.INT32: "i32", T.FLOAT32: "f32", T.BOOL: "bool", T.STRING: "string", T.UINT64: "u64",
    T.INT64: "i64", T.FLOAT64: "f64",
}


def plain(value):
    """A value as dump_tensors prints it."""
    return value.encode().hex() if isinstance(value, str) else value


def check_metadata(found):
    ok = True
    for key, (value, kind) in VALUES.items():
        name = NAMES[kind]
        ok &= expect(key, found.get(key), [name, name, [plain(value)]])
    for key, (values, kind) in ARRAYS.items():
        ok &= expect(key, found.get(key), ["array", NAMES[kind], [plain(v) for v in values]])
    return ok


def tensors_of_every_type():
    q = gguf.GGMLQuantizationType
    out = {}
    for i, t in enumerate([q.F32, q.F16, q.BF16, q.Q4_0, q.Q4_1, q.Q8_0, q.Q5_0, q.Q5_1]):
        x = rng.standard_normal((3 + i, 64)).astype(np.float32)
        out[f"blk.{i}.weight"] = (t, gguf.quants.quantize(x, t), [64, 3 + i])
    for i, t in enumerate([q.Q4_K, q.Q6_K, q.Q2_K, q.IQ4_XS]):    # random blocks will do
        block, size = gguf.GGML_QUANT_SIZES[t]
        raw = rng.integers(0, 256, (2, 2 * size), dtype=np.uint8)
        out[f"k.{i}.weight"] = (t, raw, [2 * block, 2])
    out["four"] = (q.F32, rng.standard_normal((2, 3, 4, 5)).astype(np.float32), [5, 4, 3, 2])
    out["i32"] = (q.I32, np.arange(7, dtype=np.int32), [7])
    return out


def write_gguf(path, tensors, **options):
    w = gguf.GGUFWriter(path, "llama", **options)
    for key, (value, kind) in VALUES.items():
        w.add_key_value(key, value, kind)
    for key, (values, kind) in ARRAYS.items():
        w.add_key_value(key, values, T.ARRAY, sub_type=kind)
    if "alignment" in tensors:
        w.add_custom_alignment(tensors.pop("alignment"))
    for name, (t, data, _) in tensors.items():
        w.add_tensor(name, data, raw_dtype=None if data.dtype in (np.int32,) else t)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def check_gguf_tensors(found, tensors):
    ok = expect("names", sorted(found), sorted(tensors))
    for name, (t, data, shape) in tensors.items():
        x = found.get(name, {})
        ok &= expect(name + " type", x.get("type"), t.name)
        ok &= expect(name + " shape", x.get("ne"), shape)
        ok &= expect(name + " size", x.get("n_bytes"), data.nbytes)
        ok &= expect(name + " bytes", x.get("crc32"), zlib.crc32(data.tobytes()))
    return ok


def test_gguf(folder):
    ok = True
    for alignment in (32, 8, 4096):
        tensors = tensors_of_every_type()
        path = os.path.join(folder, f"a{alignment}.gguf")
        write_gguf(path, dict(tensors, alignment=alignment))
        d = dump(path)
        ok &= expect("alignment", d["alignment"], alignment) and expect("version", d["version"], 3)
        ok &= check_metadata(d["metadata"]) and check_gguf_tensors(d["tensors"], tensors)
    return ok


def test_gguf_split(folder):
    tensors = tensors_of_every_type()
    write_gguf(os.path.join(folder, "s.gguf"), tensors, split_max_tensors=5)
    names = sorted(n for n in os.listdir(folder) if n.startswith("s-"))
    ok = expect("shards", len(names), 3)
    for name in names:
        d = dump(os.path.join(folder, name))
        ok &= expect("files", d["files"], 3)
        ok &= check_metadata(d["metadata"]) and check_gguf_tensors(d["tensors"], tensors)
    os.remove(os.path.join(folder, names[1]))
    done = run(os.path.join(folder, names[0]))
    return ok & expect("missing shard", names[1] in done.stderr and done.returncode, 3)


def test_gguf_big_endian(folder):
    path = os.path.join(folder, "big.gguf")
    write_gguf(path, {}, endianess=gguf.GGUFEndian.BIG)
    done = run(path)
    return expect("exit status", done.returncode, 5) & expect(
        "message", "big-endian" in done.stderr, True)


def safe_tensors():
    return {
        "f32": rng.standard_normal((3, 5)).astype(np.float32),
        "f16": np.ones((2, 2, 2), np.float16),
        "f64": np.array([1.5]), "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 4), np.float32), "u8": np.arange(9, dtype=np.uint8),
        "i64": np.array([[-1, 2]], np.int64), "bool": np.array([True, False]),
        "four": rng.standard_normal((2, 1, 3, 2)).astype(np.float32),
    }


def check_safetensors(found, tensors):
    kinds = {"float32": "F32", "float16": "F16", "float64": "F64", "uint8": "U8",
             "int64": "I64", "bool": "BOOL"}
    ok = expect("names", sorted(found), sorted(tensors))
    for name, x in tensors.items():
        f = found.get(name, {})
        ok &= expect(name + " type", f.get("type"), kinds[x.dtype.name])
        ok &= expect(name + " shape", f.get("ne"), list(reversed(x.shape)))
        ok &= expect(name + " bytes", f.get("crc32"), zlib.crc32(x.tobytes()))
    return ok


def test_safetensors(folder):
    tensors = safe_tensors()
    path = os.path.join(folder, "t.safetensors")
    save_file(tensors, path, metadata={"format": "pt"})
    return check_safetensors(dump(path)["tensors"], tensors)


def test_safetensors_index(folder):
    tensors, shards = safe_tensors(), {}
    where = os.path.join(folder, "hf")
    os.mkdir(where)
    for i, name in enumerate(tensors):
        shards.setdefault(f"model-{i % 3 + 1:05d}-of-00003.safetensors", []).append(name)
    for file, names in shards.items():
        save_file({n: tensors[n] for n in names}, os.path.join(where, file))
    index = {"metadata": {}, "weight_map": {n: f for f, names in shards.items() for n in names}}
    with open(os.path.join(where, "model.safetensors.index.json"), "w") as f:
        json.dump(index, f)
    d = dump(where)
    return check_safetensors(d["tensors"], tensors) & expect("files", d["files"], 3)


def test_npy(folder):
    ok = True
    a, b = os.path.join(folder, "a.npy"), os.path.join(folder, "b.npy")
    for kind in ("f4", "f8", "i4", "i8", "u4", "u2"):
        for shape in ((), (0,), (5,), (2, 3), (2, 1, 3, 2)):
            x = (rng.standard_normal(shape) * 100).astype("<i4").astype("<" + kind)
            np.save(a, x)
            ok &= expect("npy", run(a, b).stderr, "")
            y = np.load(b)
            ok &= expect("npy", (y.dtype, y.shape, y.tobytes()), (x.dtype, x.shape, x.tobytes()))
            with open(a, "rb") as f, open(b, "rb") as g:
                ok &= expect("npy alignment", len(f.read()) % 64, len(g.read()) % 64)
    np.save(a, np.asfortranarray(np.ones((2, 3))))
    return ok & expect("Fortran order", "C order" in run(a, b).stderr, True)


def test_real_model(_):
    path = os.environ.get("KEXA_MODEL", "")
    if not os.path.isfile(path):
        return None
    reader, d = gguf.GGUFReader(path), dump(path)
    ok = expect("count", len(d["tensors"]), len(reader.tensors))
    for t in reader.tensors:
        x = d["tensors"].get(t.name, {})
        ok &= expect(t.name, (x.get("type"), x.get("ne"), x.get("crc32")),
                     (t.tensor_type.name, t.shape.tolist(), zlib.crc32(t.data.tobytes())))
    for key, field in reader.fields.items():
        if key.startswith("GGUF."):
            continue
        value = field.contents()
        value = value if isinstance(value, list) else [value]
        ok &= expect(key, d["metadata"][key][2], [plain(v) for v in value])
    return ok


def main():
    for name, test in list(globals().items()):
        if not name.startswith("test_"):
            continue
        folder = tempfile.mkdtemp()
        try:
            ok = test(folder)
        except Exception as e:                     # a broken test must not hide the others
            ok = expect(name, repr(e), None)
        finally:
            shutil.rmtree(folder)
        word = "skipped" if ok is None else "passed" if ok else "failed"
        results[word] += 1
        if word != "passed":
            print(f"skip {name}: no KEXA_MODEL" if ok is None else f"FAIL {name}")
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**results))
    return results["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
