/*
 * bench_attn: attention over many queries, forward and backward, of one KV head: GFLOP/s of the
 * visible pairs (4 hd operations each forward, 10 hd backward) and the share of this core's
 * roof, measured in turn with the kernel: roof_fma, and roof_bf16 for class bf16 at level amx.
 *
 *     bench_attn [OP|all] [LEVEL|all]
 *
 * One thread, denormals flushed, CPU time.  Median of 7 pairs of windows.  Level c takes
 * minutes and runs only when it is asked for.
 */
#include "../bench.h"

enum { PAIRS = 7 };

/* Shapes: a prompt of one head group, training documents with and without a window. */
static const struct shape {
    size_t hd, n_q, n, first;
    uint32_t window;
} shapes[] = {
    { 64, 3, 512, 0, 0 },    { 64, 3, 512, 4096, 0 },  { 64, 1, 1024, 0, 128 },
    { 64, 4, 1024, 0, 128 }, { 64, 4, 1024, 0, 0 },    { 128, 1, 1024, 0, 128 },
    { 128, 8, 512, 0, 128 }, { 128, 8, 512, 0, 0 },    { 64, 1, 8, 4096, 0 },
    { 64, 3, 1, 4096, 0 },
};

struct bench {
    const struct kernels *k;
    struct attn_rows rows;
    struct attn_bwd bwd;
    float *out;
    double pairs;                         /* of a query and a key it sees */
};

static void run_rows(struct bench *b)
{
    b->k->attn_rows_fwd(b->out, b->rows.n_q * b->rows.hd, &b->rows);
}

static void run_bwd(struct bench *b)
{
    b->k->attn_bwd(&b->bwd);
}

static void run_bwd_bf16(struct bench *b)
{
    b->k->attn_bwd_bf16(&b->bwd);
}

/* Median seconds of a call, and median share of the roof measured right after it. */
static double measure(void (*fn)(struct bench *), struct bench *b, double work,
                      bool tiles, double *share)
{
    const struct kernels *best = kern_get(cpu_level_detect());
    double t[PAIRS], part[PAIRS], start;
    size_t calls = 1;
    fn(b);
    for (start = bench_now(), fn(b); bench_now() - start < 0.004; calls++)
        fn(b);
    for (int i = 0; i < PAIRS; i++) {
        start = bench_now();
        for (size_t c = 0; c < calls; c++)
            fn(b);
        t[i] = (bench_now() - start) / (double)calls;
        part[i] = work / t[i] / bench_roof(best, tiles, 0.001);
    }
    *share = bench_median(part, PAIRS);
    return bench_median(t, PAIRS);
}

static void begin_shape(struct bench *b, const struct shape *s)
{
    size_t wide = s->n_q * s->hd, keys = s->first + s->n;
    float *q = bench_floats(s->n * wide), *k = bench_floats(keys * s->hd);
    float *v = bench_floats(keys * s->hd), *lse = bench_floats(s->n * s->n_q);
    b->out = bench_floats(s->n * wide);
    b->rows = (struct attn_rows){ .q = q, .k = k, .v = v, .kv_type = KV_F32, .q_stride = wide,
                                  .kv_stride = s->hd * sizeof *k, .first_pos = s->first,
                                  .ring = UINT64_MAX, .n_rows = s->n, .n_q = s->n_q,
                                  .hd = s->hd, .window = s->window, .scale = 0.125f,
                                  .lse = lse, .lse_stride = s->n_q };
    run_rows(b);
    b->bwd = (struct attn_bwd){ .q = q, .k = k, .v = v, .out = b->out, .dout = q, .lse = lse,
                                .dq = bench_floats(s->n * wide), .dk = bench_floats(s->n * s->hd),
                                .dv = bench_floats(s->n * s->hd), .q_stride = wide,
                                .kv_stride = s->hd, .out_stride = wide, .lse_stride = s->n_q,
                                .n = s->n, .n_q = s->n_q, .hd = s->hd, .window = s->window,
                                .scale = 0.125f };
    b->pairs = 0;
    for (size_t i = s->first; i < keys; i++)
        b->pairs += (double)(s->window && i >= s->window ? s->window : i + 1) * (double)s->n_q;
}

static void end_shape(struct bench *b)
{
    free((float *)(uintptr_t)b->rows.q);
    free((float *)(uintptr_t)b->rows.k);
    free((float *)(uintptr_t)b->rows.v);
    free(b->rows.lse);
    free(b->out);
    free(b->bwd.dq);
    free(b->bwd.dk);
    free(b->bwd.dv);
}

static const struct op {
    const char *name;
    void (*run)(struct bench *);
    double per_pair;                      /* operations, in units of hd */
} ops[] = {
    { "attn_rows_fwd", run_rows, 4 }, { "attn_bwd", run_bwd, 10 },
    { "attn_bwd_bf16", run_bwd_bf16, 10 }, { 0 }
};

static void bench_level(const struct kernels *k, const char *level, const char *only)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *s = &shapes[i];
        struct bench b = { .k = k };
        begin_shape(&b, s);
        for (const struct op *op = ops; op->name; op++) {
            double work = b.pairs * op->per_pair * (double)s->hd, share;
            if (!bench_wants(only, op->name) || (op->run != run_rows && s->first))
                continue;
            bool tiles = op->run == run_bwd_bf16 && k == kern_get(CPU_AMX);
            double t = measure(op->run, &b, work, tiles, &share);
            printf("%-13s %-6s hd=%-3zu heads=%zu rows=%-4zu from %-4zu window=%-3u %9.0f us "
                   "%7.1f GFLOP/s %5.1f%% of roof\n", op->name, level, s->hd, s->n_q, s->n,
                   s->first, s->window, t * 1e6, work / t * 1e-9, 100 * share);
        }
        end_shape(&b);
    }
}

int main(int argc, char **argv)
{
    const char *op = bench_word(argc, argv, 1), *only = bench_word(argc, argv, 2);
    denormals_flush();
    for (int i = 0; i <= (int)cpu_level_chosen(); i++) {
        const char *level = cpu_level_name((enum cpu_level)i);
        if (only ? !strcmp(only, level) : i > (int)CPU_C)
            bench_level(kern_get((enum cpu_level)i), level, op);
    }
    return 0;
}
