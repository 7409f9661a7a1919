/* What a run will be, before it begins. */
#include "cmd/pretrain.h"

#include <inttypes.h>
#include <stdlib.h>

/* What models of 3m and 10m reach of the roof (bench/RESULTS.md), for the second estimate. */
#define USUAL_SHARE 0.15

void put_duration(struct buf *out, double seconds)
{
    double minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
    if (seconds < 100)
        buf_printf(out, "%.0f s", seconds);
    else if (minutes < 100)
        buf_printf(out, "%.0f min", minutes);
    else if (hours < 48)
        buf_printf(out, "%d h %02d min", (int)hours, (int)(minutes - 60.0 * (int)hours));
    else if (days < 1000)
        buf_printf(out, "%.1f days", days);
    else
        buf_printf(out, "%.0f years", days / 365.25);
}

/* "13.4 M" */
static void put_count(struct buf *out, double n)
{
    static const char *const units[] = { "", " k", " M", " G", " T", " P", " E", " Z",
                                         " Y" };
    size_t u = 0;
    for (; n >= 999.5 && u + 1 < sizeof units / sizeof *units; u++)
        n /= 1000;
    buf_printf(out, u ? "%.3g%s" : "%.0f%s", n, units[u]);
}

/* "LLLG": a letter for each layer of a period, L for a window; all of a short model. */
static void put_pattern(struct buf *out, const struct plan *p, uint32_t period)
{
    uint32_t n = period && period < p->n_layers ? period : p->n_layers < 8 ? p->n_layers : 1;
    for (uint32_t i = 0; i < n; i++)
        buf_text(out, p->layer[i].window ? "L" : "G");
}

static void put_model(struct buf *out, const struct pretrain *p)
{
    const struct recipe_model *m = &p->recipe.model;
    buf_printf(out, "model      %u layers (", m->layers);
    put_pattern(out, &p->plan, m->global_every);
    buf_printf(out, ", window %u), hidden %u, %u heads of %u, %u for keys and values\n",
               m->window, m->hidden, m->heads, m->head_dim, m->kv_heads);
    buf_text(out, "           ");
    if (m->experts)
        buf_printf(out, "%u experts of %u, %u for a token and %u shared; dense FFN %u",
                   m->experts, m->expert_ffn, m->top_k, m->shared_experts, m->ffn);
    else
        buf_printf(out, "dense, FFN %u", m->ffn);
    buf_printf(out, "; vocabulary %u%s\n", p->plan.vocab, m->mtp ? "; one MTP block" : "");
}

/* What the dial counts: read for a token, without the head and the norm before it. */
static double layer_weights(const struct pretrain *p)
{
    return p->flops.active - (double)p->plan.hidden * (p->plan.vocab + 1.0);
}

/* Layers and widths that were given may be those of another size. */
static void put_dial(struct buf *out, const struct pretrain *p)
{
    double size = (double)p->recipe.model.size, is = layer_weights(p);
    if (is >= size / 2 && is <= 2 * size)
        return;
    buf_text(out, "           model.size is ");
    put_count(out, size);
    buf_text(out, ": batch and length follow from it where they are not given, but the layers "
             "given are of another size\n");
}

static void put_weights(struct buf *out, const struct pretrain *p)
{
    struct weight_counts c;
    plan_count(&p->plan, &c);
    if (p->recipe.model.init_from)
        buf_printf(out, "           begins with the weights of %s\n", p->recipe.model.init_from);
    buf_text(out, "weights    ");
    put_count(out, (double)c.main);
    if (c.mtp) {
        buf_text(out, " + ");
        put_count(out, (double)c.mtp);
        buf_text(out, " MTP");
    }
    buf_text(out, "; read for a token: ");
    put_count(out, (double)c.touched);
    buf_text(out, ", of them in layers: ");
    put_count(out, layer_weights(p));
    buf_text(out, "\n");
    put_dial(out, p);
}

static void put_length(struct buf *out, const struct pretrain *p)
{
    const struct train_recipe *r = &p->recipe;
    buf_printf(out, "length     %" PRIu64 " steps of %" PRIu64 " rows of %u tokens = ",
               r->run.steps, train_recipe_rows(r), r->data.context);
    put_count(out, (double)r->run.tokens);
    buf_text(out, " tokens, ");
    buf_printf(out, "%.3g for each weight read\n", (double)r->run.tokens / p->flops.active);
}

