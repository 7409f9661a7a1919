#include "base/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* A new file beside path, never an existing one. */
static bool open_temp(struct file_out *f, struct err *err)
{
    size_t room = strlen(f->path) + 40;
    int fd = -1;
    f->temp = mem_take(room, 1);
    if (!f->temp)
        return fail(err, ERR_MEMORY, "%s: out of memory while writing it", f->path);
    for (int n = 0; fd < 0 && n < 1000; n++) {
        snprintf(f->temp, room, "%s.part-%ld-%d", f->path, (long)getpid(), n);
        fd = open(f->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    if (fd >= 0 && (f->stream = fdopen(fd, "wb")))
        return true;
    fail_errno(err, ERR_IO, "%s: cannot write there", f->temp);
    if (fd >= 0) {
        close(fd);
        unlink(f->temp);
    }
    f->temp[0] = 0;
    return false;
}

bool file_out_begin(struct file_out *out, const char *path, struct err *err)
{
    struct stat st;
    struct file_out f = { 0 };
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return fail(err, ERR_USAGE, "%s: exists and is no regular file", path);
    f.path = mem_copy_text(path, strlen(path));
    bool ok = f.path ? open_temp(&f, err)
                     : fail(err, ERR_MEMORY, "%s: out of memory while writing it", path);
    if (ok)
        *out = f;
    else
        file_out_drop(&f);
    return ok;
}

bool file_out_put(struct file_out *f, const void *data, size_t n_bytes, struct err *err)
{
    if (n_bytes && fwrite(data, 1, n_bytes, f->stream) != n_bytes)
        return fail_errno(err, ERR_IO, "%s: cannot write beyond %llu bytes", f->path,
                          (unsigned long long)f->n_bytes);
    f->n_bytes += n_bytes;
    return true;
}

bool file_out_put_at(struct file_out *f, uint64_t at, const void *data, size_t n_bytes,
                     struct err *err)
{
    check(at + n_bytes <= f->n_bytes);
    if (fseeko(f->stream, (off_t)at, SEEK_SET) != 0
        || fwrite(data, 1, n_bytes, f->stream) != n_bytes || fseeko(f->stream, 0, SEEK_END) != 0)
        return fail_errno(err, ERR_IO, "%s: cannot write again at byte %llu", f->path,
                          (unsigned long long)at);
    return true;
}

bool file_out_finish(struct file_out *f, struct err *err)
{
    bool ok = fflush(f->stream) == 0 && fsync(fileno(f->stream)) == 0;
    if (!ok)
        fail_errno(err, ERR_IO, "%s: cannot write its last bytes", f->path);
    if (fclose(f->stream) != 0 && ok)
        ok = fail_errno(err, ERR_IO, "%s: cannot write its last bytes", f->path);
    f->stream = NULL;
    return ok;
}

bool file_out_end(struct file_out *f, struct err *err)
{
    bool ok = !f->stream || file_out_finish(f, err);
    if (ok && rename(f->temp, f->path) != 0)
        ok = fail_errno(err, ERR_IO, "%s: cannot give the file its name", f->path);
    if (ok)
        f->temp[0] = 0;                   /* nothing left to remove */
    file_out_drop(f);
    return ok;
}

void file_out_drop(struct file_out *f)
{
    if (f->stream)
        fclose(f->stream);
    if (f->temp && f->temp[0])
        unlink(f->temp);
    mem_give(f->path);
    mem_give(f->temp);
    *f = (struct file_out){ 0 };
}

/* Whether a name ends as ours of an unfinished file do, and that process can no longer write it.
 * Under this process's own number it is an earlier process's. */
static bool is_left_over(const char *name)
{
    const char *part = NULL;
    for (const char *at = name; (at = strstr(at, ".part-")); at++)
        part = at;
    long pid;
    int n, folder_end = 0, file_end = 0;
    if (!part || sscanf(part, ".part-%ld%n-%d%n", &pid, &folder_end, &n, &file_end) < 1
        || pid <= 0 || (part[folder_end] && (!file_end || part[file_end])))
        return false;
    return pid == (long)getpid() || (kill((pid_t)pid, 0) != 0 && errno == ESRCH);
}

void file_out_clean(const char *folder)
{
    char path[4400];
    DIR *d = opendir(folder);
    for (const struct dirent *e; d && (e = readdir(d)); ) {
        int n = snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (n < 0 || (size_t)n >= sizeof path || !is_left_over(e->d_name))
            continue;
        if (unlink(path) != 0 && (errno == EISDIR || errno == EPERM))
            folder_remove(path);
    }
    if (d)
        closedir(d);
}

bool file_write(const char *path, const void *data, size_t n_bytes, struct err *err)
{
    struct file_out f;
    if (!file_out_begin(&f, path, err))
        return false;
    if (file_out_put(&f, data, n_bytes, err))
        return file_out_end(&f, err);
    file_out_drop(&f);
    return false;
}
