/*
 * bench_ops: norm, act, rope and attention per level: ns per call and GB/s of the bytes a
 * call must read and write.  For attention (one KV head, K and V in f16) also the share of
 * this core's speed of reading the same bytes over and over, measured in the same run: 128
 * keys lie in L1 or L2, 1024 in L2, 65536 in L3 or memory.
 *
 *     bench_ops [OP|all] [LEVEL|all]
 *
 * One thread, denormals flushed as in the compute threads, CPU time.  Median of 7 windows of 10 ms.
 */
#include "../bench.h"

enum { WINDOWS = 7, ROW = 6144 };

struct bench {
    const struct kernels *k;
    size_t n;
    float *x, *y, *z, *v, *w;             /* v: of squares, not negative */
    struct attn_rows attn;
};

/* Median seconds of one call of fn. */
static double seconds(void (*fn)(struct bench *), struct bench *b)
{
    double t[WINDOWS];
    size_t calls = 1;
    fn(b);
    for (int i = 0; i < WINDOWS; i++) {
        double start = bench_now();
        for (size_t c = 0; c < calls; c++)
            fn(b);
        t[i] = (bench_now() - start) / (double)calls;
        if (i == 0 && t[0] < 0.01)
            calls = (size_t)(0.01 / t[0]) + 1;
    }
    return bench_median(t, WINDOWS);
}

static void run_rmsnorm(struct bench *b)
{
    b->k->rmsnorm_fwd(b->y, b->x, b->z, 1, b->n, 1e-5f);
}

static void run_rmsnorm_bf16(struct bench *b)
{
    b->k->rmsnorm_fwd_bf16((bf16 *)b->y, b->x, b->z, 1, b->n, 1e-5f);
}

static void run_swiglu(struct bench *b)
{
    b->k->swiglu_fwd(b->y, b->x, b->z, b->n, 0);
}

static void run_geglu(struct bench *b)
{
    b->k->geglu_fwd(b->y, b->x, b->z, b->n);
}

static void run_add(struct bench *b)
{
    b->k->add_fwd(b->y, b->x, b->n);
}

static void run_scale_add(struct bench *b)
{
    b->k->scale_add_fwd(b->y, 0, b->x, b->n);
}

static void run_softmax(struct bench *b)
{
    b->k->softmax_fwd(b->y, b->n);
}

static void run_rmsnorm_bwd(struct bench *b)
{
    b->k->rmsnorm_bwd(b->y, b->w, b->v, b->x, b->z, 1, b->n, 1e-5f);
}

static void run_scale_add_bwd(struct bench *b)
{
    b->k->scale_add_bwd(b->y, b->w, b->x, b->z, 0.5f, b->n);
}

static void run_swiglu_bwd(struct bench *b)
{
    b->k->swiglu_bwd(b->y, b->w, b->v, b->x, b->z, b->n, 0);
}

static void run_geglu_bwd(struct bench *b)
{
    b->k->geglu_bwd(b->y, b->w, b->v, b->x, b->z, b->n);
}

static void run_swiglu_bwd_bf16(struct bench *b)
{
    b->k->swiglu_bwd_bf16((bf16 *)b->y, (bf16 *)b->w, b->v, b->x, b->z, b->n, 0);
}

static void run_softmax_sum(struct bench *b)
{
    struct softmax_sum s = SOFTMAX_BEGIN;
    b->k->softmax_sum(&s, b->y, b->n);
}

/* The gradients become the next call's logits: small numbers, as good as any. */
static void run_softmax_grad(struct bench *b)
{
    b->k->softmax_grad(b->y, b->n, 1, 0.5f);
}

static void run_adamw(struct bench *b)
{
    static const struct adamw_rule rule = { 0.9, 0.95, 1e-8, 0.1 };
    struct adamw c = adamw_at(&rule, 10, 1e-3, 1);
    b->k->adamw_step(b->y, b->w, b->v, b->x, b->n, &c);
}

static void run_sum_squares(struct bench *b)
{
    double sum;
    b->k->sum_squares(&sum, b->x, b->n);
}

/* Heads of 128; cosines and sines are small, so that the values stay so over many calls. */
static void run_rope_half(struct bench *b)
{
    b->k->rope_half_fwd(b->y, b->x, b->z, b->n / 128, 128, 64);
}

static void run_rope_pair(struct bench *b)
{
    b->k->rope_pair_fwd(b->y, b->x, b->z, b->n / 128, 128, 64);
}

static void run_kv_store(struct bench *b)
{
    b->k->kv_store(b->y, KV_F16, b->x, b->n);
}

static void run_sigmoid(struct bench *b)
{
    b->k->sigmoid_fwd(b->y, b->x, b->n);
}

static void run_round_bf16(struct bench *b)
{
    b->k->round_bf16((bf16 *)b->y, b->x, b->n);
}

