#include "text/merge_learn.h"

#include "text/pair_table.h"

#define TAIL 0x80000000u                  /* a slot inside a token; the low bits: its slots */
#define LONG 0x40000000u                  /* the first slot of a token of two or more */
#define LOW  0x3fffffffu

enum { BLOCK = 256, LEVEL_STEP = 128, MIN_FILTER = 1 << 12, FIRST_FILTER = 1 << 20,
       MAX_FILTER = 1 << 24 };

/* What one merge adds up about the neighbours with one id. */
struct side {
    uint64_t count;
    uint32_t n;                           /* places */
    uint32_t pair;                        /* the new pair + 1; 0: none */
};

struct event {
    uint32_t id, place;
};

struct event_list {
    struct event *at;
    size_t n, cap;
    uint32_t *ids;                        /* those whose side is not zero */
    uint32_t n_ids;
    struct side *side;                    /* by id */
};

struct learner {
    struct spans *s;
    struct learnt *l;
    struct merge_rules rules;
    struct pair_table pairs;
    uint64_t level;
    uint64_t total;                       /* all counts together */
    size_t n_fresh;                       /* room for places right after counting */
    uint32_t *run_of_block;               /* the run that holds slot i * BLOCK */
    struct event_list before, after;      /* neighbours of what was merged */
};

void spans_release(struct spans *s)
{
    mem_give(s->sym);
    mem_give(s->run);
    *s = (struct spans){ 0 };
}

static inline uint32_t next_token(const uint32_t *sym, uint32_t p)
{
    return p + (sym[p] & LONG ? sym[p + 1] & LOW : 1);
}

static inline uint32_t token_before(const uint32_t *sym, uint32_t p)
{
    return p - (sym[p - 1] & TAIL ? sym[p - 1] & LOW : 1);
}

static bool no_memory(struct err *err)
{
    return fail(err, ERR_MEMORY, "no memory for the pairs of tokens to merge; give less text, or "
                "less --memory to train on a part of it");
}

static bool is_allowed(const struct learner *k, uint32_t left, uint32_t right)
{
    const struct learnt *l = k->l;
    struct bytes a = learnt_bytes(l, left), b = learnt_bytes(l, right);
    if (a.len + b.len > MAX_LEARNT_BYTES || learnt_is_forbidden(l, a, b))
        return false;
    if (!learnt_meet_at_word(l, left, right))
        return learnt_words(l, left, right) <= k->rules.max_words;
    /* A superword goes on with a space and the start of a word, not with a bare space. */
    return b.len > 1 && learnt_words(l, left, right) <= k->rules.max_words;
}

/*
 * Counting again.
 */

/* One slot for each token again; the weights' runs follow. */
static void close_up(struct spans *s)
{
    uint32_t to = 0, run = 0;
    for (uint32_t p = 0, next; p < s->n; p = next) {
        next = next_token(s->sym, p);
        for (; run < s->n_runs && s->run[run].from <= p; run++)
            s->run[run].from = to;
        s->sym[to++] = s->sym[p] & ~LONG;
    }
    s->n = to;
    s->n_runs = run;
}

static bool index_runs(struct learner *k)
{
    const struct spans *s = k->s;
    uint32_t run = 0, n_blocks = s->n / BLOCK + 1;
    mem_give(k->run_of_block);
    k->run_of_block = mem_take(n_blocks, sizeof *k->run_of_block);
    if (!k->run_of_block)
        return false;
    for (uint32_t b = 0; b < n_blocks; b++) {
        while (run + 1 < s->n_runs && s->run[run + 1].from <= b * BLOCK)
            run++;
        k->run_of_block[b] = run;
    }
    return true;
}

static inline uint64_t weight_at(const struct learner *k, uint32_t p)
{
    const struct spans *s = k->s;
    uint32_t run = k->run_of_block[p / BLOCK];
    while (run + 1 < s->n_runs && s->run[run + 1].from <= p)
        run++;
    return s->run[run].weight;
}

static inline uint64_t filter_slot(uint32_t left, uint32_t right, unsigned shift)
{
    return ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u >> shift;
}

/* Sums of counts by hash, so never too small. */
struct filter {
    uint32_t *sum;
    unsigned shift;
};

/* Asks for the sum that a loop over the slots will need soon. */
static inline void filter_prefetch(const struct filter *f, const struct spans *s, uint32_t p)
{
    if (p + 25 < s->n)
        __builtin_prefetch(&f->sum[filter_slot(s->sym[p + 24], s->sym[p + 25], f->shift)]);
}

