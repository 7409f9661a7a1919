#include "train/checkpoint_file.h"
#include "format/format.h"

#include <inttypes.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* As the tables in checkpoint_file.h; every member lies at its natural place. */
struct head {
    char magic[8];
    uint32_t version, n;
    uint64_t step, file_bytes, json_bytes, table_bytes, body_sum, sum;
};

struct entry {
    uint64_t at, n_bytes, sum;
    uint32_t name_bytes, zero;
};

_Static_assert(sizeof(struct head) == 64 && sizeof(struct entry) == 32,
               "the tables are written as they lie in memory");

static const char magic[8] = { 'K', 'E', 'X', 'A', 'C', 'K', 'P', 'T' };
static const uint8_t zeros[CHECKPOINT_ALIGN];

enum { SUMMED = offsetof(struct head, sum) };

static size_t up8(size_t n)
{
    return (n + 7) / 8 * 8;
}

/* false: beyond 64 bits. */
static bool up64(uint64_t n, uint64_t *out)
{
    bool fits = add_u64(n, CHECKPOINT_ALIGN - 1, out);
    *out -= *out % CHECKPOINT_ALIGN;
    return fits;
}

/* ---- writing ------------------------------------------------------------------------- */

static size_t table_size(const struct checkpoint_part *parts, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += sizeof(struct entry) + up8(strlen(parts[i].name));
    return size;
}

bool checkpoint_file_size(size_t json_bytes, const struct checkpoint_part *parts, size_t n,
                          uint64_t *n_bytes)
{
    uint64_t at;
    bool fits = up64(sizeof(struct head) + json_bytes + table_size(parts, n), &at);
    for (size_t i = 0; fits && i < n; i++)
        fits = add_u64(at, parts[i].n_bytes, &at) && up64(at, &at);
    *n_bytes = at;
    return fits;
}

/* JSON and table, as they follow the head. */
static void put_body(struct buf *b, struct bytes json, const struct checkpoint_part *parts,
                     size_t n)
{
    uint64_t at;
    up64(sizeof(struct head) + json.len + table_size(parts, n), &at);
    buf_put(b, json.at, json.len);
    for (size_t i = 0; i < n; i++) {
        const struct checkpoint_part *p = &parts[i];
        struct entry e = { .at = at, .n_bytes = p->n_bytes,
                           .sum = XXH3_64bits(p->data, p->n_bytes),
                           .name_bytes = (uint32_t)strlen(p->name) };
        buf_put(b, &e, sizeof e);
        buf_put(b, p->name, e.name_bytes);
        buf_put(b, zeros, up8(e.name_bytes) - e.name_bytes);
        up64(at + p->n_bytes, &at);
    }
}

static bool put_padding(struct file_out *out, struct err *err)
{
    size_t over = out->n_bytes % CHECKPOINT_ALIGN;
    return file_out_put(out, zeros, over ? CHECKPOINT_ALIGN - over : 0, err);
}

bool checkpoint_file_write(struct file_out *out, uint64_t step, struct bytes json,
                           const struct checkpoint_part *parts, size_t n, struct err *err)
{
    struct head h = { .version = CHECKPOINT_VERSION, .n = (uint32_t)n, .step = step,
                      .json_bytes = json.len, .table_bytes = table_size(parts, n) };
    struct buf body = { 0 };
    memcpy(h.magic, magic, sizeof magic);
    if (json.len > CHECKPOINT_JSON_MAX || n > CHECKPOINT_SECTIONS_MAX
        || !checkpoint_file_size(json.len, parts, n, &h.file_bytes))
        return fail(err, ERR_LIMIT, "%s: %zu sections and a head of %zu bytes; a checkpoint has at "
                    "most %d and %d", out->path, n, json.len, CHECKPOINT_SECTIONS_MAX,
                    CHECKPOINT_JSON_MAX);
    put_body(&body, json, parts, n);
    h.body_sum = XXH3_64bits(body.at, body.len);
    h.sum = XXH3_64bits(&h, SUMMED);
    bool ok = buf_ok(&body, err) && file_out_put(out, &h, sizeof h, err)
              && file_out_put(out, body.at, body.len, err) && put_padding(out, err);
    buf_release(&body);
    for (size_t i = 0; ok && i < n; i++)
        ok = file_out_put(out, parts[i].data, parts[i].n_bytes, err) && put_padding(out, err);
    return ok;
}

/* ---- reading ------------------------------------------------------------------------- */

static bool damaged(const struct checkpoint_file *f, const char *what, struct err *err)
{
    return fail(err, ERR_FORMAT, "%s: cut short or damaged: %s", f->path, what);
}

static bool all_zero(const uint8_t *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (at[i])
            return false;
    return true;
}

