/* Files with other types, importance, and files of random weights. */
#include "../../harness.h"
#include "run/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char config[] =
    "{ \"model_type\": \"exaone_moe\", \"hidden_size\": 256, \"intermediate_size\": 512,"
    " \"num_hidden_layers\": 5, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,"
    " \"head_dim\": 32, \"vocab_size\": 2000, \"rms_norm_eps\": 1e-5,"
    " \"max_position_embeddings\": 1024, \"tie_word_embeddings\": false, \"num_experts\": 32,"
    " \"num_experts_per_tok\": 4, \"num_shared_experts\": 1, \"moe_intermediate_size\": 64,"
    " \"n_group\": 1, \"topk_group\": 1, \"norm_topk_prob\": true, \"sliding_window\": 8,"
    " \"sliding_window_pattern\": \"LLLG\", \"first_k_dense_replace\": 1, \"rope_theta\": 1e6,"
    " \"num_nextn_predict_layers\": 1 }";

static char folder[] = "/tmp/kexa-requant-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[4][80];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void tidy(void)
{
    static const char *const names[] = { "config.json", "a", "b", "im", "n", NULL };
    for (const char *const *n = names; *n; n++)
        unlink(in_folder(*n));
    rmdir(folder);
}

static void set_up(void)
{
    struct err err;
    if (folder[strlen(folder) - 1] != 'X')
        return;
    check(mkdtemp(folder));
    atexit(tidy);
    check(file_write(in_folder("config.json"), config, sizeof config - 1, &err));
}

static bool synth(const char *to, const char *recipe, int n_threads, const volatile int *stop,
                  struct err *err)
{
    struct synth_options o = { .seed = 3, .n_threads = n_threads, .stop = stop };
    struct synth_report r;
    struct model m;
    unlink(to);                           /* writers refuse a name that is taken */
    if (!recipe_find(&o.recipe, recipe, err)
        || !model_open_plan(&m, in_folder("config.json"), err))
        return false;
    bool ok = synth_shrink(&m.plan, 3, 300, err) && synth_file(&m.plan, "x", to, &o, &r, err);
    model_close(&m);
    return ok;
}

static uint64_t file_hash(const char *path)
{
    struct bytes b;
    struct err err;
    if (!file_map_open(&b, path, &err))
        return 0;
    uint64_t h = hash_bytes(b, 0);
    file_map_close(&b);
    return h;
}

static uint64_t data_hash(const char *path)
{
    struct gguf g;
    struct err err;
    uint64_t h = 0;
    check(gguf_open(&g, path, &err));
    for (size_t i = 0; i < g.tensors.n; i++)
        h = hash_bytes((struct bytes){ g.tensors.at[i].data, g.tensors.at[i].n_bytes }, h);
    gguf_close(&g);
    return h;
}

static void test_synth(void)
{
    struct err err = { 0 };
    set_up();
    EXPECTF(synth(in_folder("a"), "k-exaone", 1, NULL, &err), "%s", err.msg);
    EXPECTF(synth(in_folder("b"), "k-exaone", 3, NULL, &err), "%s", err.msg);
    EXPECT(file_hash(in_folder("a")) == file_hash(in_folder("b")));
    uint64_t h = data_hash(in_folder("a"));
    EXPECTF(h == 0xe241b3ef77baae37u, "0x%016llxu", (unsigned long long)h);
}

/* Every allocation fails once: a message, and no file. */
static void test_memory(void)
{
    struct err err = { 0 };
    long live = mem_live;
    int k = 0;
    set_up();
    for (bool ok = false; !ok && k < 5000; k++) {
        mem_fail_after = k;
        ok = synth(in_folder("a"), "Q4_0", 1, NULL, &err);
        mem_fail_after = -1;
        EXPECT(ok || (err.code == ERR_MEMORY && access(in_folder("a"), F_OK) != 0));
    }
    EXPECTF(k > 10 && k < 5000 && mem_live == live, "%d, %ld blocks", k, mem_live - live);
}

