/*
 * bench_muon: one Muon step of lists of equal matrices, f32 and bf16: milliseconds of CPU time
 * a matrix, GFLOP/s of the operations that Newton-Schulz needs with half of its symmetric products
 * (5 rounds of 2 (m m n / 2 + m^3 / 2 + m m n)), and their share of this core's best speed in
 * the same run (roof_fma; roof_bf16 for bf16).
 *
 *     bench_muon [LEVEL]
 *
 * One thread, denormals flushed.  Median of 5 rounds, roof and step in turns.
 */
#include "../bench.h"
#include "train/muon.h"

enum { WINDOWS = 5 };

static void bench(const struct kernels *k, const char *level, size_t rows, size_t cols,
                  size_t n_jobs, bool half)
{
    struct muon_job *jobs = bench_take(n_jobs * sizeof *jobs);
    struct muon_config c = { .lr = 1e-3, .mu = 0.95, .weight_decay = 0.1, .grad_scale = 1,
                             .nesterov = true, .bf16 = half };
    double seconds[WINDOWS], best[WINDOWS];
    for (size_t i = 0; i < n_jobs; i++)
        jobs[i] = (struct muon_job){ bench_floats(rows * cols), bench_floats(rows * cols),
                                     bench_floats(rows * cols), rows, cols };
    void *scratch = bench_take(muon_scratch_bytes(jobs, n_jobs, 1));
    for (int i = -1; i < WINDOWS; i++) {
        double r = bench_roof(k, half, 0.005), start = bench_now();
        muon_step(k, NULL, jobs, n_jobs, &c, scratch);
        if (i >= 0) {
            seconds[i] = (bench_now() - start) / (double)n_jobs;
            best[i] = r;
        }
    }
    double s = bench_median(seconds, WINDOWS), top = bench_median(best, WINDOWS) * 1e-9;
    double m = (double)(rows < cols ? rows : cols), n = (double)(rows > cols ? rows : cols);
    double speed = 5 * (3 * m * m * n + m * m * m) / s * 1e-9;
    printf("muon %-7s %s %5zu x %-5zu %8.3f ms a matrix %7.1f GFLOP/s %5.1f%% of roof\n", level,
           half ? "bf16" : "f32 ", rows, cols, s * 1e3, speed,
           100 * speed / top);
    for (size_t i = 0; i < n_jobs; i++) {
        free(jobs[i].w);
        free(jobs[i].momentum);
        free((void *)jobs[i].g);
    }
    free(jobs);
    free(scratch);
}

int main(int argc, char **argv)
{
    static const struct { size_t rows, cols, n; } shape[] = {
        { 64, 128, 64 }, { 128, 256, 32 }, { 256, 128, 32 }, { 256, 256, 16 }, { 1024, 256, 4 },
        { 512, 1536, 1 },
    };
    unsigned old = denormals_flush();
    for (int i = CPU_AVX2; i <= (int)cpu_level_chosen(); i++) {
        const char *level = cpu_level_name((enum cpu_level)i);
        if (!bench_wants(bench_word(argc, argv, 1), level))
            continue;
        for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
            for (int half = 0; half < 2; half++)
                bench(kern_get((enum cpu_level)i), level, shape[s].rows, shape[s].cols,
                      shape[s].n, half);
    }
    denormals_restore(old);
    return 0;
}
