/*
 * What a session comes back to is what a fresh one would be, to the bit: after rewinding any
 * distance (near: from the rings; far: from a snapshot or the start), in a fork, from a file,
 * after a cancelled call.  On the tiny exaone_moe with windows of 8 and rings of 64 rows, with and
 * without MTP, with all KV types, with room for no, two and five snapshots.
 */
#include "../harness.h"
#include "run/run.h"

#include <stdio.h>
#include <unistd.h>

enum { CONTEXT = 512, VOCAB_MAX = 512 };

struct rig {
    struct model m;
    struct session_options o;
};

static uint32_t token(uint64_t stream, uint64_t i)
{
    return (uint32_t)(rng_u64_at(5, stream, i) % 101);
}

/* q8_0 needs heads of 32: the same matrices are then read as half as many heads, twice as
 * wide, without their norms. */
static bool rig_open(struct rig *r, enum kv_type kv_type, bool mtp, uint32_t room)
{
    struct err err = { 0 };
    bool ok = model_open_plan(&r->m, tree_path("tests/gold/exaone_moe/lllg/model.gguf"), &err)
              && model_bind(&r->m, 1, NUMERICS_NATIVE, &err);
    EXPECTF(ok, "%s", err.msg);
    struct plan *p = &r->m.plan;
    if (ok && kv_type == KV_Q8_0) {
        p->n_heads /= 2;
        p->n_kv_heads /= 2;
        p->head_dim *= 2;
        for (uint32_t i = 0; i < plan_all_layers(p); i++)
            p->layer[i].qk_norm = false;
    }
    struct kv_bytes bytes;
    kv_count(p, kv_type, CONTEXT, 16, &bytes);
    uint64_t each = snapshot_bytes(p, &bytes, mtp);
    r->o = (struct session_options){ .context = CONTEXT, .chunk = 16, .kv_type = kv_type,
                                     .mtp = mtp, .snapshot_every = 24,
                                     .snapshot_budget = room ? room * each : 1 };
    return ok;
}

static struct session *begin(struct rig *r)
{
    struct err err = { 0 };
    struct session *s = session_open(&r->m, &r->o, &err);
    EXPECTF(s, "%s", err.msg);
    return s;
}

/* Logits and MTP logits of s are those of a new session with the same tokens. */
static bool as_fresh(struct rig *r, struct session *s, const uint32_t *ids, uint32_t n)
{
    struct err err = { 0 };
    size_t bytes = r->m.plan.vocab * sizeof(float);
    float a[VOCAB_MAX], b[VOCAB_MAX];
    if (s->n != n || (n && memcmp(s->ids, ids, n * sizeof *ids)))
        return false;
    if (!n)
        return true;
    struct session *fresh = begin(r);
    bool ok = session_add(fresh, ids, n, &err) && !memcmp(s->logits, fresh->logits, bytes);
    if (ok && r->o.mtp)
        ok = session_mtp_logits(s, 3, a, &err) && session_mtp_logits(fresh, 3, b, &err)
             && !memcmp(a, b, bytes);
    session_close(fresh);
    return ok;
}

/* From 200 tokens to every step-th shorter length, and ten tokens on. */
static void rewind_everywhere(struct rig *r, uint32_t step)
{
    uint32_t ids[CONTEXT];
    struct err err = { 0 };
    struct session *all = begin(r);
    for (uint32_t i = 0; i < 230; i++)
        ids[i] = token(1, i);
    for (uint32_t n = 0, k; n < 200; n += k) {
        k = n % 3 ? 1 : 20;
        k = k < 200 - n ? k : 200 - n;
        EXPECT(session_add(all, ids + n, k, &err));
    }
    for (uint32_t n = 0; n <= 200; n += step) {
        struct session *s = session_fork(all, &err);
        EXPECTF(s && session_truncate(s, n, &err), "to %u: %s", n, err.msg);
        EXPECTF(as_fresh(r, s, ids, n), "to %u (kv %d, mtp %d, %u snapshots)", n,
                (int)r->o.kv_type, r->o.mtp, s->snapshots.room);
        uint32_t kept[CONTEXT], again = n > 9 + n % 40 ? n - 9 - n % 40 : 0;
        if (n % 4 == 0) {
            struct session *twice = session_fork(s, &err);
            EXPECT(twice && session_truncate(twice, again, &err));
            EXPECTF(as_fresh(r, twice, ids, again), "to %u, then %u", n, again);
            session_close(twice);
        }
        memcpy(kept, ids, n * sizeof *ids);
        for (uint32_t i = 0; i < 10; i++)
            kept[n + i] = token(2, i);
        EXPECT(session_add(s, kept + n, 10, &err));
        EXPECTF(n % 8 || as_fresh(r, s, kept, n + 10), "to %u and on", n);
        session_close(s);
    }
    EXPECT(as_fresh(r, all, ids, 200));
    session_close(all);
}

