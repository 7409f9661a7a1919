/*
 * kexa.h in the hands of a careless program: the same session twice in one call, NULL where
 * something is needed, cutting to more than is there, cancelling from other threads.  And the
 * promise that nothing is allocated while an answer runs.
 */
#include "../../harness.h"
#include "base/base.h"
#include "kexa.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

static const char *model_path(void)
{
    return tree_path("tests/gold/exaone_moe/lllg/model.gguf");
}

static struct kexa_model *open_path(const char *path, int n_threads)
{
    struct kexa_error e = { 0 };
    struct kexa_model_options o;
    kexa_model_options_init(&o);
    o.threads = n_threads;
    struct kexa_model *m = kexa_model_open(path, &o, &e);
    EXPECTF(m, "%s", e.message);
    return m;
}

static struct kexa_model *open_model(int n_threads)
{
    return open_path(model_path(), n_threads);
}

static struct kexa_session *open_session(struct kexa_model *m, uint32_t chunk, bool mtp)
{
    struct kexa_error e;
    struct kexa_session_options o;
    kexa_session_options_init(&o);
    o.chunk = chunk;
    o.mtp = mtp;
    struct kexa_session *s = kexa_session_open(m, &o, &e);
    EXPECTF(s, "%s", e.message);
    return s;
}

static void test_add_many_refuses(void)
{
    struct kexa_error e;
    struct kexa_model *m = open_model(1), *other = open_model(1);
    struct kexa_session *a = open_session(m, 4, false), *b = open_session(m, 4, false);
    struct kexa_session *c = open_session(other, 4, false);
    uint32_t ids[6] = { 5, 6, 7, 8, 9, 10 };
    struct kexa_feed twice[3] = { { a, ids, 6 }, { b, ids, 3 }, { a, ids, 1 } };
    EXPECT(!kexa_add_many(twice, 3, &e) && e.exit_status == 2);
    EXPECTF(!kexa_session_position(a) && !kexa_session_position(b), "something was evaluated");
    struct kexa_feed two_models[2] = { { a, ids, 6 }, { c, ids, 3 } };
    EXPECT(!kexa_add_many(two_models, 2, &e) && e.exit_status == 2);
    struct kexa_feed nothing[2] = { { a, ids, 1 }, { NULL, ids, 3 } };
    EXPECT(!kexa_add_many(nothing, 2, &e) && e.exit_status == 2);
    EXPECT(kexa_add_many(NULL, 0, &e));
    struct kexa_feed uneven[2] = { { a, NULL, 0 }, { b, ids, 6 } };
    EXPECT(kexa_add_many(uneven, 2, &e));
    EXPECT(kexa_session_position(a) == 0 && kexa_session_position(b) == 6);
    EXPECT(!kexa_session_add(a, NULL, 3, &e) && e.exit_status == 2);
    EXPECT(kexa_session_add(a, NULL, 0, NULL));
    EXPECT(!kexa_session_truncate(b, 7, &e) && e.exit_status == 2);
    EXPECT(kexa_session_truncate(b, 6, NULL) && kexa_session_position(b) == 6);
    kexa_session_close(NULL);
    kexa_session_close(b);
    kexa_session_close(a);
    kexa_session_close(c);
    kexa_model_close(other);
    kexa_model_close(m);
}

