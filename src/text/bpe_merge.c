#include "text/bpe.h"

enum {
    SHORT_PIECE = 48,                     /* symbols; above, the heap is faster */
    WHOLE_WORD = 20                       /* symbols; longer words are cut first */
};

#define DEAD UINT32_MAX                   /* no symbol there */

/* The merges that count: those of rank below limit. */
struct rules {
    const struct pair_map *merges;
    const struct spm *scores;             /* NULL: by the list of merges */
    uint32_t limit;
};

static inline uint32_t rank_of(struct rules r, uint32_t left, uint32_t right, uint32_t *merged)
{
    if (r.scores)
        return spm_rank(r.scores, left, right, merged);
    const struct pair_slot *s = pair_map_find(r.merges, left, right);
    if (!s || s->a >= r.limit)
        return NO_RANK;
    *merged = s->b;
    return s->a;
}

/* A piece while it is merged: symbols stay where they are, and gone ones are skipped. */
struct short_piece {
    uint64_t order[SHORT_PIECE];          /* rank << 32 | place; GONE: nothing to merge here */
    uint32_t merged[SHORT_PIECE];
    uint8_t next[SHORT_PIECE], prev[SHORT_PIECE];
};

#define GONE UINT64_MAX

static inline void find_order(struct rules r, struct short_piece *p, const uint32_t *id, size_t i,
                              size_t j)
{
    uint32_t rank = rank_of(r, id[i], id[j], &p->merged[i]);
    p->order[i] = rank == NO_RANK ? GONE : (uint64_t)rank << 32 | i;
}

/* The definition, O(n^2): id[0..n) becomes the merged symbols; gives their number. */
static size_t merge_short(struct rules r, uint32_t *id, size_t n)
{
    struct short_piece p;
    for (size_t i = 0; i < n; i++) {
        p.next[i] = (uint8_t)(i + 1);
        p.prev[i] = (uint8_t)(i - 1);
        p.order[i] = GONE;
        if (i + 1 < n)
            find_order(r, &p, id, i, i + 1);
    }
    for (;;) {
        uint64_t best = GONE;
        for (size_t i = 0; i + 1 < n; i++)
            best = p.order[i] < best ? p.order[i] : best;
        if (best == GONE)
            break;
        size_t at = (uint32_t)best, gone = p.next[at], after = p.next[gone];
        id[at] = p.merged[at];
        p.next[at] = (uint8_t)after;
        p.order[gone] = p.order[at] = GONE;
        if (after < n) {
            p.prev[after] = (uint8_t)at;
            find_order(r, &p, id, at, after);
        }
        if (at > 0)
            find_order(r, &p, id, p.prev[at], at);
    }
    size_t left = 0;
    for (size_t i = 0; i < n; i = p.next[i])
        id[left++] = id[i];
    return left;
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
    return s->cap || fail(err, ERR_MEMORY, "no memory to merge a piece of %zu symbols", n);
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
static bool find_merge(struct rules r, struct bpe_symbol *sym, uint32_t i)
{
    struct bpe_symbol *s = &sym[i];
    s->rank = s->next == DEAD ? NO_RANK : rank_of(r, s->id, sym[s->next].id, &s->merged);
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
static void merge_long(struct rules r, struct bpe_symbol *sym, struct heap *h)
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
        if (find_merge(r, sym, i))
            heap_put(h, heap_entry(sym, i));
        if (s->prev != DEAD && find_merge(r, sym, s->prev))
            heap_put(h, heap_entry(sym, s->prev));
    }
}

/* Links the ids into a list of symbols and queues every merge. */
static void link_all(struct rules r, const uint32_t *id, uint32_t n, struct bpe_symbol *sym,
                     struct heap *h)
{
    for (uint32_t i = 0; i < n; i++)
        sym[i] = (struct bpe_symbol){ .id = id[i], .prev = i - 1, .next = i + 1 };
    sym[n - 1].next = DEAD;               /* sym[0].prev is 0 - 1: DEAD */
    for (uint32_t i = 0; i < n; i++)
        if (find_merge(r, sym, i))
            h->at[h->n++] = heap_entry(sym, i);
    heap_order(h);
}