static void test_rewind_everywhere(void)
{
    static const uint32_t rooms[] = { 0, 2, 5 };
    for (int i = 0; i < 3; i++) {
        struct rig r;
        if (rig_open(&r, i == 1 ? KV_Q8_0 : KV_F16, i != 0, rooms[i]))
            rewind_everywhere(&r, i == 2 ? 2 : 7);
        model_close(&r.m);
    }
}

/* A session through many random steps; after each it is what a fresh one would be. */
struct walk {
    struct session *s;
    uint32_t ids[CONTEXT], n;
    struct rng rng;
    char path[64];                        /* a file of its own */
};

static uint32_t pick(struct walk *w, uint32_t below)
{
    return (uint32_t)(rng_u64(&w->rng) % below);
}

/* On from the file, in a session that held something else. */
static bool save_and_load(struct walk *w, struct err *err)
{
    struct session *other = session_open(w->s->m, &w->s->options, err);
    uint32_t lost[100] = { 1, 2, 3 }, a = 0, b = 0;
    bool ok = other && session_add(other, lost, 100, err) && session_save(w->s, w->path, err)
              && session_load(other, w->path, err);
    if (ok && w->n)
        ok = session_sample(w->s, &a, NULL, err) && session_sample(other, &b, NULL, err);
    EXPECT(a == b);
    session_close(w->s);
    w->s = other;
    return ok;
}

static bool walk_step(struct walk *w, struct err *err)
{
    uint32_t what = pick(w, 8), n = pick(w, what < 2 ? 3 : 60) + 1;
    if (what >= 6 || w->n + n > CONTEXT) {
        w->n = pick(w, w->n + 1);
        return session_truncate(w->s, w->n, err);
    }
    if (what == 4 && n % 4 == 0)
        return save_and_load(w, err);
    if (what == 5) {
        struct session *fork = session_fork(w->s, err);
        uint32_t lost[3] = { 1, 2, 3 };
        bool ok = fork && (w->n + 3 > CONTEXT || session_add(w->s, lost, 3, err));
        session_close(w->s);
        w->s = fork;
        return ok;
    }
    for (uint32_t i = 0; i < n; i++)
        w->ids[w->n + i] = pick(w, 101);
    w->n += n;
    return session_add(w->s, w->ids + w->n - n, n, err);
}

static void walk(struct rig *r, uint64_t seed)
{
    struct err err = { 0 };
    struct walk w = { .s = begin(r), .rng = { .seed = seed } };
    struct sampler_options o;
    sampler_options_init(&o);
    o.temperature = 1;
    snprintf(w.path, sizeof w.path, "/tmp/kexa-session-%ld", (long)getpid());
    EXPECT(w.s && session_sampling(w.s, &o, &err));
    for (int i = 0; w.s && i < 40; i++) {
        EXPECTF(walk_step(&w, &err), "step %d of walk %d: %s", i, (int)seed, err.msg);
        EXPECTF(w.s && as_fresh(r, w.s, w.ids, w.n), "step %d of walk %d, %u tokens (kv %d, mtp "
                "%d)", i, (int)seed, w.n, (int)r->o.kv_type, r->o.mtp);
        EXPECT(w.s->snapshots.n <= w.s->snapshots.room);
    }
    session_close(w.s);
    unlink(w.path);
}

static void test_walks(void)
{
    for (uint32_t i = 0; i < 8; i++) {
        struct rig r;
        if (rig_open(&r, (enum kv_type)(i % 4), i % 2, i % 3 * 2))
            walk(&r, i + 1);
        model_close(&r.m);
    }
}

/* With snapshots a far rewind evaluates little, and exactly at one nothing at all. */
static uint64_t evaluated;

static void count(void *arg, size_t done, size_t total)
{
    (void)arg;
    (void)total;
    evaluated = done;
}

static void test_snapshots_save_work(void)
{
    struct rig r;
    struct err err = { 0 };
    uint32_t ids[300];
    for (uint32_t i = 0; i < 300; i++)
        ids[i] = token(3, i);
    if (rig_open(&r, KV_F16, true, 8)) {
        r.o.snapshot_every = 60;
        struct session *s = begin(&r);
        EXPECT(session_add(s, ids, 100, &err) && session_add(s, ids + 100, 200, &err));
        s->on_progress = count;
        evaluated = 0;
        EXPECT(session_truncate(s, 100, &err) && evaluated == 0 && as_fresh(&r, s, ids, 100));
        EXPECT(session_add(s, ids + 100, 200, &err));
        evaluated = 0;
        EXPECT(session_truncate(s, 140, &err) && as_fresh(&r, s, ids, 140));
        EXPECTF(evaluated == 40, "%d tokens evaluated", (int)evaluated);
        session_close(s);
    }
    model_close(&r.m);
}

