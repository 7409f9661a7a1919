#!/usr/bin/env python3
"""kexa convert: folder -> GGUF -> folder and GGUF -> folder.

Bytes of all tensors, logits to the bit, metadata as the gguf package reads it, ids as the
tokenizers package finds them, split sets, what is refused, and that failures leave nothing.
"""
import glob
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import gguf
import numpy as np
from tokenizers import Tokenizer, processors

import test_tokenizers as tk

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEXA = os.environ.get("KEXA") or os.path.join(TREE, "build/kexa")
GOLD = os.path.join(TREE, "tests/gold")
results = {"passed": 0, "failed": 0, "skipped": 0}
rng = np.random.default_rng(11)


def run(*args, limit_bytes=None):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    return subprocess.run([KEXA, *args], capture_output=True, text=True, timeout=120,
                          preexec_fn=limit if limit_bytes else None)


def convert(source, out, *options):
    done = run("convert", source, out, *options)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done


def logits(model, tokens, folder, *options):
    out = os.path.join(folder, "logits.npy")
    done = run("logits", "-m", model, "--tokens", tokens, "--out", out, "-t", "1", *options)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return np.load(out)


def read_safetensors(path):
    """{name: (dtype, shape, bytes)}; BF16 too, which numpy does not have."""
    with open(path, "rb") as f:
        data = f.read()
    n = int.from_bytes(data[:8], "little")
    head = json.loads(data[8:8 + n])
    return {name: (v["dtype"], v["shape"],
                   data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]])
            for name, v in head.items() if name != "__metadata__"}


def write_safetensors(path, tensors):
    head, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(head).encode()
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        f.writelines(v[2] for v in tensors.values())


def expect(what, ok, more=""):
    if not ok:
        print(f"{what}: wrong {more}")
    return bool(ok)


def same_tensors(what, a, b):
    # transformers reads two spellings of this one; kexa writes the first
    a = {n.replace(".mlp.gate.e_score", ".mlp.e_score"): v for n, v in a.items()}
    names = sorted(a) == sorted(b)
    wrong = [n for n in a if n in b and a[n] != b[n]]
    return expect(what, names and not wrong, (sorted(set(a) ^ set(b))[:3], wrong[:3]))


def folder_of(gold, folder):
    """A gold model as the folder it was made from."""
    os.makedirs(os.path.join(folder, "src"))
    for name in ("config.json", "model.safetensors"):
        shutil.copy(os.path.join(gold, name), os.path.join(folder, "src"))
    return os.path.join(folder, "src")


def check_gold(gold, folder):
    src, tokens = folder_of(gold, folder), os.path.join(gold, "tokens.npy")
    there, back = os.path.join(folder, "m.gguf"), os.path.join(folder, "back")
    convert(src, there)
    convert(there, back)
    ok = same_tensors(gold, read_safetensors(src + "/model.safetensors"),
                      read_safetensors(back + "/model.safetensors"))
    reader = gguf.GGUFReader(there)
    ok &= expect("types", {t.tensor_type.name for t in reader.tensors} == {"F32"})
    want = logits(src, tokens, folder)
    for model in (there, back):
        ok &= expect(f"logits of {model}", np.array_equal(want, logits(model, tokens, folder)))
    if os.path.exists(os.path.join(gold, "mtp_logits.npy")):
        mtp = [logits(m, tokens, folder, "--mtp") for m in (src, there, back)]
        ok &= expect("MTP", np.array_equal(mtp[0], mtp[1]) and np.array_equal(mtp[0], mtp[2]))
    return ok & check_gold_gguf(gold, want, tokens, folder)


def check_gold_gguf(gold, want, tokens, folder):
    """The same model as others wrote it: the folder made from it."""
    path, out = os.path.join(gold, "model.gguf"), os.path.join(folder, "from-gguf")
    fields = gguf.GGUFReader(path).fields
    if "tokenizer.ggml.merges" not in fields and "tokenizer.ggml.model" in fields:
        return True                               # a tokenizer that kexa refuses
    convert(path, out)
    ok = expect("logits of the folder from " + path,
                np.array_equal(want, logits(out, tokens, folder)))
    return ok & same_tensors(path, read_safetensors(os.path.join(gold, "model.safetensors")),
                             read_safetensors(out + "/model.safetensors"))