static uint32_t fill_filter(struct learner *k, struct filter *f)
{
    const struct spans *s = k->s;
    uint32_t run = 0, most = 0;
    k->total = 0;
    for (uint32_t p = 0; p + 1 < s->n; p++) {
        filter_prefetch(f, s, p);
        while (run + 1 < s->n_runs && s->run[run + 1].from <= p)
            run++;
        if (s->sym[p] == SPAN_END || s->sym[p + 1] == SPAN_END)
            continue;
        uint32_t *sum = &f->sum[filter_slot(s->sym[p], s->sym[p + 1], f->shift)];
        uint64_t grown = *sum + s->run[run].weight;
        k->total += s->run[run].weight;
        *sum = grown < UINT32_MAX ? (uint32_t)grown : UINT32_MAX;
        most = *sum > most ? *sum : most;
    }
    return most;
}

/* Counts exactly each pair that the filter lets through. */
static bool count_pairs(struct learner *k, const struct filter *f)
{
    const struct spans *s = k->s;
    uint32_t run = 0, pair;
    for (uint32_t p = 0; p + 1 < s->n; p++) {
        while (run + 1 < s->n_runs && s->run[run + 1].from <= p)
            run++;
        uint32_t left = s->sym[p], right = s->sym[p + 1];
        filter_prefetch(f, s, p);
        if (left == SPAN_END || right == SPAN_END ||
            f->sum[filter_slot(left, right, f->shift)] < k->level)
            continue;
        int64_t known = pair_table_find(&k->pairs, left, right);
        pair = (uint32_t)known;
        if (known == NO_PAIR && !pair_table_add(&k->pairs, left, right, &pair))
            return false;
        k->pairs.pair[pair].count += s->run[run].weight;
        k->pairs.pair[pair].n_places++;
    }
    return true;
}

/* Keeps the pairs of the level that may merge: room for their places, and into the queue. */
static bool keep_pairs(struct learner *k)
{
    for (uint32_t i = 0; i < k->pairs.n; i++) {
        struct pair_entry *p = &k->pairs.pair[i];
        uint32_t n = p->n_places;
        p->n_places = 0;
        if (p->count < k->level || !is_allowed(k, p->left, p->right))
            continue;
        if (!pair_table_reach(&k->pairs, i, n) || !pair_table_push(&k->pairs, i))
            return false;
    }
    return true;
}

static void fill_places(struct learner *k, const struct filter *f)
{
    const struct spans *s = k->s;
    for (uint32_t p = 0; p + 1 < s->n; p++) {
        uint32_t left = s->sym[p], right = s->sym[p + 1];
        filter_prefetch(f, s, p);
        if (left == SPAN_END || right == SPAN_END ||
            f->sum[filter_slot(left, right, f->shift)] < k->level)
            continue;
        struct pair_entry *e = &k->pairs.pair[pair_table_find(&k->pairs, left, right)];
        if (e->place)
            e->place[e->n_places++] = p;
    }
}

/* Slots whose pair the filter lets through. */
static size_t count_places(const struct learner *k, const struct filter *f)
{
    const struct spans *s = k->s;
    size_t n = 0;
    for (uint32_t p = 0; p + 1 < s->n; p++)
        n += s->sym[p] != SPAN_END && s->sym[p + 1] != SPAN_END &&
             f->sum[filter_slot(s->sym[p], s->sym[p + 1], f->shift)] >= k->level;
    return n;
}

/* The level to count at: far enough below the highest count, if there is memory for it. */
static void choose_level(struct learner *k, const struct filter *f, uint32_t most)
{
    uint64_t top = most < k->level ? most : k->level;
    k->level = top / LEVEL_STEP > k->rules.least ? top / LEVEL_STEP : k->rules.least;
    size_t most_places = k->rules.max_bytes / sizeof(uint32_t) / 2;
    if (k->s->n <= most_places)
        return;
    while (k->level < top / 2 && count_places(k, f) > most_places)
        k->level *= 2;
}

/* Sums of other pairs should stay far below the level that is to be expected. */
static bool filter_init(const struct learner *k, struct filter *f)
{
    uint64_t level = k->level / LEVEL_STEP + k->rules.least, n = MIN_FILTER;
    uint64_t want = k->total ? k->total / level * 8 : FIRST_FILTER;
    for (f->shift = 52; n < want && n < k->s->n && n < MAX_FILTER; n *= 2)
        f->shift--;
    f->sum = mem_take(n, sizeof *f->sum);
    return f->sum != NULL;
}