static void cancel_at(void *arg, size_t done, size_t total)
{
    struct session *s = arg;
    (void)total;
    s->cancelled = done >= 32;
}

/* Cancelled inside a prompt and inside a rewind: shorter, but whole. */
static void test_cancelled_is_whole(void)
{
    struct rig r;
    struct err err = { 0 };
    uint32_t ids[200];
    for (uint32_t i = 0; i < 200; i++)
        ids[i] = token(4, i);
    if (rig_open(&r, KV_BF16, true, 0)) {
        struct session *s = begin(&r);
        s->on_progress = cancel_at;
        s->progress_arg = s;
        EXPECT(!session_add(s, ids, 200, &err) && err.code == ERR_CANCELLED);
        EXPECT(as_fresh(&r, s, ids, 32));
        s->on_progress = NULL;
        EXPECT(session_add(s, ids + 32, 168, &err));
        s->on_progress = cancel_at;
        EXPECT(!session_truncate(s, 90, &err) && err.code == ERR_CANCELLED);
        EXPECT(as_fresh(&r, s, ids, 32));
        session_close(s);
    }
    model_close(&r.m);
}

/* Every allocation of a fork failing once leaves the source as it was and nothing behind. */
static void test_fork_without_memory(void)
{
    struct rig r;
    struct err err = { 0 };
    uint32_t ids[50] = { 7, 8, 9 };
    if (rig_open(&r, KV_F32, true, 3)) {
        struct session *s = begin(&r), *fork = NULL;
        EXPECT(session_add(s, ids, 50, &err));
        for (long nth = 0; !fork && nth < 1000; nth++) {
            long live = mem_live;
            mem_fail_after = nth;
            fork = session_fork(s, &err);
            mem_fail_after = -1;
            EXPECTF(fork || (err.code == ERR_MEMORY && mem_live == live), "allocation %ld", nth);
        }
        EXPECT(fork && as_fresh(&r, fork, ids, 50) && as_fresh(&r, s, ids, 50));
        session_close(fork);
        session_close(s);
    }
    model_close(&r.m);
}

static void test_q8_needs_heads_of_32(void)
{
    struct rig r;
    struct err err = { 0 };
    if (rig_open(&r, KV_F16, false, 0)) {
        r.o.kv_type = KV_Q8_0;
        EXPECT(!session_open(&r.m, &r.o, &err) && err.code == ERR_UNSUPPORTED);
    }
    model_close(&r.m);
}

/* A whole window set and its snapshot, from the published dimensions. */
static void test_budget_of_large_models(void)
{
    struct model m;
    struct err err = { 0 };
    struct kv_bytes kv;
    bool ok = model_open_plan(&m, tree_path("recipes/k-exaone-236b/config.json"), &err);
    EXPECTF(ok, "%s", err.msg);
    kv_count(&m.plan, KV_F16, 8192, 256, &kv);
    uint64_t each = snapshot_bytes(&m.plan, &kv, false);
    EXPECT(kv.windows == 18u << 20 && kv.wrapping == kv.windows && kv.mtp_wrapping == 0);
    EXPECT(each == kv.windows + 4u * (m.plan.vocab + m.plan.hidden) && snapshot_room(each, 0) == 8);
    kv_count(&m.plan, KV_Q8_0, 8192, 256, &kv);
    EXPECT(kv.wrapping == (18u << 20) / 64 * 34);
    kv_count(&m.plan, KV_F16, 128, 128, &kv);
    EXPECT(snapshot_bytes(&m.plan, &kv, true) == 0);
    /* EXAONE 4 32B: 48 windows of 4096 */
    EXPECT(snapshot_room(768u << 20, 0) == 1 && snapshot_room(768u << 20, 1) == 0);
    EXPECT(snapshot_room(1 << 20, 1u << 31) == SNAPSHOT_SLOTS_MAX && snapshot_room(0, 0) == 0);
    model_close(&m);
}

const struct test tests[] = {
    { "rewind to every position", test_rewind_everywhere },
    { "random walks", test_walks },
    { "snapshots save work", test_snapshots_save_work },
    { "a cancelled call leaves a whole session", test_cancelled_is_whole },
    { "fork without memory", test_fork_without_memory },
    { "the budget of large models", test_budget_of_large_models },
    { "q8_0 needs heads of a multiple of 32", test_q8_needs_heads_of_32 },
    { 0 }
};
