/*
 * Training against PyTorch in float64 (tests/gold/train/README.md): losses, logits and every
 * gradient of tiny models; elements that must be exactly zero; the same bits for any number
 * of threads; training logits equal to serving logits.
 */
#include "../harness.h"
#include "train/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ||got - want|| / ||want|| of a gradient. */
static const double TOLERANCE = 1e-4, BF16_TOLERANCE = 0.1;

struct rig {
    struct model file, m;
    struct params ps;
    struct npy token, target, target2, pos, used;
    struct batch b;
    char folder[600];
};

static bool open_ids(struct rig *g, struct npy *n, const char *name, uint32_t **to)
{
    char path[1200];
    struct err err = { 0 };
    snprintf(path, sizeof path, "%s/%s.npy", g->folder, name);
    bool ok = npy_open(n, path, &err);
    EXPECTF(ok, "%s", err.msg);
    *to = (uint32_t *)(uintptr_t)n->data;
    return ok;
}

static bool rig_open(struct rig *g, const char *name, int n_threads, bool in_bf16)
{
    struct err err = { 0 };
    *g = (struct rig){ 0 };
    snprintf(g->folder, sizeof g->folder, "%s/%s", tree_path("tests/gold/train"), name);
    bool ok = model_open_plan(&g->file, g->folder, &err)
              && model_bind(&g->file, 1, NUMERICS_NATIVE, &err)
              && model_open_plan(&g->m, g->folder, &err)
              && params_open(&g->ps, &g->m, n_threads, in_bf16, true, &err)
              && params_copy_from(&g->ps, &g->file, &err);
    EXPECTF(ok, "%s: %s", g->folder, err.msg);
    ok = ok && open_ids(g, &g->token, "token", &g->b.token)
         && open_ids(g, &g->target, "target", &g->b.target)
         && open_ids(g, &g->target2, "target2", &g->b.target2)
         && open_ids(g, &g->pos, "pos", &g->b.pos) && open_ids(g, &g->used, "used", &g->b.used);
    if (!ok)
        return false;
    g->b.n_rows = g->used.shape[0];
    g->b.context = g->token.shape[0] / g->b.n_rows;
    for (size_t i = 0; i < g->token.shape[0]; i++) {
        g->b.n_targets += g->b.target[i] != NO_TARGET;
        g->b.n_targets2 += g->b.target2[i] != NO_TARGET;
    }
    return true;
}

static void rig_close(struct rig *g)
{
    params_close(&g->ps);
    model_close(&g->m);
    model_close(&g->file);
    npy_close(&g->token);
    npy_close(&g->target);
    npy_close(&g->target2);
    npy_close(&g->pos);
    npy_close(&g->used);
}

static struct objective objective_of(const struct rig *g, double z, double balance)
{
    return (struct objective){ .scale_main = 1.0 / (double)g->b.n_targets,
                               .scale_mtp = 0.05 / (double)g->b.n_targets2, .z_coef = z,
                               .balance = balance / (double)g->b.n_rows };
}

static bool gradients(struct rig *g, double z, double balance, struct pass_sums *sums)
{
    struct err err = { 0 };
    struct objective o = objective_of(g, z, balance);
    struct tape *t = tape_open(&g->m, g->b.n_rows, g->b.context, true, &err);
    EXPECTF(t, "%s", err.msg);
    if (!t)
        return false;
    params_clear_grads(&g->ps);
    pass_gradients(t, &g->b, &o, &g->ps.grads, sums);
    tape_close(t);
    return true;
}

static double relative_error(const float *got, const float *want, size_t n)
{
    double d = 0, w = 0;
    for (size_t i = 0; i < n; i++) {
        d += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        w += (double)want[i] * want[i];
    }
    return w == 0 ? (d == 0 ? 0 : INFINITY) : sqrt(d / w);
}