def refused_by_gguf(gold):
    """Goldens that say what GGUF has no key for."""
    with open(os.path.join(gold, "config.json")) as f:
        c = json.load(f)
    head = c.get("head_dim", 256)
    if c["model_type"] == "solar_open":
        return True
    return c["model_type"] == "gemma3_text" and c.get("query_pre_attn_scalar", 256) != head


def test_gold(folder):
    ok, n = True, 0
    for config in sorted(glob.glob(GOLD + "/*/*/config.json")):
        if "/train/" in config:           # gradients, no tokens.npy
            continue
        gold = os.path.dirname(config)
        where = os.path.join(folder, str(n))
        os.mkdir(where)
        if refused_by_gguf(gold):
            done = run("convert", folder_of(gold, where), where + "/m.gguf")
            ok &= expect("refusal", done.returncode == 5 and "GGUF" in done.stderr, done.stderr)
            ok &= expect("leftovers", os.listdir(where) == ["src"])
        else:
            ok &= check_gold(gold, where)
        n += 1
    return ok & expect("goldens", n >= 6, n)


def bf16(x):
    u = x.astype(np.float32).view(np.uint32)
    return ((u + 0x7fff + ((u >> 16) & 1)) >> 16).astype(np.uint16).tobytes()


ENCODE = {"F32": lambda x: x.astype("<f4").tobytes(), "F16": lambda x: x.astype("<f2").tobytes(),
          "BF16": bf16}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256,
         "intermediate_size": 320, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "max_position_embeddings": 256,
         "tie_word_embeddings": False, "rope_theta": 500000.0}


def make_llama(folder, vocab, dtype, tok=None):
    """A random llama as a folder, in a type; its tokens.npy beside it."""
    c = dict(LLAMA, vocab_size=vocab, torch_dtype=dtype)
    h, f, kv = c["hidden_size"], c["intermediate_size"], c["hidden_size"] // 2
    shapes = {"model.embed_tokens.weight": [vocab, h], "model.norm.weight": [h],
              "lm_head.weight": [vocab, h]}
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        shapes |= {p + "input_layernorm.weight": [h], p + "post_attention_layernorm.weight": [h],
                   p + "self_attn.q_proj.weight": [h, h], p + "self_attn.k_proj.weight": [kv, h],
                   p + "self_attn.v_proj.weight": [kv, h], p + "self_attn.o_proj.weight": [h, h],
                   p + "mlp.gate_proj.weight": [f, h], p + "mlp.up_proj.weight": [f, h],
                   p + "mlp.down_proj.weight": [h, f]}
    os.makedirs(folder)
    write_safetensors(folder + "/model.safetensors", {
        n: (dtype, s, ENCODE[dtype](rng.standard_normal(s) / s[-1] ** 0.5))
        for n, s in shapes.items()})
    with open(folder + "/config.json", "w") as out:
        json.dump(c, out)
    if tok:
        tok.save(folder + "/tokenizer.json")
    np.save(folder + ".npy", rng.integers(0, vocab, 40).astype(np.int32))
    return folder


def test_types(folder):
    """BF16 and F16 stay what they are, in both directions; vectors too on the way back."""
    ok = True
    for dtype in ("BF16", "F16"):
        src = make_llama(os.path.join(folder, dtype), 300, dtype)
        convert(src, src + ".gguf")
        convert(src + ".gguf", src + "-back")
        for t in gguf.GGUFReader(src + ".gguf").tensors:
            kind = "F32" if len(t.shape) == 1 else dtype
            ok &= expect(t.name, t.tensor_type.name == kind, t.tensor_type.name)
        ok &= same_tensors(dtype, read_safetensors(src + "/model.safetensors"),
                           read_safetensors(src + "-back/model.safetensors"))
        with open(src + "-back/config.json") as f:
            c = json.load(f)
        ok &= expect("dtype", c["torch_dtype"] == {"BF16": "bfloat16", "F16": "float16"}[dtype])
        a, b, d = (logits(m, src + ".npy", folder) for m in (src, src + ".gguf", src + "-back"))
        ok &= expect("logits " + dtype, np.array_equal(a, b) and np.array_equal(a, d))
    return ok


