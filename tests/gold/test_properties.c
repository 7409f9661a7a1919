/*
 * What must not change a single bit inside a numeric class: how a text is cut into steps,
 * what else is in the batch, the number of threads, the CPU level (test_sessions.c: going back,
 * forks, files).  On the tiny exaone_moe (windows that wrap, experts, MTP) in the f32 and bf16
 * classes, and on SmolLM2 (int8 activations) where the file is at hand.
 */
#include "../harness.h"
#include "run/run.h"

#include <stdio.h>
#include <stdlib.h>

enum { LONG = 300 };

struct rig {
    struct model m;
    struct npy tokens;
    const uint32_t *ids;
    size_t vocab;
    void *bf16;                           /* matrices rounded to bf16, or NULL */
};

/* Every matrix of the bound model stored as BF16 instead. */
static void to_bf16(struct weight *w, uint16_t **at)
{
    if (!w->data || w->rows == 1 || w->f32_class)
        return;
    const float *x = (const float *)(const void *)w->data;
    for (size_t i = 0; i < w->rows * w->cols; i++)
        (*at)[i] = f32_to_bf16(x[i]);
    *w = (struct weight){ .type = qtype_find(QT_BF16), .data = (const uint8_t *)*at,
                          .rows = w->rows, .cols = w->cols, .row_bytes = w->cols * 2 };
    *at += w->rows * w->cols;
}

static void rig_to_bf16(struct rig *r)
{
    const struct plan *p = &r->m.plan;
    uint16_t *at = r->bf16 = mem_take(1 << 20, sizeof *at);
    to_bf16(&r->m.weights.head, &at);
    to_bf16(&r->m.weights.mtp[0].fc, &at);
    for (uint32_t i = 0; i < plan_all_layers(p); i++) {
        struct layer_weights *l = &r->m.weights.layer[i];
        struct weight *w[] = { &l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down,
                               &l->gate_s, &l->up_s, &l->down_s };
        for (size_t k = 0; k < sizeof w / sizeof *w; k++)
            to_bf16(w[k], &at);
        for (uint32_t e = 0; p->layer[i].sparse && e < p->router.n; e++) {
            to_bf16(&l->gate_e[e], &at);
            to_bf16(&l->up_e[e], &at);
            to_bf16(&l->down_e[e], &at);
        }
    }
}

static bool rig_open(struct rig *r, int n_threads, bool in_bf16)
{
    struct err err = { 0 };
    *r = (struct rig){ 0 };
    bool ok = model_open_plan(&r->m, tree_path("tests/gold/exaone_moe/lllg"), &err)
              && model_bind(&r->m, n_threads, NUMERICS_NATIVE, &err)
              && npy_open(&r->tokens, tree_path("tests/gold/exaone_moe/lllg/tokens.npy"), &err);
    EXPECTF(ok, "%s", err.msg);
    r->vocab = r->m.plan.vocab;
    r->ids = (const uint32_t *)(const void *)r->tokens.data;
    if (ok && in_bf16)
        rig_to_bf16(r);
    return ok;
}

static void rig_close(struct rig *r)
{
    mem_give(r->bf16);
    npy_close(&r->tokens);
    model_close(&r->m);
}

/* Logits (or MTP logits) of all n positions, cut into steps of `chunk`. */
static float *run(struct model *m, const uint32_t *ids, size_t n, uint32_t chunk,
                  enum kv_type kv_type, bool mtp)
{
    struct err err = { 0 };
    struct session_options o = { .context = 512, .chunk = chunk, .kv_type = kv_type, .mtp = mtp };
    float *out = mem_take(n * m->plan.vocab, sizeof *out);
    struct session *s = session_open(m, &o, &err);
    struct feed f = { .s = s, .ids = ids, .n = n, .logits = mtp ? NULL : out,
                      .mtp_logits = mtp ? out : NULL };
    EXPECTF(s && session_add_many(&f, 1, &err), "%s", err.msg);
    session_close(s);
    return out;
}

static bool same(const float *a, const float *b, size_t n)
{
    return !memcmp(a, b, n * sizeof *a);
}

static void check_chunks(struct rig *r, const char *what)
{
    static const uint32_t chunks[] = { 1, 2, 3, 7, 8, 9, 63, 64, 65, 128, 300 };
    for (int kv = KV_F32; kv <= KV_BF16; kv++)
        for (int mtp = 0; mtp < 2; mtp++) {
            float *whole = run(&r->m, r->ids, LONG, 512, (enum kv_type)kv, mtp);
            for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
                float *cut = run(&r->m, r->ids, LONG, chunks[c], (enum kv_type)kv, mtp);
                EXPECTF(same(whole, cut, LONG * r->vocab), "%s: kv %d mtp %d: steps of %u change "
                        "bits", what, kv, mtp, chunks[c]);
                mem_give(cut);
            }
            mem_give(whole);
        }
}

static void test_chunks(void)
{
    for (int half = 0; half < 2; half++) {
        struct rig r;
        if (rig_open(&r, 1, half))
            check_chunks(&r, half ? "bf16" : "f32");
        rig_close(&r);
    }
}

