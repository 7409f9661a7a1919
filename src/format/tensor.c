#include "format/tensor.h"
#include "format/show.h"

#include <stdlib.h>

const struct tensor *tensors_find(const struct tensors *t, const char *name)
{
    uint32_t i;
    return map_find(&t->by_name, bytes_of(name), &i) ? &t->at[i] : NULL;
}

void tensors_release(struct tensors *t)
{
    mem_give(t->at);
    map_release(&t->by_name);
    *t = (struct tensors){ 0 };
}

bool tensors_reserve(struct tensors *t, struct arena *names, uint64_t n, uint64_t file_bytes,
                     struct err *err)
{
    uint64_t longest = n * (TENSOR_NAME_MAX + 1);      /* n <= TENSORS_MAX */
    uint64_t in_file = file_bytes > longest ? longest : file_bytes;
    check(n <= TENSORS_MAX);
    t->at = mem_take((size_t)n, sizeof *t->at);
    if (!t->at)
        return fail(err, ERR_MEMORY, "out of memory for a table of %llu tensors",
                    (unsigned long long)n);
    return arena_init(names, (size_t)(in_file + n * 32 + 4096), err);
}

bool tensors_add(struct tensors *t, struct arena *names, struct bytes name, const char *file,
                 struct tensor **out, struct err *err)
{
    struct tensor *x = &t->at[t->n];
    uint32_t same;
    if (name.len > TENSOR_NAME_MAX)
        return fail(err, ERR_LIMIT, "%s: tensor %zu has a name of %zu bytes; at most %d are "
                    "accepted", file, t->n, name.len, TENSOR_NAME_MAX);
    if (!name_is_plain(name))
        return fail(err, ERR_FORMAT, "%s: tensor %zu has the name '%s', expected printable "
                    "UTF-8", file, t->n, SHOW(name));
    if (map_find(&t->by_name, name, &same))
        return fail(err, ERR_FORMAT, "%s: the tensor name '%s' appears twice%s%s", file,
                    SHOW(name), t->at[same].file == file ? "" : ", before in ",
                    t->at[same].file == file ? "" : t->at[same].file);
    x->file = file;
    x->name = arena_text(names, (const char *)name.at, name.len);
    if (!x->name || !map_put(&t->by_name, bytes_of(x->name), (uint32_t)t->n))
        return fail(err, ERR_MEMORY, "%s: out of memory for tensor names", file);
    t->n++;
    *out = x;
    return true;
}

bool shape_count(const uint64_t *ne, uint32_t n_dims, uint64_t *n_elements)
{
    uint64_t n = 1;
    bool empty = false;
    for (uint32_t i = 0; i < n_dims; i++) {
        empty |= ne[i] == 0;
        if (!mul_u64(n, ne[i] ? ne[i] : 1, &n) || n > INT64_MAX)
            return false;
    }
    *n_elements = empty ? 0 : n;
    return true;
}

static int by_place(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a;
    const struct tensor *y = *(const struct tensor *const *)b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return x->n_bytes < y->n_bytes ? -1 : x->n_bytes > y->n_bytes;
}

bool tensors_in_order(const struct tensors *t, size_t first, const struct tensor ***out,
                      struct err *err)
{
    const struct tensor **at = mem_take(t->n - first, sizeof *at);
    if (!at)
        return fail(err, ERR_MEMORY, "out of memory while ordering %zu tensors", t->n - first);
    for (size_t i = first; i < t->n; i++)
        at[i - first] = &t->at[i];
    qsort(at, t->n - first, sizeof *at, by_place);
    *out = at;
    return true;
}