static void test_stop(void)
{
    struct err err = { 0 };
    int stop = 1;
    set_up();
    EXPECT(!synth(in_folder("a"), "Q4_0", 2, &stop, &err) && err.code == ERR_CANCELLED);
    EXPECT(access(in_folder("a"), F_OK) != 0);
}

static bool requant(const char *from, const char *to, const char *recipe, int n_threads,
                    const struct imatrix *im, struct requant_report *r, struct err *err)
{
    struct requant_options o = { .importance = im, .n_threads = n_threads };
    struct gguf g;
    unlink(to);
    if (!recipe_find(&o.recipe, recipe, err) || !gguf_open(&g, from, err))
        return false;
    bool ok = requant_file(&g, to, &o, r, err);
    gguf_close(&g);
    return ok;
}

/* Metadata stays but for the file's type; a tensor that has its type already is copied; the
 * file is the same for any number of threads. */
static void test_types(void)
{
    struct err err = { 0 };
    struct requant_report r;
    set_up();
    EXPECT(synth(in_folder("a"), "Q8_0", 2, NULL, &err));
    uint64_t before = data_hash(in_folder("a"));
    EXPECTF(requant(in_folder("a"), in_folder("b"), "F32", 2, NULL, &r, &err), "%s", err.msg);
    EXPECT(r.types[0].type->id == QT_F32 && !r.types[1].type);
    EXPECT(data_hash(in_folder("b")) != before);
    EXPECT(requant(in_folder("b"), in_folder("a"), "Q4_K", 1, NULL, &r, &err));
    uint64_t one = file_hash(in_folder("a"));
    EXPECT(requant(in_folder("b"), in_folder("a"), "Q4_K", 3, NULL, &r, &err));
    EXPECT(one == file_hash(in_folder("a")));
    EXPECT(requant(in_folder("a"), in_folder("b"), "Q4_K", 1, NULL, &r, &err));
    EXPECT(data_hash(in_folder("b")) == data_hash(in_folder("a")));
    struct gguf g;
    uint64_t type = 0;
    bool found;
    EXPECT(gguf_open(&g, in_folder("b"), &err));
    EXPECT(gguf_u64(&g, "general.file_type", &type, &found, &err) && found && type == 15);
    EXPECT(gguf_find(&g, "tokenizer.ggml.tokens"));
    gguf_close(&g);
}

static void test_refused(void)
{
    struct err err = { 0 };
    struct requant_report r;
    struct gguf_writer w = { 0 };
    float x[128] = { 0 };
    set_up();
    x[97] = NAN;
    gguf_put_string(&w, "general.architecture", bytes_of("llama"));
    uint64_t ne[2] = { 32, 4 };
    check(gguf_writer_add(&w, "blk.0.up.weight", qtype_find(QT_F32), 2, ne, &err));
    check(gguf_writer_begin(&w, in_folder("n"), 0, &err));
    check(gguf_writer_put(&w, x, sizeof x, &err) && gguf_writer_end(&w, &err));
    gguf_writer_release(&w);
    EXPECT(!requant(in_folder("n"), in_folder("b"), "Q4_0", 2, NULL, &r, &err));
    EXPECTF(err.code == ERR_FORMAT && strstr(err.msg, "blk.0.up.weight, row 3"), "%s", err.msg);
    EXPECT(access(in_folder("b"), F_OK) != 0);
}

/* Every id as likely as every other, so the experts' load is what routing makes of it. */
static bool measure(struct imatrix *im, struct err *err)
{
    struct model m;
    struct ids ids = { 0 };
    struct rng r = { .seed = 5 };
    for (int i = 0; i < 900; i++)
        ids_put(&ids, (uint32_t)(rng_u64(&r) % 300));
    if (!model_open_plan(&m, in_folder("a"), err))
        return false;
    bool ok = model_bind(&m, 2, NUMERICS_F32, err) && imatrix_measure(im, &m, &ids, NULL, err);
    EXPECT(!ok || m.observe == NULL);
    model_close(&m);
    ids_release(&ids);
    return ok;
}

