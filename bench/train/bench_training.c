/*
 * bench_training: tokens per second of whole training steps (passes, norm, optimizer), and the
 * share of the products' roof measured in the same run, in turns with the steps.
 *
 *     bench_training CONFIG [bf16|f32] [THREADS] [ROWS] [CONTEXT] [STEPS] [muon|adamw]
 *
 * Random tokens, one document a row, random weights.  Wall time and CPU time, medians of the
 * steps; on-CPU: CPU time over wall time and threads.  Roof: bf16 tiles with their loads from L1
 * (or f32 fma) on every thread at once.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "train/flops.h"
#include "train/optimizer.h"

enum { REPS_MAX = 200 };

struct bench {
    struct model m;
    struct params ps;
    struct optimizer o;
    struct tape *tape;
    struct batch b;
    struct roof_tiles roof;
    struct train_flops flops;
    size_t passes;
    bool in_bf16;
};

struct timing {
    double wall, cpu;
};

static struct timing now(void)
{
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    return (struct timing){ (double)a.tv_sec + 1e-9 * (double)a.tv_nsec,
                            (double)b.tv_sec + 1e-9 * (double)b.tv_nsec };
}

static void roof_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct bench *b = arg;
    static _Thread_local float acc[ROOF_TILE], lanes[ROOF_LANES];
    (void)worker;
    for (size_t i = begin; i < end; i++)
        if (b->in_bf16)
            b->m.kern->roof_bf16(acc, &b->roof, &b->roof, 65536);
        else
            b->m.kern->roof_fma(lanes, 0.5f, 1.0f, 65536);
}

/* Operations per second and thread: 16 pieces for each. */
static struct timing roof(struct bench *b, double *flops)
{
    size_t n = 16 * (size_t)pool_threads(b->m.pool);
    struct timing t0 = now();
    pool_run(b->m.pool, n, 1, roof_range, b);
    struct timing t1 = now();
    *flops = (double)n * (b->in_bf16 ? 65536.0 * 65536 : 65536.0 * 2 * ROOF_LANES);
    return (struct timing){ t1.wall - t0.wall, t1.cpu - t0.cpu };
}

static void fill_batch(struct bench *b, size_t rows, size_t context)
{
    size_t n = rows * context;
    uint32_t *ids = malloc(4 * n * sizeof *ids);
    b->b = (struct batch){ .n_rows = rows, .context = context, .token = ids, .target = ids + n,
                           .target2 = ids + 2 * n, .pos = ids + 3 * n,
                           .used = malloc(rows * sizeof *ids) };
    for (size_t i = 0; i < n; i++) {
        size_t left = context - 1 - i % context;
        b->b.token[i] = (uint32_t)(rng_u64_at(1, 2, i) % b->m.plan.vocab);
        b->b.pos[i] = (uint32_t)(i % context);
        b->b.target[i] = left ? (uint32_t)(rng_u64_at(1, 2, i + 1) % b->m.plan.vocab) : NO_TARGET;
        b->b.target2[i] = left > 1 ? (uint32_t)(rng_u64_at(1, 2, i + 2) % b->m.plan.vocab)
                                   : NO_TARGET;
    }
    for (size_t r = 0; r < rows; r++)
        b->b.used[r] = (uint32_t)context;
    b->b.n_targets = rows * (context - 1);
    b->b.n_targets2 = rows * (context - 2);
}

static bool open_bench(struct bench *b, char **argv, int threads, size_t rows, size_t context,
                       bool muon, struct err *err)
{
    struct optimizer_rule rule = { { 0.9, 0.95, 1e-8, 0.1 }, 0.95, 1e-4 };
    if (!model_open_plan(&b->m, argv[1], err)
        || !params_open(&b->ps, &b->m, threads, b->in_bf16, muon, err)
        || !optimizer_open(&b->o, &b->ps, &rule, err))
        return false;
    params_fill_random(&b->ps, 1, 0.02);
    b->tape = tape_open(&b->m, rows, context, true, err);
    fill_batch(b, rows, context);
    train_flops_init(&b->flops, &b->m.plan);
    return b->tape != NULL;
}

