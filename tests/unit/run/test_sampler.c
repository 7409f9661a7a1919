#include "run/sampler.h"
#include "../../harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { V = 50 };

static void fill(float *logits, uint32_t vocab, uint64_t seed, double scale)
{
    for (uint32_t i = 0; i < vocab; i++)
        logits[i] = (float)(scale * ((double)(rng_u64_at(seed, 1, i) >> 40) * 0x1p-23 - 1));
}

static struct sampler opened(const struct sampler_options *o)
{
    struct sampler s = { 0 };
    struct err err = { 0 };
    EXPECTF(sampler_init(&s, o, V, &err), "%s", err.msg);
    return s;
}

static uint32_t chosen(struct sampler *s, struct sampler_work *w, const float *logits,
                       const uint32_t *history, size_t n)
{
    uint32_t id = UINT32_MAX;
    struct err err = { 0 };
    EXPECTF(sampler_choose(s, w, logits, history, n, &id, NULL, &err), "%s", err.msg);
    return id;
}

/* ---- an independent reference: full sort, libm, one array per step -------------------- */

struct ref_token {
    double logit, p;
    uint32_t id;
};

static int by_logit(const void *a, const void *b)
{
    const struct ref_token *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static void ref_softmax(struct ref_token *t, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += t[i].p = exp(t[i].logit - t[0].logit);
    for (size_t i = 0; i < n; i++)
        t[i].p /= sum;
}

static void ref_adjust(const struct sampler_options *o, struct ref_token *t,
                       const uint32_t *history, size_t n)
{
    for (uint32_t i = 0; i < o->n_bias; i++)
        t[o->bias[i].id].logit += o->bias[i].bias;
    for (uint32_t id = 0; id < V; id++) {
        bool recent = false;
        double count = 0;
        for (size_t i = 0; i < n; i++) {
            count += history[i] == id;
            recent = recent || (history[i] == id && i + o->repeat_last >= n);
        }
        if (recent)
            t[id].logit *= t[id].logit > 0 ? 1 / o->repeat : o->repeat;
        if (count > 0)
            t[id].logit -= count * o->frequency + o->presence;
    }
}

/* The distribution the options mean: p[V]. */
static void ref_distribution(const struct sampler_options *o, const float *logits,
                             const uint32_t *history, size_t n_history, double *p)
{
    struct ref_token t[V];
    size_t n = V, keep = 0;
    for (uint32_t i = 0; i < V; i++)
        t[i] = (struct ref_token){ logits[i], 0, i };
    ref_adjust(o, t, history, n_history);
    for (uint32_t i = 0; i < V; i++)
        t[i].logit /= o->temperature;
    qsort(t, V, sizeof *t, by_logit);
    if (o->top_k && o->top_k < n)
        n = o->top_k;
    ref_softmax(t, n);
    for (double sum = 0; keep < n && (keep == 0 || sum < o->top_p); keep++)
        sum += t[keep].p;
    n = o->top_p < 1 ? keep : n;
    for (keep = 1; keep < n && t[keep].p >= o->min_p * t[0].p;)
        keep++;
    ref_softmax(t, keep);
    for (uint32_t i = 0; i < V; i++)
        p[i] = 0;
    for (size_t i = 0; i < keep; i++)
        p[t[i].id] = t[i].p;
}

/* Pearson's chi-square of n draws against p; tokens of p = 0 must never be drawn. */
static void expect_frequencies(const struct sampler_options *o, const char *what)
{
    enum { DRAWS = 20000 };
    static const uint32_t history[] = { 3, 3, 3, 7, 9, 9, 3, 11, 12, 13, 49, 7 };
    size_t n_history = sizeof history / sizeof *history, count[V] = { 0 }, cells = 0;
    float logits[V];
    double p[V], chi = 0, rest = 0, rest_count = 0;
    struct sampler_work w;
    fill(logits, V, 5, 4);
    struct sampler s = opened(o);
    EXPECT(sampler_work_init(&w, V, NULL));
    ref_distribution(o, logits, history, n_history, p);
    for (int i = 0; i < DRAWS; i++)
        count[chosen(&s, &w, logits, history, n_history)]++;
    for (uint32_t i = 0; i < V; i++) {
        double expected = DRAWS * p[i], got = (double)count[i];
        EXPECTF(p[i] > 0 || !count[i], "%s: token %u was dropped but drawn", what, i);
        if (expected < 5) {
            rest += expected;
            rest_count += got;
            continue;
        }
        chi += (got - expected) * (got - expected) / expected;
        cells++;
    }
    if (rest >= 5) {
        chi += (rest_count - rest) * (rest_count - rest) / rest;
        cells++;
    }
    double free_cells = (double)cells - 1, limit = free_cells + 5 * sqrt(2 * free_cells) + 5;
    EXPECTF(chi < limit, "%s: chi-square %g with %g degrees of freedom", what, chi, free_cells);
    sampler_work_release(&w);
}

static void test_frequencies(void)
{
    struct sampler_options o;
    sampler_options_init(&o);
    o.temperature = 1;
    o.seed = 42;
    expect_frequencies(&o, "plain");
    o.temperature = 0.7;
    expect_frequencies(&o, "temperature 0.7");
    o.top_k = 8;
    expect_frequencies(&o, "top_k");
    o.top_p = 0.8;
    expect_frequencies(&o, "top_k, top_p");
    o.top_k = 0;
    expect_frequencies(&o, "top_p");
    o.min_p = 0.2;
    expect_frequencies(&o, "top_p, min_p");
    o.top_p = 1;
    expect_frequencies(&o, "min_p");
    o.presence = 0.5;
    o.frequency = 0.4;
    o.repeat = 1.3;
    o.repeat_last = 4;
    o.n_bias = 2;
    o.bias[0] = (struct sampler_bias){ 3, 2.5f };
    o.bias[1] = (struct sampler_bias){ 20, -INFINITY };
    expect_frequencies(&o, "everything but top_k, top_p");
    o.top_k = 20;
    o.top_p = 0.95;
    o.min_p = 0.01;
    o.temperature = 1.5;
    expect_frequencies(&o, "everything");
}

/* The negative control of the test above: other options' draws must not fit. */
static void test_penalties_matter(void)
{
    struct sampler_options o;
    float logits[V];
    double plain[V], penalised[V], distance = 0;
    uint32_t history[] = { 1, 2, 2 };
    fill(logits, V, 5, 4);
    sampler_options_init(&o);
    o.temperature = 1;
    ref_distribution(&o, logits, history, 3, plain);
    o.frequency = 3;
    ref_distribution(&o, logits, history, 3, penalised);
    for (int i = 0; i < V; i++)
        distance += fabs(plain[i] - penalised[i]);
    EXPECT(distance > 1e-3);
}

static void test_greedy_limits(void)
{
    struct sampler_work w;
    EXPECT(sampler_work_init(&w, V, NULL));
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sampler_options o, cold;
        float logits[V];
        fill(logits, V, seed, 1);
        if (seed % 3 == 0)
            logits[11] = logits[33] = 2;              /* a tie: the lower id wins */
        sampler_options_init(&o);
        o.seed = seed;
        struct sampler greedy = opened(&o);
        uint32_t best = chosen(&greedy, &w, logits, NULL, 0);
        EXPECT(greedy.rng.at == 0);
        EXPECT(seed % 3 || best == 11);
        for (uint32_t i = 0; i < V; i++)
            EXPECT(logits[i] < logits[best] || (logits[i] == logits[best] && i >= best));
        o.temperature = 2;
        cold = o;
        cold.temperature = 1e-30;
        struct sampler_options top_k = o, top_p = o, min_p = o;
        top_k.top_k = 1;
        top_p.top_p = seed % 2 ? 0 : 1e-9;
        min_p.min_p = 1;
        struct sampler s[] = { opened(&top_k), opened(&top_p) };
        for (int i = 0; i < 2; i++)
            EXPECT(chosen(&s[i], &w, logits, NULL, 0) == best);
        struct sampler tied[] = { opened(&min_p), opened(&cold) };   /* ties stay in these */
        for (int i = 0; i < 2; i++)
            EXPECT(logits[chosen(&tied[i], &w, logits, NULL, 0)] == logits[best]);
    }
    sampler_work_release(&w);
}