/* The reference: one thread, C level. */
static void test_threads_and_levels(void)
{
    for (int half = 0; half < 2; half++) {
        struct rig base;
        if (rig_open(&base, 1, half)) {
            base.m.kern = kern_get(CPU_C);
            float *want = run(&base.m, base.ids, LONG, 40, KV_F16, false);
            for (int threads = 1; threads <= 3; threads++)
                for (int level = CPU_C; level <= (int)cpu_level_detect(); level++) {
                    struct rig r;
                    if (rig_open(&r, threads, half)) {
                        r.m.kern = kern_get((enum cpu_level)level);
                        float *got = run(&r.m, r.ids, LONG, 40, KV_F16, false);
                        EXPECTF(same(want, got, LONG * r.vocab), "class %d: %d threads at level "
                                "%s change bits", half, threads,
                                cpu_level_name((enum cpu_level)level));
                        mem_give(got);
                    }
                    rig_close(&r);
                }
            mem_give(want);
        }
        rig_close(&base);
    }
}

/* Three sessions of different lengths and chunks in the same passes. */
static void test_batch_row_is_row_alone(void)
{
    static const size_t length[] = { 97, 8, 201 };
    static const uint32_t chunk[] = { 5, 64, 33 };
    struct rig r;
    struct err err = { 0 };
    if (rig_open(&r, 2, false)) {
        struct feed f[3];
        for (int i = 0; i < 3; i++) {
            struct session_options o = { .context = 256, .chunk = chunk[i], .kv_type = KV_F16 };
            f[i] = (struct feed){ .s = session_open(&r.m, &o, &err), .ids = r.ids + 13 * i,
                                  .n = length[i] };
            f[i].logits = mem_take(length[i] * r.vocab, sizeof(float));
        }
        EXPECTF(session_add_many(f, 3, &err), "%s", err.msg);
        for (int i = 0; i < 3; i++) {
            float *alone = run(&r.m, f[i].ids, f[i].n, 16, KV_F16, false);
            EXPECTF(same(alone, f[i].logits, f[i].n * r.vocab), "session %d differs in a batch", i);
            mem_give(alone);
            mem_give(f[i].logits);
            session_close(f[i].s);
        }
    }
    rig_close(&r);
}

/* Single tokens against one pass, at every length around the window and ring edges. */
static void test_edges(void)
{
    struct rig r;
    if (rig_open(&r, 1, false)) {
        float *all = run(&r.m, r.ids, LONG, 512, KV_F32, false);
        uint32_t ring = (uint32_t)kv_ring(&r.m.plan, 0, 512, 1);
        uint32_t window = r.m.plan.layer[0].window;
        struct err err;
        struct session_options o = { .context = 512, .chunk = 1, .kv_type = KV_F32 };
        struct session *s = session_open(&r.m, &o, &err);
        EXPECT(window < ring && ring < LONG);
        for (uint32_t n = 0; n < LONG; n++) {
            EXPECT(session_add(s, r.ids + n, 1, &err));
            EXPECTF(same(s->logits, all + n * r.vocab, r.vocab), "position %u (window %u, ring %u)",
                    n, window, ring);
        }
        session_close(s);
        mem_give(all);
    }
    rig_close(&r);
}

static const char *real_model(void)
{
    static char path[4096];
    const char *named = getenv("KEXA_MODEL"), *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (named && *named)
        return named;
    if (cache && *cache)
        snprintf(path, sizeof path, "%s/kexa/SmolLM2-135M-Instruct.Q4_1.gguf", cache);
    else
        snprintf(path, sizeof path, "%s/.cache/kexa/SmolLM2-135M-Instruct.Q4_1.gguf",
                 home ? home : "");
    return path;
}

static void check_real(struct model *m)
{
    enum { N = 20 };
    uint32_t ids[N];
    for (uint32_t i = 0; i < N; i++)
        ids[i] = (i * 7919u + 11) % m->plan.vocab;
    m->kern = kern_get(CPU_C);
    float *want = run(m, ids, N, 32, KV_F16, false);
    for (int level = CPU_C; level <= (int)cpu_level_detect(); level++) {
        m->kern = kern_get((enum cpu_level)level);
        for (uint32_t chunk = 1; chunk <= 19; chunk += 6) {
            if (level == CPU_C && chunk > 1)
                break;
            float *got = run(m, ids, N, chunk, KV_F16, false);
            EXPECTF(same(want, got, N * m->plan.vocab), "level %s, steps of %u change bits",
                    cpu_level_name((enum cpu_level)level), chunk);
            mem_give(got);
        }
    }
    mem_give(want);
}

static void test_real_model(void)
{
    struct err err = { 0 };
    struct model m;
    if (!file_exists(real_model())) {
        test_skip("no SmolLM2 file ($KEXA_MODEL)");
        return;
    }
    if (model_open_plan(&m, real_model(), &err) && model_bind(&m, 2, NUMERICS_NATIVE, &err))
        check_real(&m);
    EXPECTF(err.code == ERR_NONE, "%s", err.msg);
    model_close(&m);
}

const struct test tests[] = {
    { "steps of any size", test_chunks },
    { "threads and CPU levels", test_threads_and_levels },
    { "a row in a batch is the row alone", test_batch_row_is_row_alone },
    { "window and ring edges", test_edges },
    { "real model: steps, threads, levels", test_real_model },
    { 0 }
};