/* The experts of a layer share the rows, and no expert has much more than another. */
static void check_load(const struct imatrix_entry *e)
{
    double sum = 0, most = 0;
    for (uint64_t i = 0; i < e->matrices; i++) {
        sum += e->count[i];
        most = fmax(most, e->count[i]);
    }
    EXPECTF(fabs(sum - 900 * 4) < 0.5, "%s: %g rows", e->name, sum);
    EXPECTF(most < 2.2 * sum / (double)e->matrices, "%s: %g of %g", e->name, most, sum);
}

/* Reading importance and writing with it, each allocation failing once. */
static void check_memory(const struct imatrix *im)
{
    struct err err = { 0 };
    struct imatrix again;
    struct requant_report r;
    long live = mem_live;
    bool loaded = false, written = false;
    for (int k = 0; k < 2000 && !loaded; k++) {
        mem_fail_after = k;
        loaded = imatrix_load(&again, in_folder("im"), &err);
        EXPECT(loaded || err.code == ERR_MEMORY);
    }
    imatrix_release(&again);
    for (int k = 0; k < 2000 && !written; k++) {
        mem_fail_after = k;
        written = requant(in_folder("a"), in_folder("b"), "Q8_0", 1, im, &r, &err);
        EXPECT(written || (err.code == ERR_MEMORY && access(in_folder("b"), F_OK) != 0));
    }
    mem_fail_after = -1;
    EXPECTF(loaded && written && mem_live == live, "%ld blocks", mem_live - live);
}

static void test_importance(void)
{
    struct err err = { 0 };
    struct imatrix im, again;
    struct requant_report r;
    set_up();
    EXPECT(synth(in_folder("a"), "F32", 2, NULL, &err));
    EXPECTF(measure(&im, &err), "%s", err.msg);
    EXPECT(im.chunks == 2 && imatrix_has(&im, "output.weight", 1, 256));
    EXPECT(imatrix_has(&im, "blk.1.ffn_down_exps.weight", 32, 64));
    EXPECT(imatrix_has(&im, "blk.3.nextn.eh_proj.weight", 1, 512) && !imatrix_has(&im, "x", 1, 1));
    for (size_t i = 0; i < im.n; i++)
        if (im.at[i].matrices == 32)
            check_load(&im.at[i]);
    unlink(in_folder("im"));
    EXPECT(imatrix_save(&im, in_folder("im"), "text", &err));
    EXPECTF(imatrix_load(&again, in_folder("im"), &err), "%s", err.msg);
    EXPECT(again.n == im.n);
    float a[512], b[512];
    imatrix_weights(&im, "blk.0.ffn_down.weight", a);
    imatrix_weights(&again, "blk.0.ffn_down.weight", b);
    double mean = 0;
    for (int i = 0; i < 512; i++) {
        mean += (double)a[i] / 512;
        EXPECT(fabsf(a[i] - b[i]) < 1e-5f * a[i]);
    }
    EXPECTF(fabs(mean - 1) < 2e-3, "%g", mean);
    EXPECT(requant(in_folder("a"), in_folder("b"), "Q4_0", 2, &again, &r, &err));
    EXPECTF(r.with_importance > 20, "%d", (int)r.with_importance);
    uint64_t with = data_hash(in_folder("b"));
    EXPECT(requant(in_folder("a"), in_folder("b"), "Q4_0", 2, NULL, &r, &err));
    EXPECT(with != data_hash(in_folder("b")) && r.with_importance == 0);
    check_memory(&again);
    EXPECT(!imatrix_load(&again, in_folder("a"), &err) && err.code == ERR_FORMAT && again.n);
    imatrix_release(&im);
    imatrix_release(&again);
}

const struct test tests[] = {
    { "synth", test_synth },
    { "memory", test_memory },
    { "stop", test_stop },
    { "types", test_types },
    { "refused", test_refused },
    { "importance", test_importance },
    { 0 }
};