static void put_learning(struct buf *out, const struct pretrain *p)
{
    const struct train_recipe *r = &p->recipe;
    uint64_t falls = r->run.steps + 1 - schedule_decay_begins(r);
    buf_printf(out, "learning   %s, %s, lr %g over %" PRIu64 " steps up and %" PRIu64 " down (%s)"
               ", weight decay %g, clip %g\n",
               r->optimizer.kind == OPTIMIZER_MUON ? "Muon" : "AdamW",
               r->run.dtype == TRAIN_BF16 ? "bf16 with f32 masters" : "f32", r->optimizer.lr,
               r->schedule.warmup, falls, r->schedule.kind == SCHEDULE_COSINE ? "cosine"
               : r->schedule.shape == DECAY_SQRT ? "WSD, 1 - sqrt" : "WSD, linear",
               r->optimizer.weight_decay, r->optimizer.clip);
}

static void put_memory(struct buf *out, const struct pretrain *p)
{
    buf_text(out, "memory     ");
    train_memory_line(&p->memory, out);
    buf_text(out, p->fits ? "\n" : "; it does not fit on this machine\n");
}

static void put_disk(struct buf *out, const struct pretrain *p)
{
    buf_text(out, "disk       ");
    train_disk_line(&p->disk, out);
    buf_text(out, p->disk.total <= p->disk.available ? "\n" : "; it does not fit there\n");
}

static double total_flops(const struct pretrain *p)
{
    return train_flops_token(&p->flops, &p->plan, p->recipe.data.context)
           * (double)p->recipe.run.tokens;
}

static void put_work(struct buf *out, const struct pretrain *p)
{
    double all = total_flops(p), tokens = (double)p->recipe.run.tokens;
    buf_text(out, "work       ");
    put_count(out, all / tokens);
    buf_text(out, "FLOP a token, ");
    put_count(out, all);
    buf_text(out, "FLOP in all (6 N D: ");
    put_count(out, 6 * p->flops.active * tokens);
    buf_printf(out, ")\ntime       ");
    put_duration(out, all / p->roof.flops);
    buf_printf(out, " at the roof of %.0f GFLOP/s measured now (%s, %d thread%s), ",
               p->roof.flops * 1e-9, p->roof.unit, p->n_threads, p->n_threads == 1 ? "" : "s");
    put_duration(out, all / p->roof.flops / USUAL_SHARE);
    buf_printf(out, " at %.0f %% of it\n", 100 * USUAL_SHARE);
}

static bool loader_of(struct loader **l, const struct pretrain *p, struct err *err)
{
    const struct recipe_data *d = &p->recipe.data;
    struct loader_source source[MIXTURE_MAX];
    if (d->n_sources > MIXTURE_MAX)
        return fail(err, ERR_LIMIT, "%s: %zu sources; at most %d", p->recipe.file, d->n_sources,
                    MIXTURE_MAX);
    for (size_t i = 0; i < d->n_sources; i++)
        source[i] = (struct loader_source){ d->source[i].path, d->source[i].weight,
                                            d->source[i].epochs };
    struct loader_config c = { .source = source, .n_sources = d->n_sources,
                               .context = d->context, .seed = p->recipe.run.seed,
                               .tokenizer = p->tokenizer };
    return loader_open(l, &c, err);
}

/* What the run takes of a source: so often all of it, and what part of its tokens that is. */
static void put_taken(struct buf *out, const struct loader *l, size_t i, size_t n, uint64_t rows)
{
    double all = 0, tokens = 0, epochs = 0;
    for (size_t k = 0; k < n; k++) {
        struct loader_source_info s = loader_source_info(l, k);
        double of_k = loader_rows_from(l, k, rows) / (double)s.n_rows;
        all += of_k * (double)s.n_tokens;
        tokens = k == i ? of_k * (double)s.n_tokens : tokens;
        epochs = k == i ? of_k : epochs;
    }
    buf_printf(out, "; %.3g epochs", epochs);
    if (n > 1)
        buf_printf(out, ", %.3g %% of the tokens", 100 * tokens / all);
}

static void put_sources(struct buf *out, const struct pretrain *p, struct loader *l)
{
    uint64_t left = loader_rows_left(l), rows = train_recipe_rows(&p->recipe) * p->recipe.run.steps;
    size_t n = p->recipe.data.n_sources;
    for (size_t i = 0; i < n; i++) {
        struct loader_source_info s = loader_source_info(l, i);
        buf_printf(out, "%s  %s: ", i ? "         " : "data     ", p->recipe.data.source[i].path);
        put_count(out, (double)s.n_tokens);
        buf_printf(out, " tokens in %" PRIu64 " documents, %" PRIu64 " rows %.1f %% full",
                   s.n_docs, s.n_rows, 100 * s.fill);
        put_taken(out, l, i, n, rows);
        buf_text(out, "\n");
    }
    if (left < rows)
        buf_printf(out, "           it ends after %" PRIu64 " steps: more text, more epochs or "
                   "fewer steps\n", left / train_recipe_rows(&p->recipe));
}

