/* imatrix.h: its file. */
#include "run/run.h"

#include <math.h>
#include <stdio.h>

static const char sum_tail[] = ".in_sum2", count_tail[] = ".counts";

static bool add_tensors(struct gguf_writer *w, const struct imatrix_entry *e, struct err *err)
{
    char name[TENSOR_NAME_MAX];
    const struct qtype *f32 = qtype_find(QT_F32);
    uint64_t sum_ne[2] = { e->cols, e->matrices }, count_ne[2] = { 1, e->matrices };
    snprintf(name, sizeof name, "%s%s", e->name, sum_tail);
    if (!gguf_writer_add(w, name, f32, 2, sum_ne, err))
        return false;
    snprintf(name, sizeof name, "%s%s", e->name, count_tail);
    return gguf_writer_add(w, name, f32, 2, count_ne, err);
}

static bool put_floats(struct gguf_writer *w, const double *v, uint64_t n, struct err *err)
{
    for (uint64_t i = 0; i < n; i++) {
        float f = (float)v[i];
        if (!gguf_writer_put(w, &f, sizeof f, err))
            return false;
    }
    return true;
}

static bool write_entries(const struct imatrix *im, struct gguf_writer *w, const char *path,
                          struct err *err)
{
    for (size_t i = 0; i < im->n; i++)
        if (!add_tensors(w, &im->at[i], err))
            return false;
    if (!gguf_writer_begin(w, path, 0, err))
        return false;
    for (size_t i = 0; i < im->n; i++)
        if (!put_floats(w, im->at[i].sum, im->at[i].cols * im->at[i].matrices, err)
            || !put_floats(w, im->at[i].count, im->at[i].matrices, err))
            return false;
    return gguf_writer_end(w, err);
}

bool imatrix_save(const struct imatrix *im, const char *path, const char *text, struct err *err)
{
    struct gguf_writer w = { 0 };
    gguf_put_string(&w, "general.type", bytes_of("imatrix"));
    gguf_put_array(&w, "imatrix.datasets", GGUF_STRING, 1);
    gguf_put_text(&w, bytes_of(text));
    gguf_put_u32(&w, "imatrix.chunk_count", im->chunks);
    gguf_put_u32(&w, "imatrix.chunk_size", im->chunk_tokens);
    bool ok = write_entries(im, &w, path, err);
    gguf_writer_release(&w);
    return ok;
}

/* Elements of an F32 tensor; negative and non-finite ones are refused. */
static bool read_floats(const struct tensor *t, double *out, uint64_t n, struct err *err)
{
    for (uint64_t i = 0; i < n; i++) {
        float v;
        memcpy(&v, t->data + 4 * i, sizeof v);
        if (!isfinite(v) || v < 0)
            return fail(err, ERR_FORMAT, "%s: tensor %s holds %g; sums of squares and counts are "
                        "finite and not negative", t->file, t->name, (double)v);
        out[i] = (double)v;
    }
    return true;
}

static bool load_entry(struct imatrix *im, const struct gguf *g, const struct tensor *sum,
                       size_t name_len, struct err *err)
{
    char name[TENSOR_NAME_MAX + 16];
    snprintf(name, sizeof name, "%.*s%s", (int)name_len, sum->name, count_tail);
    const struct tensor *count = tensors_find(&g->tensors, name);
    if (!count || sum->ggml_type != QT_F32 || count->ggml_type != QT_F32 || sum->ne[2] != 1
        || sum->ne[3] != 1 || count->n_bytes != 4 * sum->ne[1] || !sum->ne[0] || !sum->ne[1])
        return fail(err, ERR_FORMAT, "%s: %s needs a partner %s, both F32, of the shapes "
                    "{columns, matrices} and {1, matrices}", sum->file, sum->name, name);
    name[name_len] = 0;
    struct imatrix_entry *e = imatrix_add(im, name, sum->ne[1], sum->ne[0]);
    if (!e)
        return fail(err, ERR_MEMORY, "%s: out of memory for %s", sum->file, sum->name);
    return read_floats(sum, e->sum, e->cols * e->matrices, err)
           && read_floats(count, e->count, e->matrices, err);
}

static bool load_entries(struct imatrix *im, const struct gguf *g, const char *path,
                         struct err *err)
{
    size_t tail = sizeof sum_tail - 1;
    for (size_t i = 0; i < g->tensors.n; i++) {
        const struct tensor *t = &g->tensors.at[i];
        size_t n = strlen(t->name);
        if (n > tail && !strcmp(t->name + n - tail, sum_tail)
            && !load_entry(im, g, t, n - tail, err))
            return false;
    }
    return im->n || fail(err, ERR_FORMAT, "%s: holds no importance (no tensor ends in %s); an "
                         "importance file or a text is expected", path, sum_tail);
}

bool imatrix_load(struct imatrix *im, const char *path, struct err *err)
{
    struct gguf g = { 0 };
    struct imatrix got = { 0 };
    if (!gguf_open(&g, path, err))
        return false;
    bool ok = load_entries(&got, &g, path, err);
    gguf_close(&g);
    if (ok)
        *im = got;
    else
        imatrix_release(&got);
    return ok;
}
