/*
 * The tiny models of tests/gold/<family>/ against the logits transformers computed
 * in float64 on exactly these weights (tools/reference/README.md), in the f32 class: Hugging
 * Face folder and GGUF twin, all positions, several chunk sizes; the MTP block against an
 * independent float64 implementation; and controls that must fail by a factor of ten.
 */
#include "../harness.h"
#include "model/model.h"

#include <math.h>
#include <stdio.h>

enum { POSITIONS_MAX = 512 };
static const double TOLERANCE = 2e-4;

struct gold {
    struct model m;
    struct npy tokens, logits;
    const float *want;
    const uint32_t *ids;
    size_t n, vocab;
    float *got;                           /* [n][vocab] */
    float *hidden;                        /* [n][hidden] */
};

static bool gold_open(struct gold *g, const char *folder, const char *file)
{
    struct err err = { 0 };
    char path[1200];
    *g = (struct gold){ 0 };
    snprintf(path, sizeof path, "%s%s", tree_path(folder), file);
    bool ok = model_open_plan(&g->m, path, &err) && model_bind(&g->m, 2, NUMERICS_NATIVE, &err);
    snprintf(path, sizeof path, "%s/tokens.npy", tree_path(folder));
    ok = ok && npy_open(&g->tokens, path, &err);
    snprintf(path, sizeof path, "%s/logits.npy", tree_path(folder));
    ok = ok && npy_open(&g->logits, path, &err);
    EXPECTF(ok, "%s%s: %s", folder, file, err.msg);
    if (!ok)
        return false;
    g->n = g->tokens.shape[0];
    g->vocab = g->m.plan.vocab;
    g->ids = (const uint32_t *)(const void *)g->tokens.data;
    g->want = (const float *)(const void *)g->logits.data;
    g->got = mem_take(g->n * g->vocab, sizeof(float));
    g->hidden = mem_take(g->n * g->m.plan.hidden, sizeof(float));
    EXPECT(g->logits.shape[0] == g->n && g->logits.shape[1] == g->vocab);
    return g->got && g->hidden && workspace_reserve(&g->m.ws, &g->m.plan, 512, 2, &err);
}

static void gold_close(struct gold *g)
{
    npy_close(&g->tokens);
    npy_close(&g->logits);
    mem_give(g->got);
    mem_give(g->hidden);
    model_close(&g->m);
}

/* All positions in steps of `chunk` tokens into g->got; MTP too when `mtp`. */
static void run_chunks(struct gold *g, size_t chunk, bool mtp)
{
    static struct fwd_row rows[POSITIONS_MAX];
    struct kv kv;
    struct err err;
    size_t hidden = g->m.plan.hidden;
    if (!kv_init(&kv, &g->m.plan, KV_F32, 512, (uint32_t)chunk, mtp, &err)) {
        test_fail(__FILE__, __LINE__, "%s", err.msg);
        return;
    }
    for (size_t at = 0; at < g->n; at += chunk) {
        size_t n = g->n - at < chunk ? g->n - at : chunk;
        for (size_t i = 0; i < n; i++)
            rows[i] = (struct fwd_row){ .kv = &kv, .token = g->ids[at + i],
                                        .pos = (uint32_t)(at + i),
                                        .logits = mtp ? NULL : g->got + (at + i) * g->vocab,
                                        .hidden = g->hidden + (at + i) * hidden };
        model_forward(&g->m, rows, n);
    }
    for (size_t at = 0; mtp && at + 1 < g->n; at += chunk) {
        size_t n = g->n - 1 - at < chunk ? g->n - 1 - at : chunk;
        for (size_t i = 0; i < n; i++)
            rows[i] = (struct fwd_row){ .kv = &kv, .token = g->ids[at + i + 1],
                                        .pos = (uint32_t)(at + i),
                                        .from = g->hidden + (at + i) * hidden,
                                        .logits = g->got + (at + i) * g->vocab };
        model_forward_mtp(&g->m, rows, n);
    }
    kv_release(&kv);
}

/* max |got - want| / max |want| over the first n positions. */
static double distance(const float *got, const float *want, size_t n)
{
    double worst = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - want[i]);
        worst = d > worst || isnan(d) ? d : worst;
        most = fmax(most, fabs((double)want[i]));
    }
    return worst / most;
}

