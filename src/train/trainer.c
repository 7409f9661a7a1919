/* Opening a run: folder, model, weights, data, optimizer, log. */
#include "train/trainer_parts.h"

#include "kexa.h"
#include "train/first_weights.h"
#include "train/train_folder.h"

#include <stdio.h>

static bool path_in(const struct trainer *t, const char *name, char *out, size_t cap,
                    struct err *err)
{
    int n = snprintf(out, cap, "%s/%s", t->recipe->run.out, name);
    return (n >= 0 && (size_t)n < cap)
           || fail(err, ERR_USAGE, "run.out is too long a path (%zu bytes)",
                   strlen(t->recipe->run.out));
}

/* An empty or new folder, or with resume the run's own; not one that is finished. */
static bool claim_folder(const struct trainer *t, bool resume, struct err *err)
{
    char path[4200];
    if (!(resume ? train_folder_check(t->recipe, err) : train_folder_check_new(t->recipe, err))
        || !train_folder_make(t->recipe, err) || !path_in(t, "final", path, sizeof path, err))
        return false;
    return !file_is_dir(path)
           || fail(err, ERR_USAGE, "%s: this run is finished; more steps go on in another folder "
                   "from the checkpoint before the decay (docs/pretrain.md)", path);
}

static bool save_text(const struct trainer *t, const char *name, struct buf *text,
                      struct err *err)
{
    char path[4200];
    return buf_ok(text, err) && path_in(t, name, path, sizeof path, err)
           && file_write(path, text->at, text->len, err);
}

/* The tokenizer first: the model's vocabulary is its. */
static bool open_model(struct trainer *t, struct err *err)
{
    char path[4200];
    uint32_t vocab = 0;
    const char *folder = t->recipe->data.tokenizer;
    if (!folder)
        return fail(err, ERR_USAGE, "%s: data.tokenizer is missing; it names a tokenizer's folder "
                    "(kexa tokenizer train makes one)", t->recipe->file);
    struct tokenizer *tokenizer = tokenizer_open_hf(folder, err);
    bool ok = tokenizer && train_recipe_vocab(t->recipe, tokenizer_size(tokenizer), &vocab, err);
    json_t *config = ok ? train_recipe_config(t->recipe, vocab, err) : NULL;
    ok = config && json_save(config, t->recipe->run.out, "config.json", err)
         && path_in(t, "config.json", path, sizeof path, err)
         && model_open_plan(&t->model, path, err);
    json_decref(config);
    if (ok)
        t->model.tokenizer = tokenizer;
    else
        tokenizer_close(tokenizer);
    return ok;
}

static int threads_of(const struct train_recipe *r)
{
    return r->run.threads ? (int)r->run.threads : sys_cpus();
}

static bool open_params(struct trainer *t, struct err *err)
{
    const struct train_recipe *r = t->recipe;
    struct optimizer_rule rule = {
        .adamw = { r->optimizer.beta1, r->optimizer.beta2, r->optimizer.eps,
                   r->optimizer.weight_decay },
        .muon_momentum = r->optimizer.momentum, .bias_update = r->loss.bias_update };
    if (!params_open(&t->ps, &t->model, threads_of(r), r->run.dtype == TRAIN_BF16,
                     r->optimizer.kind == OPTIMIZER_MUON, err)
        || !optimizer_open(&t->optimizer, &t->ps, &rule, err))
        return false;
    t->tape = tape_open(&t->model, r->run.micro_rows, r->data.context, true, err);
    if (t->tape && r->data.heldout_rows && r->run.eval_every)
        t->eval_tape = tape_open(&t->model, r->run.micro_rows, r->data.context, false, err);
    return t->tape && (t->eval_tape || !r->data.heldout_rows || !r->run.eval_every);
}

/* Of a run that begins: random, or those of another model. */
static bool fill_params(struct trainer *t, struct err *err)
{
    const struct recipe_model *m = &t->recipe->model;
    if (m->init_from)
        return first_weights_copy(&t->ps, m->init_from, t->model.tokenizer, err);
    params_fill_random(&t->ps, t->recipe->run.seed, m->init_std);
    return true;
}

static bool open_loader(struct trainer *t, bool held_out, struct loader **out, struct err *err)
{
    const struct recipe_data *d = &t->recipe->data;
    struct loader_source *source = mem_take(d->n_sources + 1, sizeof *source);
    if (!source)
        return fail(err, ERR_MEMORY, "out of memory for %zu sources", d->n_sources);
    for (size_t i = 0; i < d->n_sources; i++)
        source[i] = (struct loader_source){ d->source[i].path, d->source[i].weight,
                                            d->source[i].epochs };
    struct loader_config c = { .source = source, .n_sources = d->n_sources,
                               .context = d->context, .seed = t->recipe->run.seed,
                               .tokenizer = t->model.tokenizer, .held_out = held_out };
    bool ok = loader_open(out, &c, err);
    mem_give(source);
    return ok;
}

