/* The list of tensors of one GGUF file: names, shapes, types, places. */
#include "format/gguf_head.h"
#include "format/show.h"

#include <stdio.h>

/* Blocks of the ggml types that qtypes[] does not have: enough to check their extents. */
static const struct { uint8_t id; uint16_t block, block_bytes; } foreign[] = {
    { 3, 32, 20 }, { 9, 32, 40 }, { 15, 256, 292 }, { 16, 256, 66 }, { 17, 256, 74 },
    { 18, 256, 98 }, { 19, 256, 50 }, { 21, 256, 110 }, { 22, 256, 82 }, { 24, 1, 1 },
    { 25, 1, 2 }, { 26, 1, 4 }, { 27, 1, 8 }, { 28, 1, 8 }, { 29, 256, 56 }, { 34, 256, 54 },
    { 35, 256, 66 }, { 40, 64, 36 }, { 41, 128, 18 },
};

/* Elements and bytes of one block of t's type; false when the type is unknown. */
static bool block_of(const struct tensor *t, uint64_t *block, uint64_t *block_bytes)
{
    if (t->qtype) {
        *block = t->qtype->block;
        *block_bytes = t->qtype->block_bytes;
        return true;
    }
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        if (foreign[i].id == t->ggml_type) {
            *block = foreign[i].block;
            *block_bytes = foreign[i].block_bytes;
            return true;
        }
    }
    return false;
}

/* What is wrong with a tensor, after the file and its name. */
#define TENSOR_FAIL(err, code, t, ...) (fail(err, code, __VA_ARGS__), in_tensor(err, t))

static bool in_tensor(struct err *err, const struct tensor *t)
{
    char prefix[256];
    snprintf(prefix, sizeof prefix, "tensor '%s'", SHOW(bytes_of(t->name)));
    fail_in(err, prefix);
    return fail_in(err, t->file);
}

static bool read_shape(struct gguf_head *h, struct tensor *t, struct err *err)
{
    if (!read_u32(&h->at, &t->n_dims))
        return TENSOR_FAIL(err, ERR_FORMAT, t, "the file ends inside its description");
    if (t->n_dims > TENSOR_DIMS_MAX)
        return TENSOR_FAIL(err, ERR_FORMAT, t, "it has %u dimensions; at most %d are accepted",
                           t->n_dims, TENSOR_DIMS_MAX);
    for (uint32_t i = 0; i < TENSOR_DIMS_MAX; i++) {
        t->ne[i] = 1;
        if (i < t->n_dims && !read_u64(&h->at, &t->ne[i]))
            return TENSOR_FAIL(err, ERR_FORMAT, t, "the file ends inside its description");
        if (!t->ne[i])
            return TENSOR_FAIL(err, ERR_FORMAT, t, "dimension %u is 0, expected at least 1", i);
    }
    return true;
}

static bool name_type(struct tensor *t, struct arena *names, struct err *err)
{
    char text[24];
    t->qtype = qtype_find(t->ggml_type);
    t->type_name = t->qtype ? t->qtype->name : qtype_ggml_name(t->ggml_type);
    if (strcmp(t->type_name, "?"))
        return true;
    int n = snprintf(text, sizeof text, "type %u", t->ggml_type);
    t->type_name = arena_text(names, text, (size_t)n);
    return t->type_name || fail(err, ERR_MEMORY, "%s: out of memory for tensor names", t->file);
}