def test_quantised(folder):
    """Q8_0 and Q4_0 matrices against the gguf package's dequantisation."""
    src = make_llama(os.path.join(folder, "f32"), 300, "F32")
    convert(src, src + ".gguf")
    reader, path = gguf.GGUFReader(src + ".gguf"), src + "-q.gguf"
    w, want = gguf.GGUFWriter(path, "llama"), {}
    for key, field in reader.fields.items():
        if key.startswith("llama."):
            w.add_key_value(key, field.contents(), field.types[0])
    for i, t in enumerate(reader.tensors):
        if len(t.shape) == 1:
            w.add_tensor(t.name, t.data)
            continue
        q = gguf.GGMLQuantizationType.Q4_0 if i % 2 else gguf.GGMLQuantizationType.Q8_0
        data = gguf.quants.quantize(np.array(t.data), q)
        want[t.name] = gguf.quants.dequantize(data, q)
        w.add_tensor(t.name, data, raw_dtype=q)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    ok = True
    for kind in ("f32", "bf16"):
        out = os.path.join(folder, kind + "-out")
        convert(path, out, "--type", kind)
        got = read_safetensors(out + "/model.safetensors")
        for name, hf in (("token_embd.weight", "model.embed_tokens.weight"),
                         ("blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight"),
                         ("blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight")):
            x = want[name]
            if "attn_k" in name:                   # 2 heads of 64: pairs to halves
                x = x.reshape(2, 32, 2, -1).transpose(0, 2, 1, 3).reshape(x.shape)
            ok &= expect(f"{hf} as {kind}", got[hf][2] == ENCODE[kind.upper()](x))
    return ok


def test_split(folder):
    src = make_llama(os.path.join(folder, "src"), 1500, "F32")
    convert(src, folder + "/set.gguf", "--split-max-size", "2M")
    names = sorted(os.path.basename(p) for p in glob.glob(folder + "/set*"))
    first = f"set-00001-of-{len(names):05d}.gguf"
    ok = expect("a set", len(names) > 2 and names[0] == first, names)
    tensors = [t.name for n in names for t in gguf.GGUFReader(os.path.join(folder, n)).tensors]
    ok &= expect("all tensors once", len(tensors) == len(set(tensors)) == 21, len(tensors))
    one = os.path.join(folder, names[1])
    want = logits(src, src + ".npy", folder)
    ok &= expect("logits of the set", np.array_equal(want, logits(one, src + ".npy", folder)))
    convert(one, folder + "/back", "--split-max-size", "2M")
    shards = sorted(glob.glob(folder + "/back/*.safetensors"))
    with open(folder + "/back/model.safetensors.index.json") as f:
        index = json.load(f)["weight_map"]
    got = {}
    for shard in shards:
        part = read_safetensors(shard)
        got |= part
        ok &= expect("index", all(index[n] == os.path.basename(shard) for n in part))
    ok &= expect("shards", len(shards) > 2) & same_tensors(
        "shards", read_safetensors(src + "/model.safetensors"), got)
    return ok & expect("logits of the shards",
                       np.array_equal(want, logits(folder + "/back", src + ".npy", folder)))


def tokenizers_to_convert():
    yield "smollm", tk.train(tk.smollm_split(), 1500)
    tok = tk.train(tk.pre.ByteLevel(add_prefix_space=False), 1500)
    tok.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)])
    yield "gpt2 with BOS", tok
    yield "exaone-moe", tk.train(tk.exaone_moe_split(), 1500)


def test_tokenizers(folder):
    """Ids from tokenizer.json, from GGUF, and from the tokenizer.json made of that."""
    ok = True
    for i, (name, tok) in enumerate(tokenizers_to_convert()):
        src = make_llama(os.path.join(folder, str(i)), 1520, "BF16", tok)
        there, back = src + ".gguf", src + "-back"
        ok &= expect("no note", convert(src, there).stderr == "")
        convert(there, back)
        again = Tokenizer.from_file(back + "/tokenizer.json")
        for add in (False, True):
            ok &= expect(name, not tk.compare(name + " in GGUF", there, tok, 3000, i, add=add))
            ok &= expect(name, not tk.compare(name + " back", back, tok, 3000, i, add=add))
            ok &= expect(name, not tk.compare(name + " package", back, again, 3000, i, add=add))
        tokens = gguf.GGUFReader(there).fields["tokenizer.ggml.tokens"].contents()
        ok &= expect("padding", len(tokens) == 1520 and tokens[-1] == "[PAD1519]")
        ok &= expect("same tokens", again.get_vocab() == tok.get_vocab())
    return ok


def test_nfc(folder):
    """What GGUF cannot say about the text before the tokens is at least said."""
    tok = tk.train(tk.smollm_split(), 1500, tk.normalizers.NFC())
    src = make_llama(os.path.join(folder, "m"), 1500, "F16", tok)
    return expect("a note", "NFC" in convert(src, src + ".gguf").stderr)