static void test_state_is_plain(void)
{
    struct sampler_options o;
    struct sampler_work w, w2;
    float logits[V];
    sampler_options_init(&o);
    o.temperature = 1;
    o.top_p = 0.9;
    o.presence = 1;
    o.seed = 7;
    EXPECT(sampler_work_init(&w, V, NULL) && sampler_work_init(&w2, V, NULL));
    struct sampler a = opened(&o), fork = { 0 };
    uint32_t history[40];
    for (uint32_t i = 0; i < 40; i++) {
        fill(logits, V, i, 3);
        if (i == 20)
            memcpy(&fork, &a, sizeof fork);
        history[i] = chosen(&a, &w, logits, history, i);
        EXPECT(i < 20 || chosen(&fork, &w2, logits, history, i) == history[i]);
    }
    struct sampler again = opened(&o);
    for (uint32_t i = 0; i < 40; i++) {
        fill(logits, V, i, 3);
        EXPECT(chosen(&again, &w2, logits, history, i) == history[i]);
    }
    for (uint32_t i = 0; i < V; i++)
        EXPECT(w.count[i] == 0);
    sampler_work_release(&w);
    sampler_work_release(&w2);
}

/* Fixed ids: they must come out on every machine, compiler and optimisation level. */
static void test_same_everywhere(void)
{
    static const uint32_t expected[] = { 18, 41, 25, 24, 6, 28, 18, 19 };
    struct sampler_options o;
    struct sampler_work w;
    float logits[V];
    sampler_options_init(&o);
    o.temperature = 0.9;
    o.top_k = 30;
    o.top_p = 0.97;
    o.seed = 20261121;
    struct sampler s = opened(&o);
    EXPECT(sampler_work_init(&w, V, NULL));
    for (uint32_t i = 0; i < 8; i++) {
        fill(logits, V, i, 3);
        uint32_t id = chosen(&s, &w, logits, NULL, 0);
        EXPECTF(id == expected[i], "draw %u is %u, expected %u", i, id, expected[i]);
    }
    sampler_work_release(&w);
}

