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
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kern/kern.h"

enum { PAIRS = 7, ROUNDS = 4000, TILE_ROUNDS = 2000 };

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

static double cpu_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

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

/* Operations per second at the best level of this machine. */
static double fma_rate(void)
{
    static float acc[ROOF_LANES];
    double start = cpu_now();
    kern_get(cpu_level_detect())->roof_fma(acc, 0.5f, 1, ROUNDS);
    return 2.0 * ROOF_LANES * ROUNDS / (cpu_now() - start);
}

static double tile_rate(void)
{
    static float acc[ROOF_TILE];
    static bf16 x[ROOF_STEPS * ROOF_TILE];
    double start = cpu_now();
    kern_get(cpu_level_detect())->roof_bf16(acc, x, x, TILE_ROUNDS);
    return 2.0 * 32 * ROOF_TILE * TILE_ROUNDS / (cpu_now() - start);
}

/* Median seconds of a call, and median share of the roof measured right after it. */
static double measure(void (*fn)(struct bench *), struct bench *b, double work,
                      double (*roof)(void), double *share)
{
    double t[PAIRS], part[PAIRS], start;
    size_t calls = 1;
    fn(b);
    for (start = cpu_now(), fn(b); cpu_now() - start < 0.004; calls++)
        fn(b);
    for (int i = 0; i < PAIRS; i++) {
        start = cpu_now();
        for (size_t c = 0; c < calls; c++)
            fn(b);
        t[i] = (cpu_now() - start) / (double)calls;
        part[i] = work / t[i] / roof();
    }
    qsort(t, PAIRS, sizeof *t, by_value);
    qsort(part, PAIRS, sizeof *part, by_value);
    *share = part[PAIRS / 2];
    return t[PAIRS / 2];
}

static float *take_floats(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof *x + 63) / 64 * 64);
    if (!x) {
        fprintf(stderr, "bench_attn: no memory for %zu floats\n", n);
        exit(1);
    }
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(i * 37 % 101) / 101 - 0.5f;
    return x;
}

static void begin_shape(struct bench *b, const struct shape *s)
{
    size_t wide = s->n_q * s->hd, keys = s->first + s->n;
    float *q = take_floats(s->n * wide), *k = take_floats(keys * s->hd);
    float *v = take_floats(keys * s->hd), *lse = take_floats(s->n * s->n_q);
    b->out = take_floats(s->n * wide);
    b->rows = (struct attn_rows){ .q = q, .k = k, .v = v, .kv_type = KV_F32, .q_stride = wide,
                                  .kv_stride = s->hd * sizeof *k, .first_pos = s->first,
                                  .ring = UINT64_MAX, .n_rows = s->n, .n_q = s->n_q,
                                  .hd = s->hd, .window = s->window, .scale = 0.125f,
                                  .lse = lse, .lse_stride = s->n_q };
    run_rows(b);
    b->bwd = (struct attn_bwd){ .q = q, .k = k, .v = v, .out = b->out, .dout = q, .lse = lse,
                                .dq = take_floats(s->n * wide), .dk = take_floats(s->n * s->hd),
                                .dv = take_floats(s->n * s->hd), .q_stride = wide,
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
            if ((only && strcmp(only, op->name) != 0) || (op->run != run_rows && s->first))
                continue;
            bool tiles = op->run == run_bwd_bf16 && k == kern_get(CPU_AMX);
            double t = measure(op->run, &b, work, tiles ? tile_rate : fma_rate, &share);
            printf("%-13s %-6s hd=%-3zu heads=%zu rows=%-4zu from %-4zu window=%-3u %9.0f us "
                   "%7.1f GFLOP/s %5.1f%% of roof\n", op->name, level, s->hd, s->n_q, s->n,
                   s->first, s->window, t * 1e6, work / t * 1e-9, 100 * share);
        }
        end_shape(&b);
    }
}

int main(int argc, char **argv)
{
    const char *op = argc > 1 && strcmp(argv[1], "all") != 0 ? argv[1] : NULL;
    const char *only = argc > 2 && strcmp(argv[2], "all") != 0 ? argv[2] : NULL;
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040u);
#endif
    for (int i = 0; i <= (int)cpu_level_chosen(); i++) {
        const char *level = cpu_level_name((enum cpu_level)i);
        if (only ? !strcmp(only, level) : i > (int)CPU_C)
            bench_level(kern_get((enum cpu_level)i), level, op);
    }
    return 0;
}
