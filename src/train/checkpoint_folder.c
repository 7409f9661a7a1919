#include "train/checkpoint_folder.h"
#include "train/checkpoint_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool checkpoint_folder_init(struct checkpoint_folder *f, const char *out_dir, struct err *err)
{
    int n = snprintf(f->path, sizeof f->path, "%s/checkpoints", out_dir);
    return (n > 0 && (size_t)n < sizeof f->path)
           || fail(err, ERR_USAGE, "%.200s...: the folder's name has more than %zu bytes", out_dir,
                   sizeof f->path);
}

bool checkpoint_folder_make(const struct checkpoint_folder *f, struct err *err)
{
    return folder_make(f->path, 0777, NULL, err);
}

bool checkpoint_folder_file(const struct checkpoint_folder *f, uint64_t step, char *path,
                            size_t cap, struct err *err)
{
    int n = snprintf(path, cap, "%s/step-%08" PRIu64 ".kxc", f->path, step);
    return (n > 0 && (size_t)n < cap)
           || fail(err, ERR_USAGE, "%.200s...: the folder's name is too long", f->path);
}

/* Whether a name is as checkpoint_folder_file writes it. */
static bool parse_name(const char *name, uint64_t *step)
{
    char again[48], *end;
    if (strncmp(name, "step-", 5) || name[5] < '0' || name[5] > '9')
        return false;
    errno = 0;
    *step = strtoull(name + 5, &end, 10);
    snprintf(again, sizeof again, "step-%08" PRIu64 ".kxc", *step);
    return !errno && !strcmp(name, again);
}

bool checkpoint_folder_below(const struct checkpoint_folder *f, uint64_t before, uint64_t *step)
{
    DIR *dir = opendir(f->path);
    const struct dirent *e;
    bool found = false;
    while (dir && (e = readdir(dir))) {
        uint64_t at;
        if (parse_name(e->d_name, &at) && at < before && (!found || at > *step)) {
            *step = at;
            found = true;
        }
    }
    if (dir)
        closedir(dir);
    return found;
}

static void remove_step(const struct checkpoint_folder *f, uint64_t step)
{
    char path[4096];
    if (checkpoint_folder_file(f, step, path, sizeof path, NULL))
        unlink(path);
}

static bool is_damaged(const struct checkpoint_folder *f, uint64_t step)
{
    char path[4096];
    struct checkpoint_file file;
    struct err err = { 0 };
    if (!checkpoint_folder_file(f, step, path, sizeof path, &err)
        || !checkpoint_file_open(&file, path, &err))
        return err.code == ERR_FORMAT;
    bool sound = checkpoint_file_verify(&file, &err);
    checkpoint_file_close(&file);
    return !sound;
}

/*
 * A run goes on from its newest sound file, so a later one is damaged, unless somebody put it
 * there: then it stays.
 */
void checkpoint_folder_prune(const struct checkpoint_folder *f, uint64_t step, int keep,
                             uint64_t hold)
{
    uint64_t at = UINT64_MAX;
    while (checkpoint_folder_below(f, at, &at) && at > step)
        if (is_damaged(f, at))
            remove_step(f, at);
    at = step;                            /* kept: the first of them */
    for (int kept = 1; keep > 0 && checkpoint_folder_below(f, at, &at); )
        if (at != hold && ++kept > keep)
            remove_step(f, at);
}

bool checkpoint_folder_sync(const struct checkpoint_folder *f, struct err *err)
{
    int fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);   /* EINVAL: it cannot be synced */
    if (!ok)
        fail_errno(err, ERR_IO, "%s: cannot write the folder to the disk", f->path);
    if (fd >= 0)
        close(fd);
    return ok;
}
