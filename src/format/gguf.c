#include "format/gguf.h"
#include "format/gguf_head.h"
#include "format/show.h"

#include <stdio.h>
#include <stdlib.h>

void gguf_close(struct gguf *g)
{
    for (size_t i = 0; i < g->n_files; i++) {
        if (!g->borrowed)
            file_map_close(&g->file[i]);
        mem_give(g->path[i]);
    }
    mem_give(g->file);
    mem_give(g->path);
    mem_give(g->kv);
    map_release(&g->by_key);
    tensors_release(&g->tensors);
    arena_release(&g->names);
    *g = (struct gguf){ 0 };
}

/* Files and paths for n shards; gguf_close() gives them back. */
static bool take_files(struct gguf *g, size_t n, struct err *err)
{
    g->file = mem_take(n, sizeof *g->file);
    g->path = mem_take(n, sizeof *g->path);
    g->n_files = g->file && g->path ? n : 0;
    return g->n_files || fail(err, ERR_MEMORY, "out of memory for %zu file names", n);
}

static bool set_path(struct gguf *g, size_t i, const char *path, struct err *err)
{
    g->path[i] = mem_copy_text(path, strlen(path));
    return g->path[i] || fail(err, ERR_MEMORY, "%s: out of memory for its name", path);
}

/* Moves the metadata of the first shard into g. */
static void keep_metadata(struct gguf *g, struct gguf_head *h)
{
    g->version = h->version;
    g->alignment = h->alignment;
    g->kv = h->kv;
    g->n_kv = h->n_kv;
    g->by_key = h->by_key;
    h->kv = NULL;
    h->by_key = (struct map){ 0 };
}

/* An integer key of one shard; 0 when absent. */
static bool head_u64(const struct gguf_head *h, const char *key, uint64_t *out, struct err *err)
{
    uint32_t i;
    *out = 0;
    if (!map_find(&h->by_key, bytes_of(key), &i))
        return true;
    return (h->kv[i].type != GGUF_ARRAY && gguf_elem_u64(&h->kv[i], 0, out)) ||
           fail(err, ERR_FORMAT, "%s: %s is no count (type %s)", h->path, key,
                gguf_type_name(h->kv[i].type));
}

/*
 * PREFIX-00002-of-00003.gguf -> prefix length, 2, 3; false for any other name.
 */
static bool parse_split_name(const char *path, size_t *prefix, unsigned *no, unsigned *count)
{
    static const char form[] = "-ddddd-of-ddddd.gguf";
    size_t len = strlen(path), n = sizeof form - 1;
    if (len < n)
        return false;
    const char *tail = path + len - n;
    for (size_t i = 0; i < n; i++)
        if (form[i] == 'd' ? tail[i] < '0' || tail[i] > '9' : tail[i] != form[i])
            return false;
    *prefix = len - n;
    *no = (unsigned)strtoul(tail + 1, NULL, 10);
    *count = (unsigned)strtoul(tail + 10, NULL, 10);
    return true;
}

static bool check_shard(const struct gguf_head *h, size_t i, size_t n, struct err *err)
{
    uint64_t no, count;
    if (!head_u64(h, "split.no", &no, err) || !head_u64(h, "split.count", &count, err))
        return false;
    if (no != i || count != n)
        return fail(err, ERR_FORMAT, "%s: split.no is %llu and split.count %llu, expected %zu and "
                    "%zu by the file's name; was it renamed?", h->path, (unsigned long long)no,
                    (unsigned long long)count, i, n);
    return true;
}

static bool check_total(const struct gguf_head *first, uint64_t n_tensors, struct err *err)
{
    uint64_t total;
    if (!map_find(&first->by_key, bytes_of("split.tensors.count"), &(uint32_t){ 0 }))
        return true;
    if (!head_u64(first, "split.tensors.count", &total, err))
        return false;
    return total == n_tensors ||
           fail(err, ERR_FORMAT, "%s: split.tensors.count is %llu, but the files of the set hold "
                "%llu tensors; they do not belong together", first->path,
                (unsigned long long)total, (unsigned long long)n_tensors);
}