static bool count_again(struct learner *k, struct err *err)
{
    struct filter f;
    pair_table_clear(&k->pairs);
    close_up(k->s);
    if (!filter_init(k, &f) || !index_runs(k)) {
        mem_give(f.sum);
        return no_memory(err);
    }
    choose_level(k, &f, fill_filter(k, &f));
    bool ok = count_pairs(k, &f) && keep_pairs(k);
    if (ok)
        fill_places(k, &f);
    k->n_fresh = k->pairs.n_place_slots;
    mem_give(f.sum);
    return ok || no_memory(err);
}

/*
 * One merge.
 */

static bool event_reach(struct event_list *e, size_t n)
{
    if (n <= e->cap)
        return true;
    mem_give(e->at);
    e->at = mem_grow(NULL, n + n / 2, sizeof *e->at);
    e->cap = e->at ? n + n / 2 : 0;
    return e->at != NULL;
}

static inline void event_put(struct event_list *e, uint32_t id, uint32_t place, uint64_t weight)
{
    struct side *s = &e->side[id];
    if (!s->n++)
        e->ids[e->n_ids++] = id;
    s->count += weight;
    e->at[e->n++] = (struct event){ id, place };
}

/* Replaces the pair in all its places and notes each neighbour. */
static void replace(struct learner *k, const struct pair_entry *pair, uint32_t id)
{
    uint32_t *sym = k->s->sym;
    k->before.n = k->after.n = 0;
    for (uint32_t i = 0; i < pair->n_places; i++) {
        uint32_t p = pair->place[i];
        if (i + 16 < pair->n_places)
            __builtin_prefetch(&sym[pair->place[i + 16]]);
        if ((sym[p] & ~LONG) != pair->left)
            continue;
        uint32_t q = next_token(sym, p);
        if ((sym[q] & ~LONG) != pair->right)
            continue;
        uint32_t end = next_token(sym, q), n = end - p;
        sym[q] = TAIL;
        sym[p] = id | LONG;
        sym[p + 1] = sym[end - 1] = TAIL | n;
        uint32_t prev = token_before(sym, p), left = sym[prev] & ~LONG, right = sym[end] & ~LONG;
        uint64_t weight = weight_at(k, p);
        if (left != SPAN_END)
            event_put(&k->before, left, prev, weight);
        if (right != SPAN_END)
            event_put(&k->after, right, p, weight);
    }
}

/* Counts the new pair (left, right); *kept is pair + 1 where its places are wanted. */
static bool add_pair(struct learner *k, uint32_t left, uint32_t right, uint64_t count,
                     uint32_t n_places, uint32_t *kept)
{
    int64_t known = pair_table_find(&k->pairs, left, right);
    uint32_t pair = (uint32_t)known;
    *kept = 0;
    if (known == NO_PAIR && (count < k->level || !is_allowed(k, left, right)))
        return true;
    if (known == NO_PAIR && !pair_table_add(&k->pairs, left, right, &pair))
        return false;
    struct pair_entry *p = &k->pairs.pair[pair];
    p->count += count;
    if (known != NO_PAIR && !p->place)
        return true;                      /* known not to be allowed, or below the level */
    if (!pair_table_reach(&k->pairs, pair, n_places) || !pair_table_push(&k->pairs, pair))
        return false;
    p->unsorted = known != NO_PAIR;
    *kept = pair + 1;
    return true;
}

/* The new pairs of one side.  less: taken from the count of the one with `same`. */
static bool add_pairs(struct learner *k, struct event_list *e, bool left, uint32_t id,
                      uint32_t same, uint64_t less)
{
    for (uint32_t i = 0; i < e->n_ids; i++) {
        struct side *s = &e->side[e->ids[i]];
        uint64_t count = s->count - (e->ids[i] == same ? less : 0);
        if (!add_pair(k, left ? e->ids[i] : id, left ? id : e->ids[i], count, s->n, &s->pair))
            return false;
    }
    for (size_t i = 0; i < e->n; i++) {
        uint32_t pair = e->side[e->at[i].id].pair;
        if (pair) {
            struct pair_entry *p = &k->pairs.pair[pair - 1];
            p->place[p->n_places++] = e->at[i].place;
        }
    }
    return true;
}

