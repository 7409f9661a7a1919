/* Weights that were never trained: model/synth.h, and the recipes they are stored by. */
#include "../../harness.h"
#include "model/model.h"

#include "kern/kern.h"

#include <math.h>

static struct synth_tensor tensor(const char *type, enum synth_kind kind, uint64_t cols,
                                  uint64_t rows)
{
    struct synth_tensor t = { .type = qtype_named(type), .kind = kind, .n_dims = 2,
                              .ne = { cols, rows, 1, 1 }, .seed = 7, .stream = 11,
                              .d = 0x2400 | 0x150 };
    t.n_bytes = qtype_row_bytes(t.type, cols) * rows;
    return t;
}

static uint8_t *fill(const struct synth_tensor *t)
{
    uint8_t *p = mem_take(t->n_bytes + 1, 1);
    check(p);
    p[t->n_bytes] = 0x5a;
    synth_fill(t, 0, t->n_bytes, p);
    EXPECT(p[t->n_bytes] == 0x5a);
    return p;
}

static const char *const types[] = { "F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K",
                                     "Q6_K", NULL };

/* Zero mean, no code out of place, pieces in any order give the same bytes. */
static void test_bytes(void)
{
    for (const char *const *name = types; *name; name++) {
        struct synth_tensor t = tensor(*name, SYNTH_RANDOM, 512, 64);
        uint8_t *p = fill(&t), *q = mem_take(t.n_bytes, 1);
        float y[512];
        double sum = 0, squares = 0, most = 0;
        for (size_t r = 0; r < 64; r++) {
            t.type->dequant(y, p + r * qtype_row_bytes(t.type, 512), 512);
            for (size_t i = 0; i < 512; i++) {
                sum += (double)y[i];
                squares += (double)y[i] * (double)y[i];
                most = fmax(most, fabs((double)y[i]));
            }
        }
        double n = 512 * 64, rms = sqrt(squares / n);
        EXPECTF(fabs(sum / n) < 4 * rms / sqrt(n), "%s: mean %g, rms %g", *name, sum / n, rms);
        EXPECTF(most < 1.8 * rms && most > 1.5 * rms, "%s: %g of %g", *name, most, rms);
        size_t piece = synth_piece_bytes(&t), cut = t.n_bytes / piece / 3 * piece;
        synth_fill(&t, cut, t.n_bytes, q + cut);
        synth_fill(&t, 0, cut, q);
        EXPECT(!memcmp(p, q, t.n_bytes));
        mem_give(p);
        mem_give(q);
    }
}

/* The bytes themselves; the same on every machine. */
static void test_hashes(void)
{
    static const uint64_t want[] = {
        0xf65e1f18ae969722u, 0x8cb593eff5028b1au, 0xa27e03ae36fb89d4u, 0x001ca555bce6566eu,
        0xf2ea271833e0d2f8u, 0x4ed41920601f17ddu, 0xd85db5dc63e42dddu, 0x9349328b1dc31ceau
    };
    for (size_t i = 0; types[i]; i++) {
        struct synth_tensor t = tensor(types[i], SYNTH_RANDOM, 512, 3);
        uint8_t *p = fill(&t);
        uint64_t got = hash_bytes((struct bytes){ p, t.n_bytes }, 0);
        EXPECTF(got == want[i], "%s: 0x%016llxu", types[i], (unsigned long long)got);
        mem_give(p);
    }
}

/* A last group that is not full; norms, biases. */
static void test_vectors(void)
{
    struct synth_tensor t = tensor("F32", SYNTH_ONES, 45, 1);
    const float *x = (const float *)(const void *)fill(&t);
    for (int i = 0; i < 45; i++)
        EXPECT(x[i] <= 1 && x[i] >= 1);
    mem_give((void *)(uintptr_t)x);
    t.kind = SYNTH_ZEROS;
    x = (const float *)(const void *)fill(&t);
    for (int i = 0; i < 45; i++)
        EXPECT(f32_bits(x[i]) == 0);
    mem_give((void *)(uintptr_t)x);
}