/* One line per op: how many bytes it moves per element. */
static const struct op {
    const char *name;
    void (*run)(struct bench *);
    size_t bytes;
} ops[] = {
    { "rmsnorm_fwd",   run_rmsnorm,   12 },
    { "rmsnorm_fwd_bf16", run_rmsnorm_bf16, 10 },
    { "swiglu_fwd",    run_swiglu,    12 },
    { "geglu_fwd",     run_geglu,     12 },
    { "add_fwd",       run_add,       12 },
    { "scale_add_fwd", run_scale_add, 12 },
    { "softmax_fwd",   run_softmax,   8 },
    { "sigmoid_fwd",   run_sigmoid,   8 },
    { "round_bf16",    run_round_bf16, 6 },
    { "rope_half_fwd", run_rope_half, 8 },
    { "rope_pair_fwd", run_rope_pair, 8 },
    { "kv_store f16",  run_kv_store,  6 },
    { "rmsnorm_bwd",   run_rmsnorm_bwd, 24 },
    { "scale_add_bwd", run_scale_add_bwd, 12 },
    { "swiglu_bwd",    run_swiglu_bwd, 20 },
    { "geglu_bwd",     run_geglu_bwd, 20 },
    { "swiglu_bwd_bf16", run_swiglu_bwd_bf16, 16 },
    { "softmax_sum",   run_softmax_sum, 4 },
    { "softmax_grad",  run_softmax_grad, 8 },
    { "adamw_step",    run_adamw,     28 },
    { "sum_squares",   run_sum_squares, 4 },
    { 0 }
};

static void bench_row_ops(const struct kernels *k, const char *level, const char *only)
{
    struct bench b = { .k = k, .n = ROW };
    for (const struct op *op = ops; op->name; op++) {
        if (!bench_wants(only, op->name))
            continue;
        b.x = bench_floats(ROW);
        b.y = bench_floats(ROW);
        b.z = bench_floats(ROW);
        b.w = bench_floats(ROW);
        b.v = bench_floats(ROW);
        for (size_t i = 0; i < ROW; i++)
            b.v[i] *= b.v[i];
        double s = seconds(op->run, &b);
        printf("%-14s %-7s n=%d %10.0f ns %8.1f GB/s\n", op->name, level, ROW, s * 1e9,
               (double)(op->bytes * ROW) / s * 1e-9);
        free(b.x);
        free(b.y);
        free(b.z);
        free(b.w);
        free(b.v);
    }
}

static void run_attn(struct bench *b)
{
    b->k->attn_rows_fwd(b->y, b->attn.n_q * b->attn.hd, &b->attn);
}

/* Reads as many bytes as the K and V of the attention hold. */
static void run_read(struct bench *b)
{
    size_t bytes = (size_t)b->attn.ring * b->attn.hd * sizeof(f16);
    bench_read(b->attn.k, bytes, false);
    bench_read(b->attn.v, bytes, false);
}

static f16 *take_halves(size_t n)
{
    f16 *h = bench_take(n * sizeof *h);
    for (size_t i = 0; i < n; i++)
        h[i] = f32_to_f16((float)(i * 37 % 101) / 101 - 0.5f);
    return h;
}

static void bench_attn(const struct kernels *k, const char *level, size_t hd, size_t n_q,
                       size_t keys)
{
    size_t bytes = 2 * keys * hd * sizeof(f16);
    struct bench b = { .k = k, .y = bench_floats(n_q * hd), .x = bench_floats(n_q * hd) };
    f16 *key = take_halves(keys * hd), *value = take_halves(keys * hd);
    b.attn = (struct attn_rows){ .q = b.x, .k = key, .v = value, .kv_type = KV_F16,
                                 .q_stride = n_q * hd, .kv_stride = hd * sizeof *key,
                                 .first_pos = keys - 1, .ring = keys, .n_rows = 1, .n_q = n_q,
                                 .hd = hd, .scale = 0.1f };
    double s = seconds(run_attn, &b), roof = seconds(run_read, &b);
    printf("%-14s %-7s hd=%-3zu heads=%zu keys=%-6zu %10.0f ns %8.1f GB/s %5.1f%% of reading, "
           "%6.1f GFLOP/s\n", "attn_rows_fwd", level, hd, n_q, keys, s * 1e9,
           (double)bytes / s * 1e-9, 100 * roof / s, (double)(4 * n_q * keys * hd) / s * 1e-9);
    free(key);
    free(value);
    free(b.x);
    free(b.y);
}

static void bench_all_attn(const struct kernels *k, const char *level)
{
    static const struct { size_t hd, n_q; } shape[] = { { 64, 1 }, { 64, 3 }, { 128, 1 },
                                                        { 128, 8 } };
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (size_t keys = 128; keys <= 65536; keys *= keys < 1024 ? 8 : 64)
            bench_attn(k, level, shape[i].hd, shape[i].n_q, keys);
}

int main(int argc, char **argv)
{
    const char *op = bench_word(argc, argv, 1), *only = bench_word(argc, argv, 2);
    denormals_flush();
    for (int i = 0; i <= (int)cpu_level_chosen(); i++) {
        const char *level = cpu_level_name((enum cpu_level)i);
        const struct kernels *k = kern_get((enum cpu_level)i);
        if (!bench_wants(only, level))
            continue;
        bench_row_ops(k, level, op);
        if (!op || !strcmp(op, "attn_rows_fwd"))
            bench_all_attn(k, level);
    }
    return 0;
}