/* Every tensor of the file; elements that are zero there must be zero here. */
static void expect_grads(const struct rig *g, const char *file, bool all)
{
    char path[1200];
    struct err err = { 0 };
    struct safetensors s;
    double worst = 0;
    snprintf(path, sizeof path, "%s/%s", g->folder, file);
    if (!safetensors_open(&s, path, &err)) {
        test_fail(__FILE__, __LINE__, "%s", err.msg);
        return;
    }
    size_t found = 0;
    for (size_t i = 0; i < g->ps.n; i++) {
        const struct param *p = &g->ps.at[i];
        const struct tensor *t = tensors_find(&s.tensors, p->name);
        found += t != NULL;
        if (!t || !p->grad) {
            EXPECTF(!all || !p->grad, "%s has no gradient in %s", p->name, file);
            continue;
        }
        float *want = malloc(p->n * sizeof *want);
        memcpy(want, t->data, p->n * sizeof *want);
        double e = relative_error(p->grad, want, p->n);
        size_t wrong = 0;
        for (size_t k = 0; k < p->n; k++)
            wrong += want[k] == 0 && p->grad[k] != 0;
        EXPECTF(e <= TOLERANCE, "%s: %s: relative error %.3g", file, p->name, e);
        EXPECTF(!wrong, "%s: %s: %zu elements should be zero", file, p->name, wrong);
        worst = e > worst ? e : worst;
        free(want);
    }
    EXPECTF(found == s.tensors.n, "%zu of %zu tensors of %s are trained", found, s.tensors.n, file);
    printf("%s/%s: largest relative error of a gradient %.2e\n", g->folder, file, worst);
    safetensors_close(&s);
}

static void expect_losses(const struct rig *g, const struct pass_sums *sums)
{
    char path[1200];
    struct err err = { 0 };
    struct npy n;
    double want[4];
    snprintf(path, sizeof path, "%s/loss.npy", g->folder);
    if (!npy_open(&n, path, &err)) {
        test_fail(__FILE__, __LINE__, "%s", err.msg);
        return;
    }
    memcpy(want, n.data, sizeof want);
    double got[] = { sums->ce / (double)sums->n_targets, sums->mtp / (double)sums->n_targets2,
                     sums->balance / (double)g->b.n_rows, sums->z / (double)sums->n_targets };
    for (int i = 0; i < 4; i++)
        EXPECTF(fabs(got[i] - want[i]) <= 1e-5 * fabs(want[i]), "loss %d: %.9g, expected %.9g", i,
                got[i], want[i]);
    npy_close(&n);
}

static void test_exaone_moe(void)
{
    struct rig g;
    struct pass_sums sums = { 0 };
    if (rig_open(&g, "exaone_moe", 2, false) && gradients(&g, 0, 0.01, &sums)) {
        expect_losses(&g, &sums);
        expect_grads(&g, "grads.safetensors", true);
    }
    if (g.b.n_targets && gradients(&g, 1e-3, 0.01, &sums))
        expect_grads(&g, "grads_z.safetensors", false);
    rig_close(&g);
}

/* A loss of weight 0 is reported and moves nothing. */
static void test_no_weight(void)
{
    struct rig g;
    struct err err = { 0 };
    struct pass_sums sums = { 0 };
    struct tape *t = NULL;
    if (rig_open(&g, "exaone_moe", 2, false))
        t = tape_open(&g.m, g.b.n_rows, g.b.context, true, &err);
    if (t) {
        struct objective o = objective_of(&g, 0, 0);
        o.scale_mtp = 0;
        size_t seen = 0;
        params_clear_grads(&g.ps);
        pass_gradients(t, &g.b, &o, &g.ps.grads, &sums);
        for (size_t i = 0; i < g.ps.n; i++) {
            const struct param *p = &g.ps.at[i];
            size_t moved = 0;
            for (size_t k = 0; p->grad && k < p->n; k++)
                moved += p->grad[k] != 0;
            bool mtp = strncmp(p->name, "mtp.", 4) == 0;
            seen += mtp;
            EXPECTF(!mtp || !moved, "%s: %zu gradients without a loss", p->name, moved);
        }
        EXPECT(seen > 0 && sums.mtp > 0);
        tape_close(t);
    }
    EXPECTF(t, "%s", err.msg);
    rig_close(&g);
}

static void test_sibling(const char *name)
{
    struct rig g;
    struct pass_sums sums = { 0 };
    if (rig_open(&g, name, 2, false) && gradients(&g, 0, 0, &sums))
        expect_grads(&g, "grads.safetensors", true);
    rig_close(&g);
}

static void test_exaone4(void) { test_sibling("exaone4"); }
static void test_llama(void) { test_sibling("llama"); }
static void test_gemma3(void) { test_sibling("gemma3"); }

