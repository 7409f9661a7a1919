/*
 * loader: every token where it belongs, targets at the edges of documents, orders, mixtures,
 * and a saved place from which the same rows follow.
 */
#include "shard_make.h"
#include "../../harness.h"

#include <stdio.h>
#include <stdlib.h>

static const uint32_t lengths[] = { 3, 0, 17, 1, 2, 7, 6, 14, 5, 4, 29, 1 };
enum { N_DOCS = 12, N_TOKENS = 89 };

/* A shard of N_DOCS documents numbered on from `first`. */
static const char *a_shard(const char *name, uint32_t first)
{
    struct err err;
    const char *path = made_path(name);
    EXPECTF(make_shard(path, lengths, N_DOCS, first, &made_kind, &err), "%s", err.msg);
    return path;
}

static const char *held_out_from(const char *name, uint32_t first)
{
    struct err err;
    struct shard_kind kind = made_kind;
    const char *path = made_path(name);
    kind.held_out = true;
    EXPECTF(make_shard(path, lengths, N_DOCS, first, &kind, &err), "%s", err.msg);
    return path;
}

static const char *a_held_out_shard(const char *name)
{
    return held_out_from(name, 0);
}

static struct loader *open_one(const char *path, uint32_t context, double epochs, bool held_out)
{
    struct err err = { 0 };
    struct loader *l = NULL;
    struct loader_source s = { path, 1, epochs };
    struct loader_config c = { &s, 1, context, 42, NULL, held_out };
    EXPECTF(loader_open(&l, &c, &err), "%s", err.msg);
    return l;
}

/* The document that token `id` of a_shard(.., 0) is in: its begin and end. */
static void doc_of(uint32_t id, uint32_t *begin, uint32_t *end)
{
    *begin = *end = 0;
    for (size_t i = 0; i < N_DOCS && id >= *end; i++) {
        *begin = *end;
        *end += lengths[i];
    }
}

/* Place i of a row: token, targets and position against the definition. */
static void expect_place(const struct batch *b, size_t i, size_t row_end)
{
    uint32_t begin, end, id = b->token[i];
    doc_of(id, &begin, &end);
    uint32_t offset = id - begin, in_piece = offset % (uint32_t)b->context;
    uint32_t piece_end = begin + offset - in_piece + (uint32_t)b->context;
    piece_end = piece_end < end ? piece_end : end;
    EXPECTF(b->pos[i] == in_piece, "token %u at pos %u", id, b->pos[i]);
    EXPECTF(b->target[i] == (id + 1 < end ? id + 1 : NO_TARGET), "token %u, target %u", id,
            b->target[i]);
    EXPECTF(b->target2[i] == (id + 2 < piece_end ? id + 2 : NO_TARGET), "token %u, target2 %u", id,
            b->target2[i]);
    if (b->target2[i] != NO_TARGET)
        EXPECT(i + 2 < row_end && b->token[i + 2] == b->target2[i]
               && b->pos[i + 2] == in_piece + 2);
}

/* A row is its used places and padding; counts what came. */
static void expect_row(const struct batch *b, size_t r, uint32_t *seen, uint32_t *targeted)
{
    size_t from = r * b->context, used = b->used[r];
    EXPECT(used > 0 && used <= b->context);
    for (size_t i = from; i < from + b->context; i++) {
        if (i >= from + used) {
            EXPECT(b->token[i] == 0 && b->target[i] == NO_TARGET && b->target2[i] == NO_TARGET
                   && b->pos[i] == i - from - used);
            continue;
        }
        expect_place(b, i, from + used);
        seen[b->token[i]]++;
        if (b->target[i] != NO_TARGET)
            targeted[b->target[i]]++;
    }
}

