#include "text/bpe.h"

enum { SHORT_PIECE = 32 };                /* symbols; above, the heap is faster */

#define NO_RANK UINT32_MAX
#define DEAD UINT32_MAX                   /* no symbol there */

static struct bytes bytes_of_whole(const struct bpe *b, const struct whole *w)
{
    return (struct bytes){ (const uint8_t *)b->vocab->blob.at + w->at, w->len };
}

/* The slot of the vocabulary token with these bytes, or a free one. */
static struct whole *find_whole(const struct bpe *b, struct bytes piece, uint64_t hash)
{
    struct whole *w = &b->whole[hash & b->whole_mask];
    while (w->id1 && !(w->hash == (uint32_t)(hash >> 32) &&
                       bytes_eq(bytes_of_whole(b, w), piece)))
        w = &b->whole[(size_t)(w - b->whole + 1) & b->whole_mask];
    return w;
}

bool bpe_init(struct bpe *b, const struct vocab *v, size_t n_merges, struct err *err)
{
    size_t n_slots = 64;
    while (n_slots < (size_t)v->n * 2)
        n_slots *= 2;
    *b = (struct bpe){ .vocab = v, .whole_mask = n_slots - 1, .unk = NO_TOKEN };
    b->whole = mem_take(n_slots, sizeof *b->whole);
    b->whole_state = mem_take(v->n + 1, sizeof *b->whole_state);
    if (!b->whole || !b->whole_state || !pair_map_init(&b->merges, n_merges)) {
        bpe_release(b);
        return fail(err, ERR_MEMORY, "no memory for %zu merges", n_merges);
    }
    for (uint32_t id = 0; id < v->n; id++) {
        const struct token *t = &v->tok[id];
        if (!t->used || t->added || !t->bytes_len)
            continue;
        uint64_t hash = hash_bytes(vocab_bytes(v, id), 0);
        struct whole *w = find_whole(b, vocab_bytes(v, id), hash);
        *w = (struct whole){ (uint32_t)(hash >> 32), id + 1, t->bytes_at, t->bytes_len };
    }
    return true;
}

void bpe_release(struct bpe *b)
{
    mem_give(b->whole);
    mem_give((void *)b->whole_state);
    pair_map_release(&b->merges);
    *b = (struct bpe){ 0 };
}

static bool missing(const char *what, struct bytes text, struct err *err)
{
    return fail(err, ERR_FORMAT, "its %s \"%.*s\" is not in the vocabulary", what,
                (int)(text.len < 100 ? text.len : 100), (const char *)text.at);
}

bool bpe_add_merge(struct bpe *b, struct bytes left, struct bytes right, struct err *err)
{
    uint8_t both[2 * MAX_TOKEN_BYTES];
    int64_t l = vocab_find(b->vocab, left), r = vocab_find(b->vocab, right);
    if (l == NO_TOKEN)
        return missing("left part", left, err);
    if (r == NO_TOKEN)
        return missing("right part", right, err);
    memcpy(both, left.at, left.len);      /* a token's text, so within the limit */
    memcpy(both + left.len, right.at, right.len);
    struct bytes joined = { both, left.len + right.len };
    int64_t id = vocab_find(b->vocab, joined);
    if (id == NO_TOKEN)
        return missing("result", joined, err);
    if (!pair_map_put(&b->merges, (uint32_t)l, (uint32_t)r, b->n_merges++, (uint32_t)id))
        return fail(err, ERR_MEMORY, "no memory for %u merges", b->n_merges);
    return true;
}

enum { MIN_CACHED_TEXT = 2048, MAX_CACHE_LINES = 1 << 15 };

void bpe_scratch_init(struct bpe_scratch *s, size_t text_len)
{
    size_t n = 256;
    *s = (struct bpe_scratch){ 0 };
    if (text_len < MIN_CACHED_TEXT)
        return;
    while (n < MAX_CACHE_LINES && n < text_len / 8)
        n *= 2;
    s->cache = mem_take(n, sizeof *s->cache);
    s->cache_mask = n - 1;
}

void bpe_scratch_release(struct bpe_scratch *s)
{
    mem_give(s->sym);
    mem_give(s->heap);
    mem_give(s->cache);
    *s = (struct bpe_scratch){ 0 };
}

static uint32_t rank_of(const struct bpe *b, uint32_t left, uint32_t right, uint32_t *merged)
{
    const struct pair_slot *s = pair_map_find(&b->merges, left, right);
    if (!s)
        return NO_RANK;
    *merged = s->b;
    return s->a;
}