/* The gradients of all parameters as one run of floats. */
static float *gradients_on(const char *name, int n_threads, bool in_bf16, size_t *n,
                           struct pass_sums *sums)
{
    struct rig g;
    float *copy = NULL;
    if (rig_open(&g, name, n_threads, in_bf16) && gradients(&g, 1e-3, 0.01, sums)) {
        *n = g.ps.n_grad;
        copy = malloc(*n * sizeof *copy);
        memcpy(copy, g.ps.grad, *n * sizeof *copy);
    }
    rig_close(&g);
    return copy;
}

static void expect_same_on_threads(bool in_bf16)
{
    size_t n = 0, n_other = 0;
    struct pass_sums sums = { 0 };
    float *one = gradients_on("exaone_moe", 1, in_bf16, &n, &sums);
    for (int threads = 2; threads <= 5; threads += 3) {
        struct pass_sums other = { 0 };
        float *many = gradients_on("exaone_moe", threads, in_bf16, &n_other, &other);
        EXPECT(one && many && n == n_other && !memcmp(one, many, n * sizeof *one));
        EXPECT(!memcmp(&sums, &other, sizeof sums));
        free(many);
    }
    free(one);
}

static void test_threads(void)
{
    expect_same_on_threads(false);
    expect_same_on_threads(true);
}

/* bf16 against our own f32, tensor by tensor: roundings of 2^-9 that add up at random, not a wrong
 * formula.  The fixtures' weights are exact in bf16. */
static void expect_near_f32(const char *name)
{
    struct rig g;
    size_t n = 0;
    double worst = 0;
    struct pass_sums a = { 0 }, b = { 0 };
    float *f32 = gradients_on(name, 2, false, &n, &a);
    bool ok = rig_open(&g, name, 2, true) && gradients(&g, 1e-3, 0.01, &b) && f32;
    for (size_t i = 0; ok && i < g.ps.n; i++) {
        const struct param *p = &g.ps.at[i];
        double e = p->grad ? relative_error(p->grad, f32 + (p->grad - g.ps.grad), p->n) : 0;
        EXPECTF(e < BF16_TOLERANCE, "%s: %s is %.3g from f32", name, p->name, e);
        worst = e > worst ? e : worst;
    }
    EXPECTF(worst > 1e-5, "%s: nothing was rounded", name);
    EXPECTF(fabs(a.ce - b.ce) < 0.01 * a.ce, "%s: losses %g and %g", name, a.ce, b.ce);
    printf("%s: largest difference of a gradient in bf16 from f32 %.2e\n", name, worst);
    rig_close(&g);
    free(f32);
}

static void test_bf16(void)
{
    expect_near_f32("exaone_moe");
    expect_near_f32("exaone4");
    expect_near_f32("llama");
    expect_near_f32("gemma3");
}

/* Logits of one document token by token, as serving has them. */
static void serve(struct rig *g, size_t first, size_t n, float *logits)
{
    struct kv kv;
    struct err err;
    size_t vocab = g->m.plan.vocab;
    if (!workspace_reserve(&g->m.ws, &g->m.plan, 16, 2, &err)
        || !kv_init(&kv, &g->m.plan, KV_F32, 64, 16, false, &err)) {
        test_fail(__FILE__, __LINE__, "%s", err.msg);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct fwd_row row = { .kv = &kv, .token = g->b.token[first + i], .pos = (uint32_t)i,
                               .logits = logits + (first + i) * vocab };
        model_forward(&g->m, &row, 1);
    }
    kv_release(&kv);
}

static void expect_served(bool in_bf16)
{
    struct rig g;
    struct err err;
    struct pass_sums sums = { 0 };
    if (!rig_open(&g, "exaone_moe", 2, in_bf16))
        return;
    size_t n = g.b.n_rows * g.b.context, vocab = g.m.plan.vocab, first = 0;
    float *trained = calloc(n * vocab, sizeof *trained), *served = calloc(n * vocab, 4);
    struct objective o = objective_of(&g, 0, 0.01);
    struct tape *t = tape_open(&g.m, g.b.n_rows, g.b.context, false, &err);
    EXPECT(t != NULL);
    pass_forward(t, &g.b, &o, &sums, trained);
    for (size_t i = 1; i <= n; i++)
        if (i == n || g.b.pos[i] == 0) {
            serve(&g, first, i - first, served);
            first = i;
        }
    EXPECT(!memcmp(trained, served, n * vocab * sizeof *trained));
    if (!in_bf16)
        expect_losses(&g, &sums);
    tape_close(t);
    free(trained);
    free(served);
    rig_close(&g);
}