/* id[0..*n) becomes the merged symbols. */
static bool merge_run(struct rules r, uint32_t *id, size_t *n, struct bpe_scratch *s,
                      struct err *err)
{
    if (*n == 2) {
        *n -= rank_of(r, id[0], id[1], &id[0]) != NO_RANK;
        return true;
    }
    if (*n <= SHORT_PIECE) {
        *n = merge_short(r, id, *n);
        return true;
    }
    if (*n >= DEAD)
        return fail(err, ERR_LIMIT, "one piece of text is %zu bytes long; the most is %u", *n,
                    DEAD - 1);
    if (!scratch_reach(s, *n, err))
        return false;
    struct heap h = { s->heap, 0 };
    link_all(r, id, (uint32_t)*n, s->sym, &h);
    merge_long(r, s->sym, &h);
    *n = 0;
    for (uint32_t i = 0; i != DEAD; i = s->sym[i].next)
        id[(*n)++] = s->sym[i].id;
    return true;
}

/* The number of symbols from id[0] that merges may join, at least 1. */
static size_t run_length(const struct bpe_cuts *c, const uint32_t *id, size_t n)
{
    size_t len = 1;
    for (; len < n; len++) {
        uint64_t bit = bpe_cuts_bit(c, id[len - 1], id[len]);
        if (!(c->joined[bit >> 6] >> (bit & 63) & 1))
            break;
    }
    return len;
}

bool bpe_merge(const struct bpe *b, enum bpe_stage stage, struct ids *v, size_t from,
               struct bpe_scratch *s, struct err *err)
{
    static const struct bpe_cuts none;
    struct rules r = { stage == STAGE_LATER ? &b->later : &b->merges,
                       b->spm.vocab ? &b->spm : NULL,
                       stage == STAGE_WORD ? b->stage_two : UINT32_MAX };
    const struct bpe_cuts *cuts = stage == STAGE_LATER ? &b->later_cuts : &none;
    uint32_t *id = v->at + from;
    size_t n = v->n - from, to = 0;
    for (size_t at = 0, len, left; at < n; at += len) {
        left = len = cuts->joined ? run_length(cuts, id + at, n - at) : n;
        if (len > 1 && !merge_run(r, id + at, &left, s, err))
            return false;
        for (size_t i = 0; i < left; i++)
            id[to++] = id[at + i];
    }
    v->n = from + to;
    return true;
}

/* The same for the numbers of a word, n > 0: id[0, *n) becomes ids. */
static inline bool merge_numbers(const struct bpe *b, uint32_t *id, size_t *n,
                                 struct bpe_scratch *s, struct err *err)
{
    if (*n == 1) {
        *id = b->ranks.id[*id];
        return true;
    }
    if (*n <= RANKS_FEW) {
        *n = bpe_ranks_merge(&b->ranks, id, *n);
        return true;
    }
    struct rules r = { &b->merges, NULL, b->stage_two };
    for (size_t i = 0; i < *n; i++)
        id[i] = b->ranks.id[id[i]];
    return merge_run(r, id, n, s, err);
}

bool bpe_merge_word(const struct bpe *b, struct bytes word, struct bpe_scratch *s,
                    struct ids *out, struct err *err)
{
    const struct bpe_cuts *cuts = &b->word_cuts;
    uint32_t *id = out->at + out->n;
    size_t n = bpe_put_start(b, word, id), to = 0;
    for (size_t at = 0, len, left; at < n; at += len) {
        left = len = n > WHOLE_WORD && cuts->joined ? run_length(cuts, id + at, n - at) : n;
        if (!merge_numbers(b, id + at, &left, s, err))
            return false;
        if (to < at)
            memmove(id + to, id + at, left * sizeof *id);
        to += left;
    }
    out->n += to;
    return true;
}
