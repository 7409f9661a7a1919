#!/usr/bin/env python
"""Reference logits of a real model: transformers in float32 on the weights a GGUF file holds.

    gguf_reference.py --model M.gguf --text BOOK.txt --source "AUTHOR, TITLE (YEAR)"
        --full ref.npy --out FOLDER [--top 32] [--check64 N]

For llama (SmolLM2) and gemma3.  The weights are dequantised with the `gguf` package; llama's
permutation of q and k is undone, gemma's norm gains lose the 1 that GGUF adds.  The text is
cut to 4,096 tokens, run as one sequence, teacher-forced.  --full gets all logits, f4 [T, V]
(0.8 and 4.3 GB, not committed); the folder gets the ids and meta.json and, with --top N, per
position the logsumexp, the N most probable ids and their log probabilities.  --check64 runs
the first N positions in float64 too and records how far float32 is from it.
"""

import argparse
import hashlib
import heapq
import json
import pathlib

import gguf
import numpy as np
import torch
import transformers
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers.models.gemma3 import modeling_gemma3
from transformers.models.llama import modeling_llama

from kl import full_rows, log_softmax
from tiny_gguf import ARCHS, BLOCK_NAMES
from widen import widen

N_TOKENS = 4096
TEXT_PIECE_TYPES = {1, 4, 6}              # normal, user-defined, byte: what text may become


def field(reader, key):
    return reader.fields[key].contents()


