#include "data/loader.h"

#include "data/packing.h"
#include "data/permutation.h"
#include "data/shard_set.h"
#include "text/text.h"

#include <inttypes.h>
#include <math.h>

struct source {
    const char *path;                     /* in struct loader's paths */
    struct shard_set set;
    struct permutation docs;              /* the order of packing */
    struct packing packing;
    uint64_t key;                         /* of all its random orders */
};

struct loader {
    struct source *source;
    size_t n;
    struct buf paths;
    uint32_t context, vocab;
    uint32_t *token_bytes;                /* of each id; NULL: not known */
    struct mixture mixture;
    struct loader_state state;
    uint32_t *room;                       /* four arrays of cap rows, then used[cap] */
    size_t cap;
};

/* ---- opening ------------------------------------------------------------------------- */

static struct packing_doc next_doc(const void *arg, uint64_t i)
{
    const struct source *s = arg;
    uint64_t doc = s->docs.n ? permutation_at(&s->docs, i) : i;
    return (struct packing_doc){ (uint32_t)doc, shard_set_doc(&s->set, doc).n };
}

static bool check_source(const struct loader_source *s, struct err *err)
{
    if (!isfinite(s->weight) || s->weight <= 0)
        return fail(err, ERR_USAGE, "%s: its weight is %g, but must be above 0", s->path,
                    s->weight);
    if (!isfinite(s->epochs) || s->epochs < 0)
        return fail(err, ERR_USAGE, "%s: %g epochs; 0 (without end) or more are expected", s->path,
                    s->epochs);
    return true;
}

/* How many rows a source gives, and how many of them beside the others. */
static bool set_limit(struct loader *l, size_t i, const struct loader_source *s, bool held_out,
                      struct err *err)
{
    uint64_t n_rows = l->source[i].packing.n_rows;
    double rows = floor(s->epochs * (double)n_rows + 1e-9);
    l->mixture.weight[i] = held_out ? (double)n_rows : s->weight;
    l->mixture.limit[i] = s->epochs > 0 && rows < 0x1p63 ? (uint64_t)rows : UINT64_MAX;
    if (held_out)
        l->mixture.limit[i] = n_rows;
    else if (!n_rows || !l->mixture.limit[i])
        return fail(err, ERR_USAGE, "%s: %g epochs of its %" PRIu64 " rows of %" PRIu32
                    " tokens are no row", s->path, s->epochs, n_rows, l->context);
    return true;
}

static bool open_source(struct loader *l, size_t i, const struct loader_config *c,
                        const struct shard_kind *want, struct err *err)
{
    struct source *s = &l->source[i];
    if (!check_source(&c->source[i], err)
        || !shard_set_open(&s->set, c->source[i].path, c->held_out, want, err))
        return false;
    s->key = key_mix(c->held_out ? 0 : c->seed, i);
    if (!c->held_out && s->set.n_docs)
        s->docs = permutation_make(s->set.n_docs, key_mix(s->key, 0));
    return (packing_init(&s->packing, c->context, s->set.n_docs, next_doc, s, err)
            || fail_in(err, c->source[i].path))
           && set_limit(l, i, &c->source[i], c->held_out, err);
}

/* Without a tokenizer the first shard says which one the others must be of. */
static void keep_kind(struct shard_kind *want, const struct shard_set *s)
{
    if (!want->vocab && s->n)
        *want = s->shard[0].kind;
}

static bool open_sources(struct loader *l, const struct loader_config *c, struct err *err)
{
    struct shard_kind want = { 0 };
    if (c->tokenizer)
        want = (struct shard_kind){ tokenizer_hash(c->tokenizer), tokenizer_size(c->tokenizer),
                                    c->held_out };
    for (size_t i = 0; i < c->n_sources; i++) {
        if (!open_source(l, i, c, want.vocab ? &want : NULL, err))
            return false;
        keep_kind(&want, &l->source[i].set);
    }
    l->vocab = want.vocab;
    return true;
}

/* Control tokens stand for no text. */
static bool count_bytes(struct loader *l, const struct tokenizer *t, struct err *err)
{
    if (!t)
        return true;
    l->token_bytes = mem_take((size_t)l->vocab + 1, sizeof *l->token_bytes);
    if (!l->token_bytes)
        return fail(err, ERR_MEMORY, "out of memory for the lengths of %" PRIu32 " tokens",
                    l->vocab);
    for (uint32_t id = 0; id < l->vocab; id++)
        if (tokenizer_token_kind(t, id) != TOKEN_CONTROL)
            l->token_bytes[id] = (uint32_t)tokenizer_token_bytes(t, id).len;
    return true;
}

