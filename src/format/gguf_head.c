#include "format/gguf_head.h"
#include "format/show.h"

static bool cut_short(const struct gguf_head *h, const char *what, struct err *err)
{
    return fail(err, ERR_FORMAT, "%s: %s at byte %zu goes past the end of the file (%zu bytes); "
                "the file is cut short or damaged, get it again", h->path, what, h->at.at,
                h->at.all.len);
}

static bool check_magic(const struct gguf_head *h, struct err *err)
{
    struct bytes file = h->at.all;
    const char *kind = show_kind(file);
    if (file.len >= 4 && !memcmp(file.at, "GGUF", 4))
        return true;
    if (kind)
        return fail(err, ERR_FORMAT, "%s: expected a GGUF file, but this is %s", h->path, kind);
    return fail(err, ERR_FORMAT, "%s: expected a GGUF file, which begins with 'GGUF'; this one "
                "begins with '%s'", h->path, SHOW(((struct bytes){ file.at, file.len < 4
                                                                   ? file.len : 4 })));
}

static bool check_version(const struct gguf_head *h, struct err *err)
{
    uint32_t v = h->version;
    if (v == 2 || v == 3)
        return true;
    if (v == 1)
        return fail(err, ERR_UNSUPPORTED, "%s: GGUF version 1 is not read, only 2 and 3; "
                    "convert the model again with a current tool", h->path);
    if (v && !(v & 0xffff))
        return fail(err, ERR_UNSUPPORTED, "%s: a big-endian GGUF file; only little-endian ones "
                    "are read", h->path);
    return fail(err, ERR_UNSUPPORTED, "%s: GGUF version %u is not read, only 2 and 3", h->path, v);
}

/* Counts are compared with the bytes that are there before anything is allocated. */
static bool check_counts(const struct gguf_head *h, uint64_t n_kv, struct err *err)
{
    unsigned long long t = h->n_tensors, k = n_kv;
    if (t > TENSORS_MAX || k > GGUF_KEYS_MAX)
        return fail(err, ERR_LIMIT, "%s: the header counts %llu tensors and %llu metadata keys; "
                    "at most %d and %d are accepted", h->path, t, k, TENSORS_MAX, GGUF_KEYS_MAX);
    if (t * 25 + k * 13 > cursor_left(&h->at))
        return fail(err, ERR_FORMAT, "%s: the header counts %llu tensors and %llu metadata keys, "
                    "which cannot fit in the file's %zu bytes; it is cut short or damaged, get "
                    "it again", h->path, t, k, h->at.all.len);
    return true;
}

static bool check_bools(const struct gguf_head *h, const struct gguf_kv *kv, struct err *err)
{
    for (size_t i = 0; i < kv->raw.len; i++)
        if (kv->raw.at[i] > 1)
            return fail(err, ERR_FORMAT, "%s: the bool in key '%s' is %u, expected 0 or 1",
                        h->path, SHOW(kv->key), kv->raw.at[i]);
    return true;
}

static bool check_type(const struct gguf_head *h, struct bytes key, uint32_t type, const char *of,
                       struct err *err)
{
    return type < N_GGUF_TYPES ||
           fail(err, ERR_FORMAT, "%s: key '%s' has %s of type %u, expected 0 to %d", h->path,
                SHOW(key), of, type, N_GGUF_TYPES - 1);
}

/* Moves past n values of a type, all of them inside the file. */
static bool skip_values(struct gguf_head *h, struct bytes key, enum gguf_type type, uint64_t n,
                        int depth, struct err *err)
{
    struct bytes b;
    size_t size = gguf_type_bytes(type);
    if (size) {
        if (n > cursor_left(&h->at) / size)
            return fail(err, ERR_FORMAT, "%s: key '%s' holds %llu values of type %s, more than "
                        "the rest of the file (%zu bytes)", h->path, SHOW(key),
                        (unsigned long long)n, gguf_type_name(type), cursor_left(&h->at));
        return read_run(&h->at, n * size, &b);
    }
    for (uint64_t i = 0; i < n; i++) {
        uint32_t elem;
        uint64_t count;
        if (type == GGUF_STRING) {
            if (!read_string(&h->at, &b))
                return fail(err, ERR_FORMAT, "%s: string %llu in key '%s' goes past the end of "
                            "the file (%zu bytes)", h->path, (unsigned long long)i, SHOW(key),
                            h->at.all.len);
            continue;
        }
        if (depth == GGUF_DEPTH_MAX)
            return fail(err, ERR_LIMIT, "%s: key '%s' nests arrays more than %d deep", h->path,
                        SHOW(key), GGUF_DEPTH_MAX);
        if (!read_u32(&h->at, &elem) || !read_u64(&h->at, &count))
            return cut_short(h, "an array in an array", err);
        if (!check_type(h, key, elem, "an array", err) ||
            !skip_values(h, key, elem, count, depth + 1, err))
            return false;
    }
    return true;
}

