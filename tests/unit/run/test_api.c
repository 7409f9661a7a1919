/*
 * kexa.h as a program uses it: opening survives every allocation failing, sessions refuse
 * what they cannot hold and stay usable, cancelling keeps whole chunks, the same seed gives
 * the same text.  The model is the tiny exaone_moe with its GGUF tokenizer.
 */
#include "../../harness.h"
#include "base/base.h"
#include "kexa.h"

#include <math.h>
#include <stdio.h>

static const char *model_path(void)
{
    return tree_path("tests/gold/exaone_moe/lllg/model.gguf");
}

static struct kexa_model *open_model(void)
{
    struct kexa_error e = { 0 };
    struct kexa_model_options o;
    kexa_model_options_init(&o);
    o.threads = 1;
    struct kexa_model *m = kexa_model_open(model_path(), &o, &e);
    EXPECTF(m, "%s", e.message);
    return m;
}

/* Model, session, a few tokens, a sample: whatever fails, nothing may stay behind. */
static bool whole_life(struct kexa_error *e)
{
    struct kexa_model_options o;
    uint32_t id;
    kexa_model_options_init(&o);
    o.threads = 1;
    struct kexa_model *m = kexa_model_open(model_path(), &o, e);
    struct kexa_session *s = m ? kexa_session_open(m, NULL, e) : NULL;
    bool ok = s && kexa_session_add_text(s, "abc abc", KEXA_ADD_SPECIAL, e)
              && kexa_session_next(s, &id, e);
    kexa_session_close(s);
    kexa_model_close(m);
    return ok;
}

static void test_every_allocation_fails_once(void)
{
    long live = mem_live, nth = 0;
    long went_on = 0;                     /* without a cache: slower, and right */
    for (bool hit = true; hit && nth < 20000; nth++) {
        struct kexa_error e = { 0 };
        mem_fail_after = nth;
        bool ok = whole_life(&e);
        hit = mem_fail_after < 0;
        mem_fail_after = -1;
        went_on += ok && hit;
        EXPECTF(ok || hit, "allocation %ld: %s", nth, e.message);
        EXPECTF(ok || (e.message[0] && e.exit_status == 7), "allocation %ld: status %d, \"%s\"",
                nth, e.exit_status, e.message);
        EXPECTF(mem_live == live, "allocation %ld leaves %ld blocks", nth, mem_live - live);
    }
    EXPECT(nth > 30 && went_on <= 4);
}

static void test_refusals_leave_the_session_usable(void)
{
    struct kexa_error e;
    struct kexa_model *m = open_model();
    struct kexa_session_options o;
    kexa_session_options_init(&o);
    o.context = 16;
    struct kexa_session *s = kexa_session_open(m, &o, &e);
    uint32_t ids[20] = { 1, 2, 3, 4, 5 }, bad = 5000, next;
    EXPECT(kexa_session_logits(s) == NULL);
    EXPECT(!kexa_session_sample(s, &next, NULL, &e));
    EXPECT(!kexa_session_add(s, &bad, 1, &e) && e.exit_status == 2);
    EXPECT(kexa_session_add(s, ids, 5, &e) && kexa_session_position(s) == 5);
    EXPECT(!kexa_session_add(s, ids, 12, &e) && e.exit_status == 6);
    EXPECT(kexa_session_position(s) == 5 && kexa_session_logits(s));
    EXPECT(kexa_session_add(s, ids, 11, &e) && kexa_session_position(s) == 16);
    EXPECT(!kexa_session_next(s, &next, &e));
    EXPECT(kexa_session_truncate(s, 0, &e) && kexa_session_logits(s) == NULL);
    kexa_session_close(s);
    o.context = 100000;
    EXPECT(!kexa_session_open(m, &o, &e) && e.exit_status == 6);
    kexa_model_close(m);
}

static void cancel_now(void *arg, size_t done, size_t total)
{
    (void)total;
    if (done >= 8)
        kexa_session_cancel(arg);
}

static void test_cancel_keeps_chunks(void)
{
    struct kexa_error e;
    struct kexa_model *m = open_model();
    struct kexa_session_options o;
    kexa_session_options_init(&o);
    o.chunk = 4;
    struct kexa_session *s = kexa_session_open(m, &o, &e);
    uint32_t ids[40];
    for (uint32_t i = 0; i < 40; i++)
        ids[i] = i + 3;
    kexa_session_on_progress(s, cancel_now, s);
    EXPECT(!kexa_session_add(s, ids, 40, &e) && e.exit_status == 8);
    EXPECT(kexa_session_position(s) == 8);
    kexa_session_on_progress(s, NULL, NULL);
    EXPECT(kexa_session_add(s, ids + 8, 32, &e) && kexa_session_position(s) == 40);
    kexa_session_close(s);
    kexa_model_close(m);
}

static void generate(struct kexa_model *m, uint64_t seed, uint32_t *out, size_t n)
{
    struct kexa_error e;
    struct kexa_sampling p;
    struct kexa_session *s = kexa_session_open(m, NULL, &e);
    kexa_sampling_init(&p);
    p.temperature = 1.2f;
    p.seed = seed;
    EXPECT(kexa_session_sampling(s, &p, &e) && kexa_session_add_text(s, "hello", 0, &e));
    for (size_t i = 0; i < n; i++)
        EXPECT(kexa_session_next(s, &out[i], &e));
    kexa_session_close(s);
}

