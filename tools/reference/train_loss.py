"""The training loss of exaone_moe in float64, document by document, and its exact gradients.

The trunk is transformers' own exaone_moe (made float64 throughout by widen.py), the
multi-token prediction block is mtp_torch.py; torch's autograd goes through both.  Packing is
defined by what it must equal: every document is run alone, from position 0.

    ce       mean over the batch's targets of -log p(target)
    mtp      mean over the batch's second targets of -log p_mtp(target2)
    balance  (1/sequences) * sum over sequences and sparse layers of sum_i f_i P_i, where a
             sequence is one packed row without its padding (T tokens),
             f_i = E / (k T) * (how many of its tokens chose expert i), a constant, and
             P_i = mean over its tokens of s_i / sum_j s_j, s = sigmoid(router logits)
    z        mean over the rows with a target of logsumexp(logits)^2
    total    ce + 0.05 mtp + alpha balance + zeta z

Balance: DeepSeek-AI, "DeepSeek-V3", 2024, eqs. 17-20.  z: Zoph et al., "ST-MoE", 2022, eq. 5,
on the vocabulary's logits instead of the router's.

For the negative controls a Trainee can do one thing wrong (MISTAKES).
"""

import re

import numpy as np
import torch

from mtp_torch import mtp_logits
from tiny_models import biased_forward, edge, load_model, modeling_of, routers
from widen import widen

NO_TARGET = 0xFFFFFFFF
PAD = 0
PARTS = ("ce", "mtp", "balance", "z")
MISTAKES = ("window one larger", "window one smaller", "mixing by biased scores",
            "mtp's gradient stops before the trunk", "balance over the whole batch",
            "padding counted in balance", "f_i not divided by k")


class Batch:
    """Packed rows: per row a list of documents (lists of ids), padded to `width` with a
    document of padding.  Arrays are u4 [rows * width]; .used, [rows], counts tokens that are
    not padding."""

    def __init__(self, rows, width):
        self.rows, self.width = rows, width
        self.spans = []                        # (row, first, length, is padding)
        self.token, self.target, self.target2, self.pos, self.used = ([] for _ in range(5))
        for r, documents in enumerate(rows):
            self.used.append(sum(map(len, documents)))
            room = width - self.used[-1]
            for ids in documents:
                self.add(r, ids, False)
            if room:
                self.add(r, [PAD] * room, True)

    def add(self, r, ids, padding):
        self.spans.append((r, len(self.token), len(ids), padding))
        none = [NO_TARGET] * len(ids)
        self.token += ids
        self.target += none if padding else ids[1:] + none[:1]
        self.target2 += none if padding else (ids[2:] + none)[:len(ids)]
        self.pos += range(len(ids))

    def arrays(self):
        return {name: np.array(getattr(self, name), "<u4")
                for name in ("token", "target", "target2", "pos", "used")}


class Trainee:
    """A model folder as float64 parameters: .params has every one, by its name in
    transformers or, for mtp.*, on disk."""

    def __init__(self, folder, spec, disk, mistake=None):
        self.spec, self.mistake = spec, mistake
        self.model = load_model(folder, spec)
        self.narrow = widen(self.model, modeling_of(spec))
        self.model.train()
        self.mtp = {k: torch.nn.Parameter(v.double()) for k, v in disk.items()
                    if k.startswith("mtp.")}
        self.params = dict(self.model.named_parameters()) | self.mtp
        self.gates = routers(self.model)
        self.routed = []
        change = {"window one larger": 1, "window one smaller": -1}.get(mistake, 0)
        if change:
            self.model.config.sliding_window += change
        for gate in self.gates:
            if mistake == "mixing by biased scores":
                gate.forward = biased_forward(gate)
            gate.register_forward_hook(
                lambda m, args, out: self.routed.append((out[0], out[2])))

    def document(self, ids):
        """Post-norm hidden rows, and [(router logits, chosen)] of the sparse layers."""
        self.routed.clear()
        hidden = self.model.model(torch.tensor(ids)[None], use_cache=False).last_hidden_state
        return hidden[0], list(self.routed)

    def mtp_rows(self, ids, hidden):
        if self.mistake == "mtp's gradient stops before the trunk":
            hidden = hidden.detach()
        weights = self.mtp | {"model.embed_tokens.weight": self.model.model.embed_tokens.weight,
                              "lm_head.weight": self.model.lm_head.weight}
        return mtp_logits(weights, self.spec, torch.tensor(ids), hidden)


