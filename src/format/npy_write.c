#include "format/npy.h"

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
    bool ok = buf_ok(&head, err) && file_out_begin(&w.file, path, err);
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
    if (!file_out_put(&w->file, data, n_bytes, err))
        return false;
    w->left_bytes -= n_bytes;
    return true;
}

bool npy_writer_end(struct npy_writer *w, struct err *err)
{
    check(w->left_bytes == 0);
    return file_out_end(&w->file, err);
}

void npy_writer_drop(struct npy_writer *w)
{
    file_out_drop(&w->file);
}