static void test_served(void)
{
    expect_served(false);
    expect_served(true);
}

static bool open_f64(struct npy *n, const struct rig *g, const char *name, const double **to)
{
    char path[1200];
    struct err err = { 0 };
    snprintf(path, sizeof path, "%s/%s.npy", g->folder, name);
    bool ok = npy_open(n, path, &err);
    EXPECTF(ok, "%s", err.msg);
    *to = (const double *)(const void *)n->data;
    return ok;
}

/* One step of the fixture's run: clipping at 1, decay of matrices but the embedding's. */
static void fixture_step(struct rig *g, struct tape *t, struct optimizer *o, uint64_t step,
                         double *loss, double *norm)
{
    uint64_t load[3 * 8] = { 0 };
    struct pass_sums sums = { .load = load };
    struct objective objective = objective_of(g, 0, 0.01);
    params_clear_grads(&g->ps);
    pass_gradients(t, &g->b, &objective, &g->ps.grads, &sums);
    *loss = sums.ce / (double)sums.n_targets + 0.05 * sums.mtp / (double)sums.n_targets2
            + 0.01 * sums.balance / (double)g->b.n_rows;
    *norm = optimizer_norm(o);
    optimizer_step(o, step, 1e-3, *norm > 1 ? 1 / *norm : 1, load);
}

static void expect_biases(const struct rig *g, const double *want)
{
    for (size_t i = 0; i < g->ps.n; i++) {
        const struct param *p = &g->ps.at[i];
        for (size_t k = 0; p->group == PARAM_BIAS && k < p->n; k++, want++)
            EXPECTF(fabs((double)p->master[k] - *want) < 1e-6, "%s[%zu]: %g, expected %g",
                    p->name, k, (double)p->master[k], *want);
    }
}

/* 20 steps of AdamW beside torch.optim.AdamW in float64. */
static void test_adamw(void)
{
    struct rig g;
    struct err err;
    struct npy losses, norms, biases;
    const double *loss, *norm, *bias;
    struct optimizer o;
    struct optimizer_rule rule = { { 0.9, 0.95, 1e-8, 0.1 }, 0, 1e-3 };
    if (!rig_open(&g, "exaone_moe", 2, false))
        return;
    params_close(&g.ps);                  /* again, with AdamW for all matrices */
    model_close(&g.m);
    bool ok = model_open_plan(&g.m, g.folder, &err)
              && params_open(&g.ps, &g.m, 2, false, false, &err)
              && params_copy_from(&g.ps, &g.file, &err) && optimizer_open(&o, &g.ps, &rule, &err);
    struct tape *t = ok ? tape_open(&g.m, g.b.n_rows, g.b.context, true, &err) : NULL;
    EXPECTF(t, "%s", err.msg);
    if (!t || !open_f64(&losses, &g, "adamw_loss", &loss)
        || !open_f64(&norms, &g, "adamw_norm", &norm)
        || !open_f64(&biases, &g, "adamw_bias", &bias))
        return;
    double worst = 0;
    for (uint64_t step = 1; step <= 20; step++) {
        double got, size;
        fixture_step(&g, t, &o, step, &got, &size);
        double e = fabs(got - loss[step - 1]) / loss[step - 1];
        worst = e > worst ? e : worst;
        EXPECTF(e <= 1e-4, "step %d: loss %.9g, expected %.9g", (int)step, got, loss[step - 1]);
        EXPECTF(fabs(size - norm[step - 1]) <= 1e-3 * norm[step - 1], "step %d: norm %g, "
                "expected %g", (int)step, size, norm[step - 1]);
    }
    expect_biases(&g, bias);
    printf("20 AdamW steps: largest relative error of a loss %.2e\n", worst);
    tape_close(t);
    optimizer_close(&o);
    npy_close(&losses);
    npy_close(&norms);
    npy_close(&biases);
    rig_close(&g);
}

