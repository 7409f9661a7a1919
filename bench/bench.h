/*
 * bench: what the benchmarks of one thread share: CPU time, medians, numbers to work on, this
 * core's roof and its speed of reading.  Figures are CPU time of the thread: other processes
 * disturb only what they take from caches and memory.
 */
#ifndef KEXA_BENCH_BENCH_H
#define KEXA_BENCH_BENCH_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/pool.h"
#include "kern/kern.h"

/* Seconds this thread computed. */
static inline double bench_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static inline int bench_by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts them. */
static inline double bench_median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, bench_by_value);
    return v[n / 2];
}

/* The i-th argument; NULL without one, or for "all". */
static inline const char *bench_word(int argc, char **argv, int i)
{
    return argc > i && strcmp(argv[i], "all") ? argv[i] : NULL;
}

static inline bool bench_wants(const char *word, const char *name)
{
    return !word || !strcmp(word, name);
}

/* Zeros on whole pages; a program without memory ends. */
static inline void *bench_take(size_t bytes)
{
    void *p = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!p) {
        fprintf(stderr, "bench: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memset(p, 0, bytes);
}

/* From -0.5 to 0.5, none of them denormal. */
static inline float *bench_floats(size_t n)
{
    float *x = bench_take(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((i * 2654435761u >> 8 & 255) + 1) / 256 - 0.501f;
    return x;
}

/* FLOP/s of the plainest work at this level for about `seconds`: roof_bf16, with its loads, or
 * roof_fma. */
static inline double bench_roof(const struct kernels *k, bool tiles, double seconds)
{
    static struct roof_tiles one;
    static float acc[ROOF_TILE];
    size_t rounds = k == kern_get(CPU_C) ? 20 : 2000;
    roof_tiles_fill(&one);
    double start = bench_now(), done = 0, s = 0;
    while (s < seconds) {
        if (tiles)
            k->roof_bf16(acc, &one, &one, rounds);
        else
            k->roof_fma(acc, 0.5f, 1, rounds);
        done += (double)rounds * (tiles ? 2.0 * ROOF_TILE * 32 : 2.0 * ROOF_LANES);
        s = bench_now() - start;
    }
    return done / s;
}

/* Eight sums, `apart` bytes between them, which go on by `step` up to `end`. */
#if defined(__x86_64__)
__attribute__((target("avx512f")))
static inline uint64_t bench_sum_512(const uint8_t *p, size_t apart, size_t step, size_t end)
{
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
    for (size_t i = 0; i < end; i += step) {
        a = _mm512_add_epi64(a, _mm512_loadu_si512(p + i));
        b = _mm512_add_epi64(b, _mm512_loadu_si512(p + i + apart));
        c = _mm512_add_epi64(c, _mm512_loadu_si512(p + i + 2 * apart));
        d = _mm512_add_epi64(d, _mm512_loadu_si512(p + i + 3 * apart));
        e = _mm512_add_epi64(e, _mm512_loadu_si512(p + i + 4 * apart));
        f = _mm512_add_epi64(f, _mm512_loadu_si512(p + i + 5 * apart));
        g = _mm512_add_epi64(g, _mm512_loadu_si512(p + i + 6 * apart));
        h = _mm512_add_epi64(h, _mm512_loadu_si512(p + i + 7 * apart));
    }
    a = _mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d));
    e = _mm512_add_epi64(_mm512_add_epi64(e, f), _mm512_add_epi64(g, h));
    return (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(a, e));
}
#endif

static inline uint64_t bench_sum_words(const uint8_t *p, size_t apart, size_t step, size_t end)
{
    uint64_t sum[8] = { 0 }, v;
    for (size_t i = 0; i < end; i += step)
        for (size_t s = 0; s < 8; s++)
            for (size_t w = 0; w < 64; w += 8) {
                memcpy(&v, p + s * apart + i + w, 8);
                sum[s] += v;
            }
    for (int s = 1; s < 8; s++)
        sum[0] += sum[s];
    return sum[0];
}

/* Reads all of it (whole 512 bytes) once: from end to end, which is fastest from the caches, or in
 * eight streams, which is fastest from memory. */
static inline void bench_read(const void *p, size_t bytes, bool streams)
{
    size_t part = bytes / 8 / 64 * 64, apart = streams ? part : 64, step = streams ? 64 : 512;
    size_t end = streams ? part : 8 * part;
    volatile uint64_t sum;
#if defined(__x86_64__)
    if (cpu_level_detect() >= CPU_AVX512)
        sum = bench_sum_512(p, apart, step, end);
    else
#endif
        sum = bench_sum_words(p, apart, step, end);
    (void)sum;
}

#endif
