#include "train/train_folder.h"
#include "train/checkpoint_folder.h"
#include "train/recipe_keys.h"

static bool path_in(struct buf *out, const struct train_recipe *r, const char *name,
                    struct err *err)
{
    if (!r->run.out)
        return fail(err, ERR_USAGE, "%s: run.out is missing: the folder of the run; --out DIR "
                    "gives it too", r->file);
    buf_printf(out, "%s/%s", r->run.out, name);
    return buf_ok(out, err);
}

static bool has(const struct train_recipe *r, const char *name)
{
    struct buf path = { 0 };
    struct err none;
    bool there = path_in(&path, r, name, &none) && file_exists(path.at);
    buf_release(&path);
    return there;
}

/* The newest checkpoint by its name; it need not be sound. */
static bool find_checkpoint(char *path, size_t cap, const char *out)
{
    struct checkpoint_folder folder;
    struct err none;
    uint64_t step;
    return checkpoint_folder_init(&folder, out, &none)
           && checkpoint_folder_below(&folder, UINT64_MAX, &step)
           && checkpoint_folder_file(&folder, step, path, cap, &none);
}

bool train_folder_check(const struct train_recipe *r, struct err *err)
{
    struct buf path = { 0 };
    bool ok = path_in(&path, r, "", err);
    buf_release(&path);
    if (!ok)
        return false;
    if (file_exists(r->run.out) && !file_is_dir(r->run.out))
        return fail(err, ERR_USAGE, "%s is no folder; --out DIR names another", r->run.out);
    if (has(r, "model.safetensors") || has(r, "model.safetensors.index.json"))
        return fail(err, ERR_USAGE, "%s is the folder of a model; --out DIR names another",
                    r->run.out);
    return true;
}

bool train_folder_check_new(const struct train_recipe *r, struct err *err)
{
    char newest[4096];
    if (!train_folder_check(r, err))
        return false;
    if (has(r, RUN_RECIPE_NAME) || has(r, "log.jsonl") || has(r, "config.json")
        || find_checkpoint(newest, sizeof newest, r->run.out))
        return fail(err, ERR_USAGE, "%s holds a run already; --resume goes on with it, and --out "
                    "DIR begins one in another folder", r->run.out);
    return true;
}

bool train_folder_make(const struct train_recipe *r, struct err *err)
{
    struct buf path = { 0 };
    bool ok = path_in(&path, r, "", err) && folder_make(r->run.out, 0777, NULL, err);
    buf_release(&path);
    return ok;
}

/* r goes on as `was` began: its passes, and its warm-up, which otherwise follows the length. */
static bool take_over(struct train_recipe *r, const struct train_recipe *was, struct err *err)
{
    size_t rows = recipe_key_at(offsetof(struct train_recipe, run.micro_rows));
    size_t warmup = recipe_key_at(offsetof(struct train_recipe, schedule.warmup));
    if (!recipe_given(r, rows)) {
        r->run.micro_rows = was->run.micro_rows;
        r->option[rows] = RUN_RECIPE_NAME;
    }
    if (!recipe_given(r, warmup) && was->schedule.warmup <= r->run.steps) {
        r->schedule.warmup = was->schedule.warmup;
        r->option[warmup] = RUN_RECIPE_NAME;
    }
    return train_recipe_same(was, r, err);
}

bool train_folder_description(const struct train_recipe *r, struct buf *path, struct err *err)
{
    char newest[4096];
    if (!path_in(path, r, "config.json", err))
        return false;
    if (file_exists(path->at))
        return true;
    bool found = find_checkpoint(newest, sizeof newest, r->run.out);
    buf_clear(path);
    buf_text(path, found ? newest : r->model.init_from);
    return buf_ok(path, err);
}

/* The recipe in the newest checkpoint: a folder that was given nothing else goes on too.  What is
 * damaged is told when the run is opened. */
static bool read_checkpoint(struct train_recipe *was, const char *out, struct err *err)
{
    struct err unsound;
    char path[4096];
    json_t *head = NULL;
    uint64_t step;
    bool found = find_checkpoint(path, sizeof path, out)
                 && checkpoint_read_head(path, &step, &head, &unsound);
    const char *text = json_string_value(json_object_get(head, "recipe"));
    bool ok = !found || !text || train_recipe_read(was, path, bytes_of(text), err);
    json_decref(head);
    return ok;
}

bool train_folder_resume(struct train_recipe *r, struct err *err)
{
    struct train_recipe was;
    struct buf path = { 0 };
    train_recipe_init(&was);
    bool ok = path_in(&path, r, RUN_RECIPE_NAME, err);
    if (ok)
        ok = file_exists(path.at) ? train_recipe_load(&was, path.at, err)
                                  : read_checkpoint(&was, r->run.out, err);
    if (ok && was.file)
        ok = train_recipe_resolve(&was, err) && take_over(r, &was, err);
    train_recipe_release(&was);
    buf_release(&path);
    return ok;
}