static void test_router(void)
{
    struct synth_tensor t = tensor("F32", SYNTH_SIGNS, 48, 10);
    uint8_t *p = fill(&t);
    const float *x = (const float *)(const void *)p;
    int plus = 0;
    for (int i = 0; i < 480; i++) {
        EXPECT(fabsf(x[i]) <= f16_to_f32(t.d) && fabsf(x[i]) >= f16_to_f32(t.d));
        EXPECT(i < 240 || f32_bits(x[i]) == (f32_bits(x[i - 240]) ^ 0x80000000u));
        plus += i < 240 && x[i] > 0;
    }
    EXPECTF(plus > 80 && plus < 160, "%d", plus);
    mem_give(p);
}

/* K-EXAONE by its recipe: types, shapes, sizes of weights. */
static void test_k_exaone(void)
{
    struct err err = { 0 };
    struct model m;
    struct recipe r;
    struct synth_tensor *t;
    size_t n, seen = 0;
    EXPECT(model_open_plan(&m, tree_path("recipes/k-exaone-236b/config.json"), &err));
    EXPECT(recipe_find(&r, "K-EXAONE", &err) && recipe_file_type(&r) == 7);
    EXPECT(synth_list(&m.plan, &r, 1, &t, &n, &err));
    EXPECTF(n == 781, "%zu tensors", n);
    struct weight_counts c;
    plan_count(&m.plan, &c);
    uint64_t elements = 0;
    for (size_t i = 0; i < n; i++) {
        elements += t[i].ne[0] * t[i].ne[1] * t[i].ne[2];
        double rms = t[i].kind == SYNTH_SIGNS ? 1 : t[i].type->id == QT_Q4_K ? 9.2195 : 73.466;
        double std = rms * (double)f16_to_f32(t[i].d) * sqrt((double)t[i].ne[0]);
        if (!strcmp(t[i].name, "blk.3.ffn_gate_exps.weight"))
            seen += t[i].type->id == QT_Q4_K && t[i].n_dims == 3 && t[i].ne[2] == 128;
        if (!strcmp(t[i].name, "blk.3.ffn_gate_inp.weight"))
            seen += t[i].type->id == QT_F32 && t[i].kind == SYNTH_SIGNS;
        if (!strcmp(t[i].name, "blk.3.exp_probs_b.bias"))
            seen += t[i].type->id == QT_F32 && t[i].kind == SYNTH_ZEROS;
        if (!strcmp(t[i].name, "blk.0.ffn_down.weight"))
            seen += t[i].type->id == QT_Q8_0;
        if (t[i].kind == SYNTH_RANDOM && strcmp(t[i].name, "token_embd.weight"))
            EXPECTF(std > 0.98 && std <= 1, "%s: %g", t[i].name, std);
    }
    EXPECT(seen == 4);
    EXPECT(elements == c.main + c.mtp);
    mem_give(t);
    model_close(&m);
}

static void test_recipes(void)
{
    struct err err = { 0 };
    struct recipe r;
    EXPECT(recipe_find(&r, "q4_k", &err));
    EXPECT(recipe_type(&r, "blk.0.attn_q.weight", 2, 512)->id == QT_Q4_K);
    EXPECT(recipe_type(&r, "blk.0.attn_q.weight", 2, 576)->id == QT_Q8_0);
    EXPECT(recipe_type(&r, "blk.0.attn_q.weight", 2, 100)->id == QT_F16);
    EXPECT(recipe_type(&r, "blk.0.attn_norm.weight", 1, 512)->id == QT_F32);
    EXPECT(recipe_type(&r, "blk.0.attn_q.bias", 1, 512)->id == QT_F32);
    EXPECT(recipe_type(&r, "blk.0.ffn_gate_inp.weight", 2, 512)->id == QT_F32);
    EXPECT(recipe_find(&r, "Q4_0", &err));
    EXPECT(recipe_type(&r, "output.weight", 2, 48)->id == QT_F16);
    EXPECT(recipe_find(&r, "BF16", &err));
    EXPECT(recipe_type(&r, "output.weight", 2, 45)->id == QT_BF16);
    EXPECT(!recipe_find(&r, "Q9_9", &err) && err.code == ERR_USAGE);
    EXPECT(strstr(err.msg, "k-exaone, F32") && strstr(err.msg, "Q6_K"));
}

const struct test tests[] = {
    { "bytes", test_bytes },
    { "hashes", test_hashes },
    { "vectors", test_vectors },
    { "router", test_router },
    { "k_exaone", test_k_exaone },
    { "recipes", test_recipes },
    { 0 }
};
