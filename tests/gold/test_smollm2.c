/*
 * SmolLM2 on real text against transformers' float32 logits (tests/gold/smollm2): for the
 * first positions of a novel the fixture has the top 32 ids with their log-probabilities.
 * KL is taken over those 32 and "any other"; the figures over all 4,096 positions and the
 * whole vocabulary are in bench/RESULTS.md.  Bounds: f32 activations mean KL <= 1e-5 and
 * top-1 >= 99.9 %; int8 activations no worse than 1.1 times llama.cpp on the same file
 * (2.043e-3 from this fixture alone).
 */
#include "../harness.h"
#include "run/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { POSITIONS = 512, F32_POSITIONS = 256, TOP = 32 };

struct fixture {
    struct npy tokens, ids, logprobs;
};

static const char *model_path(void)
{
    static char path[4096];
    const char *named = getenv("KEXA_MODEL"), *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME"), *file = "SmolLM2-135M-Instruct.Q4_1.gguf";
    if (named && *named)
        return named;
    if (cache && *cache)
        snprintf(path, sizeof path, "%s/kexa/%s", cache, file);
    else
        snprintf(path, sizeof path, "%s/.cache/kexa/%s", home ? home : "", file);
    return path;
}

static bool fixture_open(struct fixture *f, struct err *err)
{
    return npy_open(&f->tokens, tree_path("tests/gold/smollm2/tokens.npy"), err)
           && npy_open(&f->ids, tree_path("tests/gold/smollm2/top_ids.npy"), err)
           && npy_open(&f->logprobs, tree_path("tests/gold/smollm2/top_logprobs.npy"), err);
}

static uint32_t id_at(const struct npy *a, size_t i)
{
    uint32_t wide;
    uint16_t narrow;
    if (a->dtype[1] == '2') {
        memcpy(&narrow, a->data + i * 2, 2);
        return narrow;
    }
    memcpy(&wide, a->data + i * 4, 4);
    return wide;
}

static double log_sum_exp(const float *x, size_t n)
{
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    for (size_t i = 0; i < n; i++)
        sum += exp(x[i] - most);
    return most + log(sum);
}

/* KL(reference || row) over the top 32 and the rest; *same: top-1 agrees. */
static double kl_at(const struct fixture *f, size_t pos, const float *row, size_t vocab,
                    bool *same)
{
    double lse = log_sum_exp(row, vocab), kl = 0, p_rest = 1, q_rest = 1;
    size_t best = 0;
    for (size_t i = 1; i < vocab; i++)
        best = row[i] > row[best] ? i : best;
    *same = best == id_at(&f->ids, pos * TOP);
    for (size_t k = 0; k < TOP; k++) {
        float lp;
        memcpy(&lp, f->logprobs.data + (pos * TOP + k) * 4, 4);
        double p = exp((double)lp), lq = row[id_at(&f->ids, pos * TOP + k)] - lse;
        kl += p * (lp - lq);
        p_rest -= p;
        q_rest -= exp(lq);
    }
    if (p_rest > 1e-7 && q_rest > 1e-7)
        kl += p_rest * log(p_rest / q_rest);
    return kl;
}

static bool measure(const struct fixture *f, struct model *m, size_t n, enum kv_type kv_type,
                    double *mean_kl, double *top1, struct err *err)
{
    struct session_options o = { (uint32_t)n, 64, kv_type, false };
    size_t vocab = m->plan.vocab, agree = 0;
    struct session *s = session_open(m, &o, err);
    struct feed feed = { .s = s, .ids = (const uint32_t *)(const void *)f->tokens.data, .n = n,
                         .logits = mem_take(n * vocab, sizeof(float)) };
    bool ok = s && feed.logits && session_add_many(&feed, 1, err);
    *mean_kl = 0;
    for (size_t i = 0; ok && i < n; i++) {
        bool same = false;
        *mean_kl += kl_at(f, i, feed.logits + i * vocab, vocab, &same) / (double)n;
        agree += same;
    }
    *top1 = (double)agree / (double)n;
    mem_give(feed.logits);
    session_close(s);
    return ok;
}

static void check_class(enum model_numerics numerics, enum kv_type kv_type, size_t n,
                        double kl_bound, double top1_bound)
{
    struct fixture f = { 0 };
    struct err err = { 0 };
    struct model m = { 0 };
    double kl = NAN, top1 = 0;
    if (!file_exists(model_path())) {
        test_skip("no SmolLM2 file ($KEXA_MODEL)");
        return;
    }
    bool ok = fixture_open(&f, &err) && model_open_plan(&m, model_path(), &err)
              && model_bind(&m, 2, numerics, &err)
              && measure(&f, &m, n, kv_type, &kl, &top1, &err);
    EXPECTF(ok, "%s", err.msg);
    printf("  %s activations, %zu positions: mean KL %.3g, top-1 %.2f %%\n",
           numerics == NUMERICS_F32 ? "f32" : "int8", n, kl, 100 * top1);
    EXPECTF(kl <= kl_bound && kl > -1e-7, "mean KL %.3g, bound %.3g", kl, kl_bound);
    EXPECTF(top1 >= top1_bound, "top-1 %.4f, bound %.4f", top1, top1_bound);
    model_close(&m);
    npy_close(&f.tokens);
    npy_close(&f.ids);
    npy_close(&f.logprobs);
}

static void test_f32(void)
{
    check_class(NUMERICS_F32, KV_F32, F32_POSITIONS, 1e-5, 0.999);
}

static void test_native(void)
{
    check_class(NUMERICS_NATIVE, KV_F16, POSITIONS, 1.1 * 2.043e-3, 0.93);
}

const struct test tests[] = {
    { "f32 activations", test_f32 },
    { "int8 activations", test_native },
    { 0 }
};
