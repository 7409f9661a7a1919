#include "format/tensors_out.h"
#include "format/show.h"
#include "format/tensor.h"

#include <unistd.h>

static uint64_t round_up(uint64_t n, uint64_t align)
{
    return (n + align - 1) & ~(align - 1);
}

static bool grow(struct tensors_out *o, struct err *err)
{
    if (o->n < o->cap)
        return true;
    size_t cap = o->cap ? 2 * o->cap : 64;
    struct tensor_out *t = mem_grow(o->t, cap, sizeof *t);
    if (!t)
        return fail(err, ERR_MEMORY, "out of memory for a list of %zu tensors", cap);
    o->t = t;
    o->cap = cap;
    return true;
}

static bool check_shape(const struct tensor_out *t, struct err *err)
{
    uint64_t n = 0;
    if (t->n_dims > TENSOR_DIMS_MAX || !shape_count(t->ne, t->n_dims, &n))
        return fail(err, ERR_LIMIT, "tensor %s: a shape of %u axes or of more than 2^63 elements "
                    "cannot be written", t->name, t->n_dims);
    if (t->ne[0] % t->type->block)
        return fail(err, ERR_FORMAT, "tensor %s: its rows have %llu elements; %s is stored in "
                    "blocks of %zu", t->name, (unsigned long long)t->ne[0], t->type->name,
                    t->type->block);
    return true;
}

bool tensors_out_add(struct tensors_out *o, const char *name, const struct qtype *type,
                     uint32_t n_dims, const uint64_t *ne, struct err *err)
{
    uint32_t same;
    struct tensor_out t = { .type = type, .n_dims = n_dims, .ne = { 1, 1, 1, 1 } };
    if (strlen(name) > TENSOR_NAME_MAX || map_find(&o->seen, bytes_of(name), &same))
        return fail(err, ERR_FORMAT, "tensor %s: its name is %s", SHOW(bytes_of(name)),
                    strlen(name) > TENSOR_NAME_MAX ? "too long" : "given twice");
    t.name = mem_copy_text(name, strlen(name));
    for (uint32_t i = 0; i < n_dims && i < 4; i++)
        t.ne[i] = ne[i];
    bool ok = t.name ? check_shape(&t, err) && grow(o, err)
                     : fail(err, ERR_MEMORY, "out of memory for the name of a tensor");
    t.n_bytes = qtype_row_bytes(type, (size_t)t.ne[0]) * t.ne[1] * t.ne[2] * t.ne[3];
    if (ok && !map_put(&o->seen, bytes_of(t.name), (uint32_t)o->n))
        ok = fail(err, ERR_MEMORY, "out of memory for a list of %zu tensors", o->n);
    if (ok)
        o->t[o->n++] = t;
    else
        mem_give(t.name);
    return ok;
}

size_t tensors_out_place(struct tensors_out *o, uint64_t max_bytes)
{
    size_t shard = 0;
    uint64_t at = 0;
    for (size_t i = 0; i < o->n; i++) {
        struct tensor_out *t = &o->t[i];
        if (max_bytes && at && (t->n_bytes > max_bytes || at > max_bytes - t->n_bytes)) {
            shard++;
            at = 0;
        }
        t->shard = shard;
        t->at = at;
        at = round_up(at + t->n_bytes, o->align);
    }
    return shard + 1;
}

/* The file of a shard, with its head. */
static bool open_shard(struct tensors_out *o, size_t shard, const void *owner, struct err *err)
{
    struct buf head = { 0 };
    o->head(o, shard, &head, owner);
    bool ok = buf_ok(&head, err) && file_out_begin(&o->file[shard], o->path[shard], err) &&
              file_out_put(&o->file[shard], head.at, head.len, err);
    buf_release(&head);
    return ok;
}

/* The end of the tensor being written: padding, and the next file where a shard ends. */
static bool end_tensor(struct tensors_out *o, const void *owner, struct err *err)
{
    static const uint8_t zeros[4096];
    const struct tensor_out *t = &o->t[o->now];
    uint64_t pad = round_up(t->n_bytes, o->align) - t->n_bytes;
    for (; pad; pad -= pad < sizeof zeros ? pad : sizeof zeros)
        if (!file_out_put(&o->file[t->shard], zeros, pad < sizeof zeros ? pad : sizeof zeros, err))
            return false;
    bool last = o->now + 1 == o->n;
    if (!last && t[1].shard != t->shard && (!file_out_finish(&o->file[t->shard], err) ||
                                            !open_shard(o, t[1].shard, owner, err)))
        return false;
    o->now++;
    o->left = last ? 0 : o->t[o->now].n_bytes;
    return true;
}

static bool skip_ended(struct tensors_out *o, const void *owner, struct err *err)
{
    while (o->now < o->n && !o->left)
        if (!end_tensor(o, owner, err))
            return false;
    return true;
}

bool tensors_out_begin(struct tensors_out *o, char **path, size_t n_files, const void *owner,
                       struct err *err)
{
    o->path = path;
    o->n_files = n_files;
    for (size_t i = 0; i < n_files; i++)
        if (file_exists(path[i]))
            return fail(err, ERR_USAGE, "%s: exists already; remove it or choose another name",
                        path[i]);
    o->file = mem_take(n_files, sizeof *o->file);
    if (!o->file)
        return fail(err, ERR_MEMORY, "out of memory for %zu files", n_files);
    o->left = o->n ? o->t[0].n_bytes : 0;
    return open_shard(o, 0, owner, err) && skip_ended(o, owner, err);
}

bool tensors_out_put(struct tensors_out *o, const void *data, size_t n_bytes, const void *owner,
                     struct err *err)
{
    check(n_bytes <= o->left);
    if (!file_out_put(&o->file[o->t[o->now].shard], data, n_bytes, err))
        return false;
    o->left -= n_bytes;
    return skip_ended(o, owner, err);
}

bool tensors_out_end(struct tensors_out *o, struct err *err)
{
    check(o->now == o->n);
    if (!file_out_finish(&o->file[o->n_files - 1], err))
        return false;
    for (size_t i = 0; i < o->n_files; i++) {
        if (file_out_end(&o->file[i], err))
            continue;
        while (i--)
            unlink(o->path[i]);           /* ours: none existed at the beginning */
        return false;
    }
    return true;
}

void tensors_out_release(struct tensors_out *o)
{
    for (size_t i = 0; o->file && i < o->n_files; i++)
        file_out_drop(&o->file[i]);
    for (size_t i = 0; o->path && i < o->n_files; i++)
        mem_give(o->path[i]);
    for (size_t i = 0; i < o->n; i++)
        mem_give(o->t[i].name);
    mem_give(o->file);
    mem_give(o->path);
    mem_give(o->t);
    map_release(&o->seen);
    *o = (struct tensors_out){ 0 };
}
