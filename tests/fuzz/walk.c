#include "walk.h"

uint64_t walk_bytes(struct bytes b)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < b.len; i++)
        sum = sum * 31 + b.at[i];
    return sum;
}

uint64_t walk_tensors(const struct tensors *t)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct tensor *x = &t->at[i];
        check(tensors_find(t, x->name) == x);
        check(x->n_dims <= TENSOR_DIMS_MAX && x->type_name && x->file);
        sum += walk_bytes((struct bytes){ x->data, (size_t)x->n_bytes }) ^ x->ne[0];
        sum += strlen(x->type_name) + (x->qtype ? x->qtype->block : 0);
    }
    return sum;
}

static uint64_t walk_value(const struct gguf *g, const struct gguf_kv *kv)
{
    struct bytes at = kv->raw, text;
    uint64_t sum = 0, u;
    double f;
    if (kv->elem == GGUF_STRING && kv->type == GGUF_ARRAY)
        for (uint64_t i = 0; i < kv->n; i++) {
            check(gguf_next_string(&at, &text));
            sum += walk_bytes(text);
        }
    for (uint64_t i = 0; i < kv->n && kv->elem != GGUF_STRING && kv->elem != GGUF_ARRAY; i++) {
        check(gguf_elem_f64(kv, i, &f));
        sum += (gguf_elem_u64(kv, i, &u) ? u : 0) + (f > 0);
    }
    char *key = mem_copy_text((const char *)kv->key.at, kv->key.len);
    bool found;
    if (key) {
        check(gguf_find(g, key) == kv);
        sum += gguf_u64(g, key, &u, &found, NULL) + gguf_f64(g, key, &f, &found, NULL) +
               gguf_string(g, key, &text, &found, NULL);
    }
    mem_give(key);
    return sum + walk_bytes(kv->raw);
}

uint64_t walk_gguf(const struct gguf *g)
{
    uint64_t sum = walk_tensors(&g->tensors);
    struct buf text = { 0 };
    for (size_t i = 0; i < g->n_kv; i++) {
        sum += walk_value(g, &g->kv[i]);
        gguf_print(&text, &g->kv[i]);
        buf_clear(&text);
    }
    buf_release(&text);
    return sum;
}
