/*
 * bench_gemm: the matrix products, per weight type, level and number of token rows:
 * GB/s of weights, GFLOP/s (two per weight and token), and the share of this core's
 * streaming read speed, measured in the same run over all the weights.  From 16 tokens
 * on, and at level c, a part of the weight rows is multiplied: those are bound by
 * arithmetic, and the share only says how far from memory they are.
 *
 *     bench_gemm [TYPE|all] [LEVEL|all] [MIB] [K]       default: all all 48 2048
 *
 * One thread.  Every figure is the median over 15 windows of about 5 ms, product and plain
 * reading in turns, in CPU time.
 */
#include "../bench.h"

enum { ROWS_MAX = 128, WINDOWS = 15 };

struct bench {
    const struct qtype *type;
    const struct kernels *k;
    uint8_t *w;
    float *y;
    struct acts x;
    size_t n, n_all, k_dim, rows, row_bytes;       /* n rows are multiplied, n_all read */
};

typedef void bench_fn(struct bench *);

/* Seconds per call over one window; *calls is kept so that a window takes about 5 ms. */
static double window(bench_fn *fn, struct bench *b, size_t *calls)
{
    double start = bench_now();
    for (size_t c = 0; c < *calls; c++)
        fn(b);
    double s = (bench_now() - start) / (double)*calls;
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
    *sf = bench_median(tf, WINDOWS);
    *sg = bench_median(tg, WINDOWS);
}

static void run_gemm(struct bench *b)
{
    kern_gemm(b->k, b->type)(b->y, b->n, b->w, b->row_bytes, &b->x, b->rows, b->n, b->k_dim);
}

static void run_read(struct bench *b)
{
    bench_read(b->w, b->n_all * b->row_bytes, true);
}

/* Small random bytes: as floats of every type they are finite, and none is denormal. */
static void fill(struct bench *b, size_t bytes)
{
    uint32_t r = 1;
    for (size_t i = 0; i < bytes; i++) {
        r = r * 1664525 + 1013904223;
        b->w[i] = (uint8_t)((r >> 24 & 0x1f) + 0x10);
    }
    float *x = bench_floats(ROWS_MAX * b->k_dim);
    bf16 *half = bench_take(ROWS_MAX * b->k_dim * 2);
    int8_t *q = bench_take(ROWS_MAX * b->k_dim);
    float *d = bench_take(ROWS_MAX * b->k_dim / 8);
    int32_t *sum = bench_take(ROWS_MAX * b->k_dim / 8);
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
        if (!bench_wants(level, cpu_level_name((enum cpu_level)l)))
            continue;
        b->k = kern_get((enum cpu_level)l);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            b->rows = rows[i];
            b->n = l == CPU_C ? 64 : rows[i] >= 16 ? b->n_all / 16 : b->n_all;
            double s, roof;
            seconds(run_gemm, run_read, b, &s, &roof);
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
    const char *type = bench_word(argc, argv, 1), *level = bench_word(argc, argv, 2);
    size_t bytes = (argc > 3 ? strtoul(argv[3], NULL, 10) : 48) << 20;
    struct bench b = { .k_dim = argc > 4 ? strtoul(argv[4], NULL, 10) : 2048 };
    if (b.k_dim == 0 || b.k_dim % 256 || bytes < b.k_dim * 2048) {
        fprintf(stderr, "bench_gemm: K must be a multiple of 256, MIB at least K / 512\n");
        return 2;
    }
    b.w = bench_take(bytes);
    b.y = bench_take(ROWS_MAX * (bytes / (b.k_dim / 2)) * 4);
    fill(&b, bytes);
    printf("%zu MiB of weights, K = %zu, one thread\n", bytes >> 20, b.k_dim);
    printf("type  level   rows      GB/s   GFLOP/s    read   share\n");
    for (const struct qtype *t = qtypes; t->name; t++) {
        b.type = t;
        if (!type || t == qtype_named(type))
            bench_type(&b, level, bytes);
    }
    return 0;
}