/* mem_fail_after stays as it was set: nobody has asked for memory. */
static void answers_allocate_nothing(bool mtp)
{
    struct kexa_error e = { 0 };
    struct kexa_sampling p;
    struct kexa_model *m = open_model(2);
    struct kexa_session *s[2] = { open_session(m, 16, mtp), open_session(m, 4, mtp) };
    kexa_sampling_init(&p);
    p.temperature = 1;
    p.top_k = 20;
    p.top_p = 0.9f;
    p.repeat = 1.1f;
    for (int i = 0; i < 2; i++)
        EXPECT(kexa_session_sampling(s[i], &p, &e) && kexa_session_add_text(s[i], "abc", 0, &e));
    uint32_t id[2] = { 3, 4 }, next;
    struct kexa_feed feeds[2] = { { s[0], &id[0], 1 }, { s[1], &id[1], 1 } };
    EXPECT(kexa_add_many(feeds, 2, &e));
    mem_fail_after = 0;
    for (int i = 0; i < 100; i++)
        EXPECTF(kexa_session_next(s[0], &next, &e), "%s", e.message);
    for (int i = 0; i < 20; i++)
        EXPECTF(kexa_add_many(feeds, 2, &e), "%s", e.message);
    EXPECTF(kexa_session_truncate(s[0], 60, &e), "%s", e.message);
    EXPECTF(mem_fail_after == 0, "memory was taken while an answer ran");
    mem_fail_after = -1;
    kexa_session_close(s[0]);
    kexa_session_close(s[1]);
    kexa_model_close(m);
}

static void test_answers_allocate_nothing(void)
{
    answers_allocate_nothing(false);
    answers_allocate_nothing(true);
}

struct canceller {
    struct kexa_session *s;
    atomic_int stop;
};

static void *cancel_on_and_on(void *arg)
{
    struct canceller *c = arg;
    while (!c->stop) {
        kexa_session_cancel(c->s);
        sched_yield();
    }
    return NULL;
}

/* However often a call is stopped, the rest can be added, and the end is the same. */
static void test_cancelled_by_another_thread(void)
{
    enum { N = 100 };
    struct kexa_error e;
    struct kexa_model *m = open_model(2);
    struct kexa_session *s = open_session(m, 4, false), *alone = open_session(m, 16, false);
    struct canceller c = { .s = s };
    struct kexa_model_info info;
    pthread_t thread;
    uint32_t ids[N];
    for (uint32_t i = 0; i < N; i++)
        ids[i] = 3 + i % 90;
    EXPECT(pthread_create(&thread, NULL, cancel_on_and_on, &c) == 0);
    for (uint32_t at = 0; (at = kexa_session_position(s)) < N;) {
        bool ok = kexa_session_add(s, ids + at, N - at < 20 ? N - at : 20, &e);
        EXPECTF(ok || e.exit_status == 8, "%s", e.message);
        if (!ok && e.exit_status != 8)
            break;
    }
    c.stop = 1;
    pthread_join(thread, NULL);
    kexa_model_info(m, &info);
    EXPECT(kexa_session_add(alone, ids, N, &e));
    EXPECT(!memcmp(kexa_session_logits(s), kexa_session_logits(alone),
                   info.vocab * sizeof(float)));
    kexa_session_close(s);
    kexa_session_close(alone);
    kexa_model_close(m);
}

struct life {
    const char *path;
    bool ok;
};

static void *whole_life(void *arg)
{
    struct life *life = arg;
    struct kexa_error e;
    struct kexa_model *m = open_path(life->path, 2);
    struct kexa_session *s = open_session(m, 16, true);
    bool ok = kexa_session_add_text(s, "abc abc", KEXA_ADD_SPECIAL, &e);
    for (uint32_t i = 0, id; ok && i < 20; i++)
        ok = kexa_session_next(s, &id, &e);
    kexa_session_close(s);
    kexa_model_close(m);
    life->ok = ok;
    return NULL;
}

static void test_two_models_in_two_threads(void)
{
    pthread_t thread[2];
    struct life life[2] = { { model_path(), false }, { model_path(), false } };
    for (int i = 0; i < 2; i++)
        EXPECT(pthread_create(&thread[i], NULL, whole_life, &life[i]) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    EXPECT(life[0].ok && life[1].ok);
}

const struct test tests[] = {
    { "add_many refuses what cannot be", test_add_many_refuses },
    { "nothing is allocated while an answer runs", test_answers_allocate_nothing },
    { "cancelled by another thread", test_cancelled_by_another_thread },
    { "two models in two threads", test_two_models_in_two_threads },
    { 0 }
};