class Loss:
    """.parts (float64 scalars with gradients, see the module's head), .logits [n, V],
    .margin: the smallest gap between a chosen expert and a rejected one, of all tokens but
    padding, .load: tokens per expert, one tensor for each sparse layer, .reached: the same,
    counting only tokens whose output a loss depends on (not a document's last in the last
    layer)."""

    def __init__(self, trainee, batch):
        self.trainee = trainee
        self.ce, self.mtp, self.lse, self.logits = [], [], [], []
        self.margin, self.margin_padding = float("inf"), float("inf")
        rows = [[] for _ in batch.rows]        # routing of each packed row's documents
        for r, first, n, padding in batch.spans:
            routed = self.document(batch.token[first:first + n], padding)
            if not padding or trainee.mistake == "padding counted in balance":
                rows[r].append(routed)
        zero = torch.zeros((), dtype=torch.float64)
        if trainee.mistake == "balance over the whole batch":
            rows = [[document for documents in rows for document in documents]]
        self.load, balance = self.balance(rows) if trainee.gates else ([], zero)
        self.reached = self.count_reached(rows)
        self.parts = {"ce": torch.cat(self.ce).mean(),
                      "mtp": torch.cat(self.mtp).mean() if self.mtp else zero,
                      "balance": balance, "z": torch.cat(self.lse).square().mean()}
        self.logits = torch.cat(self.logits)

    def document(self, ids, padding):
        with torch.set_grad_enabled(not padding):
            hidden, routed = self.trainee.document(ids)
            logits = self.trainee.model.lm_head(hidden)
        self.logits.append(logits.detach())
        self.note_margin(routed, padding)
        if not padding and len(ids) > 1:
            self.lse.append(logits[:-1].logsumexp(-1))
            right = logits[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
            self.ce.append(self.lse[-1] - right)
        if not padding and len(ids) > 2 and self.trainee.mtp:
            rows = self.trainee.mtp_rows(ids, hidden)[:-1].log_softmax(-1)
            self.mtp.append(-rows.gather(1, torch.tensor(ids[2:])[:, None])[:, 0])
        return routed

    def note_margin(self, routed, padding):
        for gate, (logits, _) in zip(self.trainee.gates, routed):
            biased = logits.detach().sigmoid() + gate.e_score_correction_bias
            gap = float(edge(biased, gate.top_k).min())
            self.margin_padding = min(self.margin_padding, gap)
            if not padding:
                self.margin = min(self.margin, gap)

    def balance(self, rows):
        total, loads = 0, []
        for layer, gate in enumerate(self.trainee.gates):
            loads.append(torch.zeros(gate.num_experts, dtype=torch.float64))
            for documents in rows:
                score = torch.cat([d[layer][0] for d in documents]).sigmoid()
                chosen = torch.cat([d[layer][1] for d in documents])
                count = chosen.flatten().bincount(minlength=gate.num_experts).double()
                k = 1 if self.trainee.mistake == "f_i not divided by k" else gate.top_k
                f = count * gate.num_experts / (k * len(score))
                total = total + (f * (score / score.sum(-1, keepdim=True)).mean(0)).sum()
                loads[layer] += count
        return loads, total / len(rows)

    def count_reached(self, rows):
        last = len(self.trainee.model.model.layers) - 1
        counts = []
        for layer, gate in enumerate(self.trainee.gates):
            end = -1 if self.trainee.model.model.layers[last].mlp.gate is gate else None
            chosen = torch.cat([d[layer][1][:end] for documents in rows for d in documents])
            counts.append(chosen.flatten().bincount(minlength=gate.num_experts))
        return counts

    def total(self, weights):
        return sum(weights.get(name, 0.0) * part for name, part in self.parts.items())


def on_disk(params):
    """Tensors by transformers' names -> by the folder's: the stacked experts are taken apart."""
    out = {}
    for name, value in params.items():
        stacked = re.fullmatch(r"(.*\.experts)\.(gate_up_proj|down_proj)", name)
        if not stacked:
            out[name] = value
            continue
        for e, one in enumerate(value):
            prefix = f"{stacked[1]}.{e}."
            if stacked[2] == "down_proj":
                out[prefix + "down_proj.weight"] = one
            else:
                out[prefix + "gate_proj.weight"], out[prefix + "up_proj.weight"] = one.chunk(2)
    return {name: value.contiguous() for name, value in sorted(out.items())}


def gradients(trainee, loss, weights, keep_graph=False):
    """float64 gradients of the weighted total, by the folder's names; what takes no part is
    zero."""
    names = list(trainee.params)
    grads = torch.autograd.grad(loss.total(weights), [trainee.params[n] for n in names],
                                retain_graph=keep_graph, allow_unused=True)
    return on_disk({n: torch.zeros_like(trainee.params[n]) if g is None else g
                    for n, g in zip(names, grads)})
