/* Recipes: what is read, what is refused and how it is said, what the dial decides. */
#include "base/base.h"
#include "../../harness.h"
#include "train/recipe_keys.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

static const char needed[] = "[data]\ntokenizer = tok\nsource = shards\n[run]\nout = run\n";

static bool read_text(struct train_recipe *r, const char *text, struct err *err)
{
    train_recipe_init(r);
    return train_recipe_read(r, "x.recipe", bytes_of(text), err);
}

static bool resolve_text(struct train_recipe *r, const char *text, struct err *err)
{
    return read_text(r, text, err) && train_recipe_resolve(r, err);
}

/* The text is refused, and the sentence holds every word of `words`, parted by |. */
static void refuse(const char *text, const char *words)
{
    struct train_recipe r;
    struct err err = { 0 };
    char word[100];
    EXPECTF(!resolve_text(&r, text, &err), "taken: %s", text);
    while (*words) {
        size_t n = strcspn(words, "|");
        snprintf(word, sizeof word, "%.*s", (int)n, words);
        EXPECTF(strstr(err.msg, word), "\"%s\" lacks \"%s\"", err.msg, word);
        words += n + (words[n] == '|');
    }
    train_recipe_release(&r);
}

static void test_values(void)
{
    struct train_recipe r;
    struct err err = { 0 };
    EXPECTF(resolve_text(&r, "\xef\xbb\xbf# all\r\n[model]\r\n  size = 3m   # a dial\r\n"
                         "experts=4\n\n"
                         "[ data ]\ntokenizer = \"my # folder\"\n"
                         "source = a weight=2 epochs=4\nsource = \"b c\" epochs=0.5\nsource = d\n"
                         "[optimizer]\nkind = adamw\nlr = 1e-3\n"
                         "[run]\nout = o\nbatch_tokens = 64k\nsteps = 10\n"
                         "prompt = \"a \\\"b\\\"\\n\"\nprompt = plain # no\n[data]\ncontext=500\n",
                         &err), "%s", err.msg);
    EXPECT(r.model.size == 3000000 && r.model.experts == 4 && r.data.context == 500);
    EXPECT(!strcmp(r.data.tokenizer, "my # folder") && r.data.n_sources == 3);
    EXPECT(!strcmp(r.data.source[0].path, "a") && r.data.source[0].weight == 2
           && r.data.source[0].epochs == 4);
    EXPECT(!strcmp(r.data.source[1].path, "b c") && r.data.source[1].weight == 1
           && r.data.source[1].epochs == 0.5);
    EXPECT(r.data.source[2].epochs == 0 && r.optimizer.kind == OPTIMIZER_ADAMW);
    EXPECT(r.optimizer.lr == 1e-3 && r.run.batch_tokens == 64000 && r.run.tokens == 640000);
    EXPECT(r.run.n_prompts == 2 && !strcmp(r.run.prompt[0], "a \"b\"\n")
           && !strcmp(r.run.prompt[1], "plain"));
    EXPECT(r.run.micro_rows == 4 && r.schedule.warmup == 0 && r.optimizer.beta2 == 0.95);
    train_recipe_release(&r);
}

static void test_refused_lines(void)
{
    refuse("[model]\nsise = 3m\n", "x.recipe:2|sise|did you mean size");
    refuse("[modle]\n", "x.recipe:1|modle|did you mean model|schedule");
    refuse("\n\n[model\n", "x.recipe:3|bracket");
    refuse("size = 3m\n", "x.recipe:1|before the first");
    refuse("[model]\nhello\n", "x.recipe:2|hello|key = value");
    refuse("[model]\nlr = 1\n", "x.recipe:2|lr belongs to section optimizer");
    refuse("[model]\nhidden = 64\n\nhidden = 32\n", "x.recipe:4|model.hidden|line 2");
    refuse("[run]\nprompt = \"abc\n", "x.recipe:2|quote is not closed");
    refuse("[run]\nprompt = \"abc\" d\n", "x.recipe:2|after the closing");
    refuse("[data]\nsource = a weight=0\n", "x.recipe:2|weight above 0");
    refuse("[data]\nsource = a weigth=2\n", "x.recipe:2|a weigth=2|PATH weight=W");
    refuse("[data]\nsource = \n", "x.recipe:2|PATH");
    refuse("[data]\nsource = a weight=1 weight=2\n", "x.recipe:2|PATH");
    refuse("[data]\ntokenizer =\n", "x.recipe:2|data.tokenizer|a path");
    refuse("[optimizer]\nkind = adam\n", "x.recipe:2|optimizer.kind|adam|muon|adamw");
    refuse("[optimizer]\nlr = 1e-3x\n", "x.recipe:2|1e-3x|from 0 to 10");
    refuse("[optimizer]\nlr = nan\n", "x.recipe:2|nan");
    refuse("[optimizer]\nlr = 1k\n", "x.recipe:2|1k");
    refuse("[model]\nlayers = 2.5\n", "x.recipe:2|2.5|whole number");
    refuse("[model]\nlayers = 0x4\n", "x.recipe:2|0x4");
    refuse("[model]\nsize = 1e300k\n", "x.recipe:2|1e300k");
}