static void check_chunks(const char *folder, const char *file, size_t n_chunks)
{
    static const size_t chunks[] = { 256, 7, 1, 64 };
    struct gold g;
    if (gold_open(&g, folder, file)) {
        float *first = mem_take(g.n * g.vocab, sizeof *first);
        for (size_t c = 0; c < n_chunks; c++) {
            run_chunks(&g, chunks[c], false);
            double d = distance(g.got, g.want, g.n * g.vocab);
            EXPECTF(d <= TOLERANCE, "%s%s chunk %zu: %.3g of the largest logit", folder, file,
                    chunks[c], d);
            if (c == 0) {
                printf("  %s%s: max |delta| / max |logit| = %.2g\n", folder, file, d);
                memcpy(first, g.got, g.n * g.vocab * sizeof *first);
            }
            EXPECTF(!memcmp(first, g.got, g.n * g.vocab * sizeof *first),
                    "%s%s: chunk %zu changes bits", folder, file, chunks[c]);
        }
        mem_give(first);
    }
    gold_close(&g);
}

static void check_folder(const char *folder, const char *file)
{
    check_chunks(folder, file, 4);
}

static void check_both(const char *folder)
{
    check_chunks(folder, "", 3);
    check_chunks(folder, "/model.gguf", 1);
}

static void test_llama_untied(void) { check_folder("tests/gold/llama/untied", ""); }
static void test_llama_untied_gguf(void) { check_folder("tests/gold/llama/untied", "/model.gguf"); }
static void test_llama_tied(void) { check_folder("tests/gold/llama/tied", ""); }
static void test_llama_tied_gguf(void) { check_folder("tests/gold/llama/tied", "/model.gguf"); }
static void test_moe_lllg(void) { check_folder("tests/gold/exaone_moe/lllg", ""); }
static void test_moe_lllg_gguf(void) { check_folder("tests/gold/exaone_moe/lllg", "/model.gguf"); }
static void test_moe_groups(void) { check_folder("tests/gold/exaone_moe/groups", ""); }
static void test_moe_groups_gguf(void)
{
    check_folder("tests/gold/exaone_moe/groups", "/model.gguf");
}

static void test_exaone4_full(void) { check_both("tests/gold/exaone4/full"); }
static void test_exaone4_hybrid(void) { check_both("tests/gold/exaone4/hybrid"); }

static void test_gemma3_old(void) { check_both("tests/gold/gemma3/old"); }
static void test_gemma3_new(void) { check_chunks("tests/gold/gemma3/new", "", 2); }

static void test_exaone(void) { check_both("tests/gold/exaone/tied"); }
static void test_qwen3(void) { check_both("tests/gold/qwen3/yarn"); }
static void test_qwen3_moe(void) { check_both("tests/gold/qwen3/moe"); }
static void test_solar_open(void) { check_chunks("tests/gold/solar_open/yarn", "", 3); }

static void check_mtp(const char *file)
{
    struct gold g;
    struct npy want = { 0 };
    struct err err;
    const char *folder = "tests/gold/exaone_moe/lllg";
    if (gold_open(&g, folder, file)
        && npy_open(&want, tree_path("tests/gold/exaone_moe/lllg/mtp_logits.npy"), &err)) {
        EXPECT(want.shape[0] == g.n - 1 && want.shape[1] == g.vocab);
        for (size_t chunk = 1; chunk <= 300; chunk += 99) {
            run_chunks(&g, chunk, true);
            double d = distance(g.got, (const float *)(const void *)want.data,
                                (g.n - 1) * g.vocab);
            EXPECTF(d <= TOLERANCE, "MTP %s chunk %zu: %.3g", file, chunk, d);
            if (chunk == 1)
                printf("  MTP %s%s: max |delta| / max |logit| = %.2g\n", folder, file, d);
        }
    }
    npy_close(&want);
    gold_close(&g);
}

static void test_mtp(void) { check_mtp(""); }
static void test_mtp_gguf(void) { check_mtp("/model.gguf"); }

