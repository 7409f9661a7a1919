/* Lists of products taken backwards: model/linear_bwd.h, beside whole products at level c. */
#include "../../harness.h"
#include "model/model.h"

#include "kern/kern.h"

#include <stdlib.h>

enum { JOBS = 7, ROWS = 530, COLS = 150 };

/* q, k and v of one input, three experts (one without tokens), and a frozen matrix. */
static const struct shape {
    size_t rows, outputs, dx;             /* dx: which buffer, NONE for no dx */
    bool add, frozen;
} shapes[JOBS] = {
    { ROWS, 200, 0, false, false }, { ROWS, 41, 0, true, false }, { ROWS, 33, 0, true, false },
    { 7, 64, 1, true, false }, { 0, 64, 3, false, false }, { 100, 64, 3, false, true },
    { 65, 390, 4, false, false },
};
enum { NO_DX = 4, DX_STRIDE = COLS + 3 };

struct rig {
    struct model m;
    struct weight w[JOBS];
    struct linear_bwd_job job[JOBS];
    float *dx[JOBS];
};

static void *take(size_t bytes)
{
    void *p = mem_take(bytes + 1, 1);
    check(p);
    return p;
}

static float *values(size_t n, uint64_t stream)
{
    float *x = take(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((double)(rng_u64_at(3, stream, i) >> 11) * 0x1p-52 - 1);
    return x;
}

static bf16 *halves(const float *x, size_t n)
{
    bf16 *h = take(n * sizeof *h);
    for (size_t i = 0; i < n; i++)
        h[i] = f32_to_bf16(x[i]);
    return h;
}

static void make_job(struct rig *r, size_t i, bool half)
{
    const struct shape *s = &shapes[i];
    struct linear_bwd_job *j = &r->job[i];
    size_t n = s->outputs, x_n = s->rows * COLS;
    float *w = values(n * COLS, 10 * i), *x = values(x_n, 10 * i + 1);
    r->w[i] = (struct weight){ .type = qtype_find(half ? QT_BF16 : QT_F32), .rows = n,
                               .cols = COLS, .row_bytes = COLS * (half ? 2 : 4) };
    r->w[i].data = half ? (const void *)halves(w, n * COLS) : (const void *)w;
    *j = (struct linear_bwd_job){ .w = &r->w[i], .dy_stride = n + 2, .rows = s->rows,
                                  .dx_stride = DX_STRIDE, .dx_add = s->add };
    j->dy = values(s->rows * (n + 2), 10 * i + 2);
    j->x.f32 = x;
    j->x.bf16 = half ? halves(x, x_n) : NULL;
    j->dw = s->frozen ? NULL : values(n * COLS, 10 * i + 3);
    j->dy16 = half ? take(s->rows * n * sizeof(bf16)) : NULL;
    if (!r->dx[s->dx] && s->dx != NO_DX)
        r->dx[s->dx] = values(ROWS * DX_STRIDE, 10 * i + 4);
    j->dx = r->dx[s->dx];
    if (half)
        mem_give(w);
}

static void rig_init(struct rig *r, bool half, int n_threads)
{
    struct err err;
    *r = (struct rig){ .m = { .numerics = NUMERICS_NATIVE } };
    r->m.kern = kern_get(cpu_level_chosen());
    r->m.pool = pool_open(n_threads, &err);
    check(r->m.pool);
    for (size_t i = 0; i < JOBS; i++)
        make_job(r, i, half);
}

static void rig_release(struct rig *r)
{
    for (size_t i = 0; i < JOBS; i++) {
        struct linear_bwd_job *j = &r->job[i];
        mem_give((void *)r->w[i].data);
        free((void *)r->w[i].packed_dx);
        mem_give((void *)j->dy);
        mem_give((void *)j->x.f32);
        mem_give((void *)j->x.bf16);
        mem_give(j->dw);
        mem_give(j->dy16);
        mem_give(r->dx[i]);
    }
    pool_close(r->m.pool);
}

/* The job as whole products at level c. */
static void plain_job(struct linear_bwd_job *j)
{
    const struct kernels *k = kern_get(CPU_C);
    size_t n = j->w->rows, row_bytes = j->w->row_bytes;
    for (size_t t = 0; j->dy16 && t < j->rows; t++)
        k->round_bf16(j->dy16 + t * n, j->dy + t * j->dy_stride, n);
    if (j->dx && j->dy16)
        k->gemm_bf16_dx(j->dx, j->dx_stride, j->dy16, n, j->w->data, row_bytes, j->rows, n, COLS,
                        j->dx_add);
    else if (j->dx)
        k->gemm_f32_dx(j->dx, j->dx_stride, j->dy, j->dy_stride, j->w->data, row_bytes, j->rows, n,
                       COLS, j->dx_add);
    if (j->dw && j->dy16)
        k->gemm_bf16_dw(j->dw, COLS, j->dy16, n, j->x.bf16, COLS, j->rows, n, COLS);
    else if (j->dw)
        k->gemm_f32_dw(j->dw, COLS, j->dy, j->dy_stride, j->x.f32, COLS, j->rows, n, COLS);
}

static bool same(const float *a, const float *b, size_t n)
{
    return memcmp(a, b, n * sizeof *a) == 0;
}

/* Weights packed too, where this CPU multiplies that. */
static void pack(struct rig *r)
{
    for (size_t i = 0; r->m.kern->gemm_bf16_packed && i < JOBS; i++) {
        struct weight *w = &r->w[i];
        uint8_t *to = aligned_alloc(64, gemm_packed_bytes(w->rows, COLS));
        check(to);
        r->m.kern->gemm_bf16_pack_dx(to, w->data, w->row_bytes, w->rows, COLS);
        w->packed_dx = to;
        w->packed_rows = w->rows;
    }
}

/* dy16 made beforehand, and nothing left of dy. */
static void round_first(struct rig *r)
{
    for (size_t i = 0; i < JOBS; i++) {
        struct linear_bwd_job *j = &r->job[i];
        size_t n = j->w->rows;
        for (size_t t = 0; t < j->rows; t++)
            r->m.kern->round_bf16(j->dy16 + t * n, j->dy + t * j->dy_stride, n);
        memset((float *)j->dy, 0xff, j->rows * j->dy_stride * sizeof *j->dy);
        j->rounded = true;
    }
}

typedef void prepare_fn(struct rig *r);

static void compare(bool half, prepare_fn *prepare)
{
    struct rig want;
    rig_init(&want, half, 1);
    unsigned old = denormals_flush();
    for (size_t i = 0; i < JOBS; i++)
        plain_job(&want.job[i]);
    denormals_restore(old);
    for (int threads = 1; threads <= 3; threads++) {
        struct rig got;
        rig_init(&got, half, threads);
        if (prepare)
            prepare(&got);
        linear_bwd_run(&got.m, got.job, JOBS);
        for (size_t i = 0; i < JOBS; i++) {
            const struct linear_bwd_job *g = &got.job[i], *w = &want.job[i];
            EXPECTF(!g->dw || same(g->dw, w->dw, g->w->rows * COLS),
                    "job %zu, %d threads, %s: dw differs", i, threads, half ? "bf16" : "f32");
            EXPECTF(!g->dx || same(g->dx, w->dx, ROWS * DX_STRIDE),
                    "job %zu, %d threads, %s: dx or its gaps differ", i, threads,
                    half ? "bf16" : "f32");
        }
        rig_release(&got);
    }
    rig_release(&want);
}

static void test_f32(void)
{
    compare(false, NULL);
}

static void test_bf16(void)
{
    compare(true, NULL);
}

static void test_packed(void)
{
    compare(true, pack);
}

static void test_rounded(void)
{
    compare(true, round_first);
}

/* An f32 class weight in a model of bf16 ones is multiplied in f32. */
static void test_f32_class(void)
{
    struct rig r;
    rig_init(&r, false, 2);
    struct linear_bwd_job *j = &r.job[3];
    r.w[3].f32_class = true;
    float *dw = take(j->w->rows * COLS * sizeof *dw);
    memcpy(dw, j->dw, j->w->rows * COLS * sizeof *dw);
    unsigned old = denormals_flush();
    kern_get(CPU_C)->gemm_f32_dw(dw, COLS, j->dy, j->dy_stride, j->x.f32, COLS, j->rows,
                                 j->w->rows, COLS);
    denormals_restore(old);
    linear_bwd_run(&r.m, j, 1);
    EXPECT(same(dw, j->dw, j->w->rows * COLS));
    mem_give(dw);
    rig_release(&r);
}

const struct test tests[] = {
    { "f32", test_f32 },
    { "bf16", test_bf16 },
    { "packed weights", test_packed },
    { "rounded before", test_rounded },
    { "f32 class", test_f32_class },
    { NULL, NULL }
};
