/* Which files a path stands for: itself, or those of a folder. */
#include "format/jsonl.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct walk {
    struct buf names;                     /* each followed by a NUL */
    size_t n;
    bool jsonl;                           /* whether one of them is JSONL */
};

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n > k && !strcmp(text + n - k, end);
}

bool jsonl_is_name(const char *path)
{
    return ends_with(path, ".jsonl") || ends_with(path, ".jsonl.zst");
}

static bool is_text_name(const char *path)
{
    return ends_with(path, ".txt") || ends_with(path, ".md");
}

static bool walk_folder(struct walk *w, const char *folder, int depth, struct err *err);

static bool walk_entry(struct walk *w, const char *folder, const char *name, int depth,
                       struct err *err)
{
    struct buf path = { 0 };
    if (name[0] == '.')
        return true;
    buf_printf(&path, "%s%s%s", folder, ends_with(folder, "/") ? "" : "/", name);
    bool ok = buf_ok(&path, err);
    if (ok && file_is_dir(path.at)) {
        ok = walk_folder(w, path.at, depth + 1, err);
    } else if (ok && (jsonl_is_name(name) || is_text_name(name))) {
        w->jsonl |= jsonl_is_name(name);
        buf_put(&w->names, path.at, path.len + 1);
        ok = ++w->n <= JSONL_MAX_FILES ||
             fail(err, ERR_LIMIT, "%s has more than %d files of text", folder, JSONL_MAX_FILES);
    }
    buf_release(&path);
    return ok;
}

static bool walk_folder(struct walk *w, const char *folder, int depth, struct err *err)
{
    if (depth > JSONL_MAX_DEPTH)
        return fail(err, ERR_LIMIT, "%s lies more than %d folders deep", folder, JSONL_MAX_DEPTH);
    DIR *d = opendir(folder);
    if (!d)
        return fail_errno(err, ERR_IO, "cannot read the folder %s", folder);
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(d));)
        ok = walk_entry(w, folder, e->d_name, depth, err);
    closedir(d);
    return ok;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Appends those names that count, sorted. */
static bool put_sorted(const struct walk *w, struct buf *out, size_t *n_files, struct err *err)
{
    const char **at = mem_take(w->n + 1, sizeof *at), *name = w->names.at;
    size_t n = 0;
    if (!at)
        return fail(err, ERR_MEMORY, "no memory for the names of %zu files", w->n);
    for (size_t i = 0; i < w->n; i++, name += strlen(name) + 1)
        if (jsonl_is_name(name) == w->jsonl)
            at[n++] = name;
    qsort(at, n, sizeof *at, compare_names);
    for (size_t i = 0; i < n; i++)
        buf_put(out, at[i], strlen(at[i]) + 1);
    mem_give(at);
    *n_files = n;
    return buf_ok(out, err);
}

bool jsonl_list_files(const char *path, struct buf *out, size_t *n_files, size_t *n_beside,
                      struct err *err)
{
    *n_beside = 0;
    if (!file_is_dir(path)) {
        if (access(path, R_OK) != 0)
            return fail_errno(err, ERR_IO, "cannot open %s", path);
        buf_put(out, path, strlen(path) + 1);
        *n_files = 1;
        return buf_ok(out, err);
    }
    struct walk w = { 0 };
    bool ok = walk_folder(&w, path, 0, err) && buf_ok(&w.names, err);
    if (ok && !w.n)
        ok = fail(err, ERR_USAGE, "the folder %s has no .jsonl, .jsonl.zst, .txt or .md", path);
    ok = ok && put_sorted(&w, out, n_files, err);
    *n_beside = ok ? w.n - *n_files : 0;
    buf_release(&w.names);
    return ok;
}
