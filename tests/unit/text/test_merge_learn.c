/* merge_learn against its definition, pair by pair, on small random sequences. */
#include "text/merge_learn.h"
#include "../../harness.h"

#include <stdlib.h>

enum { MOST_SEQ = 60, MOST_LEN = 50, MOST_IDS = 400 };

struct seq {
    uint32_t id[MOST_LEN];
    size_t n;
    uint64_t weight;
};

struct corpus {
    struct seq seq[MOST_SEQ];
    size_t n;
};

static uint64_t counts[MOST_IDS][MOST_IDS];

static bool allowed(const struct learnt *l, uint32_t a, uint32_t b, unsigned max_words)
{
    bool meet = learnt_meet_at_word(l, a, b);
    return learnt_words(l, a, b) <= max_words && !(meet && learnt_bytes(l, b).len == 1);
}

/* The definition: count every pair again before each merge. */
static void learn_naively(struct corpus *c, struct learnt *l, struct merge_rules rules)
{
    while (learnt_ids(l) < rules.n_ids) {
        uint32_t left = 0, right = 0, id;
        memset(counts, 0, sizeof counts);
        for (size_t s = 0; s < c->n; s++)
            for (size_t i = 0; i + 1 < c->seq[s].n; i++)
                counts[c->seq[s].id[i]][c->seq[s].id[i + 1]] += c->seq[s].weight;
        for (uint32_t a = 0; a < learnt_ids(l); a++)
            for (uint32_t b = 0; b < learnt_ids(l); b++)
                if (counts[a][b] > counts[left][right] && allowed(l, a, b, rules.max_words)) {
                    left = a;
                    right = b;
                }
        if (counts[left][right] < rules.least || !learnt_merge(l, left, right, &id, NULL))
            return;
        for (size_t s = 0; s < c->n; s++) {
            struct seq *q = &c->seq[s];
            size_t n = 0;
            for (size_t i = 0; i < q->n; i++) {
                bool both = i + 1 < q->n && q->id[i] == left && q->id[i + 1] == right;
                q->id[n++] = both ? id : q->id[i];
                i += both;
            }
            q->n = n;
        }
    }
}

/* Words over three letters, joined by spaces. */
static void make_corpus(struct corpus *c, const struct learnt *l, struct rng *r, uint64_t most)
{
    c->n = 3 + rng_u64(r) % (MOST_SEQ - 3);
    for (size_t s = 0; s < c->n; s++) {
        struct seq *q = &c->seq[s];
        q->n = rng_u64(r) % MOST_LEN;
        q->weight = 1 + rng_u64(r) % most;
        for (size_t i = 0; i < q->n; i++)
            q->id[i] = l->byte_id[(uint8_t)"aabc d"[rng_u64(r) % 6]];
    }
}

static void spans_of(const struct corpus *c, struct spans *s)
{
    *s = (struct spans){ .sym = mem_take(MOST_SEQ * (MOST_LEN + 1) + 1, sizeof *s->sym),
                         .run = mem_take(MOST_SEQ, sizeof *s->run) };
    for (size_t i = 0; i < c->n; i++) {
        s->run[s->n_runs++] = (struct weight_run){ s->n, c->seq[i].weight };
        s->sym[s->n++] = SPAN_END;
        for (size_t k = 0; k < c->seq[i].n; k++)
            s->sym[s->n++] = c->seq[i].id[k];
    }
    s->sym[s->n++] = SPAN_END;
}

static bool same_spans(const struct corpus *c, const struct spans *s)
{
    uint32_t p = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (s->sym[p++] != SPAN_END)
            return false;
        for (size_t k = 0; k < c->seq[i].n; k++)
            if (s->sym[p++] != c->seq[i].id[k])
                return false;
    }
    return s->sym[p] == SPAN_END && p + 1 == s->n;
}

/* Number of merges up to the first that differs; all of them if none does. */
static uint32_t same_merges(const struct learnt *a, const struct learnt *b)
{
    uint32_t i = 0;
    while (i < a->n_merges && i < b->n_merges &&
           !memcmp(&a->merge[i], &b->merge[i], sizeof *a->merge))
        i++;
    return i;
}

static void compare(struct rng *r, struct merge_rules rules, uint64_t most_weight)
{
    static struct corpus c;
    struct learnt a, b;
    struct spans s;
    struct err err = { 0 };
    EXPECT(learnt_init(&a, 3, &err) && learnt_init(&b, 3, &err));
    make_corpus(&c, &a, r, most_weight);
    spans_of(&c, &s);
    EXPECTF(merge_learn(&s, &b, rules, NULL, NULL, &err), "%s", err.msg);
    learn_naively(&c, &a, rules);
    EXPECTF(a.n_merges == b.n_merges && same_merges(&a, &b) == a.n_merges,
            "%u and %u merges, the first %u the same", a.n_merges, b.n_merges,
            same_merges(&a, &b));
    EXPECT(learnt_ids(&a) == learnt_ids(&b) && same_spans(&c, &s));
    for (uint32_t id = 3; id < learnt_ids(&b); id++)
        EXPECT(b.tok[id - 3].words <= rules.max_words);
    spans_release(&s);
    learnt_release(&a);
    learnt_release(&b);
}