/* Tensors of all shards, whose heads are read. */
static bool load_tensors(struct gguf *g, struct gguf_head *heads, struct err *err)
{
    uint64_t n_tensors = 0, n_bytes = 0;
    for (size_t i = 0; i < g->n_files; i++) {
        n_tensors += heads[i].n_tensors;
        n_bytes += g->file[i].len;
        if (n_tensors > TENSORS_MAX)
            return fail(err, ERR_LIMIT, "%s: more than %d tensors in the set", g->path[i],
                        TENSORS_MAX);
    }
    if (g->n_files > 1 && !check_total(&heads[0], n_tensors, err))
        return false;
    if (!tensors_reserve(&g->tensors, &g->names, n_tensors, n_bytes, err))
        return false;
    for (size_t i = 0; i < g->n_files; i++)
        if (!gguf_list_read(&heads[i], &g->tensors, &g->names, err))
            return false;
    keep_metadata(g, &heads[0]);
    return true;
}

/* All shards of a set: their files are in g->file. */
static bool load_shards(struct gguf *g, struct err *err)
{
    struct gguf_head *heads = mem_take(g->n_files, sizeof *heads);
    bool ok = heads || fail(err, ERR_MEMORY, "out of memory for %zu files", g->n_files);
    for (size_t i = 0; i < g->n_files && ok; i++) {
        ok = gguf_head_read(&heads[i], g->file[i], g->path[i], err) &&
             (g->n_files == 1 || check_shard(&heads[i], i, g->n_files, err));
    }
    ok = ok && load_tensors(g, heads, err);
    for (size_t i = 0; i < g->n_files && heads; i++)
        gguf_head_release(&heads[i]);
    mem_give(heads);
    return ok;
}

/* split.count of one file, 0 or 1 when it is the whole model. */
static bool read_split_count(struct bytes file, const char *path, uint64_t *count,
                             struct err *err)
{
    struct gguf_head h;
    bool ok = gguf_head_read(&h, file, path, err) && head_u64(&h, "split.count", count, err);
    gguf_head_release(&h);
    return ok;
}

static bool map_shard(struct gguf *g, size_t i, const char *path, struct err *err)
{
    if (!set_path(g, i, path, err))
        return false;
    if (!file_exists(path) && g->n_files > 1)
        return fail(err, ERR_IO, "%s: file %zu of the %zu that make up this model is missing; "
                    "put all of them in one folder", path, i + 1, g->n_files);
    return file_map_open(&g->file[i], path, err);
}

static bool map_split(struct gguf *g, const char *path, uint64_t count, struct err *err)
{
    size_t prefix;
    unsigned no, n;
    if (!parse_split_name(path, &prefix, &no, &n) || n != count || !no || no > n)
        return fail(err, ERR_FORMAT, "%s: split.count says that this is one of %llu files, which "
                    "must be named like MODEL-00001-of-%05llu.gguf", path,
                    (unsigned long long)count, (unsigned long long)count);
    size_t room = strlen(path) + 1;
    char *sibling = mem_copy_text(path, room - 1);
    bool ok = sibling || fail(err, ERR_MEMORY, "out of memory for %zu file names", (size_t)n);
    ok = ok && take_files(g, n, err);
    for (unsigned i = 0; i < n && ok; i++) {
        snprintf(sibling + prefix, room - prefix, "-%05u-of-%05u.gguf", i + 1, n);
        ok = map_shard(g, i, sibling, err);
    }
    mem_give(sibling);
    return ok;
}

bool gguf_open(struct gguf *out, const char *path, struct err *err)
{
    struct gguf g = { 0 };
    uint64_t count = 0;
    bool ok = take_files(&g, 1, err) && map_shard(&g, 0, path, err) &&
              read_split_count(g.file[0], path, &count, err);
    if (ok && count > 1) {
        gguf_close(&g);
        ok = map_split(&g, path, count, err);
    }
    if (ok && load_shards(&g, err)) {
        *out = g;
        return true;
    }
    gguf_close(&g);
    return false;
}

bool gguf_open_bytes(struct gguf *out, struct bytes file, const char *name, struct err *err)
{
    struct gguf g = { .borrowed = true };
    bool ok = take_files(&g, 1, err) && set_path(&g, 0, name, err);
    if (ok) {
        g.file[0] = file;
        ok = load_shards(&g, err);
    }
    if (ok)
        *out = g;
    else
        gguf_close(&g);
    return ok;
}

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
    uint32_t i;
    return map_find(&g->by_key, bytes_of(key), &i) ? &g->kv[i] : NULL;
}
