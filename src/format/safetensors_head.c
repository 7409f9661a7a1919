#include "format/safetensors_head.h"
#include "format/cursor.h"
#include "format/json_file.h"
#include "format/show.h"

#include <stdio.h>

/* The dtypes with whole bytes per element; ggml ids where ggml has the type. */
static const struct { const char *name; uint32_t bytes, ggml_type; } dtypes[] = {
    { "F32", 4, QT_F32 }, { "F16", 2, QT_F16 }, { "BF16", 2, QT_BF16 },
    { "I8", 1, 24 }, { "I16", 2, 25 }, { "I32", 4, 26 }, { "I64", 8, 27 }, { "F64", 8, 28 },
    { "BOOL", 1, UINT32_MAX }, { "U8", 1, UINT32_MAX }, { "U16", 2, UINT32_MAX },
    { "U32", 4, UINT32_MAX }, { "U64", 8, UINT32_MAX }, { "F8_E4M3", 1, UINT32_MAX },
    { "F8_E5M2", 1, UINT32_MAX }, { "F8_E8M0", 1, UINT32_MAX }, { "C64", 8, UINT32_MAX },
};

static bool check_length(struct bytes file, const char *path, uint64_t *n, struct err *err)
{
    struct cursor c = { file, 0 };
    const char *kind = show_kind(file);
    if (kind && strcmp(kind, "a safetensors file"))
        return fail(err, ERR_FORMAT, "%s: expected a safetensors file, but this is %s", path, kind);
    if (!read_u64(&c, n))
        return fail(err, ERR_FORMAT, "%s: %zu bytes are too few for a safetensors file", path,
                    file.len);
    if (*n > SAFETENSORS_HEADER_MAX)
        return fail(err, ERR_LIMIT, "%s: a header of %llu bytes; at most %d are accepted (or it "
                    "is no safetensors file)", path, (unsigned long long)*n,
                    SAFETENSORS_HEADER_MAX);
    if (*n > cursor_left(&c))
        return fail(err, ERR_FORMAT, "%s: a header of %llu bytes, but the file has only %zu; it "
                    "is cut short or damaged, get it again", path, (unsigned long long)*n,
                    file.len);
    if (*n < 2 || file.at[8] != '{')
        return fail(err, ERR_FORMAT, "%s: the header (%llu bytes) does not begin with '{'", path,
                    (unsigned long long)*n);
    return true;
}

json_t *safetensors_head_read(struct bytes file, const char *path, struct bytes *data,
                              struct err *err)
{
    uint64_t n = 0;
    if (!check_length(file, path, &n, err))
        return NULL;
    json_t *head = json_load_bytes((struct bytes){ file.at + 8, (size_t)n }, path, err);
    *data = (struct bytes){ file.at + 8 + n, file.len - 8 - (size_t)n };
    if (head && safetensors_count(head) > TENSORS_MAX) {
        fail(err, ERR_LIMIT, "%s: %zu tensors; at most %d are accepted", path,
             safetensors_count(head), TENSORS_MAX);
        json_decref(head);
        return NULL;
    }
    return head;
}

size_t safetensors_count(json_t *head)
{
    return json_object_size(head) - (json_object_get(head, "__metadata__") != NULL);
}

static bool in_tensor(struct err *err, const struct tensor *t)
{
    char prefix[256];
    snprintf(prefix, sizeof prefix, "tensor '%s'", SHOW(bytes_of(t->name)));
    fail_in(err, prefix);
    return fail_in(err, t->file);
}

/* A JSON integer that is not negative. */
static bool json_count(const json_t *j, uint64_t *out)
{
    if (!json_is_integer(j) || json_integer_value(j) < 0)
        return false;
    *out = (uint64_t)json_integer_value(j);
    return true;
}

/* "shape" is slowest axis first; ne is the reverse. */
static bool read_shape(const json_t *info, struct tensor *t, struct err *err)
{
    const json_t *shape = json_object_get(info, "shape");
    size_t n = json_array_size(shape);
    if (!json_is_array(shape))
        return fail(err, ERR_FORMAT, "it has no list \"shape\"");
    if (n > TENSOR_DIMS_MAX)
        return fail(err, ERR_UNSUPPORTED, "it has %zu dimensions; at most %d are accepted", n,
                    TENSOR_DIMS_MAX);
    t->n_dims = (uint32_t)n;
    for (size_t i = 0; i < TENSOR_DIMS_MAX; i++) {
        t->ne[i] = 1;
        if (i < n && !json_count(json_array_get(shape, n - 1 - i), &t->ne[i]))
            return fail(err, ERR_FORMAT, "entry %zu of its shape is no count", n - 1 - i);
    }
    return true;
}

