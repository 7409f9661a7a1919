#include "format/safetensors.h"
#include "format/json_file.h"
#include "format/safetensors_head.h"
#include "format/show.h"

#include <stdio.h>

enum { SHARDS_MAX = 10000 };

void safetensors_close(struct safetensors *s)
{
    for (size_t i = 0; i < s->n_files; i++) {
        if (!s->borrowed)
            file_map_close(&s->file[i]);
        mem_give(s->path[i]);
    }
    mem_give(s->file);
    mem_give(s->path);
    tensors_release(&s->tensors);
    arena_release(&s->names);
    *s = (struct safetensors){ 0 };
}

static bool no_memory(const char *path, struct err *err)
{
    return fail(err, ERR_MEMORY, "%s: out of memory while opening it", path);
}

static bool take_files(struct safetensors *s, size_t n, const char *path, struct err *err)
{
    s->file = mem_take(n, sizeof *s->file);
    s->path = mem_take(n, sizeof *s->path);
    return (s->file && s->path) || no_memory(path, err);
}

/* folder/name, or name when folder is NULL; the caller gives it to mem_give. */
static char *join(const char *folder, const char *name)
{
    if (!folder)
        return mem_copy_text(name, strlen(name));
    size_t room = strlen(folder) + strlen(name) + 2;
    char *path = mem_take(room, 1);
    if (path)
        snprintf(path, room, "%s/%s", folder, name);
    return path;
}

/* The files are in s->file: their headers, then their tensors. */
static bool load_files(struct safetensors *s, struct err *err)
{
    uint64_t n = 0, n_bytes = 0;
    json_t **head = mem_take(s->n_files, sizeof *head);
    struct bytes *data = mem_take(s->n_files, sizeof *data);
    bool ok = (head && data) || no_memory(s->path[0], err);
    for (size_t i = 0; i < s->n_files && ok; i++) {
        head[i] = safetensors_head_read(s->file[i], s->path[i], &data[i], err);
        ok = head[i] != NULL;
        n += ok ? safetensors_count(head[i]) : 0;
        n_bytes += s->file[i].len;
        if (ok && n > TENSORS_MAX)
            ok = fail(err, ERR_LIMIT, "%s: more than %d tensors in the set", s->path[i],
                      TENSORS_MAX);
    }
    ok = ok && tensors_reserve(&s->tensors, &s->names, n, n_bytes, err);
    for (size_t i = 0; i < s->n_files && ok; i++)
        ok = safetensors_list_read(head[i], data[i], s->path[i], &s->tensors, &s->names, err);
    for (size_t i = 0; i < s->n_files && head; i++)
        json_decref(head[i]);
    mem_give(head);
    mem_give(data);
    return ok;
}

static bool open_one(struct safetensors *s, const char *path, struct err *err)
{
    if (!take_files(s, 1, path, err))
        return false;
    s->path[0] = join(NULL, path);
    s->n_files = 1;
    if (!s->path[0])
        return no_memory(path, err);
    return file_map_open(&s->file[0], path, err) && load_files(s, err);
}

/* A shard's name must stay in the folder. */
static bool shard_name_ok(const char *name)
{
    return name && name_is_plain(bytes_of(name)) && !strchr(name, '/') && !strchr(name, '\\') &&
           name[0] != '.' && strlen(name) < 256;
}

