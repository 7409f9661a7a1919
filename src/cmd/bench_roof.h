/*
 * bench_roof: what this machine can do at most, measured with the model's own threads.
 */
#ifndef KEXA_CMD_BENCH_ROOF_H
#define KEXA_CMD_BENCH_ROOF_H

#include "run/run.h"

/* Wall seconds of one repetition, and the share of them that our threads were on a CPU. */
struct bench_time {
    double seconds, on_cpu;
};

struct bench_clock {
    uint64_t wall_ns, cpu_ns;
};

void bench_clock_start(struct bench_clock *c);
struct bench_time bench_clock_stop(const struct bench_clock *c, int n_threads);
/* By seconds; n >= 1.  Sorts them. */
struct bench_time bench_median(struct bench_time *t, size_t n);

struct bench_roof {
    double read_gbs, fma_gflops, int8_gops, bf16_gflops;  /* bf16: 0 below level amx, where */
    double read_cpu, fma_cpu, int8_cpu, bf16_cpu;         /* fma is the roof; _cpu: shares */
};

/* Takes 256 MiB for a moment; about a second for each repetition. */
bool bench_roof_measure(struct bench_roof *out, const struct model *m, size_t reps,
                        struct err *err);

#endif
