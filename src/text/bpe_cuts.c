/*
 * bpe_cuts: between which symbols no merge can ever reach.
 *
 * A merge of X and Y that crosses the place between two symbols a and b has an X that ends with
 * a and a Y that begins with b.  So all pairs (a, b) for which there is such a merge go into a
 * table of bits; what merging starts from is cut where the pair is not there, and each run is
 * merged by itself.  Bits are shared, so some places are not cut that could be; that costs time,
 * never a wrong id.
 *
 * Symbols that merging can start from: for words, bytes and those of bpe_start.c, by their
 * numbers (bpe_ranks.h); for the merges across words, what the merges of words make, and
 * bytes.
 */
#include "text/bpe.h"

enum { MAX_ENDS = 64, BITS_A_MERGE = 16, NO_MERGE = -1 };

struct cutter {
    const struct bpe *b;
    struct pair_slot *merge;              /* the merges of the stage */
    int32_t *made_by, *next;              /* the first merge that makes an id; the next that does */
    uint32_t n;
    bool *is_start;
    const uint32_t *name;                 /* of each id in the bits; NULL: itself */
    struct bpe_cuts *cuts;
};

struct ends {
    uint32_t id[MAX_ENDS];
    unsigned n;
};

/* The symbols that an id can begin (side 32) or end (side 0) with; false: too many. */
static bool find_ends(const struct cutter *c, uint32_t id, unsigned side, struct ends *e)
{
    uint32_t todo[MAX_ENDS];
    unsigned n_todo = 1;
    todo[0] = id;
    e->n = 0;
    while (n_todo) {
        uint32_t x = todo[--n_todo];
        if (c->is_start[x] && e->n == MAX_ENDS)
            return false;
        if (c->is_start[x])
            e->id[e->n++] = x;
        for (int32_t m = c->made_by[x]; m != NO_MERGE; m = c->next[m]) {
            if (n_todo == MAX_ENDS)
                return false;
            todo[n_todo++] = (uint32_t)(c->merge[m].key >> side);
        }
    }
    return true;
}

static uint32_t name_of(const struct cutter *c, uint32_t id)
{
    return c->name ? c->name[id] : id;
}

static bool put_all(struct cutter *c)
{
    struct ends left, right;
    for (uint32_t m = 0; m < c->n; m++) {
        uint64_t key = c->merge[m].key;
        if (!find_ends(c, (uint32_t)(key >> 32), 0, &left) ||
            !find_ends(c, (uint32_t)key, 32, &right))
            return false;
        for (unsigned i = 0; i < left.n; i++)
            for (unsigned k = 0; k < right.n; k++) {
                uint64_t bit = bpe_cuts_bit(c->cuts, name_of(c, left.id[i]),
                                            name_of(c, right.id[k]));
                c->cuts->joined[bit >> 6] |= (uint64_t)1 << (bit & 63);
            }
    }
    return true;
}

/* Takes the stage's merges out of the table, and says what each id is made by. */
static void list_merges(struct cutter *c, bool later)
{
    const struct pair_map *all = &c->b->merges;
    for (uint32_t id = 0; id < c->b->vocab->n; id++)
        c->made_by[id] = NO_MERGE;
    for (uint64_t i = 0; i <= all->mask; i++) {
        struct pair_slot s = all->slot[i];
        if (s.key == PAIR_EMPTY)
            continue;
        if (later && s.a < c->b->stage_two)
            c->is_start[s.b] = true;
        if ((s.a >= c->b->stage_two) != later)
            continue;
        c->merge[c->n] = s;
        c->next[c->n] = c->made_by[s.b];
        c->made_by[s.b] = (int32_t)c->n++;
    }
}

static void mark_start(struct cutter *c, uint32_t number)
{
    if (number != BPE_NO_START)
        c->is_start[c->b->ranks.id[number]] = true;
}

static void mark_starts(struct cutter *c, bool later)
{
    for (int i = 0; i < 256; i++)
        if (c->b->vocab->byte_id[i] != NO_TOKEN)
            c->is_start[c->b->vocab->byte_id[i]] = true;
    if (later)
        return;
    for (uint32_t cp = 0; cp < BPE_N_START; cp++) {
        mark_start(c, c->b->start->of[cp].number);
        mark_start(c, c->b->start->spaced[cp].number);
    }
    for (int i = 0; i < 128 * 128; i++) {
        uint16_t rank = (uint16_t)c->b->start->pair[i / 128][i % 128];
        mark_start(c, rank == UINT16_MAX ? BPE_NO_START : 256u + rank);
    }
}

static bool take_bits(struct bpe_cuts *cuts, uint32_t n_merges)
{
    unsigned log2_bits = 10;
    while (((uint64_t)1 << log2_bits) < (uint64_t)n_merges * BITS_A_MERGE)
        log2_bits++;
    cuts->shift = 64 - log2_bits;
    cuts->joined = mem_take(((size_t)1 << log2_bits) / 64, sizeof *cuts->joined);
    return cuts->joined;
}

bool bpe_cuts_build(const struct bpe *b, bool later, struct bpe_cuts *cuts)
{
    struct cutter c = { .b = b, .cuts = cuts, .name = later ? NULL : b->ranks.number };
    c.merge = mem_take(b->n_merges + 1u, sizeof *c.merge);
    c.next = mem_take(b->n_merges + 1u, sizeof *c.next);
    c.made_by = mem_take(b->vocab->n + 1u, sizeof *c.made_by);
    c.is_start = mem_take(b->vocab->n + 1u, sizeof *c.is_start);
    bool ok = c.merge && c.next && c.made_by && c.is_start && take_bits(cuts, b->n_merges);
    if (ok) {
        mark_starts(&c, later);
        list_merges(&c, later);
        if (!put_all(&c))
            bpe_cuts_release(cuts);
    }
    mem_give(c.merge);
    mem_give(c.next);
    mem_give(c.made_by);
    mem_give(c.is_start);
    return ok;
}

void bpe_cuts_release(struct bpe_cuts *cuts)
{
    mem_give(cuts->joined);
    *cuts = (struct bpe_cuts){ 0 };
}