static void learns_what_the_definition_says(void)
{
    struct rng r = { 7, 0, 0 };
    for (unsigned i = 0; i < 60; i++) {
        struct merge_rules rules = { .n_ids = 259 + 10 + (uint32_t)(rng_u64(&r) % 130),
                                     .least = 1 + i % 3, .max_words = 1 + i % 4,
                                     .max_bytes = 1 << 20 };
        compare(&r, rules, 1 + i % 5);
    }
}

/* Counts far above the steps of the level. */
static void lowers_its_level(void)
{
    struct rng r = { 11, 0, 0 };
    for (unsigned i = 0; i < 20; i++)
        compare(&r, (struct merge_rules){ .n_ids = 300, .least = 2, .max_words = 3,
                                          .max_bytes = i % 2 ? 1 << 20 : 1 << 12 },
                i % 4 ? 1000 : 1000000);
}

/* One sequence of one letter: each merge doubles it, up to the longest token. */
static void runs_merge_from_the_left(void)
{
    struct learnt l;
    struct spans s = { .sym = mem_take(5000, sizeof *s.sym), .run = mem_take(1, sizeof *s.run),
                       .n_runs = 1 };
    struct err err = { 0 };
    EXPECT(learnt_init(&l, 0, &err));
    s.run[0].weight = 1;
    s.sym[s.n++] = SPAN_END;
    for (int i = 0; i < 4099; i++)
        s.sym[s.n++] = l.byte_id['a'];
    s.sym[s.n++] = SPAN_END;
    EXPECT(merge_learn(&s, &l, (struct merge_rules){ .n_ids = 300, .least = 2, .max_words = 1,
                                                     .max_bytes = 1 << 20 }, NULL, NULL, &err));
    EXPECTF(l.n_merges == 10, "%u", l.n_merges);
    EXPECT(learnt_bytes(&l, learnt_ids(&l) - 1).len == MAX_LEARNT_BYTES);
    EXPECTF(s.n == 2 + 4 + 2, "%u", s.n);  /* four of 1,024 bytes, then "aa" and "a" */
    spans_release(&s);
    learnt_release(&l);
}

/* The corpus that both of these learn from; l and s are the caller's to release. */
static void begin(struct learnt *l, struct spans *s)
{
    static struct corpus c;
    struct rng r = { 5, 0, 0 };
    struct err err = { 0 };
    EXPECT(learnt_init(l, 3, &err));
    make_corpus(&c, l, &r, 3);
    spans_of(&c, s);
}

static bool five_ids(void *arg, uint32_t n_ids, struct err *err)
{
    return n_ids < *(const uint32_t *)arg + 5 || fail(err, ERR_CANCELLED, "enough");
}

static void ends_when_told(void)
{
    struct learnt l;
    struct spans s;
    struct err err = { 0 };
    begin(&l, &s);
    uint32_t before = learnt_ids(&l);
    EXPECT(!merge_learn(&s, &l, (struct merge_rules){ .n_ids = 320, .least = 1, .max_words = 2,
                                                      .max_bytes = 1 << 20 }, five_ids, &before,
                        &err));
    EXPECTF(err.code == ERR_CANCELLED && learnt_ids(&l) == before + 5, "%s, %u ids",
            err.msg, learnt_ids(&l) - before);
    spans_release(&s);
    learnt_release(&l);
}

/* Whatever allocation fails, it says so and gives back what it took. */
static void survives_no_memory(void)
{
    long live = mem_live, k = 0;
    for (bool done = false; !done && k < 500; k++) {
        struct learnt l;
        struct spans s;
        struct err err = { 0 };
        begin(&l, &s);
        mem_fail_after = k;
        done = merge_learn(&s, &l, (struct merge_rules){ .n_ids = 320, .least = 1, .max_words = 2,
                                                         .max_bytes = 1 << 20 }, NULL, NULL, &err);
        done = done && mem_fail_after >= 0;
        mem_fail_after = -1;
        EXPECT(done || err.code == ERR_MEMORY || err.code == ERR_NONE);
        spans_release(&s);
        learnt_release(&l);
        EXPECT(mem_live == live);
    }
    EXPECT(k > 10 && k < 500);
}

const struct test tests[] = {
    { "the definition", learns_what_the_definition_says },
    { "levels", lowers_its_level },
    { "runs", runs_merge_from_the_left },
    { "stopping", ends_when_told },
    { "no memory", survives_no_memory },
    { 0 }
};