static void test_seed_repeats(void)
{
    struct kexa_model *m = open_model();
    uint32_t a[24], b[24], c[24];
    generate(m, 11, a, 24);
    generate(m, 11, b, 24);
    generate(m, 12, c, 24);
    EXPECT(!memcmp(a, b, sizeof a));
    EXPECT(memcmp(a, c, sizeof a));
    kexa_model_close(m);
}

static bool same_end(const struct kexa_session *a, const struct kexa_session *b, uint32_t vocab)
{
    uint32_t n = kexa_session_position(a);
    return n == kexa_session_position(b)
           && !memcmp(kexa_session_tokens(a), kexa_session_tokens(b), n * sizeof n)
           && !memcmp(kexa_session_logits(a), kexa_session_logits(b), vocab * sizeof(float));
}

/* Forked, saved and loaded, and rewound far: all go on alike, the random numbers too. */
static void test_fork_save_rewind(void)
{
    struct kexa_error e = { 0 };
    struct kexa_sampling p;
    struct kexa_model *m = open_model();
    struct kexa_session *s = kexa_session_open(m, NULL, &e), *loaded, *fork;
    struct kexa_model_info info;
    uint32_t ids[300], a, b, c;
    const char *path = "/tmp/kexa-test-api.session";
    kexa_model_info(m, &info);
    for (uint32_t i = 0; i < 300; i++)
        ids[i] = i * 7 % info.vocab;
    kexa_sampling_init(&p);
    p.temperature = 1;
    p.seed = 3;
    loaded = kexa_session_open(m, NULL, &e);
    EXPECT(kexa_session_sampling(s, &p, &e) && kexa_session_add(s, ids, 300, &e));
    EXPECT(kexa_session_next(s, &a, &e) && (fork = kexa_session_fork(s, &e)) != NULL);
    EXPECTF(kexa_session_save(s, path, &e) && kexa_session_load(loaded, path, &e), "%s", e.message);
    for (int i = 0; i < 8; i++) {
        EXPECT(kexa_session_next(s, &a, &e) && kexa_session_next(fork, &b, &e));
        EXPECT(kexa_session_next(loaded, &c, &e) && a == b && a == c);
    }
    EXPECT(same_end(s, fork, info.vocab) && same_end(s, loaded, info.vocab));
    kexa_session_close(fork);
    fork = kexa_session_open(m, NULL, &e);
    EXPECT(kexa_session_truncate(s, 20, &e) && kexa_session_add(fork, ids, 20, &e));
    EXPECT(same_end(s, fork, info.vocab));
    EXPECT(!kexa_session_load(s, "/nowhere/x", &e) && e.exit_status == 3);
    EXPECT(!kexa_session_truncate(s, 21, &e) && kexa_session_position(s) == 20);
    remove(path);
    kexa_session_close(s);
    kexa_session_close(fork);
    kexa_session_close(loaded);
    kexa_model_close(m);
}

static void test_memory_plan_refuses(void)
{
    struct kexa_error e;
    struct kexa_session_options so;
    struct kexa_model_options o;
    struct kexa_model *m;
    kexa_model_options_init(&o);
    kexa_session_options_init(&so);
    o.threads = -1;
    EXPECT(!kexa_model_open(model_path(), &o, &e) && e.exit_status == 2);
    o.threads = 1;
    so.chunk = 1u << 31;
    so.context = 1u << 31;
    o.session = &so;
    m = kexa_model_open(model_path(), &o, &e);
    EXPECTF(!m && e.exit_status == 7, "a session of 2^31 tokens in steps of 2^31 fits?");
    kexa_model_close(m);
}

static void test_logprob_is_of_the_raw_logits(void)
{
    struct kexa_error e;
    struct kexa_model *m = open_model();
    struct kexa_session *s = kexa_session_open(m, NULL, &e);
    struct kexa_model_info info;
    uint32_t id;
    float logprob;
    kexa_model_info(m, &info);
    EXPECT(kexa_session_add_text(s, "hello", 0, &e) && kexa_session_sample(s, &id, &logprob, &e));
    const float *x = kexa_session_logits(s);
    double sum = 0;
    for (uint32_t i = 0; i < info.vocab; i++)
        sum += exp((double)x[i] - x[id]);
    EXPECTF(fabs(logprob + log(sum)) < 1e-5, "logprob %g, expected %g", (double)logprob, -log(sum));
    kexa_session_close(s);
    kexa_model_close(m);
}

const struct test tests[] = {
    { "every allocation fails once", test_every_allocation_fails_once },
    { "refusals leave the session usable", test_refusals_leave_the_session_usable },
    { "cancel keeps chunks", test_cancel_keeps_chunks },
    { "the same seed, the same text", test_seed_repeats },
    { "fork, save, rewind", test_fork_save_rewind },
    { "the memory plan refuses", test_memory_plan_refuses },
    { "logprob is of the raw logits", test_logprob_is_of_the_raw_logits },
    { 0 }
};