static void test_logprob(void)
{
    float logits[V];
    struct sampler_options o;
    struct sampler_work w;
    sampler_options_init(&o);
    o.n_bias = 1;
    o.bias[0] = (struct sampler_bias){ 8, 2000 };       /* must not touch the logprob */
    struct sampler s = opened(&o);
    EXPECT(sampler_work_init(&w, V, NULL));
    for (uint64_t seed = 0; seed < 50; seed++) {
        double sum = 0, got = 1, alone = 2, total = 0;
        uint32_t id = 0;
        fill(logits, V, seed, seed < 25 ? 10 : 500);
        for (int i = 0; i < V; i++)
            sum += exp((double)logits[i] - 8);
        EXPECT(sampler_choose(&s, &w, logits, NULL, 0, &id, &got, NULL));
        double want = (double)logits[8] - 8 - log(sum);
        EXPECT(id == 8);
        EXPECTF(fabs(got - want) <= 1e-13 * (1 + fabs(want)), "%.17g, not %.17g", got, want);
        EXPECT(sampler_logprob(logits, V, 8, &alone, NULL) && alone == got);
        for (uint32_t i = 0; i < V; i++) {
            EXPECT(sampler_logprob(logits, V, i, &alone, NULL));
            total += exp(alone);
        }
        EXPECT(fabs(total - 1) < 1e-12);
    }
    logits[3] = -INFINITY;
    double none = 0;
    EXPECT(sampler_logprob(logits, V, 3, &none, NULL) && none == -INFINITY);
    EXPECT(!sampler_logprob(logits, V, V, &none, NULL));
    sampler_work_release(&w);
}

static void test_exp_and_log(void)
{
    EXPECT(sampler_exp(0) == 1 && sampler_exp(-0.0) == 1 && sampler_exp(-INFINITY) == 0);
    EXPECT(sampler_log(1) == 0);
    for (uint64_t i = 0; i < 100000; i++) {
        double x = -(double)(rng_u64_at(1, 2, i) >> 11) * 0x1p-53 * (i % 2 ? 700 : 2);
        double e = exp(x), got = sampler_exp(x);
        EXPECTF(fabs(got - e) <= 4.5e-16 * e, "exp(%.17g) = %.17g, not %.17g", x, got, e);
        double y = (double)(rng_u64_at(3, 4, i) >> 11) * 0x1p-53 * (i % 2 ? 1e6 : 2) + 0x1p-60;
        double l = log(y), got_log = sampler_log(y);
        EXPECTF(fabs(got_log - l) <= 4.5e-16 * fabs(l), "log(%.17g) = %.17g, not %.17g", y,
                got_log, l);
    }
}