static uint64_t double_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* What a state belongs to. */
static uint64_t name_data(const struct loader *l, const struct loader_config *c)
{
    uint64_t h = key_mix(key_mix(c->seed, c->context), c->n_sources * 2 + c->held_out);
    for (size_t i = 0; i < l->n; i++)
        h = key_mix(key_mix(h, l->source[i].set.sum), double_bits(c->source[i].weight));
    return h;
}

static bool keep_paths(struct loader *l, const struct loader_config *c, struct err *err)
{
    size_t at = 0;
    for (size_t i = 0; i < c->n_sources; i++)
        buf_put(&l->paths, c->source[i].path, strlen(c->source[i].path) + 1);
    if (!buf_ok(&l->paths, err))
        return false;
    for (size_t i = 0; i < c->n_sources; at += strlen(l->paths.at + at) + 1, i++)
        l->source[i].path = l->paths.at + at;
    return true;
}

static bool fill(struct loader *l, const struct loader_config *c, struct err *err)
{
    l->source = mem_take(c->n_sources, sizeof *l->source);
    if (!l->source)
        return fail(err, ERR_MEMORY, "out of memory for %zu sources", c->n_sources);
    l->n = l->mixture.n = c->n_sources;
    l->context = c->context;
    if (!keep_paths(l, c, err) || !open_sources(l, c, err) || !count_bytes(l, c->tokenizer, err))
        return false;
    l->state.data = name_data(l, c);
    return true;
}

bool loader_open(struct loader **out, const struct loader_config *c, struct err *err)
{
    if (c->context < 2 || c->context > PACKING_CONTEXT_MAX)
        return fail(err, ERR_USAGE, "rows of %" PRIu32 " tokens; 2 to %d are possible", c->context,
                    PACKING_CONTEXT_MAX);
    if (!c->n_sources || c->n_sources > MIXTURE_MAX)
        return fail(err, ERR_USAGE, "%zu sources of text; 1 to %d are possible", c->n_sources,
                    MIXTURE_MAX);
    struct loader *l = mem_take(1, sizeof *l);
    if (!l)
        return fail(err, ERR_MEMORY, "out of memory for a loader");
    if (fill(l, c, err)) {
        *out = l;
        return true;
    }
    loader_close(l);
    return false;
}

void loader_close(struct loader *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++) {
        shard_set_close(&l->source[i].set);
        packing_release(&l->source[i].packing);
    }
    mem_give(l->source);
    mem_give(l->token_bytes);
    mem_give(l->room);
    buf_release(&l->paths);
    mem_give(l);
}

/* ---- rows ---------------------------------------------------------------------------- */

static void put_target(const struct loader *l, struct batch *b, size_t at, uint32_t id)
{
    b->target[at] = id;
    b->n_targets++;
    b->n_bytes += l->token_bytes ? l->token_bytes[id] : 0;
}

/* Tokens begin to begin + n of a document, at place `at` of the batch. */
static void put_piece(const struct loader *l, struct batch *b, size_t at, struct shard_doc d,
                      uint64_t begin, uint32_t n)
{
    memcpy(b->token + at, d.token + begin, n * sizeof *b->token);
    for (uint32_t i = 0; i < n; i++) {
        b->pos[at + i] = i;
        if (begin + i + 1 < d.n)
            put_target(l, b, at + i, d.token[begin + i + 1]);
        else
            b->target[at + i] = NO_TARGET;
        b->target2[at + i] = i + 2 < n ? d.token[begin + i + 2] : NO_TARGET;
    }
    b->n_targets2 += n > 2 ? n - 2 : 0;
}

static void put_padding(struct batch *b, size_t at, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        b->token[at + i] = 0;
        b->target[at + i] = b->target2[at + i] = NO_TARGET;
        b->pos[at + i] = i;
    }
}

static void put_row(const struct loader *l, struct batch *b, size_t i, const struct source *s,
                    uint64_t row)
{
    uint32_t used = 0;
    size_t at = i * l->context;
    for (uint64_t p = s->packing.first[row]; p < s->packing.first[row + 1]; p++) {
        struct piece piece = s->packing.piece[p];
        struct shard_doc d = shard_set_doc(&s->set, piece.doc);
        uint64_t begin = (uint64_t)piece.part * l->context, left = d.n - begin;
        uint32_t n = left < l->context ? (uint32_t)left : l->context;
        put_piece(l, b, at + used, d, begin, n);
        used += n;
    }
    put_padding(b, at + used, l->context - used);
    b->used[i] = used;
}

