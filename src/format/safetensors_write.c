#include "format/safetensors_write.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool safetensors_writer_add(struct safetensors_writer *w, const char *name,
                            const struct qtype *type, uint32_t n_dims, const uint64_t *ne,
                            struct err *err)
{
    if (type->block != 1)
        return fail(err, ERR_UNSUPPORTED, "tensor %s is of type %s; safetensors files have F32, "
                    "F16 and BF16", name, type->name);
    return tensors_out_add(&w->out, name, type, n_dims, ne, err);
}

/* A JSON string with its quotes. */
static void put_quoted(struct buf *out, const char *text)
{
    json_t *s = json_string(text);
    char *quoted = s ? json_dumps(s, JSON_ENCODE_ANY) : NULL;
    json_decref(s);
    if (quoted)
        buf_text(out, quoted);
    else
        out->failed = true;
    free(quoted);
}

static void put_tensor(struct buf *out, const struct tensor_out *t)
{
    put_quoted(out, t->name);
    buf_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", t->type->name);
    for (uint32_t d = t->n_dims; d-- > 0;)
        buf_printf(out, "%llu%s", (unsigned long long)t->ne[d], d ? "," : "");
    buf_printf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)t->at,
               (unsigned long long)(t->at + t->n_bytes));
}

/* The length of the JSON, and the JSON padded with spaces to a multiple of 8. */
static void build_head(const struct tensors_out *o, size_t shard, struct buf *out,
                       const void *owner)
{
    (void)owner;
    buf_put(out, "\0\0\0\0\0\0\0\0", 8);
    buf_text(out, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < o->n; i++) {
        if (o->t[i].shard != shard)
            continue;
        buf_text(out, ",");
        put_tensor(out, &o->t[i]);
    }
    buf_text(out, "}");
    while (!out->failed && out->len % 8)
        buf_text(out, " ");
    for (int i = 0; i < 8 && !out->failed; i++)
        out->at[i] = (char)((uint64_t)(out->len - 8) >> (8 * i));
}

static void shard_name(char out[64], size_t shard, size_t n)
{
    if (n == 1)
        snprintf(out, 64, "model.safetensors");
    else
        snprintf(out, 64, "model-%05zu-of-%05zu.safetensors", shard + 1, n);
}

static char **take_paths(const char *folder, size_t n)
{
    char **all = mem_take(n, sizeof *all), name[64];
    size_t room = strlen(folder) + 80;
    for (size_t i = 0; all && i < n; i++) {
        all[i] = mem_take(room, 1);
        if (!all[i]) {
            while (i--)
                mem_give(all[i]);
            mem_give(all);
            return NULL;
        }
        shard_name(name, i, n);
        snprintf(all[i], room, "%s/%s", folder, name);
    }
    return all;
}

bool safetensors_writer_begin(struct safetensors_writer *w, const char *folder,
                              uint64_t max_bytes, struct err *err)
{
    w->folder = folder;
    w->out.align = 1;
    w->out.head = build_head;
    size_t n = tensors_out_place(&w->out, max_bytes);
    if (n > 10000)
        return fail(err, ERR_LIMIT, "%s: %zu files; at most 10000: choose larger ones", folder, n);
    char **paths = take_paths(folder, n);
    if (!paths)
        return fail(err, ERR_MEMORY, "%s: out of memory for %zu file names", folder, n);
    return tensors_out_begin(&w->out, paths, n, w, err);
}

bool safetensors_writer_put(struct safetensors_writer *w, const void *data, size_t n_bytes,
                            struct err *err)
{
    return tensors_out_put(&w->out, data, n_bytes, w, err);
}

/* model.safetensors.index.json: which tensor is in which shard. */
static bool write_index(const struct safetensors_writer *w, const char *path, struct err *err)
{
    const struct tensors_out *o = &w->out;
    struct buf text = { 0 };
    uint64_t total = 0;
    char name[64];
    for (size_t i = 0; i < o->n; i++)
        total += o->t[i].n_bytes;
    buf_printf(&text, "{\n  \"metadata\": {\"total_size\": %llu},\n  \"weight_map\": {",
               (unsigned long long)total);
    for (size_t i = 0; i < o->n; i++) {
        shard_name(name, o->t[i].shard, o->n_files);
        buf_text(&text, i ? ",\n    " : "\n    ");
        put_quoted(&text, o->t[i].name);
        buf_printf(&text, ": \"%s\"", name);
    }
    buf_text(&text, "\n  }\n}\n");
    bool ok = buf_ok(&text, err) && file_write(path, text.at, text.len, err);
    buf_release(&text);
    return ok;
}

bool safetensors_writer_end(struct safetensors_writer *w, struct err *err)
{
    struct buf path = { 0 };
    if (w->out.n_files == 1)
        return tensors_out_end(&w->out, err);
    buf_printf(&path, "%s/model.safetensors.index.json", w->folder);
    bool ok = buf_ok(&path, err) && write_index(w, path.at, err);
    if (ok && !tensors_out_end(&w->out, err)) {
        unlink(path.at);
        ok = false;
    }
    buf_release(&path);
    return ok;
}

void safetensors_writer_release(struct safetensors_writer *w)
{
    tensors_out_release(&w->out);
    *w = (struct safetensors_writer){ 0 };
}
