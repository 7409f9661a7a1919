/* A recipe whose model is another one's: what it takes over, what it refuses. */
#include "../../harness.h"
#include "train/recipe_keys.h"
#include "train/train.h"

#include <stdio.h>

static const char needed[] = "[data]\ntokenizer = t\nsource = s\n[run]\nout = o\nsteps = 9\n";

static bool begin(struct train_recipe *r, const char *keys, const char *folder, struct err *err)
{
    char text[600];
    snprintf(text, sizeof text, "[model]\ninit_from = x\n%s%s", keys, needed);
    train_recipe_init(r);
    return train_recipe_read(r, "x.recipe", bytes_of(text), err)
           && train_recipe_begin_from(r, tree_path(folder), err) && train_recipe_resolve(r, err);
}

static const char lllg[] = "tests/gold/train/exaone_moe";

static void test_shape(void)
{
    struct train_recipe r;
    struct err err = { 0 };
    struct plan p = { 0 };
    bool ok = begin(&r, "", lllg, &err);
    EXPECTF(ok, "%s", err.msg);
    const struct recipe_model *m = &r.model;
    EXPECT(m->vocab == 96 && m->layers == 4 && m->hidden == 32 && m->heads == 4);
    EXPECT(m->kv_heads == 2 && m->head_dim == 16 && m->ffn == 48 && m->experts == 8);
    EXPECT(m->top_k == 2 && m->shared_experts == 1 && m->expert_ffn == 12 && m->mtp == 1);
    EXPECT(m->dense_layers == 1 && m->window == 4 && m->global_every == 4);
    EXPECT(m->route_scale == 2.5 && m->rope_theta == 1e4 && m->eps == 1e-5);
    EXPECT(m->size == recipe_layer_params(m));
    EXPECT(train_recipe_plan(&p, &r, 96, &err) && p.context == 512 && p.n_mtp == 1);
    plan_release(&p);
    r.data.context = 600;                 /* rows longer than it was made for */
    EXPECT(train_recipe_plan(&p, &r, 96, &err) && p.context == 600);
    plan_release(&p);
    train_recipe_release(&r);
}

/* Written out with every key, and read back. */
static void test_written(void)
{
    struct train_recipe r, again;
    struct err err = { 0 };
    struct buf text = { 0 };
    EXPECT(begin(&r, "", lllg, &err));
    train_recipe_write(&r, &text);
    train_recipe_init(&again);
    bool ok = train_recipe_read(&again, "again", (struct bytes){ (uint8_t *)text.at, text.len },
                                &err)
              && train_recipe_begin_from(&again, tree_path(lllg), &err)
              && train_recipe_resolve(&again, &err) && train_recipe_same(&r, &again, &err);
    EXPECTF(ok, "%s", err.msg);
    buf_release(&text);
    train_recipe_release(&again);
    train_recipe_release(&r);
}

static void refuse(const char *keys, const char *folder, const char *words)
{
    struct train_recipe r;
    struct err err = { 0 };
    EXPECT(!begin(&r, keys, folder, &err));
    EXPECTF(strstr(err.msg, words), "%s", err.msg);
    train_recipe_release(&r);
}

static void test_given(void)
{
    struct train_recipe r;
    struct err err = { 0 };
    bool ok = begin(&r, "hidden = 32\nroute_scale = 2.5\nglobal_every = 4\nsize = 1m\n", lllg,
                    &err);
    EXPECTF(ok, "%s", err.msg);
    EXPECT(r.model.size == 1000000);
    train_recipe_release(&r);
    refuse("hidden = 64\n", lllg, "x.recipe:3: model.hidden is 64, but ");
    refuse("global_every = 3\n", lllg, "global_every is 3");
    refuse("experts = 0\n", lllg, "model.experts is 0");
    refuse("mtp = 0\n", lllg, "model.mtp is 0");
    refuse("experts = 8\n", "tests/gold/train/llama", "model.experts is 8");
    refuse("", "tests/gold/llama/tied/model.gguf", "kexa convert");
    refuse("", "tests/gold/llama/tied/logits.npy", "logits.npy");
}

/* A family without experts, windows and MTP. */
static void test_llama(void)
{
    struct train_recipe r;
    struct err err = { 0 };
    struct plan p = { 0 };
    bool ok = begin(&r, "", "tests/gold/train/llama", &err)
              && train_recipe_plan(&p, &r, 96, &err);
    EXPECTF(ok, "%s", err.msg);
    EXPECT(ok && !strcmp(p.family->name, "llama") && r.model.experts == 0 && r.model.window == 0
           && r.model.mtp == 0);
    plan_release(&p);
    train_recipe_release(&r);
}

static void test_no_memory(void)
{
    bool ok = false;
    long before = mem_live;
    for (long k = 0; k < 400 && !ok; k++) {
        struct train_recipe r;
        struct err err = { 0 };
        mem_fail_after = k;
        ok = begin(&r, "", lllg, &err);
        mem_fail_after = -1;
        EXPECTF(ok || err.code == ERR_MEMORY, "%s", err.msg);
        train_recipe_release(&r);
        EXPECT(mem_live == before);
    }
    EXPECT(ok);
}

const struct test tests[] = {
    { "shape", test_shape }, { "written", test_written }, { "given", test_given },
    { "llama", test_llama }, { "no memory", test_no_memory }, { 0 }
};
