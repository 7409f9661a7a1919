/* test_muon: five steps against an independent float64 implementation, the singular values that
 * come out of newton_schulz, and the same bits from any number of threads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness.h"
#include "format/format.h"
#include "train/muon.h"
#include "train/newton_schulz.h"

enum { SIDE_MAX = 64 };

static const struct kernels *kernels(void)
{
    return kern_get(cpu_level_chosen());
}

static void *take_aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    EXPECT(p != NULL);
    if (!p)
        exit(1);
    return p;
}

static float *random_matrix(struct rng *rng, size_t n)
{
    float *x = take_aligned(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(rng_unit(rng) - 0.5);
    return x;
}

/* Relative to the size of `want` as a whole. */
static double distance(const float *got, const float *want, size_t n)
{
    double off = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        off += pow((double)got[i] - (double)want[i], 2);
        size += pow((double)want[i], 2);
    }
    return sqrt(off / size);
}

/* A copy of the n floats of a tensor. */
static float *gold_tensor(const struct safetensors *s, const char *shape, const char *what,
                          size_t n)
{
    char name[40];
    float *copy = take_aligned(n * sizeof *copy);
    snprintf(name, sizeof name, "%s.%s", shape, what);
    const struct tensor *t = tensors_find(&s->tensors, name);
    bool ok = t && t->n_bytes == n * sizeof *copy;
    EXPECTF(ok, "no tensor %s of %zu floats", name, n);
    if (!ok)
        exit(1);
    memcpy(copy, t->data, n * sizeof *copy);
    return copy;
}

/* The way the weights went, not the weights: they are much larger. */
static void gold_shape(const struct safetensors *s, const char *shape, size_t rows, size_t cols)
{
    size_t n = rows * cols;
    float *from = gold_tensor(s, shape, "weight", n), *grad = gold_tensor(s, shape, "grad", 5 * n);
    float *after = gold_tensor(s, shape, "after", 5 * n);
    float *w = take_aligned(n * sizeof *w), *momentum = take_aligned(n * sizeof *w);
    float *went = take_aligned(n * sizeof *w), *want = take_aligned(n * sizeof *w);
    struct muon_config c = { .lr = 0.02, .mu = 0.95, .weight_decay = 0.1, .grad_scale = 1,
                             .nesterov = true };
    memcpy(w, from, n * sizeof *w);
    memset(momentum, 0, n * sizeof *w);
    for (size_t step = 0; step < 5; step++) {
        struct muon_job job = { w, momentum, grad + step * n, rows, cols };
        void *scratch = take_aligned(muon_scratch_bytes(&job, 1, 1));
        muon_step(kernels(), NULL, &job, 1, &c, scratch);
        free(scratch);
        for (size_t i = 0; i < n; i++) {
            went[i] = w[i] - from[i];
            want[i] = after[step * n + i] - from[i];
        }
        double off = distance(went, want, n);
        EXPECTF(off <= 1e-4, "%s, step %zu: %.2g of the way off", shape, step + 1, off);
    }
    free(from);
    free(grad);
    free(after);
    free(w);
    free(momentum);
    free(went);
    free(want);
}

static void gold(void)
{
    static const struct { const char *name; size_t rows, cols; } shape[] = {
        { "16x16", 16, 16 }, { "8x24", 8, 24 }, { "24x8", 24, 8 }, { "64x32", 64, 32 },
    };
    struct safetensors s;
    struct err err = { 0 };
    bool ok = safetensors_open(&s, tree_path("tests/gold/train/muon/muon.safetensors"), &err);
    EXPECTF(ok, "%s", err.msg);
    if (!ok)
        return;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        gold_shape(&s, shape[i].name, shape[i].rows, shape[i].cols);
    safetensors_close(&s);
}

static double polynomial(double s)
{
    for (int i = 0; i < NS_ROUNDS; i++)
        s = (double)NS_A * s + (double)NS_B * pow(s, 3) + (double)NS_C * pow(s, 5);
    return s;
}