def test_specials(folder):
    """End ids, BOS and the chat template go along."""
    src = make_llama(os.path.join(folder, "m"), 1520, "F16", tk.train(tk.smollm_split(), 1500))
    with open(src + "/tokenizer_config.json", "w") as f:
        json.dump({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
                   "chat_template": "{{ 문장 }}\n"}, f)
    with open(src + "/generation_config.json", "w") as f:
        json.dump({"eos_token_id": [2, 3]}, f)
    convert(src + "/", src + ".gguf")
    convert(src + ".gguf", src + "-back")
    fields = gguf.GGUFReader(src + ".gguf").fields
    ok = expect("name", fields["general.name"].contents() == "m")
    ok &= expect("eos", fields["tokenizer.ggml.eos_token_id"].contents() == 2)
    ok &= expect("template", fields["tokenizer.chat_template"].contents() == "{{ 문장 }}\n")
    with open(src + "-back/generation_config.json") as f:
        g = json.load(f)
    ok &= expect("ids", g == {"bos_token_id": 1, "eos_token_id": [0, 2, 3]}, g)
    with open(src + "-back/tokenizer_config.json") as f:
        c = json.load(f)
    return ok & expect("config", (c["bos_token"], c["eos_token"], c["chat_template"]) ==
                       ("<|im_start|>", "<|im_end|>", "{{ 문장 }}\n"), c)


def test_failures(folder):
    src = make_llama(os.path.join(folder, "src"), 1500, "F32")
    convert(src, folder + "/m.gguf")
    before = sorted(os.listdir(folder))

    def refused(what, status, words, *args, **options):
        done = run("convert", *args, **options)
        return expect(what, done.returncode == status and words in done.stderr,
                      (done.returncode, done.stderr)) & expect(
            what + " leaves", sorted(os.listdir(folder)) == before, os.listdir(folder))
    out = folder + "/x"
    ok = refused("full disk", 3, "cannot write", src, out + ".gguf", limit_bytes=1000000)
    ok &= refused("full disk, a set", 3, "cannot write", src, out + ".gguf", "--split-max-size",
                  "1M", limit_bytes=1200000)
    ok &= refused("full disk, a folder", 3, "cannot write", folder + "/m.gguf", out,
                  limit_bytes=1000000)
    ok &= refused("exists", 2, "exists already", src, folder + "/m.gguf")
    ok &= refused("exists", 2, "exists already", folder + "/m.gguf", src)
    ok &= refused("name", 2, ".gguf", src, out)
    ok &= refused("GGUF to GGUF", 2, "GGUF file already", folder + "/m.gguf", out + ".gguf")
    ok &= refused("size", 2, "--split-max-size 5Q", src, out + ".gguf", "--split-max-size", "5Q")
    ok &= refused("type", 2, "--type", src, out + ".gguf", "--type", "bf16")
    ok &= refused("full disk, a folder in a new one", 3, "cannot write", folder + "/m.gguf",
                  folder + "/none/x", limit_bytes=1000000)
    ok &= refused("below a file", 2, "/m.gguf is no folder", folder + "/m.gguf",
                  folder + "/m.gguf/x")
    with open(src + "/tokenizer.json", "w") as f:
        f.write("{}")
    ok &= refused("tokenizer", 5, "tokenizer.json", src, out + ".gguf")
    tk.train(tk.smollm_split(), 1500, ignore_merges=True).save(src + "/tokenizer.json")
    ok &= refused("whole pieces", 5, "ignore_merges", src, out + ".gguf")
    convert(folder + "/m.gguf", folder + "/new/y/")
    ok &= expect("a folder in a new one", os.listdir(folder + "/new") == ["y"] and
                 os.path.exists(folder + "/new/y/config.json"), os.listdir(folder + "/new"))
    done = convert(src, out + ".gguf", "--no-tokenizer", "--json")
    return ok & expect("without tokenizer", json.loads(done.stdout)["tokenizer"] is False)


def main():
    for name, test in list(globals().items()):
        if not name.startswith("test_"):
            continue
        folder = tempfile.mkdtemp()
        try:
            ok = test(folder)
        except Exception as e:                     # a broken test must not hide the others
            ok = expect(name, False, repr(e))
        finally:
            shutil.rmtree(folder)
        results["passed" if ok else "failed"] += 1
        if not ok:
            print(f"FAIL {name}")
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**results))
    return results["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
