#include "format/npy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The dict literal with its length, padded so that the data starts at a multiple of 64. */
static void build_head(struct buf *out, const char *dtype, const uint64_t *shape, uint32_t n_dims)
{
    buf_put(out, "\x93NUMPY\1\0..", 10);
    buf_printf(out, "{'descr': '<%s', 'fortran_order': False, 'shape': (", dtype);
    for (uint32_t i = 0; i < n_dims; i++)
        buf_printf(out, "%llu%s", (unsigned long long)shape[i],
                   i + 1 < n_dims ? ", " : n_dims == 1 ? "," : "");
    buf_text(out, "), }");
    while (!out->failed && out->len % 64 != 63)
        buf_text(out, " ");
    buf_text(out, "\n");
    if (!out->failed) {
        out->at[8] = (char)((out->len - 10) & 255);
        out->at[9] = (char)((out->len - 10) >> 8);
    }
}

/* A new file beside path, never an existing one. */
static bool open_temp(struct npy_writer *w, const char *path, struct err *err)
{
    struct stat st;
    size_t room = strlen(path) + 40;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return fail(err, ERR_USAGE, "%s: exists and is no regular file", path);
    w->path = mem_copy_text(path, strlen(path));
    w->temp = mem_take(room, 1);
    if (!w->path || !w->temp)
        return fail(err, ERR_MEMORY, "%s: out of memory while writing it", path);
    int fd = -1;
    for (int n = 0; fd < 0 && n < 1000; n++) {
        snprintf(w->temp, room, "%s.part-%ld-%d", path, (long)getpid(), n);
        fd = open(w->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    if (fd >= 0 && (w->stream = fdopen(fd, "wb")))
        return true;
    fail_errno(err, ERR_IO, "%s: cannot write there", w->temp);
    if (fd >= 0) {
        close(fd);
        unlink(w->temp);
    }
    return false;
}

bool npy_writer_begin(struct npy_writer *out, const char *path, const char *dtype,
                      const uint64_t *shape, uint32_t n_dims, struct err *err)
{
    struct npy_writer w = { .left_bytes = (uint64_t)(dtype[1] - '0') };
    struct buf head = { 0 };
    check(strlen(dtype) == 2 && strstr("f4 f8 i4 i8 u4 u2", dtype) && n_dims <= 8);
    for (uint32_t i = 0; i < n_dims; i++)
        if (!mul_u64(w.left_bytes, shape[i], &w.left_bytes))
            return fail(err, ERR_LIMIT, "%s: an array of more than 2^64 bytes", path);
    build_head(&head, dtype, shape, n_dims);
    bool ok = buf_ok(&head, err) && open_temp(&w, path, err);
    if (ok) {
        w.left_bytes += head.len;
        ok = npy_writer_put(&w, head.at, head.len, err);
    }
    buf_release(&head);
    if (ok)
        *out = w;
    else
        npy_writer_drop(&w);
    return ok;
}

bool npy_writer_put(struct npy_writer *w, const void *data, size_t n_bytes, struct err *err)
{
    check(n_bytes <= w->left_bytes);
    if (fwrite(data, 1, n_bytes, w->stream) != n_bytes)
        return fail_errno(err, ERR_IO, "%s: cannot write, %llu bytes were left to write", w->path,
                          (unsigned long long)w->left_bytes);
    w->left_bytes -= n_bytes;
    return true;
}

bool npy_writer_end(struct npy_writer *w, struct err *err)
{
    check(w->left_bytes == 0);
    bool ok = fflush(w->stream) == 0 && fsync(fileno(w->stream)) == 0;
    if (!ok)
        fail_errno(err, ERR_IO, "%s: cannot write its last bytes", w->path);
    else if (rename(w->temp, w->path) != 0)
        ok = fail_errno(err, ERR_IO, "%s: cannot give the file its name", w->path);
    else
        w->temp[0] = 0;                   /* nothing left to remove */
    npy_writer_drop(w);
    return ok;
}

void npy_writer_drop(struct npy_writer *w)
{
    if (w->stream)
        fclose(w->stream);
    if (w->stream && w->temp[0])
        unlink(w->temp);
    mem_give(w->path);
    mem_give(w->temp);
    *w = (struct npy_writer){ 0 };
}