/* A diagonal goes through as so many numbers, from 1 down to 1e-3, and 0. */
static void diagonal(void)
{
    enum { M = 37, N = 50 };
    for (int half = 0; half < 2; half++) {
        struct ns_space s;
        void *memory = take_aligned(ns_space_bytes(M, N));
        double from[M], worst = 0, outside = 0;
        ns_space_divide(&s, memory, M, N);
        memset(s.x, 0, M * N * sizeof *s.x);
        for (size_t i = 0; i < M; i++) {
            from[i] = i < M - 1 ? pow(10, -3.0 * (double)i / M) : 0;
            s.x[i * N + i] = NS_SCALE * (float)from[i];
        }
        newton_schulz(&s, kernels(), NULL, half);
        for (size_t i = 0; i < M; i++) {
            double got = (double)(s.x[i * N + i] / NS_SCALE);
            worst = fmax(worst, fabs(got - polynomial((double)(float)from[i])));
            EXPECTF(from[i] < 0.01 || (got > (half ? 0.6 : 0.68) && got < (half ? 1.25 : 1.14)),
                    "%g became %g", from[i], got);
        }
        for (size_t i = 0; i < M * N; i++)
            outside = i % (N + 1) ? fmax(outside, fabs((double)s.x[i])) : outside;
        EXPECTF(worst < (half ? 0.12 : 1e-4), "bf16 %d: off by %g", half, worst);
        EXPECT(fabs(pow((double)NS_SCALE, 4) - (double)NS_C) < 1e-6);
        EXPECTF(outside == 0, "off the diagonal: %g", outside);
        free(memory);
    }
}

/* Eigenvalues of a symmetric matrix by Jacobi's rotations, on the diagonal in the end. */
static void diagonalise(double *a, size_t n)
{
    for (int sweep = 0; sweep < 12; sweep++)
        for (size_t p = 0; p < n; p++)
            for (size_t q = p + 1; q < n; q++) {
                double angle = 0.5 * atan2(2 * a[p * n + q], a[q * n + q] - a[p * n + p]);
                double c = cos(angle), s = sin(angle);
                for (size_t i = 0; i < n; i++) {
                    double x = a[i * n + p], y = a[i * n + q];
                    a[i * n + p] = c * x - s * y;
                    a[i * n + q] = s * x + c * y;
                }
                for (size_t i = 0; i < n; i++) {
                    double x = a[p * n + i], y = a[q * n + i];
                    a[p * n + i] = c * x - s * y;
                    a[q * n + i] = s * x + c * y;
                }
            }
}

/* All singular values of a step are within the range the polynomial promises. */
static void nearly_orthogonal(void)
{
    static const struct { size_t rows, cols; } shape[] = { { 32, 96 }, { 96, 32 }, { 17, 64 } };
    struct rng rng = { .seed = 7 };
    for (size_t k = 0; k < 3; k++) {
        size_t rows = shape[k].rows, cols = shape[k].cols, n = rows * cols;
        size_t m = rows < cols ? rows : cols;
        float *g = random_matrix(&rng, n), *w = take_aligned(n * sizeof *w);
        float *momentum = take_aligned(n * sizeof *w);
        struct muon_job job = { w, momentum, g, rows, cols };
        struct muon_config c = { .lr = 1, .mu = 0.9, .grad_scale = 100 };
        void *scratch = take_aligned(muon_scratch_bytes(&job, 1, 1));
        double a[SIDE_MAX * SIDE_MAX] = { 0 }, scale = 0.2 * sqrt(rows > cols ? rows : cols);
        memset(w, 0, n * sizeof *w);
        memset(momentum, 0, n * sizeof *w);
        muon_step(kernels(), NULL, &job, 1, &c, scratch);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < m; j++) {
                size_t row = rows < cols ? i / cols : i % cols;
                size_t other = rows < cols ? j * cols + i % cols : i / cols * cols + j;
                a[row * m + j] += (double)w[i] * (double)w[other] / (scale * scale);
            }
        diagonalise(a, m);
        for (size_t i = 0; i < m; i++)
            EXPECTF(sqrt(a[i * m + i]) > 0.68 && sqrt(a[i * m + i]) < 1.14,
                    "%zux%zu: a singular value of %g", rows, cols, sqrt(a[i * m + i]));
        free(g);
        free(w);
        free(momentum);
        free(scratch);
    }
}

enum { JOBS = 6 };
static const struct { size_t rows, cols; } job_shape[JOBS] = {
    { 1, 5 }, { 70, 33 }, { 16, 16 }, { 260, 1030 }, { 5, 1 }, { 129, 40 },
};