static void expect_epochs(const struct batch *b, const uint32_t *seen, const uint32_t *targeted,
                          uint32_t epochs)
{
    uint64_t n_targets = 0, n_targets2 = 0;
    uint32_t begin, end;
    for (uint32_t id = 0; id < N_TOKENS; id++) {
        doc_of(id, &begin, &end);
        EXPECTF(seen[id] == epochs, "token %u came %u times", id, seen[id]);
        EXPECTF(targeted[id] == (id > begin ? epochs : 0), "token %u was a target %u times", id,
                targeted[id]);
    }
    for (size_t i = 0; i < b->n_rows * b->context; i++) {
        n_targets += b->target[i] != NO_TARGET;
        n_targets2 += b->target2[i] != NO_TARGET;
    }
    EXPECT(b->n_targets == n_targets && b->n_targets2 == n_targets2 && b->n_bytes == 0);
}

static void test_rows(void)
{
    static const uint32_t contexts[] = { 2, 3, 4, 5, 7, 16, 29, 30, 100 };
    const char *paths[] = { a_shard("rows.kxs", 0), a_held_out_shard("held-rows.kxs") };
    for (size_t c = 0; c < sizeof contexts / sizeof *contexts; c++)
        for (int held_out = 0; held_out < 2; held_out++) {
            uint32_t seen[N_TOKENS] = { 0 }, targeted[N_TOKENS] = { 0 };
            uint32_t epochs = held_out ? 1 : 2;
            struct batch b;
            struct err err;
            struct loader *l = open_one(paths[held_out], contexts[c], 2, held_out);
            size_t n = (size_t)loader_rows_left(l);
            EXPECT(n == epochs * loader_source_info(l, 0).n_rows);
            EXPECTF(loader_next(l, &b, n, &err), "%s", err.msg);
            for (size_t r = 0; r < n; r++)
                expect_row(&b, r, seen, targeted);
            expect_epochs(&b, seen, targeted, epochs);
            EXPECT(loader_rows_left(l) == 0 && !loader_next(l, &b, 1, &err));
            EXPECTF(err.code == ERR_LIMIT && strstr(err.msg, "used up") &&
                    strstr(err.msg, "rows.kxs"), "%s", err.msg);
            loader_close(l);
        }
}

static uint64_t hash_batch(const struct batch *b, uint64_t before)
{
    struct bytes all = { (const uint8_t *)b->token,
                         (4 * b->n_rows * b->context + b->n_rows) * sizeof *b->token };
    return hash_bytes(all, before);
}

static struct loader *open_two(uint64_t seed, double weight, double epochs)
{
    struct err err = { 0 };
    struct loader *l = NULL;
    struct loader_source s[] = { { a_shard("one.kxs", 0), weight, epochs },
                                 { a_shard("two.kxs", 1000), 1, 0 } };
    struct loader_config c = { s, 2, 8, seed, NULL, false };
    EXPECTF(loader_open(&l, &c, &err), "%s", err.msg);
    return l;
}

/* Rows in batches of 1, 2 and 3, from each place, are those of the uninterrupted loader. */
static void test_resume(void)
{
    enum { N = 120 };
    uint64_t hash[N];
    struct loader_state state[N];
    struct batch b;
    struct err err;
    struct loader *l = open_two(7, 2, 3);
    for (size_t i = 0; i < N; i++) {
        state[i] = loader_state_get(l);
        EXPECT(state[i].rows_taken == i && loader_next(l, &b, 1, &err));
        hash[i] = hash_batch(&b, 0);
    }
    loader_close(l);
    for (size_t i = 0; i + 2 < N; i += 7) {
        l = open_two(7, 2, 3);
        EXPECTF(loader_state_set(l, &state[i], &err), "%s", err.msg);
        EXPECT(loader_next(l, &b, 1, &err) && hash_batch(&b, 0) == hash[i]);
        EXPECT(loader_next(l, &b, 1, &err) && hash_batch(&b, 0) == hash[i + 1]);
        loader_close(l);
    }
    l = open_two(7, 2, 3);
    EXPECT(loader_next(l, &b, 3, &err));
    struct batch third = { .n_rows = 1, .context = 8 };
    uint32_t room[33];
    for (int k = 0; k < 4; k++)
        memcpy(room + 8 * k, b.token + 24 * k + 16, 32);
    room[32] = b.used[2];
    third.token = room;
    EXPECT(hash_batch(&third, 0) == hash[2]);
    loader_close(l);
}

