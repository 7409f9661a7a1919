#include "train/train_folder.h"
#include "train/recipe_keys.h"

#include <errno.h>
#include <sys/stat.h>

static bool path_in(struct buf *out, const struct train_recipe *r, const char *name,
                    struct err *err)
{
    if (!r->run.out)
        return fail(err, ERR_USAGE, "%s: run.out is missing: the folder of the run; --out DIR "
                    "gives it too", r->file);
    buf_printf(out, "%s/%s", r->run.out, name);
    return buf_ok(out, err);
}

static bool make_folders(const char *path, struct err *err)
{
    char *copy = mem_copy_text(path, strlen(path));
    if (!copy)
        return fail(err, ERR_MEMORY, "out of memory for a path");
    bool ok = true;
    for (char *p = copy; ok && *p; ) {
        p += strspn(p, "/");
        p += strcspn(p, "/");
        char was = *p;
        *p = 0;
        if (mkdir(copy, 0777) && (errno != EEXIST || !file_is_dir(copy)))
            ok = fail_errno(err, ERR_IO, "cannot make the folder %s", copy);
        *p = was;
    }
    mem_give(copy);
    return ok;
}

bool train_folder_check_new(const struct train_recipe *r, struct err *err)
{
    struct buf path = { 0 }, log = { 0 };
    bool ok = path_in(&path, r, RUN_RECIPE_NAME, err) && path_in(&log, r, "log.jsonl", err);
    if (ok && (file_exists(path.at) || file_exists(log.at)))
        ok = fail(err, ERR_USAGE, "%s holds a run already; --resume goes on with it, and --out "
                  "DIR begins one in another folder", r->run.out);
    else if (ok && file_exists(r->run.out) && !file_is_dir(r->run.out))
        ok = fail(err, ERR_USAGE, "%s is no folder; --out DIR names another", r->run.out);
    buf_release(&path);
    buf_release(&log);
    return ok;
}

bool train_folder_make(const struct train_recipe *r, struct err *err)
{
    struct buf path = { 0 };
    bool ok = path_in(&path, r, "", err) && make_folders(r->run.out, err);
    buf_release(&path);
    return ok;
}

/* r goes on as `was` began. */
static bool take_over(struct train_recipe *r, const struct train_recipe *was, struct err *err)
{
    size_t key = recipe_key_at(offsetof(struct train_recipe, run.micro_rows));
    if (!recipe_given(r, key)) {
        r->run.micro_rows = was->run.micro_rows;
        r->option[key] = RUN_RECIPE_NAME;
    }
    return train_recipe_same(was, r, err);
}

bool train_folder_resume(struct train_recipe *r, struct err *err)
{
    struct train_recipe was;
    struct buf path = { 0 };
    train_recipe_init(&was);
    bool ok = path_in(&path, r, RUN_RECIPE_NAME, err);
    if (ok && file_exists(path.at))
        ok = train_recipe_load(&was, path.at, err) && train_recipe_resolve(&was, err)
             && take_over(r, &was, err);
    train_recipe_release(&was);
    buf_release(&path);
    return ok;
}
