#include "format/gguf_write.h"
#include "format/gguf_head.h"

#include <stdio.h>

enum { SPLIT_MAX = 65535 };

static void put_number(struct buf *b, uint64_t v, size_t n_bytes)
{
    uint8_t le[8];
    for (size_t i = 0; i < 8; i++)
        le[i] = (uint8_t)(v >> (8 * i));
    buf_put(b, le, n_bytes);
}

static void put_text(struct buf *b, struct bytes text)
{
    put_number(b, text.len, 8);
    buf_put(b, text.at, text.len);
}

static void put_key(struct gguf_writer *w, struct bytes key, enum gguf_type type)
{
    put_text(&w->meta, key);
    put_number(&w->meta, type, 4);
    w->n_kv++;
}

void gguf_put_raw(struct gguf_writer *w, const char *key, enum gguf_type type, const void *v)
{
    put_key(w, bytes_of(key), type);
    buf_put(&w->meta, v, gguf_type_bytes(type));
}

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
    put_key(w, bytes_of(key), GGUF_U32);
    put_number(&w->meta, v, 4);
}

void gguf_put_f32(struct gguf_writer *w, const char *key, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_key(w, bytes_of(key), GGUF_F32);
    put_number(&w->meta, bits, 4);
}

void gguf_put_bool(struct gguf_writer *w, const char *key, bool v)
{
    put_key(w, bytes_of(key), GGUF_BOOL);
    put_number(&w->meta, v, 1);
}

void gguf_put_string(struct gguf_writer *w, const char *key, struct bytes v)
{
    put_key(w, bytes_of(key), GGUF_STRING);
    put_text(&w->meta, v);
}

void gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_type elem, uint64_t n)
{
    put_key(w, bytes_of(key), GGUF_ARRAY);
    put_number(&w->meta, elem, 4);
    put_number(&w->meta, n, 8);
}

void gguf_put_elem(struct gguf_writer *w, enum gguf_type elem, const void *v)
{
    buf_put(&w->meta, v, gguf_type_bytes(elem));
}

void gguf_put_text(struct gguf_writer *w, struct bytes v)
{
    put_text(&w->meta, v);
}

static bool is_own_key(struct bytes key)
{
    return bytes_eq(key, bytes_of("general.alignment")) ||
           (key.len > 6 && !memcmp(key.at, "split.", 6));
}

void gguf_put_kv(struct gguf_writer *w, const struct gguf_kv *kv)
{
    if (is_own_key(kv->key))
        return;
    put_key(w, kv->key, kv->type);
    if (kv->type == GGUF_ARRAY)
        put_number(&w->meta, kv->elem, 4);
    if (kv->type == GGUF_ARRAY)
        put_number(&w->meta, kv->n, 8);
    if (kv->type == GGUF_STRING)
        put_number(&w->meta, kv->raw.len, 8);
    buf_put(&w->meta, kv->raw.at, kv->raw.len);
}

bool gguf_writer_add(struct gguf_writer *w, const char *name, const struct qtype *type,
                     uint32_t n_dims, const uint64_t *ne, struct err *err)
{
    return tensors_out_add(&w->out, name, type, n_dims, ne, err);
}

/* Which shard of how many, and of how many tensors. */
static void put_split_keys(struct gguf_writer *w, size_t shard, size_t n, size_t n_tensors)
{
    uint16_t no = (uint16_t)shard, count = (uint16_t)n;
    int32_t tensors = (int32_t)n_tensors;
    gguf_put_raw(w, "split.no", GGUF_U16, &no);
    gguf_put_raw(w, "split.count", GGUF_U16, &count);
    gguf_put_raw(w, "split.tensors.count", GGUF_I32, &tensors);
}

static uint64_t tensors_in(const struct tensors_out *o, size_t shard)
{
    uint64_t n = 0;
    for (size_t i = 0; i < o->n; i++)
        n += o->t[i].shard == shard;
    return n;
}