/* What only several keys together make wrong. */
static void test_refused_together(void)
{
    char text[400];
    refuse("[run]\nout = o\n", "data.tokenizer|missing");
    const struct { const char *lines, *words; } cases[] = {
        { "[model]\nheads = 6\nkv_heads = 4\n", "x.recipe:8|model.kv_heads|heads, which is 6" },
        { "[model]\nhead_dim = 33\n", "x.recipe:7|even" },
        { "[model]\nexperts = 4\ntop_k = 5\n", "x.recipe:8|model.top_k|4 experts" },
        { "[model]\ndense_layers = 4\n", "x.recipe:7|model.dense_layers|experts = 0" },
        { "[run]\nsteps = 5\ntokens = 1m\n", "x.recipe:8|run.tokens|run.steps" },
        { "[run]\nbatch_tokens = 1000\n", "x.recipe:7|data.context, which is 512" },
        { "[run]\nbatch_tokens = 1024\nmicro_rows = 3\n", "x.recipe:8|only 2 rows" },
        { "[schedule]\nwarmup = 9\n[run]\nsteps = 8\n", "x.recipe:7|schedule.warmup|8 steps" },
        { "[run]\nsteps = 9000000000000000\nbatch_tokens = 1024\n", "run.batch_tokens|too many" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "%s%s", needed, cases[i].lines);
        refuse(text, cases[i].words);
    }
}

/* The name of a size is about what the formula and the plan count. */
static void test_sizes(void)
{
    static const char *const names[] = { "nano", "200k", "1m", "3m", "10m", "30m", "124m", "1g",
                                         "7g", "23g" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct train_recipe r;
        struct plan p;
        struct weight_counts c;
        struct err err = { 0 };
        char set[60];
        snprintf(set, sizeof set, "model.size=%s", names[i]);
        EXPECT(read_text(&r, needed, &err) && train_recipe_set(&r, "--size", set, &err));
        EXPECTF(train_recipe_resolve(&r, &err), "%s", err.msg);
        uint64_t n = recipe_layer_params(&r.model);
        double ratio = (double)n / (double)r.model.size;
        EXPECTF(ratio > 0.8 && ratio < 1.3, "%s is %.0f", names[i], (double)n);
        EXPECTF(train_recipe_plan(&p, &r, 4096, &err), "%s", err.msg);
        plan_count(&p, &c);
        uint64_t ends = 4096ull * r.model.hidden + r.model.hidden;
        EXPECTF(c.touched == n + ends, "%s: plan %.0f, formula %.0f", names[i],
                (double)(c.touched - ends), (double)n);
        printf("  %-5s %9.2fM: %2u layers of %4u, %2u/%2u heads of %3u, %3u experts of %4u, "
               "top %u, lr %g, batch %llu, steps %llu, %.3g weights\n", names[i],
               (double)n * 1e-6, r.model.layers, r.model.hidden, r.model.heads,
               r.model.kv_heads, r.model.head_dim, r.model.experts, r.model.expert_ffn,
               r.model.top_k, r.optimizer.lr, (unsigned long long)r.run.batch_tokens,
               (unsigned long long)r.run.steps, (double)c.main);
        plan_release(&p);
        train_recipe_release(&r);
    }
}