static void expect_error(const float *logits, const struct sampler_options *o, const char *part)
{
    struct sampler_work w;
    struct sampler s = opened(o);
    struct err err = { 0 };
    uint32_t id = 77;
    EXPECT(sampler_work_init(&w, V, NULL));
    EXPECT(!sampler_choose(&s, &w, logits, NULL, 0, &id, NULL, &err));
    EXPECT(id == 77);
    EXPECTF(strstr(err.msg, part), "\"%s\" does not say \"%s\"", err.msg, part);
    sampler_work_release(&w);
}

static void test_bad_logits(void)
{
    float logits[V];
    struct sampler_options o;
    struct sampler_work w;
    sampler_options_init(&o);
    fill(logits, V, 1, 1);
    logits[17] = NAN;
    expect_error(logits, &o, "token 17 is");
    logits[17] = INFINITY;
    expect_error(logits, &o, "token 17 is inf");
    for (int i = 0; i < V; i++)
        logits[i] = -INFINITY;
    expect_error(logits, &o, "no token to choose");
    logits[5] = -3;
    o.n_bias = 1;
    o.bias[0] = (struct sampler_bias){ 5, -INFINITY };
    expect_error(logits, &o, "ban fewer");
    o.n_bias = 0;
    o.temperature = 1;
    o.repeat = 2;
    EXPECT(sampler_work_init(&w, V, NULL));
    uint32_t history[] = { 1, 5, 4000000000u };        /* unknown ids do no harm */
    for (uint64_t seed = 0; seed < 100; seed++) {
        o.seed = seed;
        o.top_p = seed % 2 ? 1 : 0.5;
        struct sampler s = opened(&o);
        EXPECT(chosen(&s, &w, logits, history, 3) == 5);
    }
    sampler_work_release(&w);
}

static void expect_refused(struct sampler_options o, const char *part)
{
    struct sampler s = { .rng.at = 9 };
    struct err err = { 0 };
    EXPECT(!sampler_init(&s, &o, V, &err));
    EXPECT(s.rng.at == 9);
    EXPECTF(strstr(err.msg, part), "\"%s\" does not say \"%s\"", err.msg, part);
}

static void test_bad_options(void)
{
    struct sampler_options ok;
    sampler_options_init(&ok);
#define REFUSED(change, part) do { \
        struct sampler_options o = ok; \
        o.change; \
        expect_refused(o, part); \
    } while (0)
    REFUSED(temperature = -0.1, "temperature is -0.1");
    REFUSED(temperature = NAN, "temperature");
    REFUSED(temperature = INFINITY, "temperature is inf");
    REFUSED(top_p = 1.5, "top_p is 1.5, but must be from 0 to 1");
    REFUSED(min_p = -1, "min_p");
    REFUSED(presence = NAN, "presence");
    REFUSED(frequency = 1e9, "frequency");
    REFUSED(repeat = 0, "repeat");
    REFUSED(n_bias = SAMPLER_MAX_BIAS + 1, "301");
    REFUSED(n_bias = 1; o.bias[0].id = V, "tokens are 0 to 49");
    REFUSED(n_bias = 1; o.bias[0].bias = INFINITY, "token 0 is inf");
    REFUSED(n_bias = 1; o.bias[0].bias = NAN, "must be a number or -inf");
}

static void test_no_memory(void)
{
    for (long k = 0; k < 2; k++) {
        struct sampler_work w;
        struct err err = { 0 };
        long live = mem_live;
        mem_fail_after = k;
        EXPECT(!sampler_work_init(&w, V, &err));
        mem_fail_after = -1;
        EXPECT(err.code == ERR_MEMORY && mem_live == live);
    }
}

const struct test tests[] = {
    { "frequencies", test_frequencies },
    { "penalties_matter", test_penalties_matter },
    { "greedy_limits", test_greedy_limits },
    { "state_is_plain", test_state_is_plain },
    { "same_everywhere", test_same_everywhere },
    { "logprob", test_logprob },
    { "exp_and_log", test_exp_and_log },
    { "bad_logits", test_bad_logits },
    { "bad_options", test_bad_options },
    { "no_memory", test_no_memory },
    { 0 }
};