/* A step in two passes of one sequence each is the step in one pass, but for the sums' order. */
static void test_passes(void)
{
    struct rig g;
    struct err err;
    struct pass_sums whole = { 0 }, parts = { 0 };
    if (!rig_open(&g, "exaone_moe", 2, false) || !gradients(&g, 0, 0.01, &whole))
        return;
    size_t n = g.ps.n_grad;
    float *one = malloc(n * sizeof *one);
    memcpy(one, g.ps.grad, n * sizeof *one);
    struct objective o = objective_of(&g, 0, 0.01);
    struct tape *t = tape_open(&g.m, 1, g.b.context, true, &err);
    EXPECT(t != NULL);
    params_clear_grads(&g.ps);
    for (size_t r = 0; t && r < g.b.n_rows; r++) {
        struct batch b = g.b;
        size_t at = r * b.context;
        b.n_rows = 1;
        b.token += at, b.target += at, b.target2 += at, b.pos += at, b.used += r;
        pass_gradients(t, &b, &o, &g.ps.grads, &parts);
    }
    EXPECT(relative_error(g.ps.grad, one, n) < 1e-5);
    EXPECT(fabs(whole.ce - parts.ce) < 1e-9 && fabs(whole.balance - parts.balance) < 1e-9);
    tape_close(t);
    free(one);
    rig_close(&g);
}

/* After a step of Muon and AdamW every matrix computes with its new master, rounded. */
static void test_compute_copies(void)
{
    struct rig g;
    struct err err;
    struct optimizer o;
    struct optimizer_rule rule = { { 0.9, 0.95, 1e-8, 0.1 }, 0.95, 1e-3 };
    if (!rig_open(&g, "exaone_moe", 2, true) || !optimizer_open(&o, &g.ps, &rule, &err))
        return;
    for (size_t i = 0; i < g.ps.n_grad; i++)
        g.ps.grad[i] = (float)(i % 7) - 2.5f;
    optimizer_step(&o, 1, 0.1, 1, NULL);
    size_t copies[N_PARAM_GROUPS] = { 0 }, wrong = 0;
    for (size_t i = 0; i < g.ps.n; i++) {
        const struct param *p = &g.ps.at[i];
        copies[p->group] += p->compute != NULL;
        for (size_t k = 0; p->compute && k < p->n; k++)
            wrong += p->compute[k] != f32_to_bf16(p->master[k]);
    }
    EXPECT(copies[PARAM_MUON] > 0 && copies[PARAM_ADAMW] > 0);
    EXPECTF(wrong == 0, "%zu elements are not their master's rounding", wrong);
    optimizer_close(&o);
    rig_close(&g);
}

static void test_memory(void)
{
    struct rig g;
    struct err err;
    if (!rig_open(&g, "exaone_moe", 1, false))
        return;
    struct tape_shape shape = { 2, 24, true, false, 1 }, alone = { 2, 24, false, false, 1 };
    EXPECT(tape_bytes(&g.m.plan, &shape) > tape_bytes(&g.m.plan, &alone));
    shape = (struct tape_shape){ UINT32_MAX, 1 << 20, true, false, 1 };
    EXPECT(tape_bytes(&g.m.plan, &shape) == UINT64_MAX);
    EXPECT(!tape_open(&g.m, UINT32_MAX, 1 << 20, true, &err) && err.code == ERR_MEMORY);
    EXPECT(params_bytes(&g.m.plan, true, true) > params_bytes(&g.m.plan, false, true));
    rig_close(&g);
}

const struct test tests[] = {
    { "every gradient of a tiny exaone_moe equals PyTorch's in float64", test_exaone_moe },
    { "a loss of weight 0", test_no_weight },
    { "exaone4: post norms", test_exaone4 },
    { "llama: tied embedding", test_llama },
    { "gemma3: both norms, GELU, two RoPEs", test_gemma3 },
    { "the same bits for any number of threads", test_threads },
    { "bf16 stays near f32", test_bf16 },
    { "training logits are serving logits", test_served },
    { "20 steps of AdamW equal torch's", test_adamw },
    { "a step in several passes", test_passes },
    { "what computes in bf16 is its master's rounding", test_compute_copies },
    { "memory is known before", test_memory },
    { 0 }
};
