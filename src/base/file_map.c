#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Maps an open regular file; the descriptor may be closed afterwards. */
static bool map_fd(struct bytes *out, int fd, const char *path, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail_errno(err, ERR_IO, "%s: cannot look at it", path);
    if (!S_ISREG(st.st_mode))
        return fail(err, ERR_IO, "%s: not a regular file", path);
    *out = (struct bytes){ 0 };
    if (st.st_size == 0)
        return true;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return fail_errno(err, ERR_MEMORY, "%s: cannot map %lld bytes", path,
                          (long long)st.st_size);
    *out = (struct bytes){ p, (size_t)st.st_size };
    return true;
}

bool file_map_open(struct bytes *out, const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail_errno(err, ERR_IO, "%s: cannot open", path);
    bool ok = map_fd(out, fd, path, err);
    close(fd);
    return ok;
}

void file_map_close(struct bytes *map)
{
    if (map->at)
        munmap((void *)(uintptr_t)map->at, map->len);
    *map = (struct bytes){ 0 };
}

static bool read_fd(struct buf *out, int fd, const char *path, size_t max_bytes, struct err *err)
{
    char piece[65536];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(err, ERR_IO, "%s: cannot read", path);
        if (n == 0)
            return buf_ok(out, err);
        if ((size_t)n > max_bytes - out->len)
            return fail(err, ERR_LIMIT, "%s: more than %zu bytes", path, max_bytes);
        buf_put(out, piece, (size_t)n);
        if (out->failed)
            return buf_ok(out, err);
    }
}

bool file_read(struct buf *out, const char *path, size_t max_bytes, struct err *err)
{
    bool is_stdin = !strcmp(path, "-");
    int fd = is_stdin ? 0 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(err, ERR_IO, "%s: cannot open", path);
    buf_clear(out);
    bool ok = read_fd(out, fd, is_stdin ? "standard input" : path, max_bytes, err);
    if (!is_stdin)
        close(fd);
    return ok;
}