/* Whether any document has a token after its first, to be told from it. */
static bool has_targets(const struct loader *l, const struct pretrain *p)
{
    for (size_t i = 0; i < p->recipe.data.n_sources; i++) {
        struct loader_source_info s = loader_source_info(l, i);
        if (s.n_tokens > s.n_docs)
            return true;
    }
    return false;
}

bool pretrain_check_data(const struct pretrain *p, struct err *err)
{
    struct loader *l = NULL;
    uint64_t rows = train_recipe_rows(&p->recipe), left;
    for (size_t i = 0; i < p->recipe.data.n_sources; i++)
        if (!file_exists(p->recipe.data.source[i].path))
            return fail(err, ERR_IO, "%s: data.source %s is not there; `kexa data pack --out` "
                        "makes it", p->recipe.file, p->recipe.data.source[i].path);
    if (!loader_of(&l, p, err))
        return false;
    bool learns = has_targets(l, p);
    left = loader_rows_left(l) / rows;
    loader_close(l);
    if (!learns)
        return fail(err, ERR_LIMIT, "%s: every document of the sources is a single token, so there "
                    "is no next one to learn; pack longer texts, or with `kexa data pack --eos`",
                    p->recipe.file);
    return left >= p->recipe.run.steps
           || fail(err, ERR_LIMIT, "%s: the sources with their epochs last for %" PRIu64 " steps "
                   "of %" PRIu64 " rows, but run.steps is %" PRIu64 "; add text or epochs, or take "
                   "fewer steps", p->recipe.file, left, rows, p->recipe.run.steps);
}

/* What the shards hold, where they are there already. */
static void put_data(struct buf *out, const struct pretrain *p)
{
    struct loader *l = NULL;
    struct err err = { 0 };
    if (!p->recipe.data.n_sources)
        buf_text(out, "data       none is named yet (data.source)\n");
    else if (!loader_of(&l, p, &err))
        buf_printf(out, "data       cannot be read yet: %s\n", err.msg);
    else
        put_sources(out, p, l);
    loader_close(l);
}

/* -1: not known. */
static json_int_t or_unknown(uint64_t v)
{
    return v == UINT64_MAX ? -1 : (json_int_t)v;
}

static bool print_json(const struct pretrain *p, struct err *err)
{
    struct weight_counts c;
    plan_count(&p->plan, &c);
    const struct recipe_run *run = &p->recipe.run;
    json_t *o = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:i, s:I, s:I, s:I, s:i, s:i, s:f, s:f, s:f, s:f, s:s,"
        " s:s?, s:i, s:{s:I, s:I, s:I, s:I, s:I, s:b},"
        " s:{s:I, s:I, s:I, s:I, s:I}}",
        "event", "plan", "recipe", p->recipe.file, "weights", (json_int_t)c.main,
        "mtp_weights", (json_int_t)c.mtp, "active_weights", (json_int_t)c.touched,
        "layer_weights", (json_int_t)layer_weights(p),
        "vocab", (int)p->plan.vocab, "steps", (json_int_t)run->steps,
        "tokens", (json_int_t)run->tokens, "batch_tokens", (json_int_t)run->batch_tokens,
        "micro_rows", (int)run->micro_rows, "context", (int)p->recipe.data.context,
        "lr", p->recipe.optimizer.lr, "flops", total_flops(p),
        "flops_6nd", 6 * p->flops.active * (double)run->tokens, "roof_flops", p->roof.flops,
        "roof", p->roof.unit, "init_from", p->recipe.model.init_from, "threads",
        p->n_threads, "memory",
        "weights", (json_int_t)p->memory.weights, "passes", (json_int_t)p->memory.passes,
        "other", (json_int_t)(p->memory.scratch + p->memory.rows
                                           + p->memory.samples),
        "total", (json_int_t)p->memory.total,
        "available", or_unknown(p->memory.available), "fits", p->fits,
        "disk", "checkpoint", (json_int_t)p->disk.checkpoint, "checkpoints",
        (json_int_t)p->disk.n, "model", (json_int_t)p->disk.model, "total",
        (json_int_t)p->disk.total, "available", or_unknown(p->disk.available));
    if (!o)
        return fail(err, ERR_MEMORY, "no memory for the plan");
    json_dumpf(o, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(o);
    return true;
}

bool pretrain_print_plan(const struct pretrain *p, struct err *err)
{
    struct buf out = { 0 };
    if (p->args->json)
        return print_json(p, err);
    buf_printf(&out, "recipe     %s\n", p->recipe.file);
    put_model(&out, p);
    put_weights(&out, p);
    put_length(&out, p);
    put_learning(&out, p);
    if (p->args->dry_run)
        put_data(&out, p);
    put_memory(&out, p);
    put_disk(&out, p);
    put_work(&out, p);
    bool ok = buf_ok(&out, err);
    if (ok)
        fputs(out.at, stdout);
    fflush(stdout);
    buf_release(&out);
    return ok;
}
