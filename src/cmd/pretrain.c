/* pretrain: grow a model from text, as a recipe says. */
#include "cmd/pretrain.h"
#include "cmd/commands.h"

#define AT(f) offsetof(struct pretrain_args, f)
static const struct opt pretrain_opts[] = {
    O_TEXT("size", 0, AT(size), NULL, "N",
           "the one dial, model.size of the recipe: nano, 3m, 10m, 30m, 124m or any number of "
           "weights in the layers that one token reads; width, depth, experts, learning rate, "
           "batch and length follow"),
    O_LIST("set", 0, AT(set), "SECTION.KEY=VALUE", "a key of the recipe"),
    O_TEXT("out", 'o', AT(out), NULL, "DIR", "run.out of the recipe: the folder of the run"),
    O_FLAG("resume", 0, AT(resume), "go on with the run in that folder, to the bit"),
    O_INT("threads", 't', AT(threads), 1, 1024, NULL, "N",
          "threads; without it all CPUs; the model is the same for any number"),
    O_FLAG("dry-run", 'n', AT(dry_run), "show what the run would be, and stop"),
    O_FLAG("explain", 0, AT(explain), "list every key of a recipe, and stop"),
    O_FLAG("json", 0, AT(json), "print JSON, one object a line"),
    O_END
};
#undef AT

static bool set_text(struct train_recipe *r, const char *option, const char *key,
                     const char *value, struct err *err)
{
    struct buf text = { 0 };
    buf_printf(&text, "%s=%s", key, value);
    bool ok = buf_ok(&text, err) && train_recipe_set(r, option, text.at, err);
    buf_release(&text);
    return ok;
}

/* A run that goes on has its model already, whatever became of the one it began from. */
static bool begin_from(struct pretrain *p, struct err *err)
{
    struct train_recipe *r = &p->recipe;
    struct buf from = { 0 };
    if (!r->model.init_from)
        return true;
    if (!p->args->resume)
        buf_text(&from, r->model.init_from);
    bool ok = (p->args->resume ? train_folder_description(r, &from, err) : buf_ok(&from, err))
              && train_recipe_begin_from(r, from.at, err);
    buf_release(&from);
    return ok;
}

/* The file, then --set in order, then the options that have names of their own. */
static bool read_recipe(struct pretrain *p, const char *path, struct err *err)
{
    const struct pretrain_args *a = p->args;
    struct train_recipe *r = &p->recipe;
    char threads[24];
    if (!train_recipe_load(r, path, err))
        return false;
    for (size_t i = 0; i < a->set.n; i++)
        if (!train_recipe_set(r, "--set", a->set.at[i], err))
            return false;
    snprintf(threads, sizeof threads, "%lld", (long long)a->threads);
    return (!a->size || set_text(r, "--size", "model.size", a->size, err))
           && (!a->out || set_text(r, "--out", "run.out", a->out, err))
           && (a->threads == OPT_UNSET
               || set_text(r, "--threads", "run.threads", threads, err))
           && begin_from(p, err) && train_recipe_resolve(r, err);
}

/* A plan alone does without the tokenizer where the recipe says how large the vocabulary is. */
static bool open_tokenizer(struct pretrain *p, struct err *err)
{
    const struct train_recipe *r = &p->recipe;
    if (!r->data.tokenizer || (p->args->dry_run && r->model.vocab
                               && !file_exists(r->data.tokenizer)))
        return true;
    p->tokenizer = tokenizer_open_hf(r->data.tokenizer, err);
    return p->tokenizer != NULL;
}

static bool open_plan(struct pretrain *p, struct err *err)
{
    const struct train_recipe *r = &p->recipe;
    uint32_t vocab = 0;
    if (!open_tokenizer(p, err))
        return false;
    return train_recipe_vocab(r, p->tokenizer ? tokenizer_size(p->tokenizer) : 0, &vocab, err)
           && train_recipe_plan(&p->plan, r, vocab, err);
}

/* Memory, disk, work and roof; whether it fits is said, not yet an error. */
static bool measure(struct pretrain *p, struct err *why, struct err *err)
{
    p->n_threads = p->recipe.run.threads ? (int)p->recipe.run.threads : sys_cpus();
    train_flops_init(&p->flops, &p->plan);
    p->fits = train_memory_fit(&p->memory, &p->recipe, &p->plan, p->n_threads, why);
    train_disk_plan(&p->disk, &p->recipe, &p->plan);
    return train_roof_measure(&p->roof, p->recipe.run.dtype, p->n_threads, err);
}