static bool open_data(struct trainer *t, struct err *err)
{
    if (!open_loader(t, false, &t->loader, err))
        return false;
    if (!t->eval_tape)
        return true;
    if (!open_loader(t, true, &t->heldout, err))
        return false;
    t->heldout_begin = loader_state_get(t->heldout);
    if (loader_rows_left(t->heldout))
        return true;
    loader_close(t->heldout);
    t->heldout = NULL;
    buf_printf(&t->notes, "the sources hold no held-out text: no evaluation\n");
    return true;
}

static bool take_figures(struct trainer *t, struct err *err)
{
    const struct plan *p = &t->model.plan;
    t->n_sparse = plan_sparse_layers(p);
    t->n_experts = p->router.n;
    t->load = mem_take(t->n_sparse * t->n_experts + 1, sizeof *t->load);
    t->entropy = mem_take(t->n_sparse + 1, sizeof *t->entropy);
    t->load_max = mem_take(t->n_sparse + 1, sizeof *t->load_max);
    t->load_dead = mem_take(t->n_sparse + 1, sizeof *t->load_dead);
    train_flops_init(&t->flops, p);
    return (t->load && t->entropy && t->load_max && t->load_dead)
           || fail(err, ERR_MEMORY, "out of memory for the figures of a step");
}

static bool open_logs(struct trainer *t, double roof, struct err *err)
{
    struct buf text = { 0 };
    const struct train_recipe *r = t->recipe;
    const char *out = r->run.out;
    train_recipe_write(r, &text);
    struct run_facts f = { .version = KEXA_VERSION, .recipe_name = r->file, .recipe = text.at,
                           .n_threads = threads_of(r), .seed = r->run.seed,
                           .n_params = t->ps.n_weights, .n_active = (uint64_t)t->flops.active,
                           .n_steps = r->run.steps, .roof_flops = roof };
    bool ok = run_log_open(&t->log, out, t->counts.step, err);
    if (ok)                               /* the log is locked: nobody else writes here */
        file_out_clean(out);
    ok = ok && save_text(t, "run.recipe", &text, err)
         && run_log_begin(&t->log, t->counts.step, &f, err)
         && tensorboard_open(&t->board, out, t->counts.step, err);
    buf_release(&text);
    return ok;
}

/* All but what is written from now on. */
static bool open_state(struct trainer *t, bool resume, struct err *err)
{
    return open_model(t, err) && open_params(t, err) && open_data(t, err) && take_figures(t, err)
           && (!resume || trainer_restore(t, err))
           && (t->saved_step != UINT64_MAX || fill_params(t, err));
}

/* A run that could not begin is none: nothing says that its folder holds one. */
static void drop_model(const struct trainer *t)
{
    char path[4200];
    struct err none;
    if (path_in(t, "config.json", path, sizeof path, &none))
        remove(path);
}

bool trainer_open(struct trainer **out, const struct train_recipe *r,
                  const struct trainer_options *o, struct err *err)
{
    struct trainer *t = mem_take(1, sizeof *t);
    if (!t)
        return fail(err, ERR_MEMORY, "out of memory for a run");
    t->recipe = r;
    t->saved_step = UINT64_MAX;
    bool ok = claim_folder(t, o->resume, err);
    if (ok && !(ok = open_state(t, o->resume, err)) && !o->resume)
        drop_model(t);
    ok = ok && open_logs(t, o->roof_flops, err);
    if (ok)
        *out = t;
    else
        trainer_close(t);
    return ok;
}

void trainer_close(struct trainer *t)
{
    if (!t)
        return;
    tensorboard_close(&t->board);
    run_log_close(&t->log);
    loader_close(t->heldout);
    loader_close(t->loader);
    tape_close(t->eval_tape);
    tape_close(t->tape);
    optimizer_close(&t->optimizer);
    params_close(&t->ps);
    model_close(&t->model);
    buf_release(&t->notes);
    mem_give(t->load);
    mem_give(t->entropy);
    mem_give(t->load_max);
    mem_give(t->load_dead);
    mem_give(t);
}

struct model *trainer_model(struct trainer *t)
{
    return &t->model;
}

uint64_t trainer_step_number(const struct trainer *t)
{
    return t->counts.step;
}

const char *trainer_notes(const struct trainer *t)
{
    return t->notes.at ? t->notes.at : "";
}