static bool read_head(const struct checkpoint_file *f, struct head *h, struct err *err)
{
    if (f->all.len < sizeof magic || memcmp(f->all.at, magic, sizeof magic))
        return fail(err, ERR_FORMAT, "%s: no checkpoint (it does not begin with KEXACKPT)",
                    f->path);
    if (f->all.len < sizeof *h)
        return damaged(f, "less than 64 bytes", err);
    memcpy(h, f->all.at, sizeof *h);
    if (h->version != CHECKPOINT_VERSION)
        return fail(err, ERR_UNSUPPORTED, "%s: a checkpoint of version %u; this build reads "
                    "version %d", f->path, h->version, CHECKPOINT_VERSION);
    if (h->sum != XXH3_64bits(f->all.at, SUMMED))
        return damaged(f, "the checksum of its first 56 bytes is wrong", err);
    if (h->file_bytes != f->all.len)
        return fail(err, ERR_FORMAT, "%s: cut short or damaged: %zu bytes; its head says %" PRIu64,
                    f->path, f->all.len, h->file_bytes);
    if (h->n > CHECKPOINT_SECTIONS_MAX || h->json_bytes > CHECKPOINT_JSON_MAX
        || h->json_bytes > f->all.len - sizeof *h
        || h->table_bytes > f->all.len - sizeof *h - h->json_bytes)
        return damaged(f, "its head and table do not fit in it", err);
    return true;
}

static struct entry read_entry(const struct checkpoint_file *f, size_t in_table)
{
    struct entry e;
    memcpy(&e, f->table.at + in_table, sizeof e);
    return e;
}

/* Where the check of the table stands: in it, and where the next section must lie. */
struct walk {
    size_t in_table;
    uint64_t in_file;
};

/* One entry of the table: inside it, its data right behind what came before. */
static bool check_entry(const struct checkpoint_file *f, struct walk *w,
                        struct err *err)
{
    size_t left = f->table.len - w->in_table;
    struct entry e;
    uint64_t end, padded;
    if (left < sizeof e)
        return damaged(f, "its table ends early", err);
    e = read_entry(f, w->in_table);
    const uint8_t *name = f->table.at + w->in_table + sizeof e;
    if (!e.name_bytes || e.name_bytes > CHECKPOINT_NAME_MAX || e.zero
        || left - sizeof e < up8(e.name_bytes)
        || !all_zero(name + e.name_bytes, up8(e.name_bytes) - e.name_bytes))
        return damaged(f, "a section's name is wrong", err);
    if (e.at != w->in_file || !add_u64(e.at, e.n_bytes, &end) || !up64(end, &padded)
        || padded > f->all.len || !all_zero(f->all.at + end, (size_t)(padded - end)))
        return damaged(f, "a section does not lie where it must", err);
    w->in_table += sizeof e + up8(e.name_bytes);
    w->in_file = padded;
    return true;
}

static uint64_t data_begin(const struct checkpoint_file *f)
{
    uint64_t at;
    up64(sizeof(struct head) + f->json.len + f->table.len, &at);
    return at;
}

static bool check_table(const struct checkpoint_file *f, struct err *err)
{
    size_t table_end = sizeof(struct head) + f->json.len + f->table.len;
    struct walk w = { .in_file = data_begin(f) };
    if (w.in_file > f->all.len
        || !all_zero(f->all.at + table_end, (size_t)w.in_file - table_end))
        return damaged(f, "its table does not end where it must", err);
    for (uint32_t i = 0; i < f->n; i++)
        if (!check_entry(f, &w, err))
            return false;
    if (w.in_table != f->table.len || w.in_file != f->all.len)
        return damaged(f, "there is more in it than its sections", err);
    return true;
}

bool checkpoint_file_open_bytes(struct checkpoint_file *out, struct bytes all, const char *name,
                                struct err *err)
{
    struct checkpoint_file f = { .all = all, .path = name };
    struct head h;
    if (!read_head(&f, &h, err))
        return false;
    f.step = h.step;
    f.n = h.n;
    f.json = (struct bytes){ all.at + sizeof h, (size_t)h.json_bytes };
    f.table = (struct bytes){ f.json.at + f.json.len, (size_t)h.table_bytes };
    if (h.body_sum != XXH3_64bits(f.json.at, f.json.len + f.table.len))
        return damaged(&f, "the checksum of its head is wrong", err);
    if (!check_table(&f, err))
        return false;
    *out = f;
    return true;
}

bool checkpoint_file_open(struct checkpoint_file *f, const char *path, struct err *err)
{
    struct bytes all;
    if (!file_map_open(&all, path, err))
        return false;
    if (checkpoint_file_open_bytes(f, all, path, err))
        return true;
    file_map_close(&all);
    return false;
}

void checkpoint_file_close(struct checkpoint_file *f)
{
    file_map_close(&f->all);
}

struct checkpoint_section checkpoint_file_next(const struct checkpoint_file *f, size_t *cursor)
{
    struct entry e = read_entry(f, *cursor);
    struct checkpoint_section s = {
        .name = { f->table.at + *cursor + sizeof e, e.name_bytes },
        .data = { f->all.at + e.at, (size_t)e.n_bytes }, .sum = e.sum };
    *cursor += sizeof e + up8(e.name_bytes);
    return s;
}

bool checkpoint_file_verify(const struct checkpoint_file *f, struct err *err)
{
    size_t cursor = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        struct checkpoint_section s = checkpoint_file_next(f, &cursor);
        if (s.sum != XXH3_64bits(s.data.at, s.data.len))
            return fail(err, ERR_FORMAT, "%s: cut short or damaged: the checksum of \"%s\" is "
                        "wrong", f->path, SHOW(s.name));
    }
    return true;
}

json_t *checkpoint_file_json(const struct checkpoint_file *f, struct err *err)
{
    json_t *j = json_load_bytes(f->json, f->path, err);
    if (!j || json_is_object(j))
        return j;
    fail(err, ERR_FORMAT, "%s: its head is no JSON object", f->path);
    json_decref(j);
    return NULL;
}