/* K-EXAONE's learning rate at its width, more below it, and less of that with AdamW. */
static void test_rates(void)
{
    static const struct { const char *lines; double lr; } cases[] = {
        { "[model]\nhidden = 6144\n", 3e-4 }, { "[model]\nhidden = 384\n", 2.4e-3 },
        { "[model]\nhidden = 384\n[optimizer]\nkind = adamw\n", 1.2e-3 },
        { "[model]\nhidden = 6144\n[optimizer]\nkind = adamw\n", 3e-4 },
        { "[model]\nhidden = 384\n[optimizer]\nlr = 0.5\n", 0.5 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct train_recipe r;
        struct err err = { 0 };
        char text[300];
        snprintf(text, sizeof text, "%s%s", needed, cases[i].lines);
        EXPECT(resolve_text(&r, text, &err));
        EXPECTF(r.optimizer.lr == cases[i].lr, "%g", r.optimizer.lr);
        train_recipe_release(&r);
    }
}

static bool same_layers(const struct plan *a, const struct plan *b)
{
    for (uint32_t i = 0; i < plan_all_layers(a); i++) {
        const struct layer_plan *x = &a->layer[i], *y = &b->layer[i];
        if (x->window != y->window || x->rope != y->rope || x->sparse != y->sparse
            || x->ffn != y->ffn || x->shared_ffn != y->shared_ffn || x->qk_norm != y->qk_norm)
            return false;
    }
    return true;
}

/* config.json on the disk opens as the plan. */
static void round_trip(const char *lines)
{
    struct train_recipe r;
    struct plan p;
    struct model m = { 0 };
    struct err err = { 0 };
    char text[400], path[100];
    snprintf(text, sizeof text, "%s%s", needed, lines);
    snprintf(path, sizeof path, "/tmp/kexa-recipe-%d.json", (int)getpid());
    EXPECTF(resolve_text(&r, text, &err) && train_recipe_plan(&p, &r, 1000, &err), "%s", err.msg);
    json_t *config = train_recipe_config(&r, 1000, &err);
    EXPECT(config && !json_dump_file(config, path, JSON_INDENT(2)));
    EXPECTF(model_open_plan(&m, path, &err), "%s", err.msg);
    EXPECT(m.plan.n_layers == p.n_layers && m.plan.n_mtp == p.n_mtp && same_layers(&m.plan, &p));
    EXPECT(m.plan.hidden == r.model.hidden && m.plan.vocab == 1000 && m.plan.eps == r.model.eps);
    EXPECT(m.plan.router.n == (r.model.experts ? r.model.experts : 1));
    EXPECT(m.plan.rope[0].base == 1e6 && m.plan.router.scale == 2.5f && !m.plan.tied);
    EXPECT(m.plan.layer[3].window == (r.model.global_every == 4 ? 0 : r.model.window));
    model_close(&m);
    plan_release(&p);
    json_decref(config);
    unlink(path);
    train_recipe_release(&r);
}

static void test_config(void)
{
    round_trip("");
    round_trip("[model]\nexperts = 0\nlayers = 8\n");
    round_trip("[model]\nmtp = 0\nglobal_every = 0\nsize = nano\n");
    round_trip("[model]\nwindow = 0\n");
}

/* The recipe of the large model is the model of the config.json beside it. */
static void test_large(void)
{
    struct train_recipe r;
    struct plan p;
    struct model m;
    struct err err = { 0 };
    train_recipe_init(&r);
    EXPECTF(train_recipe_load(&r, tree_path("recipes/k-exaone-236b/pretrain.recipe"), &err)
            && train_recipe_resolve(&r, &err) && train_recipe_plan(&p, &r, 153600, &err), "%s",
            err.msg);
    EXPECTF(model_open_plan(&m, tree_path("recipes/k-exaone-236b/config.json"), &err), "%s",
            err.msg);
    EXPECT(p.n_layers == m.plan.n_layers && p.n_mtp == m.plan.n_mtp && same_layers(&p, &m.plan));
    EXPECT(p.hidden == m.plan.hidden && p.vocab == m.plan.vocab && p.ffn == m.plan.ffn);
    EXPECT(p.n_heads == m.plan.n_heads && p.n_kv_heads == m.plan.n_kv_heads
           && p.head_dim == m.plan.head_dim && p.eps == m.plan.eps);
    EXPECT(!memcmp(&p.router, &m.plan.router, sizeof p.router));
    EXPECT(p.rope[0].base == m.plan.rope[0].base && p.rope[0].dims == m.plan.rope[0].dims);
    model_close(&m);
    plan_release(&p);
    train_recipe_release(&r);
}

/* Fewer rows where memory is short, unless the recipe says how many. */
static void test_memory(void)
{
    struct train_recipe r;
    struct plan p;
    struct train_memory all, m;
    struct err err = { 0 };
    char text[300];
    EXPECT(resolve_text(&r, needed, &err) && train_recipe_plan(&p, &r, 8192, &err));
    train_memory_plan(&all, &r, &p, 2);
    EXPECT(r.run.micro_rows == 4 && all.total == all.weights + all.scratch + all.passes
           + all.rows + all.samples && all.weights > 16u * 15000000);
    EXPECT(all.rows == 16 * (r.run.batch_tokens + 4 * r.data.context));
    EXPECT(train_memory_fit(&m, &r, &p, 2, &err) && m.micro_rows <= 4
           && m.total <= m.available);
    plan_release(&p);
    train_recipe_release(&r);
    /* Rows of a terabyte, which halving alone brings down to one that still does not fit. */
    snprintf(text, sizeof text, "%sbatch_tokens = 1073741824\n[data]\ncontext = 16777216\n",
             needed);
    EXPECT(resolve_text(&r, text, &err) && train_recipe_plan(&p, &r, 8192, &err));
    r.run.micro_rows = 64;
    EXPECT(!train_memory_fit(&m, &r, &p, 2, &err) && err.code == ERR_MEMORY);
    EXPECTF(r.run.micro_rows == 1 && strstr(err.msg, "data.context"), "%s", err.msg);
    r.run.micro_rows = 64;
    r.option[recipe_key_find("run", "micro_rows")] = "--set";
    EXPECT(!train_memory_fit(&m, &r, &p, 2, &err) && r.run.micro_rows == 64);
    EXPECTF(strstr(err.msg, "run.micro_rows"), "%s", err.msg);
    plan_release(&p);
    train_recipe_release(&r);
}

/* Kept, held, being written, but not more than there will be. */
static void test_disk(void)
{
    static const struct { const char *run; uint64_t n; } cases[] = {
        { "steps = 100\nkeep = 3\n", 5 }, { "steps = 100\nkeep = 30\n", 10 },
        { "steps = 100\ncheckpoint_every = 7\nkeep = 30\n", 16 },
        { "steps = 100\ncheckpoint_every = 0\n", 1 },
        { "steps = 100\n[schedule]\nkind = cosine\n", 3 } };
    struct train_recipe r;
    struct train_disk d;
    struct plan p;
    struct err err = { 0 };
    char text[300];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "%s%s", needed, cases[i].run);
        EXPECTF(resolve_text(&r, text, &err) && train_recipe_plan(&p, &r, 8192, &err), "%s",
                err.msg);
        train_disk_plan(&d, &r, &p);
        EXPECTF(d.n == cases[i].n, "case %zu: %llu", i, (unsigned long long)d.n);
        EXPECT(d.there == 0 && d.total == d.n * d.checkpoint + d.model);
        EXPECT(d.available > 0 && d.available < UINT64_MAX);
        d.available = d.total;
        EXPECT(train_disk_check(&d, &r, &err));
        d.available--;
        EXPECT(!train_disk_check(&d, &r, &err) && err.code == ERR_IO && strstr(err.msg, "--out"));
        plan_release(&p);
        train_recipe_release(&r);
    }
}