static double step(struct bench *b, uint64_t t)
{
    static uint64_t load[1 << 16];
    struct pass_sums sums = { .load = load };
    struct objective o = { 1.0 / (double)b->b.n_targets, 0.05 / (double)b->b.n_targets2, 0, 1e-4 };
    memset(load, 0, sizeof load);
    params_clear_grads(&b->ps);
    for (size_t i = 0; i < b->passes; i++)
        pass_gradients(b->tape, &b->b, &o, &b->ps.grads, &sums);
    double norm = optimizer_norm(&b->o);
    optimizer_step(&b->o, t, 1e-4, norm > 1 ? 1 / norm : 1, load);
    return sums.ce / (double)sums.n_targets;
}

static int by_wall(const void *a, const void *b)
{
    const struct timing *x = a, *y = b;
    return (x->wall > y->wall) - (x->wall < y->wall);
}

static void report(struct bench *b, struct timing *t, struct timing *r, size_t n, double roof_flops)
{
    qsort(t, n, sizeof *t, by_wall);
    qsort(r, n, sizeof *r, by_wall);
    struct timing s = t[n / 2], q = r[n / 2];
    double tokens = (double)(b->passes * b->b.n_rows * b->b.context);
    double work = (double)b->passes * train_flops_batch(&b->flops, &b->m.plan, &b->b);
    double threads = pool_threads(b->m.pool);
    printf("tokens/s %.0f  tokens per CPU-second %.0f  on-CPU %.2f\n", tokens / s.wall,
           tokens / s.cpu, s.cpu / s.wall / threads);
    printf("GFLOP/s %.0f (6 N D: %.0f)  roof %.0f (on-CPU %.2f)\n", work / s.wall * 1e-9,
           6 * b->flops.active * tokens / s.wall * 1e-9, roof_flops / q.wall * 1e-9,
           q.cpu / q.wall / threads);
    printf("share of the roof %.1f %% by the clock, %.1f %% by CPU time\n",
           100 * work / s.wall / (roof_flops / q.wall), 100 * work / s.cpu / (roof_flops / q.cpu));
}

int main(int argc, char **argv)
{
    static struct timing t[REPS_MAX], r[REPS_MAX];
    struct err err = { 0 };
    struct bench b = { 0 };
    size_t arg[4] = { 2, 8, 512, 5 };
    if (argc < 2) {
        fprintf(stderr, "usage: bench_training CONFIG [bf16|f32] [THREADS] [ROWS] [CONTEXT] "
                "[STEPS] [muon|adamw]\n");
        return 2;
    }
    b.in_bf16 = argc < 3 || !strcmp(argv[2], "bf16");
    for (int i = 0; i < 4 && i + 3 < argc; i++)
        arg[i] = strtoul(argv[i + 3], NULL, 10);
    b.passes = getenv("PASSES") ? strtoul(getenv("PASSES"), NULL, 10) : 1;
    size_t n = arg[3] < REPS_MAX ? arg[3] : REPS_MAX;
    if (!open_bench(&b, argv, (int)arg[0], arg[1], arg[2], argc < 8 || !strcmp(argv[7], "muon"),
                    &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    roof_tiles_fill(&b.roof);
    double work = 0, loss = step(&b, 1);
    for (size_t i = 0; i < n; i++) {
        r[i] = roof(&b, &work);
        struct timing t0 = now();
        loss = step(&b, i + 2);
        struct timing t1 = now();
        t[i] = (struct timing){ t1.wall - t0.wall, t1.cpu - t0.cpu };
    }
    printf("%s: %s, %zu threads, %zu x %zu rows of %zu, loss %.4f, %.1f MiB of tape\n", argv[1],
           b.in_bf16 ? "bf16" : "f32", arg[0], b.passes, arg[1], arg[2], loss,
           (double)tape_bytes(&b.m.plan, &(struct tape_shape){ arg[1], arg[2], true, b.in_bf16,
                                                               (int)arg[0] }) / (1 << 20));
    report(&b, t, r, n, work);
    return isfinite(loss) ? 0 : 1;
}