static bool read_value(struct gguf_head *h, struct gguf_kv *kv, struct err *err)
{
    kv->n = 1;
    kv->elem = kv->type;
    if (kv->type == GGUF_ARRAY) {
        uint32_t elem;
        if (!read_u32(&h->at, &elem) || !read_u64(&h->at, &kv->n))
            return cut_short(h, "an array", err);
        if (!check_type(h, kv->key, elem, "an array", err))
            return false;
        kv->elem = elem;
    }
    size_t from = h->at.at;
    if (!skip_values(h, kv->key, kv->elem, kv->n, 1, err))
        return false;
    if (kv->type == GGUF_STRING)
        from += 8;
    kv->raw = (struct bytes){ h->at.all.at + from, h->at.at - from };
    return kv->elem != GGUF_BOOL || check_bools(h, kv, err);
}

static bool read_key(struct gguf_head *h, struct gguf_kv *kv, size_t i, struct err *err)
{
    uint32_t type, same;
    if (!read_string(&h->at, &kv->key))
        return cut_short(h, "a metadata key", err);
    if (kv->key.len > GGUF_KEY_MAX)
        return fail(err, ERR_LIMIT, "%s: metadata key %zu has %zu bytes; at most %d are accepted",
                    h->path, i, kv->key.len, GGUF_KEY_MAX);
    if (!name_is_plain(kv->key))
        return fail(err, ERR_FORMAT, "%s: metadata key %zu is '%s', expected printable text",
                    h->path, i, SHOW(kv->key));
    if (map_find(&h->by_key, kv->key, &same))
        return fail(err, ERR_FORMAT, "%s: the metadata key '%s' appears twice", h->path,
                    SHOW(kv->key));
    if (!read_u32(&h->at, &type))
        return cut_short(h, "the type of a metadata value", err);
    if (!check_type(h, kv->key, type, "a value", err))
        return false;
    kv->type = type;
    if (!read_value(h, kv, err))
        return false;
    return map_put(&h->by_key, kv->key, (uint32_t)i) ||
           fail(err, ERR_MEMORY, "%s: out of memory for metadata", h->path);
}

/* general.alignment, 32 when absent. */
static bool read_alignment(struct gguf_head *h, struct err *err)
{
    uint32_t i;
    uint64_t a = 32;
    if (!map_find(&h->by_key, bytes_of("general.alignment"), &i)) {
        h->alignment = a;
        return true;
    }
    if (h->kv[i].type == GGUF_ARRAY || !gguf_elem_u64(&h->kv[i], 0, &a))
        return fail(err, ERR_FORMAT, "%s: general.alignment has type %s, expected u32", h->path,
                    gguf_type_name(h->kv[i].type));
    if (a < GGUF_ALIGN_MIN || a > GGUF_ALIGN_MAX || (a & (a - 1)))
        return fail(err, ERR_FORMAT, "%s: general.alignment is %llu, expected a power of two "
                    "from %d to %d", h->path, (unsigned long long)a, GGUF_ALIGN_MIN,
                    GGUF_ALIGN_MAX);
    h->alignment = a;
    return true;
}

bool gguf_head_read(struct gguf_head *h, struct bytes file, const char *path, struct err *err)
{
    uint64_t n_kv;
    *h = (struct gguf_head){ .at = { file, 0 }, .path = path };
    if (!check_magic(h, err))
        return false;
    h->at.at = 4;
    if (!read_u32(&h->at, &h->version))
        return cut_short(h, "the version", err);
    if (!check_version(h, err))
        return false;
    if (!read_u64(&h->at, &h->n_tensors) || !read_u64(&h->at, &n_kv))
        return cut_short(h, "the tensor and key counts", err);
    if (!check_counts(h, n_kv, err))
        return false;
    h->kv = mem_take((size_t)n_kv, sizeof *h->kv);
    if (!h->kv)
        return fail(err, ERR_MEMORY, "%s: out of memory for %llu metadata keys", path,
                    (unsigned long long)n_kv);
    for (; h->n_kv < n_kv; h->n_kv++)
        if (!read_key(h, &h->kv[h->n_kv], h->n_kv, err))
            return false;
    return read_alignment(h, err);
}

void gguf_head_release(struct gguf_head *h)
{
    mem_give(h->kv);
    map_release(&h->by_key);
    h->kv = NULL;
    h->n_kv = 0;
}