/* Written out and read again it is the same run. */
static void test_written(void)
{
    struct train_recipe a, b;
    struct err err = { 0 };
    struct buf one = { 0 }, two = { 0 };
    char text[500];
    snprintf(text, sizeof text, "%sprompt = \" a # \\\\ \\\"b\\\"\\n\"\n[data]\n"
             "source = \"x y\" weight=0.1\n[optimizer]\nlr = 0.0123456789\n", needed);
    EXPECTF(resolve_text(&a, text, &err), "%s", err.msg);
    train_recipe_write(&a, &one);
    EXPECTF(resolve_text(&b, one.at, &err), "%s", err.msg);
    train_recipe_write(&b, &two);
    EXPECT(one.len == two.len && !memcmp(one.at, two.at, one.len));
    EXPECT(!strcmp(a.run.prompt[0], b.run.prompt[0]) && a.optimizer.lr == b.optimizer.lr);
    EXPECT(train_recipe_same(&a, &b, &err));
    EXPECT(train_recipe_set(&b, "--threads", "run.threads=3", &err)
           && train_recipe_same(&a, &b, &err));
    EXPECT(train_recipe_set(&b, "--set", "data.source=moved/here epochs=3", &err)
           && train_recipe_set(&b, "--set", "data.source=z weight=0.1", &err)
           && train_recipe_same(&a, &b, &err));
    EXPECT(train_recipe_set(&b, "--set", "data.source=more", &err)
           && !train_recipe_same(&a, &b, &err) && strstr(err.msg, "moved/here"));
    recipe_value_clear(&b, recipe_key_find("data", "source"));
    EXPECT(train_recipe_set(&b, "--set", "data.source=moved/here", &err)
           && train_recipe_set(&b, "--set", "data.source=z weight=0.2", &err)
           && !train_recipe_same(&a, &b, &err) && strstr(err.msg, "weight=0.2"));
    recipe_value_clear(&b, recipe_key_find("data", "source"));
    EXPECT(train_recipe_set(&b, "--set", "data.source=shards", &err)
           && train_recipe_set(&b, "--set", "data.source=z weight=0.1", &err));
    EXPECT(train_recipe_set(&b, "--set", "optimizer.lr=0.01", &err)
           && !train_recipe_same(&a, &b, &err));
    EXPECTF(strstr(err.msg, "--set") && strstr(err.msg, "0.0123456789"), "%s", err.msg);
    buf_release(&one);
    buf_release(&two);
    train_recipe_release(&a);
    train_recipe_release(&b);
}

