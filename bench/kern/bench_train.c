/*
 * bench_train: the three products of training, y = x W^T, dx = dy W and dw += dy^T x, in f32
 * and bf16, and y and dx with weights packed before (yp, dxp) where there is such: GFLOP/s beside
 * this core's roof for the level (roof_bf16, with its loads, for bf16 at level amx, else
 * roof_fma), measured in the same run.  All calls of a window work on the same memory, so that
 * small shapes lie in the second cache.
 *
 *     bench_train [f32|bf16|all] [LEVEL|all] [ROWS N K]       default: all, the best level
 *
 * One thread.  Product and roof run in turns for about 2 ms each, in CPU time; the share is the
 * median of the windows' shares, so that a busy neighbour, who slows both, counts little; best is
 * the share that a tenth of the windows reach, which are those the neighbours left alone.
 */
#include "../bench.h"

enum { WINDOWS = 51 };

struct bench {
    const struct kernels *k;
    bool half;
    int op;                               /* as in ops[] */
    size_t rows, n, cols;
    float *w, *x, *dy, *y, *dx, *dw;
    bf16 *w16, *x16, *dy16;
    void *packed;
};

static void run_packed(const struct bench *b)
{
    if (b->op == 3)
        b->k->gemm_bf16_packed(b->y, b->n, b->x16, b->cols, b->packed,
                               gemm_packed_bytes(b->cols, 32), b->rows, b->n, b->cols, false);
    else
        b->k->gemm_bf16_packed(b->dx, b->cols, b->dy16, b->n, b->packed,
                               gemm_packed_bytes(b->n, 32), b->rows, b->cols, b->n, false);
}

static void run_product(const struct bench *b)
{
    if (b->op > 2) {
        run_packed(b);
        return;
    }
    const struct kernels *k = b->k;
    size_t n = b->n, c = b->cols, rows = b->rows;
    struct acts x = { .f32 = b->x, .bf16 = b->x16 };
    if (b->op == 0)
        (b->half ? k->gemm_bf16 : k->gemm_f32)(b->y, n, b->half ? (void *)b->w16 : b->w,
                                               c * (b->half ? 2 : 4), &x, rows, n, c);
    else if (b->op == 1 && b->half)
        k->gemm_bf16_dx(b->dx, c, b->dy16, n, b->w16, 2 * c, rows, n, c, false);
    else if (b->op == 1)
        k->gemm_f32_dx(b->dx, c, b->dy, n, b->w, 4 * c, rows, n, c, false);
    else if (b->half)
        k->gemm_bf16_dw(b->dw, c, b->dy16, n, b->x16, c, rows, n, c);
    else
        k->gemm_f32_dw(b->dw, c, b->dy, n, b->x, c, rows, n, c);
}

/* GFLOP/s over about 2 ms. */
static double window(const struct bench *b)
{
    double start = bench_now(), done = 0, s = 0;
    while (s < 0.002) {
        run_product(b);
        done += 2.0 * (double)b->rows * (double)b->n * (double)b->cols;
        s = bench_now() - start;
    }
    return done / s * 1e-9;
}

static double roof_window(const struct bench *b)
{
    return bench_roof(b->k, b->half && b->k == kern_get(CPU_AMX), 0.002) * 1e-9;
}

static void bench_shape(struct bench *b, const char *level)
{
    static const char *const ops[] = { "y", "dx", "dw", "yp", "dxp" };
    bool packs = b->half && b->k->gemm_bf16_packed;
    for (b->op = 0; b->op < (packs ? 5 : 3); b->op++) {
        if (b->op > 2)
            (b->op == 3 ? b->k->gemm_bf16_pack_y : b->k->gemm_bf16_pack_dx)(
                b->packed, b->w16, 2 * b->cols, b->n, b->cols);
        double speed[WINDOWS], roof[WINDOWS], share[WINDOWS];
        window(b);
        for (int i = 0; i < WINDOWS; i++) {
            roof[i] = roof_window(b);
            speed[i] = window(b);
            double after = roof_window(b);
            share[i] = 200 * speed[i] / (roof[i] + after);
        }
        double middle = bench_median(share, WINDOWS);
        printf("%-4s %-6s %5zu x %4zu x %4zu  %-3s %8.1f  %8.1f  %5.1f%%  %5.1f%%\n",
               b->half ? "bf16" : "f32", level, b->rows, b->n, b->cols, ops[b->op],
               bench_median(speed, WINDOWS), bench_median(roof, WINDOWS), middle,
               share[WINDOWS - 1 - WINDOWS / 10]);
        fflush(stdout);
    }
}

static bf16 *fill(float **x, size_t n)
{
    bf16 *half = bench_take(n * sizeof *half);
    *x = bench_floats(n);
    for (size_t i = 0; i < n; i++)
        half[i] = f32_to_bf16((*x)[i]);
    return half;
}

static void bench_all(struct bench *b, const char *type, const char *level)
{
    b->w16 = fill(&b->w, b->n * b->cols);
    b->x16 = fill(&b->x, b->rows * b->cols);
    b->dy16 = fill(&b->dy, b->rows * b->n);
    b->y = bench_take(b->rows * b->n * 4);
    b->dx = bench_take(b->rows * b->cols * 4);
    b->dw = bench_take(b->n * b->cols * 4);
    b->packed = bench_take(gemm_packed_bytes(b->n, b->cols));
    for (int l = CPU_C; l <= (int)cpu_level_detect(); l++) {
        const char *name = cpu_level_name((enum cpu_level)l);
        if (!bench_wants(level, name))
            continue;
        b->k = kern_get((enum cpu_level)l);
        for (int half = 0; half < 2; half++) {
            b->half = half;
            if (bench_wants(type, half ? "bf16" : "f32"))
                bench_shape(b, name);
        }
    }
    void *all[] = { b->w, b->x, b->dy, b->y, b->dx, b->dw, b->w16, b->x16, b->dy16,
                    b->packed };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

int main(int argc, char **argv)
{
    static const size_t shapes[][3] = {
        { 2048, 1024, 1024 }, { 2048, 640, 256 }, { 256, 128, 256 }, { 256, 256, 128 },
        { 256, 256, 256 }, { 256, 640, 256 }, { 256, 256, 640 }, { 256, 1280, 512 },
        { 256, 512, 1280 }
    };
    const char *type = bench_word(argc, argv, 1), *level = bench_word(argc, argv, 2);
    if (argc <= 2)
        level = cpu_level_name(cpu_level_detect());
    printf("type level    rows x    n x    k  op   GFLOP/s      roof   share    best\n");
    if (argc > 5) {
        struct bench b = { .rows = strtoul(argv[3], NULL, 10), .n = strtoul(argv[4], NULL, 10),
                           .cols = strtoul(argv[5], NULL, 10) };
        bench_all(&b, type, level);
        return 0;
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct bench b = { .rows = shapes[i][0], .n = shapes[i][1], .cols = shapes[i][2] };
        bench_all(&b, type, level);
    }
    return 0;
}
