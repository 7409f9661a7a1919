/* Checkpoints of a run, going on from one, and the trained model. */
#include "train/trainer_parts.h"

#include "kern/cpu.h"
#include "train/checkpoint.h"
#include "train/train_build.h"

#include <inttypes.h>
#include <stdio.h>

struct parts {
    struct checkpoint_part *at;
    size_t n;
    struct arena names;
    struct loader_state loader;
    bool failed;
};

static void put(struct parts *p, const char *what, const char *name, void *data, size_t n_bytes)
{
    char text[400];
    int n = snprintf(text, sizeof text, "%s/%s", what, name);
    char *copy = n > 0 && (size_t)n < sizeof text ? arena_text(&p->names, text, (size_t)n) : NULL;
    if (!copy)
        p->failed = true;
    else
        p->at[p->n++] = (struct checkpoint_part){ copy, data, n_bytes };
}

static bool parts_make(struct parts *p, struct trainer *t, struct err *err)
{
    *p = (struct parts){ 0 };
    if (!arena_init(&p->names, t->ps.n * 1300 + 8192, err))
        return false;
    p->at = mem_take(3 * t->ps.n + 8, sizeof *p->at);
    p->failed = !p->at;
    for (size_t i = 0; !p->failed && i < t->ps.n; i++) {
        struct param *w = &t->ps.at[i];
        put(p, "master", w->name, w->master, w->n * sizeof *w->master);
        if (w->m1)
            put(p, w->m2 ? "adamw.m" : "muon.m", w->name, w->m1, w->n * sizeof *w->m1);
        if (w->m2)
            put(p, "adamw.v", w->name, w->m2, w->n * sizeof *w->m2);
    }
    if (!p->failed) {
        put(p, "run", "counts", &t->counts, sizeof t->counts);
        put(p, "run", "spike_guard", &t->guard, sizeof t->guard);
        put(p, "run", "loader", &p->loader, sizeof p->loader);
    }
    return !p->failed || fail(err, ERR_MEMORY, "out of memory for the list of what to save");
}

static void parts_release(struct parts *p)
{
    if (p->names.low)
        arena_release(&p->names);
    mem_give(p->at);
}

static json_t *head_of(const struct trainer *t, struct err *err)
{
    struct buf recipe = { 0 };
    char build[TRAIN_BUILD_MAX], tokenizer[20];
    train_build_name(build);
    snprintf(tokenizer, sizeof tokenizer, "%016" PRIx64, tokenizer_hash(t->model.tokenizer));
    train_recipe_write(t->recipe, &recipe);
    json_t *head = recipe.failed ? NULL
        : json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:O}", "tokenizer", tokenizer, "build",
                    build, "cpu_level", cpu_level_name(cpu_level_chosen()), "step",
                    (json_int_t)t->counts.step, "tokens", (json_int_t)t->counts.all_tokens,
                    "recipe", recipe.at, "config", t->model.json);
    buf_release(&recipe);
    if (!head)
        fail(err, ERR_MEMORY, "out of memory for the head of a checkpoint");
    return head;
}

/* The checkpoint that stays: of the last step from which the run can be made longer. */
static uint64_t held_step(const struct train_recipe *r)
{
    uint64_t step = schedule_branches(r);
    return step ? step : UINT64_MAX;
}

bool trainer_checkpoint(struct trainer *t, struct err *err)
{
    struct parts p = { 0 };
    char path[4300];
    uint64_t n_bytes = 0, begin = now_ns();
    if (t->saved_step == t->counts.step)
        return true;
    json_t *head = head_of(t, err);
    bool ok = head && run_log_sync(&t->log, err) && parts_make(&p, t, err);
    if (ok) {
        p.loader = loader_state_get(t->loader);
        ok = checkpoint_save(t->recipe->run.out, t->counts.step, head, p.at, p.n,
                             (int)t->recipe->run.keep, held_step(t->recipe), err);
    }
    for (size_t i = 0; i < p.n; i++)
        n_bytes += p.at[i].n_bytes;
    json_decref(head);
    parts_release(&p);
    if (!ok)
        return false;
    t->saved_step = t->counts.step;
    snprintf(path, sizeof path, "%s/checkpoints/step-%08" PRIu64 ".kxc", t->recipe->run.out,
             t->counts.step);
    return run_log_checkpoint(&t->log, t->counts.step, path, n_bytes,
                              (double)(now_ns() - begin) * 1e-9, err);
}

