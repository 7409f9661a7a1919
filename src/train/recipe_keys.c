#include "train/recipe_keys.h"

#define F(f) offsetof(struct train_recipe, f)
#define BIG (0x1p53 - 1)               /* what a double rounds to it is itself */

/* section, name, kind, field, low, high, words, preset, rule, unit, decides, meaning */
const struct recipe_key recipe_keys[] = {
    { "model", "size", RECIPE_U64, F(model.size), 1e4, 1e13, NULL, "3m", NULL, "parameters", true,
      "the dial: parameters the layers read for one token; whatever is not given follows from it "
      "(nano is 200k)" },
    { "model", "vocab", RECIPE_U32, F(model.vocab), 0, 1 << 24, NULL, "0", NULL, "tokens", true,
      "rows of embedding and head; 0: as many as the tokenizer has" },
    { "model", "layers", RECIPE_U32, F(model.layers), 1, LAYERS_MAX, NULL, NULL, "by size", "",
      true, "decoder layers, without the MTP block" },
    { "model", "hidden", RECIPE_U32, F(model.hidden), 16, 65536, NULL, NULL, "by size", "", true,
      "width of the residual stream" },
    { "model", "heads", RECIPE_U32, F(model.heads), 1, 4096, NULL, NULL, "by hidden", "", true,
      "query heads" },
    { "model", "kv_heads", RECIPE_U32, F(model.kv_heads), 1, 4096, NULL, NULL, "by heads", "",
      true, "key and value heads; divides heads" },
    { "model", "head_dim", RECIPE_U32, F(model.head_dim), 2, 512, NULL, NULL, "by hidden", "",
      true, "elements of a head, even" },
    { "model", "ffn", RECIPE_U32, F(model.ffn), 1, 1 << 22, NULL, NULL, "3 hidden", "", true,
      "width of a dense FFN (SwiGLU), and of the MTP block's" },
    { "model", "experts", RECIPE_U32, F(model.experts), 0, MOE_EXPERTS_MAX, NULL, NULL, "by size",
      "", true, "routed experts of a sparse layer; 0: every layer is dense" },
    { "model", "top_k", RECIPE_U32, F(model.top_k), 1, MOE_TOPK_MAX, NULL, NULL, "by size", "",
      true, "experts a token is sent to" },
    { "model", "shared_experts", RECIPE_U32, F(model.shared_experts), 0, 64, NULL, "1", NULL, "",
      true, "experts that see every token" },
    { "model", "expert_ffn", RECIPE_U32, F(model.expert_ffn), 1, 1 << 22, NULL, NULL,
      "3 hidden / (top_k + shared_experts)", "", true, "width of one expert" },
    { "model", "dense_layers", RECIPE_U32, F(model.dense_layers), 0, LAYERS_MAX, NULL, "1", NULL,
      "", true, "dense layers before the first sparse one" },
    { "model", "window", RECIPE_U32, F(model.window), 0, 1 << 28, NULL, "128", NULL, "tokens",
      true, "what a window layer sees, the token itself included; 0: every layer is global" },
    { "model", "global_every", RECIPE_U32, F(model.global_every), 0, LAYERS_MAX, NULL, "4", NULL,
      "layers", true, "n: every n-th layer is global and without RoPE (4: LLLG); 0: none is" },
    { "model", "mtp", RECIPE_U32, F(model.mtp), 0, 1, NULL, "1", NULL, "blocks", true,
      "multi-token prediction blocks" },
    { "model", "route_scale", RECIPE_F64, F(model.route_scale), 1e-3, 1e3, NULL, "2.5", NULL, "",
      true, "factor of the routed experts' sum" },
    { "model", "rope_theta", RECIPE_F64, F(model.rope_theta), 1, 1e12, NULL, "1e6", NULL, "",
      true, "base of RoPE" },
    { "model", "eps", RECIPE_F64, F(model.eps), 1e-12, 0.1, NULL, "1e-5", NULL, "", true,
      "epsilon of RMSNorm" },
    { "model", "init_std", RECIPE_F64, F(model.init_std), 1e-6, 10, NULL, "0.02", NULL, "", true,
      "standard deviation of the first matrices; o and down have it over sqrt(2 layers)" },
    { "model", "init_from", RECIPE_TEXT, F(model.init_from), 0, 0, NULL, NULL, "random weights", "",
      true, "another model to go on with: a Hugging Face folder, DIR/final of a run or one of its "
      "DIR/checkpoints; its shape is then the model's, its weights the first ones" },

    { "data", "tokenizer", RECIPE_TEXT, F(data.tokenizer), 0, 0, NULL, NULL, "must be given", "",
      false, "folder with tokenizer.json" },
    { "data", "source", RECIPE_SOURCES, F(data.source), 0, 0, NULL, NULL, "must be given", "",
      true, "PATH weight=W epochs=E, once for each part of the mixture: what `kexa data pack` "
      "wrote, its share of the rows (default 1; of any sum) and how often at most it is gone "
      "through (default 0: as often as the run needs)" },
    { "data", "context", RECIPE_U32, F(data.context), 8, 1 << 24, NULL, NULL, "by size", "tokens",
      true, "tokens of one row; documents are packed into rows" },
    { "data", "heldout_rows", RECIPE_U32, F(data.heldout_rows), 0, 1 << 20, NULL, "32", NULL,
      "rows", false, "rows of held-out documents in one evaluation, always the same, chosen at "
      "random; 0: no evaluation" },

    { "optimizer", "kind", RECIPE_WORD, F(optimizer.kind), 0, 0, "muon|adamw", "muon", NULL, "",
      true, "muon turns hidden matrices (AdamW the rest); adamw turns everything" },
    { "optimizer", "lr", RECIPE_F64, F(optimizer.lr), 0, 10, NULL, NULL,
      "3e-4 (6144 / hidden)^(3/4), with adamw ^(1/2)", "", true,
      "learning rate at its highest, of both optimizers" },
    { "optimizer", "beta1", RECIPE_F64, F(optimizer.beta1), 0, 0.99999, NULL, "0.9", NULL, "",
      true, "AdamW: decay of the first moment" },
    { "optimizer", "beta2", RECIPE_F64, F(optimizer.beta2), 0, 0.99999, NULL, "0.95", NULL, "",
      true, "AdamW: decay of the second moment" },
    { "optimizer", "eps", RECIPE_F64, F(optimizer.eps), 1e-16, 1, NULL, "1e-8", NULL, "", true,
      "AdamW: added to the root of the second moment" },
    { "optimizer", "weight_decay", RECIPE_F64, F(optimizer.weight_decay), 0, 10, NULL, "0.1",
      NULL, "", true, "times lr, of matrices; never of embeddings and vectors" },
    { "optimizer", "momentum", RECIPE_F64, F(optimizer.momentum), 0, 0.99999, NULL, "0.95", NULL,
      "", true, "Muon: decay of the momentum (Nesterov)" },
    { "optimizer", "clip", RECIPE_F64, F(optimizer.clip), 0, 1e6, NULL, "1", NULL, "", true,
      "largest norm of the whole gradient; 0: none" },
    { "optimizer", "spike_sigma", RECIPE_F64, F(optimizer.spike_sigma), 0, 1e3, NULL, "6", NULL,
      "std", true, "a step whose loss or gradient norm is so far above the mean of the last 128 "
      "changes nothing; 0: off" },

    { "schedule", "kind", RECIPE_WORD, F(schedule.kind), 0, 0, "wsd|cosine", "wsd", NULL, "",
      false, "wsd: warm up, stay, decay; cosine: warm up, then a half cosine" },
    { "schedule", "warmup", RECIPE_U64, F(schedule.warmup), 0, BIG, NULL, NULL,
      "a fiftieth of the steps, at most 2000", "steps", false, "lr rises from 0 in a line" },
    { "schedule", "decay", RECIPE_F64, F(schedule.decay), 0, 1, NULL, "0.2", NULL,
      "share of the steps", false, "wsd: the last part, in which lr falls" },
    { "schedule", "final_lr", RECIPE_F64, F(schedule.final_lr), 0, 1, NULL, "0", NULL,
      "share of lr", false, "what lr falls to" },
    { "schedule", "shape", RECIPE_WORD, F(schedule.shape), 0, 0, "sqrt|linear", "sqrt", NULL, "",
      false, "wsd: lr falls as 1 - sqrt(x) or as 1 - x" },

    { "loss", "mtp", RECIPE_F64, F(loss.mtp), 0, 10, NULL, "0.05", NULL, "", true,
      "weight of the MTP block's cross-entropy" },
    { "loss", "balance", RECIPE_F64, F(loss.balance), 0, 10, NULL, "1e-4", NULL, "", true,
      "weight of the sequence balance loss" },
    { "loss", "bias_update", RECIPE_F64, F(loss.bias_update), 0, 1, NULL, "1e-4", NULL, "", true,
      "what an expert's selection bias moves by in one step" },
    { "loss", "z", RECIPE_F64, F(loss.z), 0, 1, NULL, "0", NULL, "", true,
      "weight of the squared log-sum-exp of the logits" },

    { "run", "out", RECIPE_TEXT, F(run.out), 0, 0, NULL, NULL, "must be given", "", false,
      "folder of the run: checkpoints, logs, report, the model in the end" },
    { "run", "dtype", RECIPE_WORD, F(run.dtype), 0, 0, "bf16|f32", "bf16", NULL, "", true,
      "what matrices compute in; masters and optimizer are f32 in any case" },
    { "run", "seed", RECIPE_U64, F(run.seed), 0, BIG, NULL, "1", NULL, "", true,
      "of the first weights and of the order of the data" },
    { "run", "tokens", RECIPE_U64, F(run.tokens), 1, BIG, NULL, NULL, "20 size", "tokens", false,
      "length of the run, rounded up to whole steps; or give steps" },
    { "run", "steps", RECIPE_U64, F(run.steps), 1, BIG, NULL, NULL, "by tokens", "", false,
      "optimizer steps" },
    { "run", "batch_tokens", RECIPE_U64, F(run.batch_tokens), 8, BIG, NULL, NULL, "by size",
      "tokens", true, "of one step, a multiple of data.context" },
    { "run", "micro_rows", RECIPE_U32, F(run.micro_rows), 1, 1 << 20, NULL, NULL,
      "2048 tokens, more below hidden 256, fewer where memory is short", "rows", true,
      "rows of one pass; a step adds up as many passes as it needs" },
    { "run", "threads", RECIPE_U32, F(run.threads), 0, 1024, NULL, "0", NULL, "", false,
      "0: every CPU; the result is the same for any number" },
    { "run", "checkpoint_every", RECIPE_U64, F(run.checkpoint_every), 0, BIG, NULL, NULL,
      "a tenth of the steps", "steps", false, "0: only at the end and when interrupted" },
    { "run", "keep", RECIPE_U32, F(run.keep), 1, 1000, NULL, "2", NULL, "checkpoints", false,
      "older ones are removed, but for the last before wsd decays" },
    { "run", "eval_every", RECIPE_U64, F(run.eval_every), 0, BIG, NULL, NULL,
      "a twentieth of the steps", "steps", false, "held-out bits per byte; 0: never" },
    { "run", "sample_every", RECIPE_U64, F(run.sample_every), 0, BIG, NULL, "0", NULL, "steps",
      false, "writes to each prompt what the model says by then; 0: never" },
    { "run", "sample_tokens", RECIPE_U32, F(run.sample_tokens), 1, 1 << 16, NULL, "48", NULL,
      "tokens", false, "length of a sample" },
    { "run", "prompt", RECIPE_TEXTS, F(run.prompt), 0, 0, NULL, NULL, "none", "", false,
      "beginning of a sample, once for each" },
    { NULL, NULL, RECIPE_U32, 0, 0, 0, NULL, NULL, NULL, NULL, false, NULL }
};

