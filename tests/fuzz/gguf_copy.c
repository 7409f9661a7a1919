#include "gguf_copy.h"

bool gguf_copy(const struct gguf *g, const char *path, uint64_t alignment, uint64_t max_bytes,
               struct err *err)
{
    struct gguf_writer w = { .alignment = alignment };
    bool ok = true;
    for (size_t i = 0; i < g->n_kv; i++)
        gguf_put_kv(&w, &g->kv[i]);
    for (size_t i = 0; ok && i < g->tensors.n; i++) {
        const struct tensor *t = &g->tensors.at[i];
        if (!t->qtype)
            continue;                     /* a type that this build cannot write */
        ok = gguf_writer_add(&w, t->name, t->qtype, t->n_dims, t->ne, err);
    }
    ok = ok && gguf_writer_begin(&w, path, max_bytes, err);
    for (size_t i = 0; ok && i < g->tensors.n; i++) {
        const struct tensor *t = &g->tensors.at[i];
        for (uint64_t at = 0; ok && t->qtype && at < t->n_bytes; at += 7)
            ok = gguf_writer_put(&w, t->data + at, t->n_bytes - at < 7 ? t->n_bytes - at : 7, err);
    }
    ok = ok && gguf_writer_end(&w, err);
    gguf_writer_release(&w);
    return ok;
}

bool tensor_same(const struct tensor *a, const struct tensor *b)
{
    return b && a->ggml_type == b->ggml_type && a->n_dims == b->n_dims &&
           !memcmp(a->ne, b->ne, sizeof a->ne) && a->n_bytes == b->n_bytes &&
           (!a->n_bytes || !memcmp(a->data, b->data, a->n_bytes));
}

static bool is_own(struct bytes key)
{
    return (key.len > 6 && !memcmp(key.at, "split.", 6)) ||
           bytes_eq(key, bytes_of("general.alignment"));
}

size_t gguf_writable(const struct gguf *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->tensors.n; i++)
        n += g->tensors.at[i].qtype != NULL;
    return n;
}

bool gguf_same(const struct gguf *a, const struct gguf *b)
{
    bool same = gguf_writable(a) == b->tensors.n;
    for (size_t i = 0; i < a->tensors.n; i++)
        same = same && (!a->tensors.at[i].qtype || tensor_same(&a->tensors.at[i],
                                   tensors_find(&b->tensors, a->tensors.at[i].name)));
    for (size_t i = 0; i < a->n_kv; i++) {
        char key[200];
        const struct gguf_kv *x = &a->kv[i], *y;
        if (is_own(x->key) || x->key.len >= sizeof key)
            continue;
        memcpy(key, x->key.at, x->key.len);
        key[x->key.len] = 0;
        y = gguf_find(b, key);
        same = same && y && x->type == y->type && x->elem == y->elem && x->n == y->n &&
               bytes_eq(x->raw, y->raw);
    }
    return same;
}
