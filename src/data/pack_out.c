#include "data/pack_out.h"
#include "data/manifest.h"
#include "text/text.h"

#include <unistd.h>

/* ---- shards -------------------------------------------------------------------------- */

/* Packed text is never written over. */
static bool folder_is_free(const char *out, struct err *err)
{
    struct buf path = { 0 };
    buf_printf(&path, "%s/%s", out, MANIFEST_NAME);
    bool ok = buf_ok(&path, err);
    if (ok && file_exists(path.at))
        ok = fail(err, ERR_USAGE, "%s holds packed text already; remove it or name another folder",
                  out);
    buf_release(&path);
    return ok;
}

bool pack_out_begin(struct pack_out *w, const struct pack_options *o, struct err *err)
{
    *w = (struct pack_out){ .o = o };
    w->kind = (struct shard_kind){ tokenizer_hash(o->tokenizer), tokenizer_size(o->tokenizer),
                                   false };
    if (!folder_is_free(o->out, err) || !folder_make(o->out, 0777, &w->n_made, err))
        return false;
    file_out_clean(o->out);               /* what a killed one left */
    return true;
}

static bool begin_shard(struct pack_out *w, struct shard_writer *s, const char *name, bool held_out,
                        struct err *err)
{
    struct buf path = { 0 };
    struct shard_kind kind = w->kind;
    kind.held_out = held_out;
    buf_printf(&path, "%s/%s", w->o->out, name);
    bool ok = buf_ok(&path, err) && shard_writer_begin(s, path.at, &kind, err);
    buf_release(&path);
    return ok;
}

static bool begin_train(struct pack_out *w, struct err *err)
{
    char name[40];
    if (w->n_train == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 16;
        struct shard_writer *more = mem_grow(w->train, cap, sizeof *more);
        if (!more)
            return fail(err, ERR_MEMORY, "out of memory for a list of %zu shards", cap);
        w->train = more;
        w->cap = cap;
    }
    snprintf(name, sizeof name, "train-%05zu.kxs", w->n_train);
    w->train_open = begin_shard(w, &w->train[w->n_train], name, false, err);
    w->n_train += w->train_open;
    return w->train_open;
}

/* The shard that takes n more tokens; NULL on failure. */
static struct shard_writer *shard_for(struct pack_out *w, size_t n, bool held_out, struct err *err)
{
    if (held_out) {
        if (!w->held_open)
            w->held_open = begin_shard(w, &w->held, "heldout.kxs", true, err);
        return w->held_open ? &w->held : NULL;
    }
    struct shard_writer *now = w->n_train ? &w->train[w->n_train - 1] : NULL;
    if (now && now->n_docs && (n > w->o->shard_tokens
                               || now->n_tokens > w->o->shard_tokens - n)) {
        w->train_open = false;
        if (!shard_writer_finish(now, err))
            return NULL;
    }
    if (!w->train_open && !begin_train(w, err))
        return NULL;
    return &w->train[w->n_train - 1];
}

bool pack_out_put(struct pack_out *w, const struct pack_doc *d, struct err *err)
{
    struct shard_writer *s = shard_for(w, d->ids.n, d->held_out, err);
    return s && shard_writer_put(s, d->ids.at, d->ids.n, d->text_len, err);
}

void pack_out_drop(struct pack_out *w)
{
    for (size_t i = 0; i < w->n_train; i++)
        shard_writer_drop(&w->train[i]);
    shard_writer_drop(&w->held);
    mem_give(w->train);
    folder_unmake(w->o->out, w->n_made);  /* not, once there is a file in it */
    *w = (struct pack_out){ 0 };
}

/* ---- the manifest -------------------------------------------------------------------- */

static json_t *sum_text(uint64_t sum)
{
    char text[20];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)sum);
    return json_string(text);
}

/* What a user typed or a file said, with all that is no plain text made visible. */
static json_t *safe_text(const char *text)
{
    struct buf safe = { 0 };
    show_text(&safe, bytes_of(text));
    json_t *v = safe.failed ? NULL : json_stringn(safe.len ? safe.at : "", safe.len);
    buf_release(&safe);
    return v;
}

static json_t *shard_json(const struct shard_writer *s)
{
    const char *slash = strrchr(s->file.path, '/');
    return json_pack("{s:s, s:b, s:I, s:I, s:I, s:o}", "file", slash + 1, "held_out",
                     s->kind.held_out, "documents", (json_int_t)s->n_docs, "tokens",
                     (json_int_t)s->n_tokens, "bytes", (json_int_t)s->n_bytes, "sum",
                     sum_text(s->sum));
}

