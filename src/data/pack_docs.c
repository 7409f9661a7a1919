#include "data/pack_docs.h"

/* ---- sources ------------------------------------------------------------------------- */

static void sources_release(struct pack_sources *s)
{
    for (size_t i = 0; i < s->n; i++)
        mem_give(s->at[i].key);
    mem_give(s->at);
    map_release(&s->by_key);
    *s = (struct pack_sources){ 0 };
}

static bool add_source(struct pack_sources *s, const struct buf *key, size_t *out)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        struct pack_source *more = mem_grow(s->at, cap, sizeof *more);
        if (!more)
            return false;
        s->at = more;
        s->cap = cap;
    }
    char *text = mem_copy_text(key->at, key->len);
    struct bytes bytes = { (const uint8_t *)text, key->len };
    if (!text || !map_put(&s->by_key, bytes, (uint32_t)s->n)) {
        mem_give(text);
        return false;
    }
    *out = s->n;
    s->at[s->n++] = (struct pack_source){ .key = text };
    return true;
}

/* An optional string of a document. */
static bool put_field(struct buf *key, const struct jsonl_record *r, const char *name,
                      const char *absent, struct err *err)
{
    const json_t *v = r->object ? json_object_get(r->object, name) : NULL;
    const char *text = json_string_value(v);
    if (v && !text && !json_is_null(v))
        return fail(err, ERR_FORMAT, "%s, line %llu: \"%s\" is not a string", r->path,
                    (unsigned long long)r->line, name);
    text = text ? text : absent;
    buf_put(key, text, strlen(text) + 1);
    return true;
}

static bool find_source(struct pack_docs *d, const struct jsonl_record *r, size_t *out,
                        struct err *err)
{
    struct buf key = { 0 };
    uint32_t at;
    const char *file = r->object ? r->path : d->o->input[d->at_input - 1];
    bool ok = put_field(&key, r, "source", file, err) && put_field(&key, r, "lang", "", err)
              && put_field(&key, r, "license", "", err)
              && put_field(&key, r, "attribution", "", err) && buf_ok(&key, err);
    if (ok && map_find(&d->sources.by_key, (struct bytes){ (uint8_t *)key.at, key.len }, &at))
        *out = at;
    else if (ok && d->sources.n == PACK_SOURCES_MAX)
        ok = fail(err, ERR_LIMIT, "more than %d different sources (\"source\", \"lang\", "
                  "\"license\" and \"attribution\" together)", PACK_SOURCES_MAX);
    else if (ok && !add_source(&d->sources, &key, out))
        ok = fail(err, ERR_MEMORY, "out of memory for a list of %zu sources", d->sources.n);
    buf_release(&key);
    return ok;
}

/* ---- documents ----------------------------------------------------------------------- */

void pack_batch_release(struct pack_batch *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < PACK_BATCH_DOCS; i++)
        ids_release(&b->doc[i].ids);
    buf_release(&b->text);
    buf_release(&b->paths);
    mem_give(b);
}

bool pack_docs_open(struct pack_docs *d, const struct pack_options *o, struct err *err)
{
    *d = (struct pack_docs){ .o = o };
    for (size_t i = 0; i < o->n_inputs; i++) {
        struct jsonl *j = jsonl_open(o->input[i], err);
        if (!j)
            return false;
        d->total_bytes += jsonl_total_bytes(j);
        d->n_beside += jsonl_beside(j);
        jsonl_close(j);
    }
    return true;
}

void pack_docs_close(struct pack_docs *d)
{
    jsonl_close(d->j);
    sources_release(&d->sources);
    *d = (struct pack_docs){ 0 };
}

uint64_t pack_docs_read_bytes(const struct pack_docs *d)
{
    return d->before_bytes + (d->j ? jsonl_read_bytes(d->j) : 0);
}

bool pack_docs_pass_over(struct pack_docs *d, const struct err *err)
{
    if (!d->o->skip_bad)
        return false;
    if (!d->n_bad++)
        d->first_bad = *err;
    return true;
}

/* In [0, 1), with the text's hash as its first 53 bits. */
static double fraction_of(struct bytes text, uint64_t seed)
{
    return (double)(hash_bytes(text, seed) >> 11) * 0x1p-53;
}

static bool add_doc(struct pack_docs *d, struct pack_batch *b, const struct jsonl_record *r,
                    struct err *err)
{
    size_t source = 0, path_len = strlen(r->path) + 1;
    if (!jsonl_check_utf8(r, err) || !find_source(d, r, &source, err))
        return false;
    struct pack_doc *doc = &b->doc[b->n];
    bool same_path = b->n && !strcmp(b->paths.at + doc[-1].path_at, r->path);
    doc->text_at = b->text.len;
    doc->text_len = r->text.len;
    doc->path_at = same_path ? doc[-1].path_at : b->paths.len;
    doc->line = r->line;
    doc->source = source;
    doc->held_out = fraction_of(r->text, d->o->seed) < d->o->held_out;
    buf_put(&b->text, r->text.at, r->text.len);
    buf_put(&b->paths, r->path, same_path ? 0 : path_len);
    b->n++;
    return buf_ok(&b->text, err) && buf_ok(&b->paths, err);
}

/* One record, or the next input, or the end: *end. */
static bool next_record(struct pack_docs *d, struct jsonl_record *r, bool *end, struct err *err)
{
    *end = false;
    r->path = NULL;
    if (d->j) {
        if (!jsonl_next(d->j, r, err))
            return jsonl_can_go_on(d->j) && pack_docs_pass_over(d, err);
        if (r->path)
            return true;
        d->before_bytes += jsonl_read_bytes(d->j);
        jsonl_close(d->j);
        d->j = NULL;
    }
    *end = d->at_input == d->o->n_inputs;
    if (!*end)
        d->j = jsonl_open(d->o->input[d->at_input++], err);
    return *end || d->j;
}

bool pack_docs_next(struct pack_docs *d, struct pack_batch *b, struct err *err)
{
    struct jsonl_record r;
    bool end = false;
    b->n = 0;
    buf_clear(&b->text);
    buf_clear(&b->paths);
    while (!end && b->n < PACK_BATCH_DOCS && b->text.len < PACK_BATCH_BYTES) {
        if (!next_record(d, &r, &end, err))
            return false;
        if (!r.path)
            continue;
        if (!r.text.len)
            d->n_empty++;
        else if (!add_doc(d, b, &r, err)
                 && (err->code != ERR_FORMAT || !pack_docs_pass_over(d, err)))
            return false;
    }
    return true;
}