size_t recipe_key_find(const char *section, const char *name)
{
    for (size_t i = 0; recipe_keys[i].name; i++)
        if (!strcmp(recipe_keys[i].section, section) && !strcmp(recipe_keys[i].name, name))
            return i;
    return SIZE_MAX;
}

size_t recipe_key_at(size_t at)
{
    size_t i = 0;
    while (recipe_keys[i].name && recipe_keys[i].at != at)
        i++;
    check(recipe_keys[i].name && i < RECIPE_KEYS_MAX);
    return i;
}

void recipe_where(const struct train_recipe *r, size_t i, char *out, size_t cap)
{
    if (r->option[i])
        snprintf(out, cap, "%s", r->option[i]);
    else if (r->line[i])
        snprintf(out, cap, "%s:%u", r->file, r->line[i]);
    else
        snprintf(out, cap, "%s", r->file ? r->file : "recipe");
}

/* "whole number from 1 to 2048; default 4; layers" */
static void explain_range(struct buf *out, const struct recipe_key *k)
{
    static const char *const kinds[] = { "whole number", "whole number", "number", "text",
                                         "one of ", "may be given several times",
                                         "may be given several times" };
    buf_text(out, kinds[k->kind]);
    if (k->kind == RECIPE_WORD)
        buf_text(out, k->words);
    if (k->kind <= RECIPE_F64 && k->high >= 0x1p40)
        buf_printf(out, ", %g or more", k->low);
    else if (k->kind <= RECIPE_F64)
        buf_printf(out, " from %.10g to %.10g", k->low, k->high);
    if (*k->unit)
        buf_printf(out, ", %s", k->unit);
    if (k->preset)
        buf_printf(out, "; default %s", k->preset);
    else
        buf_printf(out, "; without it: %s", k->rule);
}

void train_recipe_explain(struct buf *out)
{
    const char *section = "";
    for (const struct recipe_key *k = recipe_keys; k->name; k++) {
        if (strcmp(k->section, section))
            buf_printf(out, "%s[%s]\n", *section ? "\n" : "", k->section);
        section = k->section;
        buf_printf(out, "  %-17s %s\n                    (", k->name, k->meaning);
        explain_range(out, k);
        buf_text(out, ")\n");
    }
}