def unpermute(weight, n_heads):
    """Row 2p+half of a head goes back to row half*(hd/2)+p."""
    rows, columns = weight.shape
    pairs = weight.reshape(n_heads, rows // n_heads // 2, 2, columns)
    return pairs.transpose(0, 2, 1, 3).reshape(rows, columns)


def convert(name, value, config):
    """A block's tensor as transformers has it."""
    if config.model_type == "gemma3_text" and "norm" in name:
        return value - 1
    heads = {"attn_q.weight": config.num_attention_heads,
             "attn_k.weight": config.num_key_value_heads}
    if config.model_type == "llama" and name in heads:
        return unpermute(value, heads[name])
    return value


def load_weights(reader, config):
    names = {v: k for k, v in (BLOCK_NAMES | ARCHS[config.model_type][2]).items()}
    top = {"token_embd.weight": "model.embed_tokens.weight",
           "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}
    weights = {}
    for tensor in reader.tensors:
        value = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        value = value.reshape([int(n) for n in tensor.shape[::-1]])
        if tensor.name in top:
            name, rest = top[tensor.name], tensor.name
        else:
            _, block, rest = tensor.name.split(".", 2)
            name = f"model.layers.{block}.{names[rest]}"
        value = convert(rest, value, config)
        weights[name] = torch.from_numpy(np.ascontiguousarray(value))
    weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    return weights


def load_model(reader):
    arch = field(reader, "general.architecture")
    get = lambda key: field(reader, f"{arch}.{key}")
    rope = {"rope_type": "default", "rope_theta": get("rope.freq_base")}
    keys = dict(
        vocab_size=len(field(reader, "tokenizer.ggml.tokens")),
        hidden_size=get("embedding_length"),
        intermediate_size=get("feed_forward_length"), num_hidden_layers=get("block_count"),
        num_attention_heads=get("attention.head_count"),
        num_key_value_heads=get("attention.head_count_kv"),
        max_position_embeddings=get("context_length"), tie_word_embeddings=True,
        rms_norm_eps=get("attention.layer_norm_rms_epsilon"))
    if arch == "llama":
        config = transformers.LlamaConfig(**keys, rope_parameters=rope)
        model = transformers.LlamaForCausalLM
    else:
        local = {"rope_type": "default", "rope_theta": 10000.0}
        config = transformers.Gemma3TextConfig(
            **keys, head_dim=get("attention.key_length"), sliding_window_pattern=6,
            sliding_window=get("attention.sliding_window"),
            query_pre_attn_scalar=get("attention.key_length"),
            rope_parameters={"full_attention": rope, "sliding_attention": local})
        model = transformers.Gemma3ForCausalLM
    config._attn_implementation = "sdpa"
    model = model(config).eval()
    model.load_state_dict(load_weights(reader, config), strict=True)
    return model


def tokenize_scores(reader, text):
    """SentencePiece's merges: of all adjacent pieces whose join is a piece, the best score."""
    pieces, scores = (field(reader, "tokenizer.ggml." + k) for k in ("tokens", "scores"))
    types = field(reader, "tokenizer.ggml.token_type")
    rank = {p: i for i, p in enumerate(pieces) if types[i] in TEXT_PIECE_TYPES}
    part = list(text.replace(" ", "\u2581"))
    after, before = list(range(1, len(part) + 1)), list(range(-1, len(part) - 1))
    heap = []

    def offer(a):
        b = after[a] if a >= 0 else len(part)
        if a >= 0 and b < len(part) and part[a] + part[b] in rank:
            joined = part[a] + part[b]
            heapq.heappush(heap, (-scores[rank[joined]], a, b, joined))

    for a in range(len(part)):
        offer(a)
    while heap:
        _, a, b, joined = heapq.heappop(heap)
        if part[a] is None or after[a] != b or part[a] + part[b] != joined:
            continue
        part[a], part[b] = joined, None
        after[a] = after[b]
        if after[b] < len(part):
            before[after[b]] = a
        offer(a)
        offer(before[a])
    ids = [field(reader, "tokenizer.ggml.bos_token_id")]
    for piece in filter(None, part):
        ids += [rank[piece]] if piece in rank else [rank[f"<0x{b:02X}>"] for b in piece.encode()]
    return ids


def tokenize(reader, text):
    if field(reader, "tokenizer.ggml.model") == "llama":
        return tokenize_scores(reader, text)
    tokens = field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(m.split(" ")) for m in field(reader, "tokenizer.ggml.merges")]
    bpe = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    bpe.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return bpe.encode(text, add_special_tokens=False).ids


def read_text(path):
    """The body: headings (lines that begin with #) are left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return "\n".join(line for line in lines if not line.startswith("#")).strip() + "\n"


def run(model, ids):
    with torch.no_grad():
        hidden = model.model(torch.tensor(ids)[None], use_cache=False).last_hidden_state[0]
        for start in range(0, len(ids), 256):
            yield start, model.lm_head(hidden[start:start + 256]).numpy()


def write_fixture(out, ids, full, n_top):
    """Mean negative log likelihood of the text; files of the n_top best ids unless that is 0."""
    n = len(ids)
    lse, top = np.empty(n, "<f4"), np.empty((n, n_top), "<u2")
    top_p = np.empty((n, n_top), "<f4")
    nll = []
    np.save(out / "tokens.npy", np.array(ids, "<u4"))
    for a in range(0, n, 128):
        rows = full[a:a + 128]
        log_p = log_softmax(rows)
        lse[a:a + 128] = rows.astype(np.float64)[:, 0] - log_p[:, 0]
        if n_top:
            order = np.argsort(-log_p, axis=-1, kind="stable")[:, :n_top]
            top[a:a + 128] = order
            top_p[a:a + 128] = np.take_along_axis(log_p, order, -1)
        following = ids[a + 1:a + 1 + len(rows)]
        nll += (-log_p[np.arange(len(following)), following]).tolist()
    for name, array in (("lse", lse), ("top_ids", top), ("top_logprobs", top_p)):
        if n_top:
            np.save(out / f"{name}.npy", array)
    return float(np.mean(nll))


def check_float64(model, ids, full):
    """Mean KL(float64 || float32) and the largest logit difference over the first rows."""
    n = len(ids)
    model = model.double()
    model.set_attn_implementation("eager")
    widen(model, modeling_llama if model.config.model_type == "llama" else modeling_gemma3)
    kl, same, worst = [], [], 0.0
    for start, logits in run(model, ids):
        rows = full[start:start + len(logits)]
        k, s = full_rows(logits, rows)
        kl += k.tolist()
        same += s.tolist()
        worst = max(worst, float(np.abs(logits - rows).max()))
    return {"rows": n, "mean_kl": float(np.mean(kl)), "max_kl": float(np.max(kl)),
            "top1": float(np.mean(same)), "max_abs_logit_difference": worst}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--source", required=True, help="author, title and year of the text")
    parser.add_argument("--full", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--top", type=int, default=0, help="ids to store for each position")
    parser.add_argument("--check64", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    reader = gguf.GGUFReader(options.model)
    ids = tokenize(reader, read_text(options.text)[:40 * N_TOKENS])[:N_TOKENS]
    assert len(ids) == N_TOKENS, f"the text has only {len(ids)} tokens"
    model = load_model(reader)
    full = np.lib.format.open_memmap(options.full, "w+", "<f4", (len(ids), model.config.vocab_size))
    for start, logits in run(model, ids):
        full[start:start + len(logits)] = logits
    options.out.mkdir(parents=True, exist_ok=True)
    mean_nll = write_fixture(options.out, ids, full, options.top)
    meta = {"made_by": "tools/reference/gguf_reference.py", "text": options.source,
            "model_sha256": hashlib.sha256(options.model.read_bytes()).hexdigest(),
            "torch": torch.__version__, "transformers": transformers.__version__,
            "gguf": "0.19.0", "tokens": len(ids), "mean_nll": mean_nll}
    if options.check64:
        meta["float32_against_float64"] = check_float64(model, ids[:options.check64], full)
    path = options.out / "meta.json"
    if path.exists():                    # llama.cpp's figure is measured later, with kl.py
        meta |= {k: v for k, v in json.loads(path.read_text()).items()
                 if k.startswith("llama_cpp")}
    path.write_text(json.dumps(meta, indent=2) + "\n")
    print(json.dumps(meta, indent=1))


if __name__ == "__main__":
    main()
