/*
 * bench_gemm: the matrix products, per weight type, level and number of token rows:
 * GB/s of weights, GFLOP/s (two per weight and token), and the share of this core's
 * streaming read speed, measured in the same run over all the weights.  From 16 tokens
 * on, and at level c, a part of the weight rows is multiplied: those are bound by
 * arithmetic, and the share only says how far from memory they are.
 *
 *     bench_gemm [TYPE|all] [LEVEL|all] [MIB] [K]       default: all all 48 2048
 *
 * One thread.  Every figure is the median over 15 windows of about 5 ms,
 * product and plain reading in turns, in CPU time: other processes on the machine disturb
 * only what they take from caches and memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kern/kern.h"

enum { ROWS_MAX = 128, WINDOWS = 15 };

struct bench {
    const struct qtype *type;
    const struct kernels *k;
    uint8_t *w;
    float *y;
    struct acts x;
    size_t n, n_all, k_dim, rows, row_bytes;       /* n rows are multiplied, n_all read */
};

static volatile uint64_t sink;

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef void bench_fn(struct bench *);

/* Seconds per call over one window; *calls is kept so that a window takes about 5 ms. */
static double window(bench_fn *fn, struct bench *b, size_t *calls)
{
    double start = now();
    for (size_t c = 0; c < *calls; c++)
        fn(b);
    double s = (now() - start) / (double)*calls;
    *calls = s < 0.005 ? (size_t)(0.005 / s) + 1 : 1;
    return s;
}

/* Medians of both, in turns: a busy neighbour slows them alike. */
static void seconds(bench_fn *f, bench_fn *g, struct bench *b, double *sf, double *sg)
{
    double tf[WINDOWS], tg[WINDOWS];
    size_t nf = 1, ng = 1;
    window(f, b, &nf);
    window(g, b, &ng);
    for (int i = 0; i < WINDOWS; i++) {
        tf[i] = window(f, b, &nf);
        tg[i] = window(g, b, &ng);
    }
    qsort(tf, WINDOWS, sizeof *tf, by_value);
    qsort(tg, WINDOWS, sizeof *tg, by_value);
    *sf = tf[WINDOWS / 2];
    *sg = tg[WINDOWS / 2];
}

static void run_gemm(struct bench *b)
{
    kern_gemm(b->k, b->type)(b->y, b->n, b->w, b->row_bytes, &b->x, b->rows, b->n, b->k_dim);
}

/* Reads the weights once in eight streams of 64 bytes at a time; adds them up. */
#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void read_512(struct bench *b)
{
    size_t part = b->n_all * b->row_bytes / 8 / 64 * 64;
    __m512i sum[8] = { _mm512_setzero_si512() };
    for (size_t i = 0; i < part; i += 64)
        for (size_t s = 0; s < 8; s++)
            sum[s] = _mm512_add_epi64(sum[s], _mm512_loadu_si512(b->w + s * part + i));
    for (int s = 1; s < 8; s++)
        sum[0] = _mm512_add_epi64(sum[0], sum[s]);
    sink = (uint64_t)_mm512_reduce_add_epi64(sum[0]);
}
#endif

static void read_words(struct bench *b)
{
    uint64_t sum[8] = { 0 }, v;
    size_t part = b->n_all * b->row_bytes / 8 / 64 * 64;
    for (size_t i = 0; i < part; i += 8)
        for (size_t s = 0; s < 8; s++) {
            memcpy(&v, b->w + s * part + i, 8);
            sum[s] += v;
        }
    for (int s = 0; s < 8; s++)
        sink += sum[s];
}

static bench_fn *read_fn(void)
{
#if defined(__x86_64__)
    if (cpu_level_detect() >= CPU_AVX512)
        return read_512;
#endif
    return read_words;
}

static void *take(size_t bytes)
{
    void *p = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!p) {
        fprintf(stderr, "bench_gemm: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    memset(p, 0, bytes);
    return p;
}

/* Small random bytes: as floats of every type they are finite, and none is denormal. */
static void fill(struct bench *b, size_t bytes)
{
    uint32_t r = 1;
    for (size_t i = 0; i < bytes; i++) {
        r = r * 1664525 + 1013904223;
        b->w[i] = (uint8_t)((r >> 24 & 0x1f) + 0x10);
    }
    float *x = take(ROWS_MAX * b->k_dim * 4);
    bf16 *half = take(ROWS_MAX * b->k_dim * 2);
    int8_t *q = take(ROWS_MAX * b->k_dim);
    float *d = take(ROWS_MAX * b->k_dim / 8);
    int32_t *sum = take(ROWS_MAX * b->k_dim / 8);
    for (size_t i = 0; i < ROWS_MAX * b->k_dim; i++)
        x[i] = (float)((i * 2654435761u >> 8 & 255) + 1) / 64 - 2;
    kern_get(CPU_C)->quant_q8(q, d, sum, x, ROWS_MAX * b->k_dim);
    kern_get(CPU_C)->round_bf16(half, x, ROWS_MAX * b->k_dim);
    b->x = (struct acts){ x, half, q, d, sum };
}

static void bench_type(struct bench *b, const char *level, size_t bytes)
{
    static const size_t rows[] = { 1, 4, 16, ROWS_MAX };
    b->row_bytes = qtype_row_bytes(b->type, b->k_dim);
    b->n_all = bytes / b->row_bytes / 256 * 256;
    for (int l = CPU_C; l <= (int)cpu_level_detect(); l++) {
        if (strcmp(level, "all") && strcmp(level, cpu_level_name((enum cpu_level)l)))
            continue;
        b->k = kern_get((enum cpu_level)l);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            b->rows = rows[i];
            b->n = l == CPU_C ? 64 : rows[i] >= 16 ? b->n_all / 16 : b->n_all;
            double s, roof;
            seconds(run_gemm, read_fn(), b, &s, &roof);
            double gbs = (double)(b->n * b->row_bytes) / s * 1e-9;
            double gflops = 2e-9 * (double)(b->n * b->k_dim * b->rows) / s;
            double read = (double)(b->n_all * b->row_bytes) / roof * 1e-9;
            printf("%-5s %-7s %4zu  %8.2f %9.1f   %5.1f  %5.1f%%\n", b->type->name,
                   cpu_level_name((enum cpu_level)l), b->rows, gbs, gflops, read,
                   100 * gbs / read);
            fflush(stdout);
        }
    }
}

int main(int argc, char **argv)
{
    const char *type = argc > 1 ? argv[1] : "all", *level = argc > 2 ? argv[2] : "all";
    size_t bytes = (argc > 3 ? strtoul(argv[3], NULL, 10) : 48) << 20;
    struct bench b = { .k_dim = argc > 4 ? strtoul(argv[4], NULL, 10) : 2048 };
    if (b.k_dim == 0 || b.k_dim % 256 || bytes < b.k_dim * 2048) {
        fprintf(stderr, "bench_gemm: K must be a multiple of 256, MIB at least K / 512\n");
        return 2;
    }
    b.w = take(bytes);
    b.y = take(ROWS_MAX * (bytes / (b.k_dim / 2)) * 4);
    fill(&b, bytes);
    printf("%zu MiB of weights, K = %zu, one thread\n", bytes >> 20, b.k_dim);
    printf("type  level   rows      GB/s   GFLOP/s    read   share\n");
    for (const struct qtype *t = qtypes; t->name; t++) {
        b.type = t;
        if (!strcmp(type, "all") || t == qtype_named(type))
            bench_type(&b, level, bytes);
    }
    return 0;
}