static void test_options(void)
{
    struct train_recipe r;
    struct err err = { 0 };
    EXPECT(read_text(&r, needed, &err));
    EXPECT(train_recipe_set(&r, "--set", "run.seed=9007199254740991", &err) &&
           r.run.seed == 9007199254740991 &&
           !train_recipe_set(&r, "--set", "run.seed=9007199254740993", &err));
    EXPECT(!train_recipe_set(&r, "--set", "lr=1", &err) && strstr(err.msg, "--set"));
    EXPECT(!train_recipe_set(&r, "--set", "optimizer.rl=1", &err) && strstr(err.msg, "lr"));
    EXPECT(!train_recipe_set(&r, "--size", "model.size=big", &err) && strstr(err.msg, "--size"));
    EXPECT(train_recipe_set(&r, "--set", "data.source=a", &err)
           && train_recipe_set(&r, "--set", "data.source=b weight=3", &err));
    EXPECT(r.data.n_sources == 2 && r.data.source[1].weight == 3);
    EXPECT(train_recipe_set(&r, "--out", "run.out=other", &err) && !strcmp(r.run.out, "other"));
    train_recipe_release(&r);
}

/* Every allocation fails once: said, nothing lost. */
static void test_no_memory(void)
{
    bool ok = false;
    long before = mem_live;
    for (long k = 0; k < 100 && !ok; k++) {
        struct train_recipe r;
        struct err err = { 0 };
        char text[300];
        snprintf(text, sizeof text, "%sprompt = p\n", needed);
        train_recipe_init(&r);
        mem_fail_after = k;
        ok = train_recipe_read(&r, "x.recipe", bytes_of(text), &err)
             && train_recipe_set(&r, "--set", "data.source=z", &err)
             && train_recipe_resolve(&r, &err);
        mem_fail_after = -1;
        EXPECTF(ok || err.code == ERR_MEMORY, "%s", err.msg);
        train_recipe_release(&r);
        EXPECT(mem_live == before);
    }
    EXPECT(ok);
}

static void test_explain(void)
{
    struct buf all = { 0 };
    train_recipe_explain(&all);
    EXPECT(buf_ok(&all, NULL) && strstr(all.at, "[schedule]") && strstr(all.at, "spike_sigma"));
    for (size_t i = 0; recipe_keys[i].name; i++)
        EXPECTF(!recipe_keys[i].preset != !recipe_keys[i].rule, "%s", recipe_keys[i].name);
    buf_release(&all);
}

const struct test tests[] = {
    { "values", test_values }, { "refused lines", test_refused_lines },
    { "refused together", test_refused_together }, { "sizes", test_sizes },
    { "rates", test_rates }, { "config", test_config }, { "large", test_large },
    { "memory", test_memory }, { "disk", test_disk }, { "written", test_written },
    { "options", test_options }, { "no memory", test_no_memory }, { "explain", test_explain },
    { 0 }
};