/* The run of the checkpoint must be this one, or one that takes another length after its step. */
static bool same_run(const struct trainer *t, const char *path, const json_t *head, uint64_t step,
                     struct err *err)
{
    const char *text = json_string_value(json_object_get(head, "recipe"));
    struct train_recipe was;
    if (!text)
        return fail(err, ERR_FORMAT, "%s: its head has no recipe", path);
    train_recipe_init(&was);
    bool ok = train_recipe_read(&was, path, bytes_of(text), err)
              && train_recipe_resolve(&was, err) && train_recipe_same(&was, t->recipe, err)
              && schedule_continues(&was, t->recipe, step, err);
    train_recipe_release(&was);
    return ok;
}

/* Bits are promised for one build: a run that changes it is told, and goes on. */
static void note_build(struct trainer *t, const char *path, const json_t *head)
{
    char here[TRAIN_BUILD_MAX];
    const char *there = json_string_value(json_object_get(head, "build"));
    train_build_name(here);
    if (!there || strcmp(there, here))
        buf_printf(&t->notes, "%s was written by another build (%.100s; this is %s): what follows "
                   "may differ from what that one would have given, by rounding\n", path,
                   there ? there : "it does not say which", here);
}

static bool restore_from(struct trainer *t, const char *path, struct err *err)
{
    struct parts p = { 0 };
    json_t *head = NULL;
    uint64_t step = 0;
    bool ok = checkpoint_read_head(path, &step, &head, err) && same_run(t, path, head, step, err);
    if (ok)
        note_build(t, path, head);
    json_decref(head);
    ok = ok && parts_make(&p, t, err) && checkpoint_load(path, NULL, p.at, p.n, err)
         && loader_state_set(t->loader, &p.loader, err);
    parts_release(&p);
    if (!ok)
        return false;
    params_publish(&t->ps);
    t->saved_step = t->counts.step;
    buf_printf(&t->notes, "going on from step %" PRIu64 " (%s)\n", t->counts.step, path);
    return true;
}

bool trainer_restore(struct trainer *t, struct err *err)
{
    char path[4300];
    struct err none = { 0 };
    if (checkpoint_newest(t->recipe->run.out, path, sizeof path, &t->notes, &none))
        return restore_from(t, path, err);
    if (none.code != ERR_NONE) {
        *err = none;
        return false;
    }
    buf_printf(&t->notes, "%s has no checkpoint yet: the run begins anew\n", t->recipe->run.out);
    return true;
}

bool trainer_finish(struct trainer *t, struct err *err)
{
    char path[4300];
    struct convert_options o = { .float_type = qtype_find(QT_F32) };
    struct convert_report report;
    snprintf(path, sizeof path, "%s/final", t->recipe->run.out);
    return trainer_checkpoint(t, err) && model_to_folder(&t->model, path, &o, &report, err);
}

bool trainer_end(struct trainer *t, const char *why, struct err *err)
{
    return run_log_end(&t->log, t->counts.step, why, err) && run_log_sync(&t->log, err);
}

bool trainer_log_sample(struct trainer *t, const char *prompt, const char *text, struct err *err)
{
    return run_log_sample(&t->log, t->counts.step, bytes_of(prompt), bytes_of(text), err)
           && tensorboard_sample(&t->board, t->counts.step, bytes_of(prompt), bytes_of(text), err);
}
