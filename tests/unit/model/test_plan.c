/*
 * Plans from descriptions: old and new spellings of config.json give the same plan, the
 * published sizes of K-EXAONE 1.0 and 2.0 come out, and KV sizes with them.
 */
#include "../../harness.h"
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The plan of a config.json text (' stands for "). */
static bool read_text(struct model *m, const char *text, struct err *err)
{
    char path[] = "/tmp/kexa-plan-XXXXXX.json";
    int fd = mkstemps(path, 5);
    FILE *f = fdopen(fd, "w");
    for (; *text; text++)
        fputc(*text == '\'' ? '"' : *text, f);
    fclose(f);
    bool ok = model_open_plan(m, path, err);
    unlink(path);
    return ok;
}

#define SHAPE "{'model_type': 'exaone_moe', 'hidden_size': 64, 'intermediate_size': 96, " \
    "'num_hidden_layers': 8, 'num_attention_heads': 4, 'num_key_value_heads': 2, " \
    "'head_dim': 32, 'vocab_size': 99, 'rms_norm_eps': 1e-5, 'max_position_embeddings': 512, " \
    "'num_experts': 8, 'num_experts_per_tok': 2, 'moe_intermediate_size': 16, " \
    "'num_shared_experts': 1, 'sliding_window': 8, "

static void test_spellings(void)
{
    static const char *const same[] = {
        SHAPE "'sliding_window_pattern': 'LLLG', 'first_k_dense_replace': 1, "
              "'rope_theta': 1e6}",
        SHAPE "'sliding_window_pattern': 4, 'first_last_k_dense_replace': 1, "
              "'rope_theta': 1000000, 'rope_scaling': null}",
        SHAPE "'layer_types': ['sliding_attention', 'sliding_attention', 'sliding_attention', "
              "'full_attention', 'sliding_attention', 'sliding_attention', 'sliding_attention', "
              "'full_attention'], 'is_moe_layer': [false, true, true, true, true, true, true, "
              "true], 'rope_parameters': {'rope_type': 'default', 'rope_theta': 1e6}}",
        SHAPE "'sliding_windows': [8, 8, 8, 0, 8, 8, 8, 0], 'mlp_layer_types': ['dense', "
              "'sparse', 'sparse', 'sparse', 'sparse', 'sparse', 'sparse', 'sparse'], "
              "'rope_theta': 1e6, 'swiglu_limits': [0, 0, 0, 0, 0, 0, 0, 0]}",
    };
    struct model first, m;
    struct err err = { 0 };
    EXPECTF(read_text(&first, same[0], &err), "%s", err.msg);
    EXPECT(first.plan.layer[2].window == 8 && first.plan.layer[3].window == 0);
    EXPECT(first.plan.layer[2].rope && !first.plan.layer[3].rope);
    EXPECT(!first.plan.layer[0].sparse && first.plan.layer[1].sparse);
    for (size_t i = 1; i < sizeof same / sizeof *same; i++) {
        bool ok = read_text(&m, same[i], &err);
        EXPECTF(ok, "spelling %zu: %s", i, err.msg);
        if (!ok)
            continue;
        EXPECTF(!memcmp(m.plan.layer, first.plan.layer, 8 * sizeof *m.plan.layer),
                "spelling %zu gives other layers", i);
        EXPECTF(m.plan.rope[0].base == 1e6 && m.plan.n_mtp == 0, "spelling %zu", i);
        model_close(&m);
    }
    model_close(&first);
}

static void test_k_exaone_sizes(void)
{
    struct model m;
    struct err err = { 0 };
    struct weight_counts n;
    struct kv_bytes kv;
    bool ok = model_open_plan(&m, tree_path("recipes/k-exaone-236b/config.json"), &err);
    EXPECTF(ok, "%s", err.msg);
    if (!ok)
        return;
    plan_count(&m.plan, &n);
    EXPECTF(n.main == 236571156352u && n.mtp == 528513280u, "%llu main, %llu MTP parameters",
            (unsigned long long)n.main, (unsigned long long)n.mtp);
    EXPECT(fabs((double)n.touched - 22.72e9) < 0.01e9);
    kv_count(&m.plan, KV_F16, 262144, 256, &kv);
    EXPECT(kv.per_token_global == 48 << 10 && kv.global == 12884901888u);
    EXPECT(kv.windows == 18 << 20);
    model_close(&m);
}

/* K-EXAONE 2.0 by its card: a window of its own in layer 1, clamped SwiGLU, two dense layers. */
static void test_k_exaone_2(void)
{
    struct buf text = { 0 };
    struct model m;
    struct err err = { 0 };
    struct weight_counts n;
    buf_text(&text, "{'model_type': 'exaone_moe', 'hidden_size': 6144, 'intermediate_size': 18432, "
             "'num_hidden_layers': 78, 'num_attention_heads': 64, 'num_key_value_heads': 8, "
             "'head_dim': 128, 'vocab_size': 153600, 'rms_norm_eps': 1e-5, 'num_experts': 256, "
             "'max_position_embeddings': 262144, 'num_experts_per_tok': 8, "
             "'moe_intermediate_size': 2048, 'num_shared_experts': 1, 'rope_theta': 1e6, "
             "'first_k_dense_replace': 2, 'sliding_window': 128, 'sliding_windows': [0, 4096");
    for (int i = 0; i < 76; i++)
        buf_text(&text, i % 4 == 3 ? ", 0" : ", 128");
    buf_text(&text, "], 'swiglu_limits': [7");
    for (int i = 1; i < 78; i++)
        buf_text(&text, ", 7.0");
    buf_text(&text, "]}");
    bool ok = read_text(&m, text.at, &err);
    EXPECTF(ok, "%s", err.msg);
    buf_release(&text);
    if (!ok)
        return;
    uint32_t n_global = 0;
    for (uint32_t i = 0; i < 78; i++)
        n_global += m.plan.layer[i].window == 0;
    plan_count(&m.plan, &n);
    EXPECT(n_global == 20 && m.plan.layer[1].window == 4096 && m.plan.layer[2].window == 128);
    EXPECT(m.plan.layer[77].swiglu_limit == 7.0f && !m.plan.layer[0].rope);
    EXPECTF(fabs((double)n.main - 748.8e9) < 0.1e9, "%.4g parameters", (double)n.main);
    EXPECTF(fabs((double)n.touched - 36.4e9) < 0.1e9, "%.4g touched", (double)n.touched);
    model_close(&m);
}

#define DIMS(hidden, ffn, layers, heads, kv, hd, vocab) \
    "'hidden_size': " #hidden ", 'intermediate_size': " #ffn ", 'num_hidden_layers': " #layers \
    ", 'num_attention_heads': " #heads ", 'num_key_value_heads': " #kv ", 'head_dim': " #hd \
    ", 'vocab_size': " #vocab ", 'rms_norm_eps': 1e-5, 'max_position_embeddings': 65536, "

/* Published dimensions and how many parameters come out. */
static void test_family_sizes(void)
{
    static const struct {
        const char *text;
        uint64_t main;
        uint32_t windows;                 /* layers that have one */
        bool rope_0, rope_last;
    } want[] = {
        { "{'model_type': 'exaone4', " DIMS(2048, 4096, 30, 32, 8, 64, 102400)
          "'tie_word_embeddings': true, 'sliding_window': null, 'rope_theta': 1e6}",
          1279391488, 0, true, true },
        { "{'model_type': 'exaone4', " DIMS(5120, 27392, 64, 40, 8, 128, 102400)
          "'sliding_window': 4096, 'sliding_window_pattern': 'LLLG', 'rope_theta': 1e6}",
          32003216384, 48, true, false },
        { "{'model_type': 'gemma3_text', " DIMS(640, 2048, 18, 4, 1, 256, 262144)
          "'sliding_window': 512, 'sliding_window_pattern': 6}", 268098176, 15, true, true },
        { "{'model_type': 'qwen3_moe', " DIMS(4096, 12288, 94, 64, 4, 128, 151936)
          "'num_experts': 128, 'num_experts_per_tok': 8, 'moe_intermediate_size': 1536, "
          "'norm_topk_prob': true, 'rope_theta': 1e6}", 235093634560, 0, true, true },
        { "{'model_type': 'solar_open', " DIMS(4096, 10240, 48, 64, 8, 128, 196608)
          "'n_routed_experts': 128, 'num_experts_per_tok': 8, 'moe_intermediate_size': 1280, "
          "'n_shared_experts': 1, 'rope_scaling': {'type': 'yarn', 'factor': 2.0}}",
          102651799552, 0, true, true },
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct model m;
        struct err err = { 0 };
        struct weight_counts n;
        uint32_t windows = 0;
        bool ok = read_text(&m, want[i].text, &err);
        EXPECTF(ok, "%s", err.msg);
        if (!ok)
            continue;
        plan_count(&m.plan, &n);
        for (uint32_t j = 0; j < m.plan.n_layers; j++)
            windows += m.plan.layer[j].window != 0;
        EXPECTF(n.main == want[i].main, "%s: %llu parameters", m.plan.family->name,
                (unsigned long long)n.main);
        EXPECTF(windows == want[i].windows && m.plan.layer[0].rope == want[i].rope_0
                && m.plan.layer[m.plan.n_layers - 1].rope == want[i].rope_last,
                "%s: %u windows", m.plan.family->name, windows);
        model_close(&m);
    }
}

/* What a plan cannot say is refused by the name of the key. */
static void test_refused(void)
{
    static const char *const extra[][2] = {
        { "gemma3_text", "'final_logit_softcapping': 30.0" },
        { "gemma3_text", "'hidden_activation': 'relu'" },
        { "gemma3_text", "'use_bidirectional_attention': true" },
        { "qwen3", "'use_sliding_window': true" },
        { "qwen3", "'mlp_only_layers': [1]" },
        { "exaone4", "'num_nextn_predict_layers': 1" },
        { "llama", "'mlp_bias': true" },
        { "qwen3", "'rope_scaling': {'rope_type': 'longrope', 'factor': 2}" },
    };
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++) {
        char text[1000], key[64] = "";
        struct model m;
        struct err err = { 0 };
        snprintf(text, sizeof text, "{'model_type': '%s', " DIMS(64, 96, 2, 4, 2, 16, 99)
                 "'sliding_window': 8, %s}", extra[i][0], extra[i][1]);
        sscanf(extra[i][1], "'%63[a-z_]", key);
        bool ok = read_text(&m, text, &err);
        EXPECTF(!ok, "%s with %s was taken", extra[i][0], extra[i][1]);
        EXPECTF(strstr(err.msg, key) || strstr(err.msg, "RoPE scaling"), "%s", err.msg);
        if (ok)
            model_close(&m);
    }
}

static void test_llama3_scaling(void)
{
    struct rope_plan plain = { .base = 500000, .dims = 64 }, scaled = plain;
    float a[32], b[32];
    scaled.scaling = ROPE_LLAMA3;
    scaled.factor = 8;
    scaled.low = 1;
    scaled.high = 4;
    scaled.original_context = 8192;
    plan_inv_freq(&plain, a);
    plan_inv_freq(&scaled, b);
    EXPECT(a[0] == 1.0f && b[0] == 1.0f);             /* short waves are kept */
    EXPECT(fabsf(b[31] * 8 / a[31] - 1) < 1e-6f);     /* long ones stretched by the factor */
    for (int p = 0; p < 32; p++)
        EXPECT(b[p] <= a[p] && b[p] * 8.001f >= a[p]);
}

const struct test tests[] = {
    { "spellings of one model", test_spellings },
    { "K-EXAONE's published sizes", test_k_exaone_sizes },
    { "K-EXAONE 2.0's layers and sizes", test_k_exaone_2 },
    { "sizes of the families", test_family_sizes },
    { "what is refused", test_refused },
    { "llama3 RoPE scaling", test_llama3_scaling },
    { 0 }
};
