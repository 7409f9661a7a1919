#!/usr/bin/env python
"""How fast transformers trains an exaone_moe on this machine's processors.

    train_throughput.py bench/train/3m-config.json [--dense] [--threads 1 2]
        [--dtype float32 bfloat16 autocast] [--experts eager grouped_mm batched_mm]
        [--rows 8] [--context 512] [--steps 5] [--survey] [--json FILE]

A step is forward, loss, backward, clipping to norm 1 and fused AdamW on random tokens, without
document masks, MTP block or balance loss, of which transformers has none: less work than
kexa's.  Attention is sdpa.  dtype: bfloat16 keeps weights and both moments in bfloat16 (fastest,
but no float32 masters); autocast has float32 weights and bfloat16 products.  --survey times
one step of every combination and goes on with the fastest of each dtype and thread count.
--dense replaces the sparse layers by dense ones as wide as the chosen and shared experts:
the same parameters for each token but the router's.

Every line: tokens/s by the clock (median, least and most of the steps), by CPU time of all
threads, and the share of threads * wall that was spent on a processor.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import time

import torch
import transformers

DTYPES = ("float32", "bfloat16", "autocast")
EXPERTS = ("eager", "grouped_mm", "batched_mm")


def make_config(path, dense):
    keys = json.loads(pathlib.Path(path).read_text())
    keys.pop("model_type")
    if dense:
        keys["mlp_layer_types"] = ["dense"] * keys["num_hidden_layers"]
    return transformers.CONFIG_MAPPING["exaone_moe"](**keys)


def active_parameters(model):
    """Read for each token: in the layers, and in the head (the embedding is a lookup)."""
    config, layers = model.config, 0
    for name, p in model.model.layers.named_parameters():
        share = config.num_experts_per_tok / config.num_experts if ".experts." in name else 1
        layers += round(p.numel() * share)
    return layers, model.lm_head.weight.numel()


class Run:
    def __init__(self, config, dtype, experts, rows, context):
        torch.manual_seed(0)
        config._attn_implementation = "sdpa"
        config._experts_implementation = experts
        self.model = transformers.AutoModelForCausalLM.from_config(config).train()
        if dtype == "bfloat16":
            self.model = self.model.to(torch.bfloat16)
        self.autocast = dtype == "autocast"
        self.adam = torch.optim.AdamW(self.model.parameters(), lr=1e-4, betas=(0.9, 0.95),
                                      weight_decay=0.1, fused=True)
        self.tokens = torch.randint(3, config.vocab_size, (rows, context))

    def step(self):
        """Seconds by the clock and of CPU."""
        wall, cpu = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16) if self.autocast else contextlib.nullcontext():
            loss = self.model(self.tokens, labels=self.tokens, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.adam.step()
        self.adam.zero_grad()
        if not torch.isfinite(loss):
            raise RuntimeError("the loss is not finite")
        return time.perf_counter() - wall, time.process_time() - cpu


def measure(config, what, options, steps):
    """Figures of one combination, or why there are none."""
    dtype, threads, experts = what
    torch.set_num_threads(threads)
    tokens = options.rows * options.context
    try:
        run = Run(config, dtype, experts, options.rows, options.context)
        run.step()
        times = [run.step() for _ in range(steps)]
    except (RuntimeError, ValueError, NotImplementedError) as e:
        return {"refused": str(e).splitlines()[0][:100]}
    rate = [tokens / wall for wall, _ in times]
    return {"wall": statistics.median(rate), "least": min(rate), "most": max(rate),
            "cpu": statistics.median(tokens / cpu for _, cpu in times),
            "share": sum(cpu for _, cpu in times) / threads / sum(wall for wall, _ in times)}


def report(what, figures):
    dtype, threads, experts = what
    head = f"{dtype:9} {threads} thread(s) {experts:10} "
    if "refused" in figures:
        print(head + "refused: " + figures["refused"], flush=True)
        return
    print(head + "{wall:8.0f} tok/s ({least:.0f} to {most:.0f}), {cpu:8.0f} tok/CPU-s, on CPU "
          "{share:.0%}".format(**figures), flush=True)


def fastest(config, options, dtype, threads):
    """The experts' implementation that does one step in the least CPU time."""
    rates = {}
    for experts in options.experts:
        what = (dtype, threads, experts)
        figures = measure(config, what, options, 1)
        report(what, figures)
        rates[experts] = figures.get("cpu", 0.0)
    return [max(rates, key=rates.get)] if any(rates.values()) else []


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config")
    parser.add_argument("--dense", action="store_true")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--experts", nargs="+", choices=EXPERTS, default=EXPERTS[:2])
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--survey", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    config = make_config(options.config, options.dense)
    if options.dense:
        options.experts = ["eager"]
    layers, head = active_parameters(transformers.AutoModelForCausalLM.from_config(config))
    print(f"{options.config}{' dense' if options.dense else ''}: {layers} active parameters in the "
          f"layers, {head} in the head; {options.rows} x {options.context} tokens, torch "
          f"{torch.__version__}, transformers {transformers.__version__}, "
          f"load {os.getloadavg()[0]:.2f}")
    results = []
    for dtype in options.dtype:
        for threads in options.threads:
            chosen = options.experts
            if options.survey:
                chosen = fastest(config, options, dtype, threads)
            for experts in chosen:
                what = (dtype, threads, experts)
                figures = measure(config, what, options, options.steps)
                report(what, figures)
                results.append(dict(zip(("dtype", "threads", "experts"), what)) | figures)
    if options.json:
        options.json.write_text(json.dumps({"config": options.config, "dense": options.dense,
                                            "layers": layers, "head": head,
                                            "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