static void put_tensor(struct buf *out, const struct tensor_out *t)
{
    put_text(out, bytes_of(t->name));
    put_number(out, t->n_dims, 4);
    for (uint32_t d = 0; d < t->n_dims; d++)
        put_number(out, t->ne[d], 8);
    put_number(out, (uint64_t)t->type->id, 4);
    put_number(out, t->at, 8);
}

/* The layout is in gguf_head.h. */
static void build_head(const struct tensors_out *o, size_t shard, struct buf *out,
                       const void *owner)
{
    const struct gguf_writer *w = owner;
    struct gguf_writer own = { 0 };       /* the keys of this shard alone */
    if (w->alignment != 32)
        gguf_put_u32(&own, "general.alignment", (uint32_t)w->alignment);
    if (o->n_files > 1)
        put_split_keys(&own, shard, o->n_files, o->n);
    buf_put(out, "GGUF\3\0\0\0", 8);
    put_number(out, tensors_in(o, shard), 8);
    put_number(out, own.n_kv + (shard ? 0 : w->n_kv), 8);
    if (!shard)
        buf_put(out, w->meta.at, w->meta.len);
    buf_put(out, own.meta.at, own.meta.len);
    for (size_t i = 0; i < o->n; i++)
        if (o->t[i].shard == shard)
            put_tensor(out, &o->t[i]);
    while (!out->failed && out->len % o->align)
        buf_put(out, "", 1);
    out->failed |= own.meta.failed;
    buf_release(&own.meta);
}

/* PREFIX.gguf, or PREFIX-00001-of-0000N.gguf for each of N > 1. */
static char **take_paths(const char *path, size_t n)
{
    char **all = mem_take(n, sizeof *all);
    size_t len = strlen(path), room = len + 40;
    int prefix = (int)(len > 5 && !strcmp(path + len - 5, ".gguf") ? len - 5 : len);
    for (size_t i = 0; all && i < n; i++) {
        all[i] = mem_take(room, 1);
        if (!all[i]) {
            while (i--)
                mem_give(all[i]);
            mem_give(all);
            return NULL;
        }
        if (n == 1)
            memcpy(all[i], path, len + 1);
        else
            snprintf(all[i], room, "%.*s-%05zu-of-%05zu.gguf", prefix, path, i + 1, n);
    }
    return all;
}

bool gguf_writer_begin(struct gguf_writer *w, const char *path, uint64_t max_bytes,
                       struct err *err)
{
    w->alignment = w->alignment ? w->alignment : 32;
    check(w->alignment >= GGUF_ALIGN_MIN && w->alignment <= GGUF_ALIGN_MAX &&
          !(w->alignment & (w->alignment - 1)));
    w->out.align = w->alignment;
    w->out.head = build_head;
    size_t n = tensors_out_place(&w->out, max_bytes);
    if (n > SPLIT_MAX)
        return fail(err, ERR_LIMIT, "%s: %zu files; at most %d: choose larger ones", path, n,
                    SPLIT_MAX);
    if (w->meta.failed)
        return fail(err, ERR_MEMORY, "%s: out of memory for its metadata", path);
    char **paths = take_paths(path, n);
    if (!paths)
        return fail(err, ERR_MEMORY, "%s: out of memory for %zu file names", path, n);
    return tensors_out_begin(&w->out, paths, n, w, err);
}

bool gguf_writer_put(struct gguf_writer *w, const void *data, size_t n_bytes, struct err *err)
{
    return tensors_out_put(&w->out, data, n_bytes, w, err);
}

bool gguf_writer_end(struct gguf_writer *w, struct err *err)
{
    return tensors_out_end(&w->out, err);
}

void gguf_writer_release(struct gguf_writer *w)
{
    buf_release(&w->meta);
    tensors_out_release(&w->out);
    *w = (struct gguf_writer){ 0 };
}