/* The row that a source gives when it has given `taken`. */
static uint64_t nth_row(const struct source *s, uint64_t taken)
{
    uint64_t n = s->packing.n_rows, epoch = taken / n;
    struct permutation p = permutation_make(n, key_mix(s->key, epoch + 1));
    return permutation_at(&p, taken % n);
}

static bool reach_room(struct loader *l, size_t n_rows, struct err *err)
{
    uint64_t n;
    if (n_rows <= l->cap)
        return true;
    uint32_t *room = mul_u64(n_rows, 4 * (uint64_t)l->context + 1, &n) && n <= SIZE_MAX
                     ? mem_grow(l->room, n, sizeof *room) : NULL;
    if (!room)
        return fail(err, ERR_MEMORY, "out of memory for a batch of %zu rows of %" PRIu32 " tokens",
                    n_rows, l->context);
    l->room = room;
    l->cap = n_rows;
    return true;
}

static bool exhausted(const struct loader *l, size_t n_rows, struct err *err)
{
    struct buf text = { 0 };
    for (size_t i = 0; i < l->n; i++) {
        struct loader_source_info x = loader_source_info(l, i);
        buf_printf(&text, "%s%s gave %" PRIu64 " of %" PRIu64 " rows in %.3g epochs",
                   i ? ", " : "", l->source[i].path, l->state.taken[i], l->mixture.limit[i],
                   x.epochs_done);
    }
    fail(err, ERR_LIMIT, "the text is used up after %" PRIu64 " rows: %" PRIu64 " are left, and "
         "%zu were asked for; %s; allow more epochs or add text", l->state.rows_taken,
         loader_rows_left(l), n_rows, text.at && !text.failed ? text.at : "");
    buf_release(&text);
    return false;
}

bool loader_next(struct loader *l, struct batch *b, size_t n_rows, struct err *err)
{
    check(n_rows >= 1);
    if (loader_rows_left(l) < n_rows)
        return exhausted(l, n_rows, err);
    if (!reach_room(l, n_rows, err))
        return false;
    size_t n = n_rows * l->context;
    *b = (struct batch){ .n_rows = n_rows, .context = l->context, .token = l->room,
                         .target = l->room + n, .target2 = l->room + 2 * n,
                         .pos = l->room + 3 * n, .used = l->room + 4 * n };
    for (size_t i = 0; i < n_rows; i++) {
        size_t s = mixture_next(&l->mixture, l->state.taken);
        check(s < l->n);
        put_row(l, b, i, &l->source[s], nth_row(&l->source[s], l->state.taken[s]));
        l->state.taken[s]++;
        l->state.rows_taken++;
    }
    return true;
}

/* ---- about it ------------------------------------------------------------------------ */

uint64_t loader_rows_left(const struct loader *l)
{
    uint64_t left = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->mixture.limit[i] == UINT64_MAX
            || !add_u64(left, l->mixture.limit[i] - l->state.taken[i], &left))
            return UINT64_MAX;
    return left;
}

double loader_rows_from(const struct loader *l, size_t i, uint64_t n_rows)
{
    check(i < l->n);
    return mixture_rows(&l->mixture, i, (double)n_rows);
}

struct loader_source_info loader_source_info(const struct loader *l, size_t i)
{
    check(i < l->n);
    const struct source *s = &l->source[i];
    uint64_t n_rows = s->packing.n_rows;
    return (struct loader_source_info){
        .n_docs = s->set.n_docs, .n_tokens = s->set.n_tokens, .n_rows = n_rows,
        .n_pieces = s->packing.n_pieces, .fill = packing_fill(&s->packing),
        .epochs_done = n_rows ? (double)l->state.taken[i] / (double)n_rows : 0,
    };
}

struct loader_state loader_state_get(const struct loader *l)
{
    return l->state;
}

bool loader_state_set(struct loader *l, const struct loader_state *state, struct err *err)
{
    uint64_t sum = 0;
    bool ok = true;
    if (state->data != l->state.data)
        return fail(err, ERR_FORMAT, "the saved place in the text belongs to other shards, "
                    "weights, row length or seed (%016" PRIx64 "; these are %016" PRIx64 ")",
                    state->data, l->state.data);
    for (size_t i = 0; ok && i < MIXTURE_MAX; i++)
        ok = add_u64(sum, state->taken[i], &sum)
             && state->taken[i] <= (i < l->n ? l->mixture.limit[i] : 0);
    if (!ok || sum != state->rows_taken)
        return fail(err, ERR_FORMAT, "the saved place in the text makes no sense: %" PRIu64
                    " rows, or more from a source than its epochs allow", state->rows_taken);
    l->state = *state;
    return true;
}
