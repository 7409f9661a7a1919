#include "data/shard.h"

#include <inttypes.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* As the table in shard.h; every member lies at its natural place. */
struct head {
    char magic[8];
    uint32_t version, held_out;
    uint64_t tokenizer;
    uint32_t vocab, zero;
    uint64_t n_docs, n_tokens, n_bytes, body_sum, head_sum;
};

_Static_assert(sizeof(struct head) == SHARD_HEAD_BYTES, "the head is written as it lies in memory");

enum { HEAD_SUMMED = offsetof(struct head, head_sum) };
static const char magic[8] = { 'K', 'E', 'X', 'A', 'T', 'O', 'K', 'S' };

/* ---- reading ------------------------------------------------------------------------- */

static bool read_head(struct head *h, struct bytes file, const char *name, struct err *err)
{
    if (file.len < sizeof magic || memcmp(file.at, magic, sizeof magic))
        return fail(err, ERR_FORMAT, "%s: no token shard: it does not begin with KEXATOKS; "
                    "`kexa data pack` makes shards from text", name);
    if (file.len < sizeof *h)
        return fail(err, ERR_FORMAT, "%s: cut short: %zu bytes, and the head alone has %d", name,
                    file.len, SHARD_HEAD_BYTES);
    memcpy(h, file.at, sizeof *h);
    if (h->version != SHARD_VERSION)
        return fail(err, ERR_UNSUPPORTED, "%s: a token shard of version %" PRIu32 "; this build "
                    "reads version %d", name, h->version, SHARD_VERSION);
    uint64_t sum = XXH3_64bits(file.at, HEAD_SUMMED);
    if (sum != h->head_sum || h->held_out > 1 || h->zero || !h->vocab)
        return fail(err, ERR_FORMAT, "%s: damaged: the checksum of its head is %016" PRIx64
                    ", and it says %016" PRIx64 "; pack the text again", name, sum, h->head_sum);
    return true;
}

static bool check_kind(const struct head *h, const struct shard_kind *want, const char *name,
                       struct err *err)
{
    if (want && (h->tokenizer != want->tokenizer || h->vocab != want->vocab))
        return fail(err, ERR_FORMAT, "%s: its tokens are those of another tokenizer (hash %016"
                    PRIx64 ", %" PRIu32 " ids) than the one in use (hash %016" PRIx64 ", %" PRIu32
                    " ids); pack the text again with this one", name, h->tokenizer, h->vocab,
                    want->tokenizer, want->vocab);
    return true;
}

/* Bytes of a shard with these counts; false when they are beyond any file. */
static bool shard_length(uint64_t n_docs, uint64_t n_tokens, uint64_t *out)
{
    uint64_t ids, ends;
    return n_tokens < UINT64_MAX && mul_u64(n_tokens + n_tokens % 2, 4, &ids)
           && mul_u64(n_docs, 8, &ends) && add_u64(ids, ends, &ends)
           && add_u64(ends, SHARD_HEAD_BYTES, out);
}

static bool check_body(const struct head *h, struct bytes file, const char *name, struct err *err)
{
    uint64_t length = 0;
    bool fits = shard_length(h->n_docs, h->n_tokens, &length);
    if (!fits || length != file.len)
        return fail(err, ERR_FORMAT, "%s: cut short or damaged: %zu bytes; %" PRIu64
                    " documents and %" PRIu64 " tokens take %" PRIu64, name, file.len, h->n_docs,
                    h->n_tokens, length);
    uint64_t sum = XXH3_64bits(file.at + SHARD_HEAD_BYTES, file.len - SHARD_HEAD_BYTES);
    if (sum != h->body_sum)
        return fail(err, ERR_FORMAT, "%s: damaged: the checksum of its tokens is %016" PRIx64
                    ", and its head says %016" PRIx64 "; pack the text again", name, sum,
                    h->body_sum);
    return true;
}

static bool check_contents(const struct shard *s, const char *name, struct err *err)
{
    uint64_t before = 0;
    uint32_t most = 0;
    for (uint64_t i = 0; i < s->n_docs; before = s->end[i++])
        if (s->end[i] < before || s->end[i] > s->n_tokens)
            return fail(err, ERR_FORMAT, "%s: document %" PRIu64 " has the tokens from %" PRIu64
                        " to %" PRIu64 " of %" PRIu64, name, i, before, s->end[i], s->n_tokens);
    if (before != s->n_tokens)
        return fail(err, ERR_FORMAT, "%s: its documents end at token %" PRIu64 " of %" PRIu64, name,
                    before, s->n_tokens);
    for (uint64_t i = 0; i < s->n_tokens; i++)
        most = s->token[i] > most ? s->token[i] : most;
    if (most >= s->kind.vocab)
        return fail(err, ERR_FORMAT, "%s: it holds token %" PRIu32 ", and its vocabulary ends at %"
                    PRIu32, name, most, s->kind.vocab - 1);
    return true;
}