/* n_bytes from shape and type; 0 for a type whose block is unknown. */
static bool size_tensor(struct tensor *t, struct err *err)
{
    uint64_t n, block, block_bytes;
    if (!shape_count(t->ne, t->n_dims, &n))
        return TENSOR_FAIL(err, ERR_FORMAT, t, "its shape [%llu, %llu, %llu, %llu] has more "
                           "than 2^63 elements", (unsigned long long)t->ne[0],
                           (unsigned long long)t->ne[1], (unsigned long long)t->ne[2],
                           (unsigned long long)t->ne[3]);
    if (!block_of(t, &block, &block_bytes))
        return true;
    if (t->ne[0] % block)
        return TENSOR_FAIL(err, ERR_FORMAT, t, "its rows have %llu elements, which is no "
                           "multiple of the %llu in a block of %s", (unsigned long long)t->ne[0],
                           (unsigned long long)block, t->type_name);
    if (!mul_u64(n / block, block_bytes, &t->n_bytes))
        return TENSOR_FAIL(err, ERR_FORMAT, t, "its size in bytes does not fit in 64 bits");
    return true;
}

/* The tensor is placed at *offset later: where the data starts is known when the list ends. */
static bool read_info(struct gguf_head *h, struct tensors *t, struct arena *names,
                      uint64_t *offset, struct err *err)
{
    struct bytes name;
    struct tensor *x;
    if (!read_string(&h->at, &name))
        return fail(err, ERR_FORMAT, "%s: the file ends inside the name of tensor %zu; it is "
                    "cut short or damaged, get it again", h->path, t->n);
    if (!tensors_add(t, names, name, h->path, &x, err) || !read_shape(h, x, err))
        return false;
    if (!read_u32(&h->at, &x->ggml_type) || !read_u64(&h->at, offset))
        return TENSOR_FAIL(err, ERR_FORMAT, x, "the file ends inside its description");
    if (!name_type(x, names, err) || !size_tensor(x, err))
        return false;
    if (*offset % h->alignment)
        return TENSOR_FAIL(err, ERR_FORMAT, x, "its offset %llu is no multiple of the file's "
                           "alignment %llu", (unsigned long long)*offset,
                           (unsigned long long)h->alignment);
    return true;
}

static bool place(struct tensor *t, struct bytes data, uint64_t offset, struct err *err)
{
    if (offset > data.len || t->n_bytes > data.len - offset)
        return TENSOR_FAIL(err, ERR_FORMAT, t, "its %llu bytes at offset %llu do not fit in the "
                           "%zu bytes of data in the file; it is cut short or damaged, get it "
                           "again", (unsigned long long)t->n_bytes, (unsigned long long)offset,
                           data.len);
    t->data = data.at + offset;
    return true;
}

static bool check_overlaps(const struct tensors *t, size_t first, struct err *err)
{
    const struct tensor **at;
    if (!tensors_in_order(t, first, &at, err))
        return false;
    bool ok = true;
    const struct tensor *last = NULL;
    for (size_t i = 0; i < t->n - first && ok; i++) {
        if (last && at[i]->n_bytes && last->data + last->n_bytes > at[i]->data)
            ok = fail(err, ERR_FORMAT, "%s: the tensors '%s' and '%s' overlap", last->file,
                      last->name, at[i]->name);
        if (at[i]->n_bytes)
            last = at[i];
    }
    mem_give(at);
    return ok;
}

bool gguf_list_read(struct gguf_head *h, struct tensors *t, struct arena *names,
                    struct err *err)
{
    size_t first = t->n;
    uint64_t *offset = mem_take((size_t)h->n_tensors, sizeof *offset);
    if (!offset)
        return fail(err, ERR_MEMORY, "%s: out of memory for %llu tensors", h->path,
                    (unsigned long long)h->n_tensors);
    bool ok = true;
    for (uint64_t i = 0; i < h->n_tensors && ok; i++)
        ok = read_info(h, t, names, &offset[i], err);
    size_t pad = -h->at.at & (size_t)(h->alignment - 1);
    struct bytes data = { h->at.all.at + h->at.all.len, 0 };
    if (ok && pad <= cursor_left(&h->at))
        data = (struct bytes){ h->at.all.at + h->at.at + pad, cursor_left(&h->at) - pad };
    for (size_t i = first; i < t->n && ok; i++)
        ok = place(&t->at[i], data, offset[i - first], err);
    mem_give(offset);
    return ok && check_overlaps(t, first, err);
}
