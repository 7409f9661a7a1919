/* Learning rates at the corners, the spike guard, operations counted by hand. */
#include "../../harness.h"
#include "train/train.h"

#include <math.h>

static struct train_recipe recipe(enum recipe_schedule_kind kind, uint64_t steps,
                                  uint64_t warmup, double decay, double final_lr)
{
    struct train_recipe r = { 0 };
    r.optimizer.lr = 2;
    r.run.steps = steps;
    r.schedule = (struct recipe_schedule){ .kind = kind, .warmup = warmup, .decay = decay,
                                           .final_lr = final_lr };
    return r;
}

static bool close_to(double a, double b)
{
    return fabs(a - b) <= 1e-14 * fmax(fabs(a), fabs(b));
}

static void test_wsd(void)
{
    struct train_recipe r = recipe(SCHEDULE_WSD, 100, 4, 0.25, 0);
    EXPECT(schedule_lr(&r, 1) == 0.5 && schedule_lr(&r, 3) == 1.5 && schedule_lr(&r, 4) == 2);
    EXPECT(schedule_lr(&r, 5) == 2 && schedule_lr(&r, 75) == 2);
    EXPECT(schedule_decay_begins(&r) == 76 && schedule_lr(&r, 76) == 2);
    EXPECT(close_to(schedule_lr(&r, 77), 2 * (1 - 0.2)));           /* x = 1/25 */
    EXPECT(close_to(schedule_lr(&r, 92), 2 * (1 - 0.8)));           /* x = 16/25 */
    EXPECT(schedule_lr(&r, 100) > 0 && schedule_lr(&r, 100) < schedule_lr(&r, 99));
    r.schedule.shape = DECAY_LINEAR;
    r.schedule.final_lr = 0.1;
    EXPECT(close_to(schedule_lr(&r, 81), 2 * (0.1 + 0.9 * 0.8)));
}

static void test_edges(void)
{
    struct train_recipe r = recipe(SCHEDULE_WSD, 10, 0, 0, 0);
    EXPECT(schedule_lr(&r, 1) == 2 && schedule_lr(&r, 10) == 2 && schedule_decay_begins(&r) == 11);
    r.schedule.decay = 1;                 /* no stable part */
    EXPECT(schedule_lr(&r, 1) == 2 && close_to(schedule_lr(&r, 10), 2 * (1 - sqrt(0.9))));
    r.schedule.warmup = 10;               /* warm-up to the end, both at once */
    EXPECT(close_to(schedule_lr(&r, 5), 1 * (1 - sqrt(0.4))));
    r = recipe(SCHEDULE_WSD, 1, 1, 1, 0);
    EXPECT(schedule_lr(&r, 1) == 2);
}

static void test_cosine(void)
{
    struct train_recipe r = recipe(SCHEDULE_COSINE, 110, 10, 0.2, 0.1);
    EXPECT(schedule_lr(&r, 5) == 1 && schedule_lr(&r, 10) == 2 && schedule_lr(&r, 11) == 2);
    EXPECT(close_to(schedule_lr(&r, 61), 2 * (0.1 + 0.9 * 0.5)));
    EXPECT(schedule_lr(&r, 110) > 0.2 && schedule_lr(&r, 110) < 0.201);
    r.schedule.warmup = 110;
    EXPECT(schedule_lr(&r, 110) == 2);
}

/* Whether a state after `done` steps of a is also one of b; the sentence holds `words`. */
static bool continues(struct train_recipe a, struct train_recipe b, uint64_t done,
                      const char *words)
{
    struct err err = { 0 };
    char file[] = "x.recipe";
    a.file = b.file = file;
    bool ok = schedule_continues(&a, &b, done, &err);
    EXPECTF(ok || strstr(err.msg, words), "%s", err.msg);
    return ok;
}

static void test_longer(void)
{
    struct train_recipe a = recipe(SCHEDULE_WSD, 100, 4, 0.25, 0), b = a;
    b.run.steps = 200;
    EXPECT(schedule_branches(&a) == 75 && continues(a, b, 75, "") && continues(b, a, 75, ""));
    EXPECT(continues(a, b, 76, ""));      /* the first that decays has all of lr */
    EXPECT(!continues(a, b, 77, "the lr of step 77 would have been 2, not 1.6; another length or "
                      "decay can follow up to step 75"));
    EXPECT(!continues(b, a, 101, "run.steps is 100, but 101 steps are done already"));
    EXPECT(!continues(a, b, 101, "the state after step 101 of a run of 100"));
    b.schedule.warmup = 5;
    EXPECT(continues(a, b, 0, "") && !continues(a, b, 1, "step 1 would have been 0.4, not 0.5"));
    a.schedule.decay = 0;                 /* never falls: any length goes on, none is held */
    b = a;
    b.run.steps = 101;
    EXPECT(schedule_branches(&a) == 0 && continues(a, b, 100, ""));
    a = recipe(SCHEDULE_COSINE, 100, 10, 0, 0), b = a;
    b.run.steps = 200;
    EXPECT(schedule_branches(&a) == 0 && continues(a, b, 11, ""));
    EXPECT(!continues(a, b, 12, "a cosine has its length from the beginning"));
}

