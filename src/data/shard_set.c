#include "data/shard_set.h"
#include "data/manifest.h"
#include "data/permutation.h"

static bool open_one(struct shard_set *s, const char *path, const struct shard_kind *want,
                     struct err *err)
{
    struct shard *x = &s->shard[s->n];
    if (!shard_open(x, path, want, err))
        return false;
    s->first[s->n + 1] = s->first[s->n] + x->n_docs;
    s->n_docs += x->n_docs;
    s->n_tokens += x->n_tokens;
    s->n_bytes += x->n_bytes;
    s->sum = key_mix(s->sum, x->sum);
    s->n++;
    return true;
}

static bool take_room(struct shard_set *s, size_t n, struct err *err)
{
    s->shard = mem_take(n + 1, sizeof *s->shard);
    s->first = mem_take(n + 1, sizeof *s->first);
    return (s->shard && s->first) || fail(err, ERR_MEMORY, "out of memory for %zu shards", n);
}

static bool open_listed(struct shard_set *s, const char *folder, const struct manifest *m,
                        bool held_out, const struct shard_kind *want, struct err *err)
{
    struct buf path = { 0 };
    bool ok = take_room(s, m->n, err);
    for (size_t i = 0; ok && i < m->n; i++) {
        if (m->shard[i].held_out != held_out)
            continue;
        buf_clear(&path);
        buf_printf(&path, "%s/%s", folder, m->shard[i].file);
        ok = buf_ok(&path, err) && open_one(s, path.at, want, err);
        if (ok && s->shard[s->n - 1].sum != m->shard[i].sum)
            ok = fail(err, ERR_FORMAT, "%s: not the shard that %s/%s speaks of (checksum %016llx, "
                      "expected %016llx); pack the text again", path.at, folder, MANIFEST_NAME,
                      (unsigned long long)s->shard[s->n - 1].sum,
                      (unsigned long long)m->shard[i].sum);
    }
    buf_release(&path);
    return ok;
}

static bool open_folder(struct shard_set *s, const char *path, bool held_out,
                        const struct shard_kind *want, struct err *err)
{
    struct manifest m;
    if (!manifest_load(&m, path, err))
        return false;
    bool ok = open_listed(s, path, &m, held_out, want, err);
    manifest_release(&m);
    if (ok && !s->n_docs && !held_out)
        ok = fail(err, ERR_USAGE, "%s: no documents to train on", path);
    return ok;
}

/* Nothing is measured on what is trained on, nor trained on what is for measuring. */
static bool open_file(struct shard_set *s, const char *path, bool held_out,
                      const struct shard_kind *want, struct err *err)
{
    if (!take_room(s, 1, err) || !open_one(s, path, want, err))
        return false;
    if (s->shard[0].kind.held_out && !held_out)
        return fail(err, ERR_USAGE, "%s: its documents are held out, for measuring only", path);
    if (held_out && !s->shard[0].kind.held_out)
        shard_set_close(s);
    return true;
}

bool shard_set_open(struct shard_set *out, const char *path, bool held_out,
                    const struct shard_kind *want, struct err *err)
{
    struct shard_set s = { 0 };
    bool ok = file_is_dir(path) ? open_folder(&s, path, held_out, want, err)
                                : open_file(&s, path, held_out, want, err);
    if (ok && s.n_docs > UINT32_MAX - 1)
        ok = fail(err, ERR_LIMIT, "%s: %llu documents; a source may have 4,294,967,294", path,
                  (unsigned long long)s.n_docs);
    if (ok)
        *out = s;
    else
        shard_set_close(&s);
    return ok;
}

void shard_set_close(struct shard_set *s)
{
    for (size_t i = 0; i < s->n; i++)
        shard_close(&s->shard[i]);
    mem_give(s->shard);
    mem_give(s->first);
    *s = (struct shard_set){ 0 };
}

struct shard_doc shard_set_doc(const struct shard_set *s, uint64_t doc)
{
    size_t low = 0, high = s->n;          /* first[low] <= doc < first[high] */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (s->first[middle] <= doc)
            low = middle;
        else
            high = middle;
    }
    const struct shard *x = &s->shard[low];
    uint64_t i = doc - s->first[low], begin = shard_doc_begin(x, i);
    return (struct shard_doc){ x->token + begin, x->end[i] - begin };
}
