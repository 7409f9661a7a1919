#include "train/train_roof.h"

#include <time.h>

enum { RUNS = 5, PIECES = 4 };            /* pieces for each thread */

struct work {
    const struct kernels *k;
    bool in_tiles;
    size_t rounds;
    const struct roof_tiles *tiles;
    float *sums;                          /* [pieces], so that no work can be left out */
};

static void work_range(void *arg, size_t begin, size_t end, int worker)
{
    struct work *w = arg;
    float acc[ROOF_TILE] = { 0 };
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        if (w->in_tiles)
            w->k->roof_bf16(acc, w->tiles, w->tiles, w->rounds);
        else
            w->k->roof_fma(acc, 0.5f, 1, w->rounds);
        w->sums[i] = acc[i % ROOF_LANES];
    }
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Of one thread, on average. */
static double seconds_of(struct work *w, struct pool *pool, size_t n)
{
    double start = cpu_seconds();
    pool_run(pool, n, 1, work_range, w);
    return (cpu_seconds() - start) / pool_threads(pool);
}

/* As many rounds as take a few hundredths of a second, then the best of RUNS. */
static double measure(struct work *w, struct pool *pool, size_t n)
{
    double each = w->in_tiles ? 2.0 * ROOF_TILE * 32 : 2.0 * ROOF_LANES, best = 0;
    w->rounds = 16;
    while (seconds_of(w, pool, n) < 0.02 && w->rounds < (size_t)1 << 32)
        w->rounds *= 2;
    for (int run = 0; run < RUNS; run++) {
        double rate = each * (double)w->rounds * (double)n / seconds_of(w, pool, n);
        best = rate > best ? rate : best;
    }
    return best;
}

static const char *unit_of(enum cpu_level level, bool in_tiles)
{
    static const char *const fma[N_CPU_LEVELS] = { "f32", "AVX2 f32", "AVX-512 f32",
                                                   "AVX-512 f32" };
    return in_tiles ? "AMX bf16" : fma[level];
}

bool train_roof_measure(struct train_roof *out, enum recipe_dtype dtype, int n_threads,
                        struct err *err)
{
    enum cpu_level level = cpu_level_chosen();
    int n_cpus = n_threads < sys_cpus() ? n_threads : sys_cpus();   /* more do not add speed */
    size_t n = (size_t)n_cpus * PIECES;
    static struct roof_tiles tiles;
    roof_tiles_fill(&tiles);
    struct pool *pool = pool_open(n_cpus, err);
    struct work *w = pool ? mem_take(1, sizeof *w) : NULL;
    float *sums = w ? mem_take(n, sizeof *sums) : NULL;
    if (sums) {
        w->k = kern_get(level);
        w->in_tiles = dtype == TRAIN_BF16 && level == CPU_AMX;
        w->sums = sums;
        w->tiles = &tiles;
        *out = (struct train_roof){ measure(w, pool, n), unit_of(level, w->in_tiles) };
    } else if (pool) {
        fail(err, ERR_MEMORY, "out of memory for measuring the roof");
    }
    bool ok = sums != NULL;
    mem_give(sums);
    mem_give(w);
    pool_close(pool);
    return ok;
}