/* Type and the bytes the shape needs; *known is false for a dtype we never heard of. */
static bool read_dtype(const json_t *info, struct tensor *t, struct arena *names,
                       uint64_t *n_bytes, bool *known, struct err *err)
{
    const char *dtype = json_string_value(json_object_get(info, "dtype"));
    uint64_t n;
    if (!dtype)
        return fail(err, ERR_FORMAT, "it has no \"dtype\"");
    if (!shape_count(t->ne, t->n_dims, &n))
        return fail(err, ERR_FORMAT, "its shape has more than 2^63 elements");
    t->ggml_type = UINT32_MAX;
    *known = false;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].name, dtype))
            continue;
        *known = true;
        t->ggml_type = dtypes[i].ggml_type;
        t->type_name = dtypes[i].name;
        t->qtype = qtype_find(t->ggml_type);
        return mul_u64(n, dtypes[i].bytes, n_bytes) ||
               fail(err, ERR_FORMAT, "its size in bytes does not fit in 64 bits");
    }
    if (strlen(dtype) > 32 || !name_is_plain(bytes_of(dtype)))
        return fail(err, ERR_FORMAT, "'%s' is no dtype", SHOW(bytes_of(dtype)));
    t->type_name = arena_text(names, dtype, strlen(dtype));
    return t->type_name || fail(err, ERR_MEMORY, "out of memory for its dtype");
}

static bool read_range(const json_t *info, struct tensor *t, struct bytes data, struct err *err)
{
    const json_t *range = json_object_get(info, "data_offsets");
    uint64_t begin, end;
    if (json_array_size(range) != 2 || !json_count(json_array_get(range, 0), &begin) ||
        !json_count(json_array_get(range, 1), &end))
        return fail(err, ERR_FORMAT, "it has no \"data_offsets\" of two counts");
    if (begin > end || end > data.len)
        return fail(err, ERR_FORMAT, "its data_offsets [%llu, %llu) do not lie in the %zu bytes of "
                    "data in the file; it is cut short or damaged, get it again",
                    (unsigned long long)begin, (unsigned long long)end, data.len);
    t->data = data.at + begin;
    t->n_bytes = end - begin;
    return true;
}

static bool read_info(const json_t *info, struct tensor *t, struct bytes data,
                      struct arena *names, struct err *err)
{
    uint64_t n_bytes;
    bool known;
    if (!read_shape(info, t, err) || !read_dtype(info, t, names, &n_bytes, &known, err) ||
        !read_range(info, t, data, err))
        return false;
    return !known || n_bytes == t->n_bytes ||
           fail(err, ERR_FORMAT, "its shape and dtype %s make %llu bytes, its data_offsets %llu",
                t->type_name, (unsigned long long)n_bytes, (unsigned long long)t->n_bytes);
}

/* The ranges, in order, must begin at 0, touch each other, and end at the file's end. */
static bool check_cover(const struct tensors *t, size_t first, struct bytes data,
                        const char *path, struct err *err)
{
    const struct tensor **at;
    if (!tensors_in_order(t, first, &at, err))
        return false;
    uint64_t end = 0;
    bool ok = true;
    for (size_t i = 0; i < t->n - first && ok; i++) {
        uint64_t begin = (uint64_t)(at[i]->data - data.at);
        if (begin != end)
            ok = fail(err, ERR_FORMAT, "%s: tensor '%s' begins at byte %llu of the data, expected "
                      "%llu: the tensors %s", path, SHOW(bytes_of(at[i]->name)),
                      (unsigned long long)begin, (unsigned long long)end,
                      begin < end ? "overlap" : "leave a hole");
        end = begin + at[i]->n_bytes;
    }
    mem_give(at);
    return ok && (end == data.len ||
                  fail(err, ERR_FORMAT, "%s: the tensors end at byte %llu of the data, but the "
                       "file has %zu", path, (unsigned long long)end, data.len));
}

bool safetensors_list_read(json_t *head, struct bytes data, const char *path, struct tensors *t,
                           struct arena *names, struct err *err)
{
    size_t first = t->n;
    const char *key;
    json_t *info;
    json_object_foreach(head, key, info) {
        struct tensor *x;
        if (!strcmp(key, "__metadata__"))
            continue;
        if (!tensors_add(t, names, bytes_of(key), path, &x, err))
            return false;
        if (!read_info(info, x, data, names, err))
            return in_tensor(err, x);
    }
    return check_cover(t, first, data, path, err);
}
