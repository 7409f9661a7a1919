#include "data/manifest.h"

#include "format/format.h"

#include <stdlib.h>

enum { MANIFEST_MAX_BYTES = 1 << 30 };

/* A name inside the folder, and a checksum of 16 digits. */
static bool read_shard(struct manifest_shard *s, const json_t *v, const char *folder, size_t i,
                       struct err *err)
{
    const char *file = json_string_value(json_object_get(v, "file"));
    const char *sum = json_string_value(json_object_get(v, "sum"));
    const json_t *held_out = json_object_get(v, "held_out");
    char *end = NULL;
    s->file = file;
    s->held_out = json_is_true(held_out);
    s->sum = sum && strlen(sum) == 16 ? strtoull(sum, &end, 16) : 0;
    if (!file || !*file || strchr(file, '/') || !json_is_boolean(held_out) || !end || *end)
        return fail(err, ERR_FORMAT, "%s/%s: shards[%zu] must have \"file\", a name without \"/\", "
                    "\"held_out\", true or false, and \"sum\", 16 hexadecimal digits", folder,
                    MANIFEST_NAME, i);
    return true;
}

static bool read_all(struct manifest *m, const char *folder, struct err *err)
{
    const char *format = json_string_value(json_object_get(m->json, "format"));
    const json_t *shards = json_object_get(m->json, "shards");
    if (!format || strcmp(format, "kexa-shards") || !json_is_array(shards)
        || json_integer_value(json_object_get(m->json, "version")) != 1)
        return fail(err, ERR_FORMAT, "%s/%s: no manifest of shards: \"format\" must be "
                    "\"kexa-shards\", \"version\" 1, and \"shards\" a list", folder, MANIFEST_NAME);
    m->n = json_array_size(shards);
    m->shard = mem_take(m->n + 1, sizeof *m->shard);
    if (!m->shard)
        return fail(err, ERR_MEMORY, "out of memory for a list of %zu shards", m->n);
    for (size_t i = 0; i < m->n; i++)
        if (!read_shard(&m->shard[i], json_array_get(shards, i), folder, i, err))
            return false;
    return true;
}

bool manifest_load(struct manifest *out, const char *folder, struct err *err)
{
    struct manifest m = { 0 };
    struct buf path = { 0 };
    buf_printf(&path, "%s/%s", folder, MANIFEST_NAME);
    bool ok = buf_ok(&path, err);
    if (ok && !file_exists(path.at))
        ok = fail(err, ERR_FORMAT, "%s: no folder of shards, or one that was not finished: it has "
                  "no %s; `kexa data pack` makes one from text", folder, MANIFEST_NAME);
    if (ok)
        m.json = json_load_path(path.at, MANIFEST_MAX_BYTES, err);
    ok = ok && m.json && read_all(&m, folder, err);
    buf_release(&path);
    if (ok)
        *out = m;
    else
        manifest_release(&m);
    return ok;
}

void manifest_release(struct manifest *m)
{
    json_decref(m->json);
    mem_give(m->shard);
    *m = (struct manifest){ 0 };
}