static json_t *shards_json(const struct pack_out *w)
{
    json_t *list = json_array();
    int bad = !list;
    for (size_t i = 0; !bad && i < w->n_train; i++)
        bad = json_array_append_new(list, shard_json(&w->train[i]));
    if (!bad && w->held_open)
        bad = json_array_append_new(list, shard_json(&w->held));
    if (!bad)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *count_json(const struct pack_count *c)
{
    return json_pack("{s:I, s:I, s:I}", "documents", (json_int_t)c->n_docs, "tokens",
                     (json_int_t)c->n_tokens, "bytes", (json_int_t)c->n_bytes);
}

static json_t *source_json(const struct pack_source *s)
{
    const char *source = s->key, *lang = source + strlen(source) + 1;
    const char *license = lang + strlen(lang) + 1;
    const char *attribution = license + strlen(license) + 1;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "source", safe_text(source), "lang",
                     safe_text(lang), "license", safe_text(license), "attribution",
                     safe_text(attribution), "train", count_json(&s->train), "held_out",
                     count_json(&s->held_out));
}

static json_t *sources_json(const struct pack_sources *s)
{
    json_t *list = json_array();
    int bad = !list;
    for (size_t i = 0; !bad && i < s->n; i++)
        bad = json_array_append_new(list, source_json(&s->at[i]));
    if (!bad)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *inputs_json(const struct pack_options *o)
{
    json_t *list = json_array();
    int bad = !list;
    for (size_t i = 0; !bad && i < o->n_inputs; i++)
        bad = json_array_append_new(list, safe_text(o->input[i]));
    if (!bad)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *manifest_json(const struct pack_out *w, const struct pack_docs *docs,
                             const struct pack_report *r)
{
    const struct pack_options *o = w->o;
    return json_pack("{s:s, s:i, s:{s:o, s:o, s:I}, s:I, s:{s:f, s:I}, s:o, s:o, s:o, s:I, s:I,"
                     " s:o, s:o}", "format", "kexa-shards", "version", 1,
                     "tokenizer", "path", safe_text(o->tokenizer_path), "hash",
                     sum_text(w->kind.tokenizer), "vocab", (json_int_t)w->kind.vocab,
                     "eos", (json_int_t)o->eos,
                     "split", "held_out", o->held_out, "seed", (json_int_t)o->seed,
                     "inputs", inputs_json(o), "train", count_json(&r->train), "held_out",
                     count_json(&r->held_out), "empty", (json_int_t)r->n_empty, "bad",
                     (json_int_t)r->n_bad, "shards", shards_json(w), "sources",
                     sources_json(&docs->sources));
}

/* ---- the end ------------------------------------------------------------------------- */

/* The name of a shard that has it already, should the next one fail. */
static void unlink_shard(const struct pack_out *w, size_t i)
{
    char name[40];
    struct buf path = { 0 };
    snprintf(name, sizeof name, "train-%05zu.kxs", i);
    buf_printf(&path, "%s/%s", w->o->out, i < w->n_train ? name : "heldout.kxs");
    if (path.at && !path.failed)
        unlink(path.at);
    buf_release(&path);
}

static bool name_all(struct pack_out *w, size_t *n_named, struct err *err)
{
    for (size_t i = 0; i < w->n_train; i++, (*n_named)++)
        if (!shard_writer_name(&w->train[i], err))
            return false;
    if (w->held_open && !shard_writer_name(&w->held, err))
        return false;
    *n_named += w->held_open;
    return true;
}

bool pack_out_end(struct pack_out *w, const struct pack_docs *docs, const struct pack_report *r,
                  struct err *err)
{
    size_t n_named = 0;
    if (!w->n_train)
        return fail(err, ERR_USAGE, "no documents to train on: %llu were held out, %llu empty, "
                    "%llu bad%s%s", (unsigned long long)r->held_out.n_docs,
                    (unsigned long long)r->n_empty, (unsigned long long)r->n_bad,
                    r->n_bad ? "; the first: " : "", r->n_bad ? r->first_bad.msg : "");
    if (!folder_is_free(w->o->out, err)   /* another may have packed there meanwhile */
        || !shard_writer_finish(&w->train[w->n_train - 1], err)
        || (w->held_open && !shard_writer_finish(&w->held, err)))
        return false;
    json_t *manifest = manifest_json(w, docs, r);
    bool ok = manifest || fail(err, ERR_MEMORY, "out of memory for %s", MANIFEST_NAME);
    ok = ok && name_all(w, &n_named, err) && json_save(manifest, w->o->out, MANIFEST_NAME, err);
    for (size_t i = 0; !ok && i < n_named; i++)
        unlink_shard(w, i);
    json_decref(manifest);
    return ok;
}