static void expect_refused(struct loader *l, const struct loader_state *s, const char *word)
{
    struct err err = { 0 };
    struct loader_state before = loader_state_get(l), after;
    EXPECT(!loader_state_set(l, s, &err));
    EXPECTF(strstr(err.msg, word), "%s", err.msg);
    after = loader_state_get(l);
    EXPECT(!memcmp(&before, &after, sizeof after));
}

static void test_states(void)
{
    struct batch b;
    struct err err;
    struct loader *l = open_two(7, 2, 3), *other;
    EXPECT(loader_next(l, &b, 5, &err));
    struct loader_state good = loader_state_get(l), bad = good;
    bad.taken[0]++;
    expect_refused(l, &bad, "no sense");
    bad.taken[0] = bad.rows_taken = 1000;
    bad.taken[1] = 0;
    expect_refused(l, &bad, "no sense");
    bad = good;
    bad.taken[2] = UINT64_MAX;
    bad.rows_taken--;
    expect_refused(l, &bad, "no sense");
    other = open_two(8, 2, 3);
    expect_refused(other, &good, "seed");
    loader_close(other);
    other = open_two(7, 2.5, 3);
    expect_refused(other, &good, "weights");
    loader_close(other);
    other = open_two(7, 2, 4);             /* more epochs are fine */
    EXPECT(loader_state_set(other, &good, &err));
    loader_close(other);
    loader_close(l);
}

/* Seeds and epochs give other orders of the same rows. */
static void test_orders(void)
{
    struct err err;
    struct batch b;
    uint64_t hash[3] = { 0 };
    const char *path = a_shard("order.kxs", 0);
    struct loader *l = open_one(path, 4, 0, false);
    size_t n = (size_t)loader_source_info(l, 0).n_rows;
    for (int epoch = 0; epoch < 3; epoch++) {
        EXPECT(loader_next(l, &b, n, &err));
        hash[epoch] = hash_batch(&b, 0);
    }
    EXPECT(hash[0] != hash[1] && hash[1] != hash[2] && loader_source_info(l, 0).epochs_done == 3);
    EXPECT(loader_rows_left(l) == UINT64_MAX);
    loader_close(l);
}

/* The first rows are a sample of all sources and lengths, and the same for any seed. */
static void test_held_out_order(void)
{
    struct err err = { 0 };
    struct batch b;
    uint64_t hash[2] = { 0 };
    struct loader_source s[] = { { held_out_from("held-one.kxs", 0), 1, 0 },
                                 { held_out_from("held-two.kxs", 1000), 5, 0 } };
    for (uint64_t seed = 0; seed < 2; seed++) {
        struct loader_config c = { s, 2, 4, 7 * seed, NULL, true };
        struct loader *l = NULL;
        EXPECTF(loader_open(&l, &c, &err), "%s", err.msg);
        size_t n = (size_t)loader_rows_left(l), n_one = 0, n_joined = 0;
        EXPECT(n > 30 && loader_next(l, &b, n / 2, &err));
        for (size_t row = 0; row < n / 2; row++) {
            n_one += b.token[4 * row] < 1000;
            n_joined += b.pos[4 * row + 3] != 3;
        }
        EXPECTF(n_one == n / 4 || n_one == (n / 2 + 1) / 2, "%zu of %zu rows", n_one, n / 2);
        EXPECTF(n_joined > 2, "%zu rows of short documents among %zu", n_joined, n / 2);
        hash[seed] = hash_batch(&b, 0);
        loader_close(l);
    }
    EXPECT(hash[0] == hash[1]);
}

static void test_mixed(void)
{
    struct batch b;
    struct err err;
    int from_one = 0;
    struct loader *l = open_two(1, 3, 0);
    for (int i = 1; i <= 400; i++) {
        EXPECT(loader_next(l, &b, 1, &err));
        from_one += b.token[0] < 1000;
        EXPECTF(abs(4 * from_one - 3 * i) <= 4, "%d of %d rows", from_one, i);
    }
    loader_close(l);
}

static void expect_no_loader(struct loader_config c, const char *word)
{
    struct err err = { 0 };
    struct loader *l = NULL;
    EXPECT(!loader_open(&l, &c, &err) && !l);
    EXPECTF(err.code && strstr(err.msg, word), "\"%s\" is not in \"%s\"", word, err.msg);
}