/* Opens the shard that the index names for a tensor, unless it is open already. */
static bool add_shard(struct safetensors *s, struct map *seen, const char *folder,
                      const char *index, const char *tensor, const char *name, struct err *err)
{
    uint32_t same;
    if (!shard_name_ok(name))
        return fail(err, ERR_FORMAT, "%s: tensor '%s' is said to be in '%s', expected the plain "
                    "name of a file in the same folder", index, SHOW(bytes_of(tensor)),
                    SHOW(bytes_of(name ? name : "")));
    if (map_find(seen, bytes_of(name), &same))
        return true;
    if (s->n_files == SHARDS_MAX)
        return fail(err, ERR_LIMIT, "%s: more than %d files; that is the most accepted", index,
                    SHARDS_MAX);
    char *path = join(folder, name);
    if (!path || !map_put(seen, bytes_of(name), (uint32_t)s->n_files)) {
        mem_give(path);
        return no_memory(index, err);
    }
    s->path[s->n_files++] = path;
    if (!file_exists(path))
        return fail(err, ERR_IO, "%s: missing; %s says that it holds tensor '%s'", path, index,
                    SHOW(bytes_of(tensor)));
    return file_map_open(&s->file[s->n_files - 1], path, err);
}

static bool check_all_there(const struct safetensors *s, json_t *weight_map, const char *index,
                            struct err *err)
{
    const char *tensor;
    json_t *file;
    json_object_foreach(weight_map, tensor, file) {
        const struct tensor *t = tensors_find(&s->tensors, tensor);
        const char *at = t ? strrchr(t->file, '/') : NULL;
        if (!at || strcmp(at + 1, json_string_value(file)))
            return fail(err, ERR_FORMAT, "%s: tensor '%s' should be in %s, but is %s", index,
                        SHOW(bytes_of(tensor)), json_string_value(file),
                        t ? "in another file" : "not there");
    }
    return true;
}

static bool open_shards(struct safetensors *s, json_t *weight_map, const char *folder,
                        const char *index, struct err *err)
{
    const char *tensor;
    json_t *file;
    struct map seen = { 0 };
    size_t n = json_object_size(weight_map);
    bool ok = n || fail(err, ERR_FORMAT, "%s: no \"weight_map\" with tensors in it", index);
    ok = ok && take_files(s, n < SHARDS_MAX ? n : SHARDS_MAX, index, err);
    json_object_foreach(weight_map, tensor, file) {
        ok = ok && add_shard(s, &seen, folder, index, tensor, json_string_value(file), err);
    }
    map_release(&seen);
    return ok && load_files(s, err) && check_all_there(s, weight_map, index, err);
}

static bool open_index(struct safetensors *s, const char *folder, const char *index,
                       struct err *err)
{
    json_t *j = json_load_path(index, SAFETENSORS_INDEX_MAX, err);
    bool ok = j && open_shards(s, json_object_get(j, "weight_map"), folder, index, err);
    json_decref(j);
    return ok;
}

static bool open_folder(struct safetensors *s, const char *folder, struct err *err)
{
    char *one = join(folder, "model.safetensors");
    char *index = join(folder, "model.safetensors.index.json");
    bool ok;
    if (!one || !index)
        ok = no_memory(folder, err);
    else if (file_exists(one))
        ok = open_one(s, one, err);
    else if (file_exists(index))
        ok = open_index(s, folder, index, err);
    else
        ok = fail(err, ERR_IO, "%s: the folder holds neither model.safetensors nor "
                  "model.safetensors.index.json", folder);
    mem_give(one);
    mem_give(index);
    return ok;
}

bool safetensors_open(struct safetensors *out, const char *path, struct err *err)
{
    struct safetensors s = { 0 };
    bool ok = file_is_dir(path) ? open_folder(&s, path, err) : open_one(&s, path, err);
    if (ok)
        *out = s;
    else
        safetensors_close(&s);
    return ok;
}

bool safetensors_open_bytes(struct safetensors *out, struct bytes file, const char *name,
                            struct err *err)
{
    struct safetensors s = { .borrowed = true };
    bool ok = take_files(&s, 1, name, err);
    if (ok) {
        s.n_files = 1;
        s.file[0] = file;
        s.path[0] = join(NULL, name);
        ok = s.path[0] ? load_files(&s, err) : no_memory(name, err);
    }
    if (ok)
        *out = s;
    else
        safetensors_close(&s);
    return ok;
}