bool shard_read(struct shard *out, struct bytes file, const char *name,
                const struct shard_kind *want, struct err *err)
{
    struct head h;
    if (!read_head(&h, file, name, err) || !check_kind(&h, want, name, err)
        || !check_body(&h, file, name, err))
        return false;
    const uint8_t *body = file.at + SHARD_HEAD_BYTES;
    check((uintptr_t)body % 8 == 0);
    struct shard s = {
        .kind = { h.tokenizer, h.vocab, h.held_out }, .n_docs = h.n_docs, .n_tokens = h.n_tokens,
        .n_bytes = h.n_bytes, .sum = h.body_sum, .token = (const void *)body,
        .end = (const void *)(body + 4 * (h.n_tokens + h.n_tokens % 2)),
    };
    if (!check_contents(&s, name, err))
        return false;
    *out = s;
    return true;
}

bool shard_open(struct shard *s, const char *path, const struct shard_kind *want, struct err *err)
{
    struct bytes map;
    if (!file_map_open(&map, path, err))
        return false;
    bool ok = shard_read(s, map, path, want, err);
    if (ok)
        s->map = map;
    else
        file_map_close(&map);
    return ok;
}

void shard_close(struct shard *s)
{
    file_map_close(&s->map);
    *s = (struct shard){ 0 };
}

/* ---- writing ------------------------------------------------------------------------- */

static bool put(struct shard_writer *w, const void *at, size_t n_bytes, struct err *err)
{
    XXH3_64bits_update(w->hash, at, n_bytes);
    return file_out_put(&w->file, at, n_bytes, err);
}

/* The running sum wants an alignment of 64, which mem_take does not promise. */
static bool hash_begin(struct shard_writer *w, const char *path, struct err *err)
{
    w->hash_room = mem_take(1, sizeof(XXH3_state_t) + 64);
    if (!w->hash_room)
        return fail(err, ERR_MEMORY, "%s: out of memory while writing it", path);
    w->hash = (uint8_t *)w->hash_room + (64 - (uintptr_t)w->hash_room % 64);
    XXH3_64bits_reset(w->hash);
    return true;
}

bool shard_writer_begin(struct shard_writer *out, const char *path, const struct shard_kind *kind,
                        struct err *err)
{
    static const uint8_t room[SHARD_HEAD_BYTES];
    struct shard_writer w = { .kind = *kind };
    bool ok = hash_begin(&w, path, err) && file_out_begin(&w.file, path, err)
              && file_out_put(&w.file, room, sizeof room, err);
    if (ok)
        *out = w;
    else
        shard_writer_drop(&w);
    return ok;
}

bool shard_writer_put(struct shard_writer *w, const uint32_t *id, size_t n, uint64_t n_bytes,
                      struct err *err)
{
    if (w->n_docs == w->cap) {
        uint64_t cap = w->cap ? 2 * w->cap : 1024;
        uint64_t *end = mem_grow(w->end, cap, sizeof *end);
        if (!end)
            return fail(err, ERR_MEMORY, "%s: out of memory for the ends of %" PRIu64 " documents",
                        w->file.path, cap);
        w->end = end;
        w->cap = cap;
    }
    if (!put(w, id, n * sizeof *id, err))
        return false;
    w->n_tokens += n;
    w->n_bytes += n_bytes;
    w->end[w->n_docs++] = w->n_tokens;
    return true;
}

static void give_rooms(struct shard_writer *w)
{
    mem_give(w->end);
    mem_give(w->hash_room);
    w->end = NULL;
    w->hash = w->hash_room = NULL;
}

bool shard_writer_finish(struct shard_writer *w, struct err *err)
{
    static const uint8_t zeros[4];
    if (!put(w, zeros, w->n_tokens % 2 * 4, err)
        || !put(w, w->end, w->n_docs * sizeof *w->end, err))
        return false;
    struct head h = {
        .version = SHARD_VERSION, .held_out = w->kind.held_out, .tokenizer = w->kind.tokenizer,
        .vocab = w->kind.vocab, .n_docs = w->n_docs, .n_tokens = w->n_tokens,
        .n_bytes = w->n_bytes, .body_sum = XXH3_64bits_digest(w->hash),
    };
    memcpy(h.magic, magic, sizeof magic);
    h.head_sum = XXH3_64bits(&h, HEAD_SUMMED);
    w->sum = h.body_sum;
    give_rooms(w);
    return file_out_put_at(&w->file, 0, &h, sizeof h, err) && file_out_finish(&w->file, err);
}

bool shard_writer_name(struct shard_writer *w, struct err *err)
{
    bool ok = file_out_end(&w->file, err);
    shard_writer_drop(w);
    return ok;
}

void shard_writer_drop(struct shard_writer *w)
{
    file_out_drop(&w->file);
    give_rooms(w);
    *w = (struct shard_writer){ 0 };
}