static void test_refusals(void)
{
    struct err err;
    struct shard_kind other = made_kind;
    const uint32_t nothing[] = { 0 };
    struct loader_source s[] = { { a_shard("r1.kxs", 0), 1, 0 }, { made_path("r2.kxs"), 1, 0 } };
    struct loader_config c = { s, 2, 8, 0, NULL, false };
    other.tokenizer = 5;
    EXPECT(make_shard(s[1].path, lengths, N_DOCS, 0, &other, &err));
    expect_no_loader(c, "another tokenizer");
    EXPECT(make_shard(s[1].path, nothing, 1, 0, &made_kind, &err));
    expect_no_loader(c, "are no row");
    s[1].path = made_path("");
    expect_no_loader(c, "no manifest.json");
    s[1].path = made_path("none.kxs");
    expect_no_loader(c, "none.kxs: cannot open");
    c.n_sources = 1;
    s[0].weight = 0;
    expect_no_loader(c, "its weight is 0");
    s[0] = (struct loader_source){ s[0].path, 1, -1 };
    expect_no_loader(c, "-1 epochs");
    s[0].epochs = 0.001;
    expect_no_loader(c, "are no row");
    s[0].epochs = 0;
    c.context = 1;
    expect_no_loader(c, "rows of 1 tokens");
    c.context = 8;
    c.n_sources = MIXTURE_MAX + 1;
    expect_no_loader(c, "33 sources");
}

/* Measured on and trained on are kept apart, also when shards are named by themselves. */
static void test_held_out(void)
{
    struct batch b;
    struct err err = { 0 };
    struct loader *l = NULL;
    struct loader_source s[] = { { a_shard("only-train.kxs", 0), 1, 0 },
                                 { a_held_out_shard("only-held.kxs"), 1, 0 } };
    struct loader_config c = { s, 2, 8, 0, NULL, true };
    EXPECTF(loader_open(&l, &c, &err), "%s", err.msg);
    EXPECT(loader_source_info(l, 0).n_rows == 0 && loader_source_info(l, 0).epochs_done == 0);
    EXPECT(loader_rows_left(l) == loader_source_info(l, 1).n_rows);
    EXPECT(loader_next(l, &b, (size_t)loader_rows_left(l), &err) && !loader_next(l, &b, 1, &err));
    loader_close(l);
    c.n_sources = 1;
    EXPECT(loader_open(&l, &c, &err) && loader_rows_left(l) == 0 && !loader_next(l, &b, 1, &err));
    loader_close(l);
    c.n_sources = 2;
    c.held_out = false;
    expect_no_loader(c, "held out");
}

static bool try_all(const struct loader_config *c, struct err *err)
{
    struct loader *l;
    struct batch b;
    if (!loader_open(&l, c, err))
        return false;
    struct loader_state before = loader_state_get(l);
    bool ok = loader_next(l, &b, 3, err);
    EXPECT(ok || loader_state_get(l).rows_taken == before.rows_taken);
    loader_close(l);
    return ok;
}

static void test_no_memory(void)
{
    struct err err;
    struct loader_source s = { a_shard("m.kxs", 0), 1, 0 };
    struct loader_config c = { &s, 1, 8, 0, NULL, false };
    bool ok = false;
    for (long k = 0; !ok && k < 60; k++) {
        long live = mem_live;
        mem_fail_after = k;
        ok = try_all(&c, &err);
        mem_fail_after = -1;
        EXPECTF(ok || err.code == ERR_MEMORY, "%ld: %s", k, err.msg);
        EXPECTF(mem_live == live, "%ld: %ld blocks", k, mem_live - live);
    }
    EXPECT(ok);
}

const struct test tests[] = {
    { "rows", test_rows },
    { "resume", test_resume },
    { "states", test_states },
    { "orders", test_orders },
    { "mixed", test_mixed },
    { "refusals", test_refusals },
    { "held_out", test_held_out },
    { "held_out_order", test_held_out_order },
    { "no_memory", test_no_memory },
    { 0 }
};