/* The first symbols of a piece: one per byte that has a token.  Gives their number. */
static size_t first_symbols(const struct bpe *b, struct bytes piece, uint32_t *id)
{
    size_t n = 0;
    for (size_t i = 0; i < piece.len; i++) {
        int64_t k = b->vocab->byte_id[piece.at[i]];
        if (k == NO_TOKEN)
            k = b->unk;
        if (k != NO_TOKEN)
            id[n++] = (uint32_t)k;
    }
    return n;
}

/* The definition, O(n^2): id[0..n) becomes the merged symbols; gives their number. */
static size_t merge_short(const struct bpe *b, uint32_t *id, size_t n)
{
    uint32_t rank[SHORT_PIECE], merged[SHORT_PIECE];
    for (size_t i = 0; i + 1 < n; i++)
        rank[i] = rank_of(b, id[i], id[i + 1], &merged[i]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == NO_RANK)
            break;
        id[best] = merged[best];
        n--;
        for (size_t i = best + 1; i < n; i++) {
            id[i] = id[i + 1];
            rank[i] = i + 1 < n ? rank[i + 1] : NO_RANK;
            merged[i] = i + 1 < n ? merged[i + 1] : 0;
        }
        if (best + 1 < n)
            rank[best] = rank_of(b, id[best], id[best + 1], &merged[best]);
        if (best > 0)
            rank[best - 1] = rank_of(b, id[best - 1], id[best], &merged[best - 1]);
    }
    return n;
}

struct bpe_symbol {
    uint32_t id, prev, next;
    uint32_t rank, merged;                /* of the merge with the next symbol; NO_RANK */
};

static bool scratch_reach(struct bpe_scratch *s, size_t n, struct err *err)
{
    if (n <= s->cap)
        return true;
    mem_give(s->sym);
    mem_give(s->heap);
    s->sym = mem_take(n, sizeof *s->sym);
    s->heap = mem_take(n, 3 * sizeof *s->heap);
    s->cap = s->sym && s->heap ? n : 0;
    return s->cap || fail(err, ERR_MEMORY, "no memory to merge a piece of %zu bytes", n);
}

/* A binary heap of rank << 32 | position, smallest first. */
struct heap {
    uint64_t *at;
    size_t n;
};

static void heap_sink(struct heap *h, size_t i, uint64_t x)
{
    for (size_t c; (c = 2 * i + 1) < h->n; i = c) {
        if (c + 1 < h->n && h->at[c + 1] < h->at[c])
            c++;
        if (x <= h->at[c])
            break;
        h->at[i] = h->at[c];
    }
    h->at[i] = x;
}

static void heap_put(struct heap *h, uint64_t x)
{
    size_t i = h->n++;
    for (; i > 0 && x < h->at[(i - 1) / 2]; i = (i - 1) / 2)
        h->at[i] = h->at[(i - 1) / 2];
    h->at[i] = x;
}

/* Makes a heap of what was filled in in any order. */
static void heap_order(struct heap *h)
{
    for (size_t i = h->n / 2; i-- > 0;)
        heap_sink(h, i, h->at[i]);
}

static uint64_t heap_take(struct heap *h)
{
    uint64_t top = h->at[0], last = h->at[--h->n];
    if (h->n)
        heap_sink(h, 0, last);
    return top;
}

/* Looks up the merge of symbol i with its next one; false if there is none. */
static bool find_merge(const struct bpe *b, struct bpe_symbol *sym, uint32_t i)
{
    struct bpe_symbol *s = &sym[i];
    s->rank = s->next == DEAD ? NO_RANK : rank_of(b, s->id, sym[s->next].id, &s->merged);
    return s->rank != NO_RANK;
}

static inline uint64_t heap_entry(const struct bpe_symbol *sym, uint32_t i)
{
    return (uint64_t)sym[i].rank << 32 | i;
}

/*
 * Each merge queues at most two entries, and the start n, so 3n hold them all.  An
 * entry is true when its rank is still the symbol's: a symbol that was absorbed has
 * NO_RANK, and one that grew or whose neighbour grew was given its rank anew.
 */
