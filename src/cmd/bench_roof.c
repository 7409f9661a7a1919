#include "cmd/bench_roof.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { REPS_MAX = 100 };

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void bench_clock_start(struct bench_clock *c)
{
    *c = (struct bench_clock){ now_ns(), cpu_ns() };
}

struct bench_time bench_clock_stop(const struct bench_clock *c, int n_threads)
{
    double cpu = (double)(cpu_ns() - c->cpu_ns), wall = (double)(now_ns() - c->wall_ns);
    return (struct bench_time){ wall * 1e-9, wall > 0 ? cpu / (wall * n_threads) : 0 };
}

static int by_seconds(const void *a, const void *b)
{
    double x = ((const struct bench_time *)a)->seconds, y = ((const struct bench_time *)b)->seconds;
    return (x > y) - (x < y);
}

struct bench_time bench_median(struct bench_time *t, size_t n)
{
    qsort(t, n, sizeof *t, by_seconds);
    return t[n / 2];
}

enum { WORDS = 32 << 20, PIECES = 64, PIECE = WORDS / PIECES, FMA_ROUNDS = 1 << 20,
       BF16_ROUNDS = 1 << 16 };

struct task {
    const struct kernels *k;
    uint64_t *words;
    struct roof_tiles tiles;
    uint64_t sums[PIECES];                /* so that no work can be left out */
};

static void fill_range(void *arg, size_t begin, size_t end, int worker)
{
    struct task *t = arg;
    (void)worker;
    for (size_t i = begin * PIECE; i < end * PIECE; i++)
        t->words[i] = i;
}

static void read_range(void *arg, size_t begin, size_t end, int worker)
{
    struct task *t = arg;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        t->sums[i] = t->k->roof_read(t->words + i * PIECE, PIECE);
}

static void fma_range(void *arg, size_t begin, size_t end, int worker)
{
    struct task *t = arg;
    float acc[ROOF_LANES] = { 0 };
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        t->k->roof_fma(acc, 0.5f, 1, FMA_ROUNDS);
        t->sums[i] = (uint64_t)acc[i % ROOF_LANES];
    }
}

static void int8_range(void *arg, size_t begin, size_t end, int worker)
{
    struct task *t = arg;
    const uint8_t *x = (const uint8_t *)t->words;
    static const int8_t w[ROOF_LANES * 4] = { 1, -1, 2 };
    int32_t acc[ROOF_LANES] = { 0 };
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        t->k->roof_int8(acc, x, w, FMA_ROUNDS);
        t->sums[i] = (uint64_t)acc[i % ROOF_LANES];
    }
}

static void bf16_range(void *arg, size_t begin, size_t end, int worker)
{
    struct task *t = arg;
    float acc[ROOF_TILE] = { 0 };
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        t->k->roof_bf16(acc, &t->tiles, &t->tiles, BF16_ROUNDS);
        t->sums[i] = (uint64_t)fabsf(acc[i]);
    }
}

/* The median of reps runs of n pieces, after one that is not counted. */
static struct bench_time repeat(const struct model *m, pool_fn *fn, struct task *t, size_t n,
                                size_t reps)
{
    struct bench_time times[REPS_MAX];
    reps = reps < REPS_MAX ? reps : REPS_MAX;
    for (size_t r = 0; r <= reps; r++) {
        struct bench_clock c;
        bench_clock_start(&c);
        pool_run(m->pool, n, 1, fn, t);
        if (r)
            times[r - 1] = bench_clock_stop(&c, pool_threads(m->pool));
    }
    return bench_median(times, reps);
}

bool bench_roof_measure(struct bench_roof *out, const struct model *m, size_t reps,
                        struct err *err)
{
    struct task t = { .k = m->kern, .words = space_take((size_t)WORDS * 8) };
    size_t n = 4 * (size_t)pool_threads(m->pool);
    double ops = (double)ROOF_LANES * FMA_ROUNDS * 1e-9;
    if (!t.words)
        return fail(err, ERR_MEMORY, "out of memory for %d MiB to read", WORDS >> 17);
    n = n < PIECES ? n : PIECES;
    pool_run(m->pool, PIECES, 1, fill_range, &t);
    struct bench_time read = repeat(m, read_range, &t, PIECES, reps);
    struct bench_time fma = repeat(m, fma_range, &t, n, reps);
    struct bench_time int8 = repeat(m, int8_range, &t, n, reps);
    struct bench_time in_tiles = { 1, 0 };
    bool tiles = m->kern == kern_get(CPU_AMX);
    roof_tiles_fill(&t.tiles);
    if (tiles)
        in_tiles = repeat(m, bf16_range, &t, n, reps);
    *out = (struct bench_roof){
        .read_gbs = (double)WORDS * 8e-9 / read.seconds, .read_cpu = read.on_cpu,
        .fma_gflops = 2 * ops * (double)n / fma.seconds, .fma_cpu = fma.on_cpu,
        .int8_gops = 8 * ops * (double)n / int8.seconds, .int8_cpu = int8.on_cpu,
        .bf16_gflops = tiles ? 64e-9 * ROOF_TILE * BF16_ROUNDS * (double)n / in_tiles.seconds : 0,
        .bf16_cpu = in_tiles.on_cpu,
    };
    space_give(t.words, (size_t)WORDS * 8);
    return true;
}
