#include "train/checkpoint.h"
#include "train/checkpoint_file.h"
#include "train/checkpoint_folder.h"
#include "format/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- writing ------------------------------------------------------------------------- */

/* A disk that is plainly too small is named before hours of writing. */
static bool check_room(const char *path, uint64_t needed, struct err *err)
{
    uint64_t room = sys_disk_free(path);
    return needed <= room
           || fail(err, ERR_IO, "%s: the checkpoint needs %" PRIu64 " bytes and the disk has %"
                   PRIu64 " left; make room or write fewer of them", path, needed, room);
}

/* What was written is read back: by the system's cache, so it finds our faults, not the disk's. */
static bool verify_path(const char *path, struct err *err)
{
    struct checkpoint_file f;
    if (!checkpoint_file_open(&f, path, err))
        return false;
    bool ok = checkpoint_file_verify(&f, err);
    checkpoint_file_close(&f);
    return ok;
}

static bool write_file(const char *path, uint64_t step, struct bytes json,
                       const struct checkpoint_part *parts, size_t n, struct err *err)
{
    struct file_out out;
    uint64_t size;
    if (!checkpoint_file_size(json.len, parts, n, &size) || !check_room(path, size, err)
        || !file_out_begin(&out, path, err))
        return false;
    if (checkpoint_file_write(&out, step, json, parts, n, err) && file_out_finish(&out, err)
        && verify_path(out.temp, err))
        return file_out_end(&out, err);
    file_out_drop(&out);
    return false;
}

bool checkpoint_save(const char *out_dir, uint64_t step, const json_t *head,
                     const struct checkpoint_part *parts, size_t n, int keep, uint64_t hold,
                     struct err *err)
{
    struct checkpoint_folder folder;
    char path[4096];
    if (!checkpoint_folder_init(&folder, out_dir, err) || !checkpoint_folder_make(&folder, err)
        || !checkpoint_folder_file(&folder, step, path, sizeof path, err))
        return false;
    file_out_clean(folder.path);
    char *text = json_dumps(head, JSON_COMPACT | JSON_REAL_PRECISION(17));
    bool ok = text ? write_file(path, step, bytes_of(text), parts, n, err)
                   : fail(err, ERR_MEMORY, "%s: out of memory for its head", path);
    free(text);
    if (!ok || !checkpoint_folder_sync(&folder, err))
        return false;
    checkpoint_folder_prune(&folder, step, keep, hold);
    return true;
}

/* ---- reading ------------------------------------------------------------------------- */

/* One file is what its name says. */
static bool check_step(const char *path, uint64_t step, struct err *err)
{
    struct checkpoint_file f;
    if (!checkpoint_file_open(&f, path, err))
        return false;
    bool ok = f.step == step
              || fail(err, ERR_FORMAT, "%s: it holds step %" PRIu64 ", not what its name says",
                      path, f.step);
    ok = ok && checkpoint_file_verify(&f, err);
    checkpoint_file_close(&f);
    return ok;
}

bool checkpoint_newest(const char *out_dir, char *path, size_t cap, struct buf *skipped,
                       struct err *err)
{
    struct checkpoint_folder folder;
    uint64_t step = UINT64_MAX, n_bad = 0;
    struct err why;
    if (!checkpoint_folder_init(&folder, out_dir, err))
        return false;
    while (checkpoint_folder_below(&folder, step, &step)) {
        if (!checkpoint_folder_file(&folder, step, path, cap, err))
            return false;
        if (check_step(path, step, &why))
            return true;
        if (why.code != ERR_FORMAT)       /* it may be sound: going on from an older one loses it */
            return fail(err, why.code, "%s", why.msg);
        if (skipped)
            buf_printf(skipped, "%s\n", why.msg);
        n_bad++;
    }
    return n_bad ? fail(err, ERR_FORMAT, "%s: none of %" PRIu64 " checkpoints is sound; the "
                        "oldest: %.600s", folder.path, n_bad, why.msg)
                 : fail(err, ERR_NONE, "%s: no checkpoint there", folder.path);
}

bool checkpoint_read_head(const char *path, uint64_t *step, json_t **head, struct err *err)
{
    struct checkpoint_file f;
    if (!checkpoint_file_open(&f, path, err))
        return false;
    json_t *j = checkpoint_file_json(&f, err);
    uint64_t at = f.step;
    checkpoint_file_close(&f);
    if (!j)
        return false;
    *head = j;
    *step = at;
    return true;
}

/* Names, order and sizes are those of the parts. */
static bool check_parts(const struct checkpoint_file *f, const struct checkpoint_part *parts,
                        size_t n, struct err *err)
{
    size_t cursor = 0;
    for (size_t i = 0; i < n && i < f->n; i++) {
        struct checkpoint_section s = checkpoint_file_next(f, &cursor);
        if (!bytes_eq(s.name, bytes_of(parts[i].name)))
            return fail(err, ERR_FORMAT, "%s: section %zu is \"%s\", this run's is \"%s\"; the "
                        "checkpoint is of another model or recipe", f->path, i, SHOW(s.name),
                        parts[i].name);
        if (s.data.len != parts[i].n_bytes)
            return fail(err, ERR_FORMAT, "%s: \"%s\" has %zu bytes, in this run %zu; the "
                        "checkpoint is of another model or recipe", f->path, parts[i].name,
                        s.data.len, parts[i].n_bytes);
    }
    return f->n == n || fail(err, ERR_FORMAT, "%s: %u sections, this run has %zu; the checkpoint "
                             "is of another model or recipe", f->path, f->n, n);
}

static void copy_parts(const struct checkpoint_file *f, const struct checkpoint_part *parts,
                       size_t n)
{
    size_t cursor = 0;
    for (size_t i = 0; i < n; i++) {
        struct checkpoint_section s = checkpoint_file_next(f, &cursor);
        if (s.data.len)
            memcpy(parts[i].data, s.data.at, s.data.len);
    }
}

bool checkpoint_load(const char *path, json_t **head, const struct checkpoint_part *parts,
                     size_t n, struct err *err)
{
    struct checkpoint_file f;
    json_t *j = NULL;
    if (!checkpoint_file_open(&f, path, err))
        return false;
    bool ok = check_parts(&f, parts, n, err) && checkpoint_file_verify(&f, err)
              && (j = checkpoint_file_json(&f, err));
    if (ok)
        copy_parts(&f, parts, n);
    if (ok && head)
        *head = j;
    else
        json_decref(j);
    checkpoint_file_close(&f);
    return ok;
}