static void merge_long(const struct bpe *b, struct bpe_symbol *sym, struct heap *h)
{
    while (h->n) {
        uint64_t top = heap_take(h);
        uint32_t i = (uint32_t)top;
        struct bpe_symbol *s = &sym[i];
        if (s->rank != top >> 32)
            continue;
        struct bpe_symbol *gone = &sym[s->next];
        s->id = s->merged;
        s->next = gone->next;
        gone->rank = NO_RANK;
        if (s->next != DEAD)
            sym[s->next].prev = i;
        if (find_merge(b, sym, i))
            heap_put(h, heap_entry(sym, i));
        if (s->prev != DEAD && find_merge(b, sym, s->prev))
            heap_put(h, heap_entry(sym, s->prev));
    }
}

static bool encode_long(const struct bpe *b, struct bytes piece, struct bpe_scratch *s,
                        struct ids *out, struct err *err)
{
    if (piece.len >= UINT32_MAX)
        return fail(err, ERR_LIMIT, "one piece of text is %zu bytes long; the most is %u",
                    piece.len, UINT32_MAX - 1);
    if (!scratch_reach(s, piece.len, err))
        return false;
    uint32_t n = 0;
    for (size_t i = 0; i < piece.len; i++) {
        uint32_t id;
        if (first_symbols(b, (struct bytes){ piece.at + i, 1 }, &id)) {
            s->sym[n] = (struct bpe_symbol){ .id = id, .prev = n - 1, .next = n + 1 };
            n++;
        }
    }
    if (!n)
        return true;
    s->sym[n - 1].next = DEAD;            /* sym[0].prev is already 0 - 1 */
    struct heap h = { s->heap, 0 };
    for (uint32_t i = 0; i < n; i++)
        if (find_merge(b, s->sym, i))
            h.at[h.n++] = heap_entry(s->sym, i);
    heap_order(&h);
    merge_long(b, s->sym, &h);
    for (uint32_t i = 0; i != DEAD; i = s->sym[i].next)
        ids_put(out, s->sym[i].id);
    return true;
}

/* By merging; whole: the token with these bytes, if there is one. */
static bool encode_by_merges(const struct bpe *b, struct bytes piece, const struct whole *whole,
                             struct bpe_scratch *s, struct ids *out, struct err *err)
{
    size_t before = out->n;
    if (piece.len <= SHORT_PIECE) {
        uint32_t id[SHORT_PIECE];
        size_t n = merge_short(b, id, first_symbols(b, piece, id));
        for (size_t i = 0; i < n; i++)
            ids_put(out, id[i]);
    } else if (!encode_long(b, piece, s, out, err)) {
        return false;
    }
    if (whole->id1 && !out->failed) {
        bool alone = out->n == before + 1 && out->at[before] == whole->id1 - 1;
        b->whole_state[whole->id1 - 1] = alone ? WHOLE_YES : WHOLE_NO;
    }
    return true;
}

static void put_line(struct ids *out, const struct bpe_line *line)
{
    if (out->cap - out->n < 8) {
        for (unsigned i = 0; i < line->n; i++)
            ids_put(out, line->id[i]);
        return;
    }
    memcpy(out->at + out->n, line->id, sizeof line->id);   /* the tail is overwritten next */
    out->n += line->n;
}

static void keep_line(struct bpe_line *line, struct bytes piece, const struct ids *out,
                      size_t before)
{
    size_t n = out->n - before;
    if (out->failed || !n || n > sizeof line->id / sizeof *line->id)
        return;
    line->n = (uint8_t)n;
    line->len = (uint8_t)piece.len;
    memcpy(line->id, out->at + before, n * sizeof *line->id);
    memcpy(line->key, piece.at, piece.len);
}

bool bpe_encode(const struct bpe *b, struct bytes piece, struct bpe_scratch *s,
                struct ids *out, struct err *err)
{
    uint64_t hash = hash_bytes(piece, 0);
    struct bpe_line *line = NULL;
    size_t before = out->n;
    if (s->cache && piece.len <= sizeof line->key) {
        line = &s->cache[(hash >> 40) & s->cache_mask];
        if (line->len == piece.len && !memcmp(line->key, piece.at, piece.len)) {
            put_line(out, line);
            return true;
        }
    }
    const struct whole *whole = find_whole(b, piece, hash);
    if (whole->id1 && (b->ignore_merges || b->whole_state[whole->id1 - 1] == WHOLE_YES))
        ids_put(out, whole->id1 - 1);
    else if (!encode_by_merges(b, piece, whole, s, out, err))
        return false;
    if (line)
        keep_line(line, piece, out, before);
    return true;
}