static void lessen(struct learner *k, uint32_t left, uint32_t right, uint64_t count)
{
    int64_t pair = pair_table_find(&k->pairs, left, right);
    if (pair == NO_PAIR)
        return;
    struct pair_entry *p = &k->pairs.pair[pair];
    p->count = p->count > count ? p->count - count : 0;
}

/* Sorts what needs it, takes the counts of the pairs that are gone, and clears the sums. */
static void finish_side(struct learner *k, struct event_list *e, bool left, uint32_t id,
                        struct learnt_merge m)
{
    for (uint32_t i = 0; i < e->n_ids; i++) {
        uint32_t other = e->ids[i];
        struct side *s = &e->side[other];
        if (s->pair && k->pairs.pair[s->pair - 1].unsorted)
            pair_table_sort(&k->pairs.pair[s->pair - 1]);
        if (left && other != id)
            lessen(k, other, m.left, s->count);
        else if (!left)
            lessen(k, m.right, other, s->count);
        *s = (struct side){ 0 };
    }
    e->n_ids = 0;
}

/*
 * What was (x, left)(right, y) is now (x, id)(id, y).  Where two merges touch, the first
 * made (id, left), which the second took again: those are counted as `touching`.
 */
static bool apply(struct learner *k, uint32_t pair, struct err *err)
{
    struct pair_entry taken = k->pairs.pair[pair];
    struct learnt_merge m = { taken.left, taken.right, 0 };
    uint32_t id;
    if (!event_reach(&k->before, taken.n_places) || !event_reach(&k->after, taken.n_places))
        return no_memory(err);
    if (!learnt_merge(k->l, m.left, m.right, &id, err))
        return false;
    replace(k, &taken, id);
    uint64_t touching = k->before.side[id].count, follow = k->after.side[m.left].count;
    uint64_t less = touching < follow ? touching : follow;
    if (!add_pairs(k, &k->before, true, id, m.left, 0) ||
        !add_pairs(k, &k->after, false, id, m.left, less))
        return no_memory(err);
    lessen(k, id, m.left, touching - less);
    finish_side(k, &k->before, true, id, m);
    finish_side(k, &k->after, false, id, m);
    k->pairs.pair[pair].count = 0;
    k->pairs.pair[pair].n_places = 0;
    return true;
}

static bool learner_init(struct learner *k, struct err *err)
{
    struct event_list *both[] = { &k->before, &k->after };
    for (int i = 0; i < 2; i++) {
        both[i]->ids = mem_take((size_t)k->rules.n_ids + 1, sizeof *both[i]->ids);
        both[i]->side = mem_take((size_t)k->rules.n_ids + 1, sizeof *both[i]->side);
        if (!both[i]->ids || !both[i]->side)
            return no_memory(err);
    }
    return true;
}

static void learner_release(struct learner *k)
{
    struct event_list *both[] = { &k->before, &k->after };
    for (int i = 0; i < 2; i++) {
        mem_give(both[i]->at);
        mem_give(both[i]->ids);
        mem_give(both[i]->side);
    }
    pair_table_release(&k->pairs);
    mem_give(k->run_of_block);
}

static bool pairs_too_big(const struct learner *k)
{
    size_t n_bytes = k->pairs.n_place_slots * sizeof(uint32_t) +
                     k->pairs.cap * (sizeof(struct pair_entry) + 8);
    return n_bytes > k->rules.max_bytes && k->pairs.n_place_slots > 2 * k->n_fresh;
}

bool merge_learn(struct spans *s, struct learnt *l, struct merge_rules rules,
                 merge_progress_fn *progress, void *arg, struct err *err)
{
    struct learner k = { .s = s, .l = l, .rules = rules, .level = UINT64_MAX };
    bool ok = learner_init(&k, err) && count_again(&k, err);
    bool more = true;
    while (ok && more && learnt_ids(l) < rules.n_ids) {
        int64_t pair = pair_table_pop(&k.pairs, k.level);
        if (pair != NO_PAIR) {
            ok = apply(&k, (uint32_t)pair, err)
                 && (!progress || progress(arg, learnt_ids(l), err));
        }
        more = pair != NO_PAIR || k.level > rules.least;
        if (ok && more && (pair == NO_PAIR || pairs_too_big(&k)))
            ok = count_again(&k, err);
    }
    learner_release(&k);
    if (ok) {
        close_up(s);
        uint32_t *less = mem_grow(s->sym, s->n, sizeof *less);
        s->sym = less ? less : s->sym;
    }
    return ok;
}

