#include "base/base.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

/* path: what was asked for; part: it, or one above it. */
static bool make_one(const char *part, const char *path, unsigned mode, bool *made,
                     struct err *err)
{
    *made = mkdir(part, mode) == 0;
    int why = errno;
    if (*made || file_is_dir(part))
        return true;
    if (why == EEXIST && strcmp(part, path))
        return fail(err, ERR_USAGE, "%s: cannot make this folder: %s is no folder", path, part);
    if (why == EEXIST)
        return fail(err, ERR_USAGE, "%s: is there and is no folder", path);
    errno = why;
    return fail_errno(err, ERR_IO, "%s: cannot make this folder", part);
}

/* Cuts the last name off, with the slashes before it. */
static void cut_last(char *path)
{
    size_t n = strlen(path);
    while (n && path[n - 1] == '/')
        n--;
    while (n && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    path[n] = 0;
}

static bool copy_path(char copy[PATH_MAX], const char *path, struct err *err)
{
    if (!*path)
        return fail(err, ERR_USAGE, "the name of a folder is empty");
    if (strlen(path) >= PATH_MAX)
        return fail(err, ERR_USAGE, "%.200s...: the folder's name has more than %d bytes", path,
                    PATH_MAX - 1);
    memcpy(copy, path, strlen(path) + 1);
    return true;
}

bool folder_make(const char *path, unsigned mode, size_t *n_made, struct err *err)
{
    char part[PATH_MAX];
    size_t n = 0;                         /* the innermost so far were made */
    if (!copy_path(part, path, err))
        return false;
    for (char *end = part; *(end += strspn(end, "/")); ) {
        bool made;
        end += strcspn(end, "/");
        char after = *end;
        *end = 0;
        if (!make_one(part, path, mode, &made, err)) {
            cut_last(part);
            folder_unmake(part, n);
            return false;
        }
        n = made ? n + 1 : 0;
        *end = after;
    }
    if (n_made)
        *n_made = n;
    return true;
}

bool folder_make_above(const char *file, unsigned mode, struct err *err)
{
    char above[PATH_MAX];
    if (!copy_path(above, file, err))
        return false;
    cut_last(above);
    return !*above || folder_make(above, mode, NULL, err);
}

void folder_unmake(const char *path, size_t n_made)
{
    char part[PATH_MAX];
    if (!n_made || !copy_path(part, path, NULL))
        return;
    for (; n_made && (rmdir(part) == 0 || errno == ENOENT); n_made--)
        cut_last(part);
}

void folder_remove(const char *folder)
{
    DIR *d = opendir(folder);
    for (const struct dirent *e; d && (e = readdir(d)); )
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    rmdir(folder);
}