/* What a mistake would look like: each must be off by ten tolerances at least. */
static void expect_far(struct gold *g, const char *what)
{
    run_chunks(g, 64, false);
    double d = distance(g->got, g->want, g->n * g->vocab);
    EXPECTF(d >= 10 * TOLERANCE, "control \"%s\" is only %.3g away", what, d);
}

static void test_controls(void)
{
    struct gold g;
    if (gold_open(&g, "tests/gold/exaone_moe/lllg", "")) {
        struct layer_plan keep[16];
        memcpy(keep, g.m.plan.layer, plan_all_layers(&g.m.plan) * sizeof *keep);
        for (int d = -1; d <= 1; d += 2) {
            for (uint32_t i = 0; i < g.m.plan.n_layers; i++)
                if (keep[i].window)
                    g.m.plan.layer[i].window = keep[i].window + (uint32_t)d;
            expect_far(&g, d < 0 ? "window - 1" : "window + 1");
            memcpy(g.m.plan.layer, keep, plan_all_layers(&g.m.plan) * sizeof *keep);
        }
        for (uint32_t i = 0; i < g.m.plan.n_layers; i++)
            g.m.plan.layer[i].rope = true;
        expect_far(&g, "RoPE on every layer");
        memcpy(g.m.plan.layer, keep, plan_all_layers(&g.m.plan) * sizeof *keep);
        g.m.plan.router.scale = 1;
        expect_far(&g, "no routed scaling");
    }
    gold_close(&g);
}

/* One mistake in the plan at a time; each undone before the next. */
static void test_gemma3_controls(void)
{
    struct gold g;
    if (gold_open(&g, "tests/gold/gemma3/new", "")) {
        struct plan keep = g.m.plan;
        g.m.plan.embed_scale = 1;
        expect_far(&g, "embedding without its factor");
        g.m.plan = keep;
        g.m.plan.attn_scale = 1 / sqrtf((float)keep.head_dim);
        expect_far(&g, "scores by the head's size");
        g.m.plan = keep;
        g.m.plan.act = ACT_SILU;
        expect_far(&g, "SiLU for GELU");
        g.m.plan = keep;
        for (uint32_t i = 0; i < keep.n_layers; i++)
            g.m.plan.layer[i].rope_at ^= 1;
        expect_far(&g, "the two RoPEs swapped");
    }
    gold_close(&g);
}

static void test_exaone4_controls(void)
{
    struct gold g;
    if (gold_open(&g, "tests/gold/exaone4/hybrid", "")) {
        for (uint32_t i = 0; i < g.m.plan.n_layers; i++)
            g.m.plan.layer[i].rope = true;
        expect_far(&g, "RoPE on global layers");
        for (uint32_t i = 0; i < g.m.plan.n_layers; i++) {
            struct layer_weights *w = &g.m.weights.layer[i];
            g.m.plan.layer[i].rope = g.m.plan.layer[i].window != 0;
            w->attn_norm = w->attn_post_norm;
            w->ffn_norm = w->ffn_post_norm;
        }
        g.m.plan.norms = NORM_PRE;
        expect_far(&g, "norms before the sublayers");
    }
    gold_close(&g);
}

const struct test tests[] = {
    { "llama untied", test_llama_untied },
    { "llama untied gguf", test_llama_untied_gguf },
    { "llama tied, llama3 rope", test_llama_tied },
    { "llama tied gguf", test_llama_tied_gguf },
    { "exaone_moe lllg", test_moe_lllg },
    { "exaone_moe lllg gguf", test_moe_lllg_gguf },
    { "exaone_moe groups", test_moe_groups },
    { "exaone_moe groups gguf", test_moe_groups_gguf },
    { "exaone4 full, tied, llama3 rope", test_exaone4_full },
    { "exaone4 hybrid", test_exaone4_hybrid },
    { "gemma3 old", test_gemma3_old },
    { "gemma3 new", test_gemma3_new },
    { "exaone 3", test_exaone },
    { "qwen3, yarn", test_qwen3 },
    { "qwen3_moe", test_qwen3_moe },
    { "solar_open, yarn", test_solar_open },
    { "mtp", test_mtp },
    { "mtp gguf", test_mtp_gguf },
    { "negative controls", test_controls },
    { "negative controls, exaone4", test_exaone4_controls },
    { "negative controls, gemma3", test_gemma3_controls },
    { 0 }
};