/* One step of all jobs, each from the same start; the weights into w[i]. */
static void step_all(float **w, const struct kernels *k, int n_threads, bool half, size_t n_jobs)
{
    struct muon_job jobs[JOBS];
    struct muon_config c = { .lr = 0.1, .mu = 0.9, .weight_decay = 0.1, .grad_scale = 0.5,
                             .nesterov = true, .bf16 = half };
    struct err err = { 0 };
    struct pool *pool = n_threads ? pool_open(n_threads, &err) : NULL;
    struct rng rng = { .seed = 11 };
    for (size_t i = 0; i < JOBS; i++) {
        size_t n = job_shape[i].rows * job_shape[i].cols;
        float *g = random_matrix(&rng, n), *momentum = random_matrix(&rng, n);
        w[i] = random_matrix(&rng, n);
        jobs[i] = (struct muon_job){ w[i], momentum, g, job_shape[i].rows, job_shape[i].cols };
    }
    for (size_t i = 0; i < JOBS; i += n_jobs) {
        void *scratch = take_aligned(muon_scratch_bytes(jobs + i, n_jobs, n_threads));
        muon_step(k, pool, jobs + i, n_jobs, &c, scratch);
        free(scratch);
    }
    for (size_t i = 0; i < JOBS; i++) {
        free(jobs[i].momentum);
        free((void *)jobs[i].g);
    }
    pool_close(pool);
}

static void same(float **a, float **b, const char *what)
{
    for (size_t i = 0; i < JOBS; i++) {
        size_t bytes = job_shape[i].rows * job_shape[i].cols * sizeof(float);
        EXPECTF(memcmp(a[i], b[i], bytes) == 0, "%s: job %zu differs", what, i);
        free(b[i]);
    }
}

static void any_threads(void)
{
    struct muon_job small = { .rows = 20, .cols = 30 };
    EXPECT(muon_scratch_bytes(&small, 1, 3) == 3 * muon_scratch_bytes(&small, 1, 1));
    for (int half = 0; half < 2; half++) {
        float *one[JOBS], *other[JOBS];
        step_all(one, kernels(), 0, half, JOBS);
        step_all(other, kernels(), 3, half, JOBS);
        same(one, other, "three threads");
        step_all(other, kernels(), 2, half, 1);
        same(one, other, "two threads, one job after the other");
        for (size_t i = 0; i < JOBS; i++)
            free(one[i]);
    }
}

/* bf16 goes nearly the same way as f32: its roundings are 2^-9 each. */
static void bf16_is_near(void)
{
    float *one[JOBS], *other[JOBS];
    step_all(one, kernels(), 0, false, JOBS);
    step_all(other, kernels(), 0, true, JOBS);
    for (size_t i = 0; i < JOBS; i++) {
        double off = distance(other[i], one[i], job_shape[i].rows * job_shape[i].cols);
        EXPECTF(off < 0.05 && (i == 0 || i == 4 || off > 0), "job %zu: %g apart", i, off);
        free(one[i]);
        free(other[i]);
    }
}

static void any_level(void)
{
    struct muon_config c = { .lr = 0.1, .mu = 0.9, .grad_scale = 1, .nesterov = true };
    float w[2][24 * 50], momentum[2][24 * 50];
    struct rng rng = { .seed = 5 };
    float *g = random_matrix(&rng, 24 * 50);
    memset(w, 0, sizeof w);
    memset(momentum, 0, sizeof momentum);
    for (int i = 0; i < 2; i++) {
        struct muon_job job = { w[i], momentum[i], g, 24, 50 };
        void *scratch = take_aligned(muon_scratch_bytes(&job, 1, 1));
        muon_step(i ? kernels() : kern_get(CPU_C), NULL, &job, 1, &c, scratch);
        free(scratch);
    }
    EXPECT(memcmp(w[0], w[1], sizeof *w) == 0);
    free(g);
}

/* No gradient and no momentum: decay alone.  Momentum moves the weights on. */
static void no_gradient(void)
{
    float w[6] = { 1, 2, 3, 4, 5, 6 }, momentum[6] = { 0 };
    const float g[6] = { 0 };
    struct muon_job job = { w, momentum, g, 2, 3 };
    struct muon_config c = { .lr = 0.1, .mu = 0.5, .weight_decay = 1, .grad_scale = 1 };
    void *scratch = take_aligned(muon_scratch_bytes(&job, 1, 1));
    muon_step(kernels(), NULL, &job, 1, &c, scratch);
    EXPECTF(w[5] == 6 * (float)0.9, "%g", (double)w[5]);
    momentum[0] = 1;
    muon_step(kernels(), NULL, &job, 1, &c, scratch);
    EXPECT(momentum[0] == 0.5f);
    EXPECTF(w[0] < 0.81f - 0.02f && w[5] == 6 * (float)0.9 * (float)0.9, "%g %g", (double)w[0],
            (double)w[5]);
    free(scratch);
}

const struct test tests[] = {
    { "gold", gold },
    { "diagonal", diagonal },
    { "nearly_orthogonal", nearly_orthogonal },
    { "any_threads", any_threads },
    { "bf16_is_near", bf16_is_near },
    { "any_level", any_level },
    { "no_gradient", no_gradient },
    { 0 }
};