/* Losses between 1 and 2, norms between 3 and 4, repeating. */
static void feed(struct spike_guard *g, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        EXPECT(!spike_guard_step(g, 6, 1 + (double)(i % 2), 3 + (double)(i % 2)));
}

static void test_spike_guard(void)
{
    struct spike_guard g = { 0 };
    feed(&g, SPIKE_LEAST - 2);
    EXPECT(!spike_guard_step(&g, 6, 1e9, 3));             /* too early to know */
    g = (struct spike_guard){ 0 };
    feed(&g, 300);
    EXPECT(g.n == 300 && g.n_skipped == 0);
    EXPECT(!spike_guard_step(&g, 6, 1.5 + 6 * 0.5, 3.5)); /* mean 1.5, deviation 0.5: not above */
    g = (struct spike_guard){ 0 };
    feed(&g, 200);
    EXPECT(spike_guard_step(&g, 6, 4.6, 3.5) && g.n_skipped == 1);
    g = (struct spike_guard){ 0 };
    feed(&g, 200);
    EXPECT(spike_guard_step(&g, 6, 1.5, 6.6) && g.n_skipped == 1 && g.n == 201);
    EXPECT(!spike_guard_step(&g, 0, 1e9, 1e9));           /* off */
    EXPECT(spike_guard_step(&g, 0, NAN, 1) && spike_guard_step(&g, 0, 1, INFINITY));
    EXPECT(g.n == 202 && g.n_skipped == 3);               /* what is not finite is not kept */
}

/* A loss that stays high is accepted after a while. */
static void test_new_level(void)
{
    struct spike_guard g = { 0 };
    unsigned skipped = 0;
    feed(&g, SPIKE_WINDOW);
    for (int i = 0; i < SPIKE_WINDOW; i++)
        skipped += spike_guard_step(&g, 6, 9, 3.5);
    EXPECTF(skipped >= 1 && skipped < 16, "%u", skipped);
}

static void test_bits_per_byte(void)
{
    EXPECT(close_to(bits_per_byte(log(256) * 10, 10), 8));
    EXPECT(isnan(bits_per_byte(1, 0)));
}

/* Two layers (window 2, dense; global, sparse) and an MTP block, counted by hand. */
static struct layer_plan small_layers[3] = {
    { .window = 2, .ffn = 12 }, { .ffn = 5, .sparse = true, .shared_ffn = 7 }, { .ffn = 12 }
};

static struct plan small_plan(void)
{
    struct plan p = { .family = families[0], .n_layers = 2, .n_mtp = 1, .hidden = 8, .vocab = 11,
                      .n_heads = 4, .n_kv_heads = 2, .head_dim = 6, .layer = small_layers };
    p.router.n = 3;
    p.router.top_k = 2;
    return p;
}

static void test_flops(void)
{
    struct plan p = small_plan();
    struct train_flops f;
    double attention = 8 * (24 + 12 + 12 + 24), dense = 3 * 8 * 12;
    double sparse = 3 * 8 * (2 * 5 + 7) + 3 * 8, head = 8 * 11;
    train_flops_init(&f, &p);
    EXPECT(f.trunk == 2 * (2 * attention + dense + sparse + head));
    EXPECT(f.mtp == 2 * (attention + dense + 2 * 8 * 8 + head) && f.key == 4 * 24);
    EXPECT(train_flops_keys(&p, 5, false) == (1 + 2 + 2 + 2 + 2) + 15);
    EXPECT(train_flops_keys(&p, 1, false) == 2 && train_flops_keys(&p, 4, true) == 10);
    /* One row of 8: documents of 5 and 2 tokens, one place of padding. */
    uint32_t pos[8] = { 0, 1, 2, 3, 4, 0, 1, 0 }, used = 7;
    struct batch b = { .n_rows = 1, .context = 8, .pos = pos, .used = &used, .n_targets = 5,
                       .n_targets2 = 3 };
    double keys = (9 + 15) + (3 + 3) + 10 + 1;            /* trunk; MTP over 4 and 1 */
    EXPECT(train_flops_batch(&f, &p, &b) == 3 * (7 * f.trunk + 3 * f.mtp + f.key * keys));
    double whole = (15 + 36) + 36;                        /* 8 tokens of one document */
    EXPECT(train_flops_token(&f, &p, 8) == 3 * (f.trunk + f.mtp + f.key * whole / 8));
}

const struct test tests[] = {
    { "wsd", test_wsd }, { "edges", test_edges }, { "cosine", test_cosine },
    { "longer", test_longer }, { "spike guard", test_spike_guard }, { "new level", test_new_level },
    { "bits per byte", test_bits_per_byte }, { "flops", test_flops }, { 0 }
};