/* What only a run needs that is done. */
static bool check_whole(struct pretrain *p, struct err *err)
{
    const struct train_recipe *r = &p->recipe;
    if (!r->data.tokenizer)
        return fail(err, ERR_USAGE, "%s: data.tokenizer is missing: the folder of the tokenizer "
                    "that packed the data", r->file);
    if (!r->data.n_sources)
        return fail(err, ERR_USAGE, "%s: data.source is missing: a folder that `kexa data pack` "
                    "wrote", r->file);
    return p->args->resume ? train_folder_check(r, err) && train_folder_resume(&p->recipe, err)
                           : train_folder_check_new(r, err);
}

static bool plan_and_run(struct pretrain *p, const char *path, struct err *err)
{
    struct err why = { 0 };
    bool dry = p->args->dry_run;
    if (!read_recipe(p, path, err) || (!dry && !check_whole(p, err)) || !open_plan(p, err)
        || (!dry && (!pretrain_check_data(p, err) || !pretrain_check_prompts(p, err)))
        || !measure(p, &why, err) || !pretrain_print_plan(p, err))
        return false;
    if (!dry && !p->fits)
        return fail(err, why.code, "%s", why.msg);
    if (!dry && !train_disk_check(&p->disk, &p->recipe, err))
        return false;
    return dry || (train_folder_make(&p->recipe, err) && pretrain_run(p, err));
}

static bool explain(struct err *err)
{
    struct buf out = { 0 };
    train_recipe_explain(&out);
    bool ok = buf_ok(&out, err);
    if (ok)
        fputs(out.at, stdout);
    buf_release(&out);
    return ok;
}

static bool run_pretrain(const void *args, const struct operands *rest, struct err *err)
{
    struct pretrain p = { .args = args };
    if (p.args->explain)
        return explain(err);
    if (!rest->n)
        return fail(err, ERR_USAGE, "pretrain needs a recipe, such as recipes/nano/ci.recipe; "
                    "`kexa pretrain --explain` lists what may stand in one");
    train_recipe_init(&p.recipe);
    bool ok = plan_and_run(&p, rest->at[0], err);
    plan_release(&p.plan);
    tokenizer_close(p.tokenizer);
    train_recipe_release(&p.recipe);
    return ok;
}

static const struct example examples[] = {
    { "kexa pretrain recipes/nano/3m.recipe --dry-run", "what the run would be" },
    { "kexa pretrain recipes/nano/ci.recipe", "the smallest run" },
    { "kexa pretrain recipes/nano/ci.recipe --resume", "on from where it was stopped" },
    { "kexa pretrain my.recipe --size 10m --set optimizer.kind=adamw --out runs/adamw",
      "the same text, another model" },
    { "kexa pretrain --explain", "every key of a recipe" },
    { NULL, NULL }
};

static const struct opt_group groups[] = {
    { "Options", pretrain_opts, 0 },
    { NULL, NULL, 0 }
};

const struct command pretrain_command = {
    "pretrain", "grow a model from text", "RECIPE", 0, 1,
    "Trains a model of the K-EXAONE kind, or goes on with any model that kexa runs "
    "(model.init_from), from the shards that `kexa data pack` wrote, as a recipe says: "
    "sections of key = value, every one with a default.  First the plan is printed: shape, "
    "length, memory, disk, operations, time at the speed measured now; a run that does not fit "
    "in memory or on the disk is refused.  Then a line shows loss, bits per byte, tokens a "
    "second, the share of what the machine can do at most, and the time left; held-out bits per "
    "byte and samples follow as the recipe asks.\n\n"
    "The folder of the run gets checkpoints, log.jsonl, TensorBoard events, and in the end "
    "report.html and final/, a Hugging Face folder that every kexa command reads.  Ctrl-C "
    "(SIGTERM, a lost terminal) finishes the step, saves it and ends with status 8; a second "
    "one ends at once.  --resume goes on after that, and after a crash from the newest "
    "checkpoint: the model is the same to the bit as if nothing had happened, for any number "
    "of threads.  A folder that holds a run is never written over.",
    examples, groups, sizeof(struct pretrain_args), run_pretrain
};
