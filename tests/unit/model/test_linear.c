/* Lists of products, cut into blocks of tokens and weight rows: model/linear.h. */
#include "../../harness.h"
#include "model/model.h"

#include "kern/kern.h"

#include <stdlib.h>

enum { K = 96, TYPES = 3, ROWS_MOST = 2060, WIDE = 600, PART = ROWS_MOST * WIDE };

static const enum qtype_id types[TYPES] = { QT_F32, QT_BF16, QT_Q8_0 };

/* Inputs in all classes and a matrix of each type. */
struct rig {
    struct model m;
    struct weight w[TYPES];
    struct acts_buf x;
    float *y, *want;
};

static void *take(size_t bytes)
{
    void *p = mem_take(bytes, 1);
    check(p);
    return p;
}

static void rig_init(struct rig *r)
{
    size_t n = ROWS_MOST * K;
    *r = (struct rig){ .m = { .kern = kern_get(cpu_level_chosen()) } };
    r->x = (struct acts_buf){ take(n * 4), take(n), take(n / 8), take(n / 8), take(n * 2) };
    for (size_t i = 0; i < n; i++)
        r->x.f32[i] = (float)(rng_u64_at(5, 1, i) >> 40) * 0x1p-23f - 1;
    r->y = take(TYPES * PART * sizeof *r->y);
    r->want = take(TYPES * PART * sizeof *r->want);
    for (int i = 0; i < TYPES; i++) {
        struct weight *w = &r->w[i];
        *w = (struct weight){ .type = qtype_find(types[i]), .rows = WIDE - 13 * (size_t)i,
                              .cols = K };
        w->row_bytes = qtype_row_bytes(w->type, K);
        struct synth_tensor t = { .type = w->type, .kind = SYNTH_RANDOM, .n_dims = 2,
                                  .ne = { K, w->rows, 1, 1 }, .seed = 7, .stream = (uint64_t)i,
                                  .d = 0x2400, .n_bytes = w->row_bytes * w->rows };
        w->data = take(t.n_bytes);
        synth_fill(&t, 0, t.n_bytes, (uint8_t *)w->data);
    }
}

static void rig_release(struct rig *r)
{
    void *all[] = { r->x.f32, r->x.q, r->x.d, r->x.sum, r->x.b16, r->y, r->want };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mem_give(all[i]);
    for (int i = 0; i < TYPES; i++) {
        mem_give((void *)r->w[i].data);
        free((void *)r->w[i].packed_y);
    }
}

/* The bf16 weight packed too, where this CPU multiplies that. */
static void pack(struct rig *r)
{
    struct weight *w = &r->w[1];
    if (!r->m.kern->gemm_bf16_packed)
        return;
    uint8_t *to = aligned_alloc(64, gemm_packed_bytes(w->rows, K));
    check(to);
    r->m.kern->gemm_bf16_pack_y(to, w->data, w->row_bytes, w->rows, K);
    w->packed_y = to;
}

/* All three products of `rows` tokens in one list beside one call of each kernel. */
static void compare(struct rig *r, size_t rows, int n_threads)
{
    struct err err;
    const struct weight *w[TYPES] = { &r->w[0], &r->w[1], &r->w[2] };
    struct linear_job jobs[TYPES];
    size_t at = 0;
    check((r->m.pool = pool_open(n_threads, &err)) != NULL);
    acts_prepare(&r->m, &r->x, rows, K, w, TYPES);
    for (int i = 0; i < TYPES; i++, at += PART) {
        struct acts x = acts_at(&r->x, 0, K);
        jobs[i] = (struct linear_job){ r->y + at, WIDE, w[i], x, rows };
        unsigned old = denormals_flush();
        kern_gemm(r->m.kern, w[i]->type)(r->want + at, WIDE, w[i]->data, w[i]->row_bytes, &x, rows,
                                         w[i]->rows, K);
        denormals_restore(old);
    }
    linear_run(&r->m, jobs, TYPES);
    for (int i = 0; i < TYPES; i++)
        for (size_t t = 0; t < rows; t++)
            EXPECTF(!memcmp(jobs[i].y + t * WIDE, r->want + (size_t)(i * PART) + t * WIDE,
                            w[i]->rows * sizeof(float)),
                    "%s, %zu tokens, %d threads: row %zu differs", w[i]->type->name, rows,
                    n_threads, t);
    pool_close(r->m.pool);
}

static void compare_blocks(bool packed)
{
    static const size_t rows[] = { 0, 1, 15, 16, 63, 64, 513, ROWS_MOST };
    struct rig r;
    rig_init(&r);
    if (packed)
        pack(&r);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int threads = 1; threads <= 3; threads++)
            compare(&r, rows[i], threads);
    rig_release(&r);
}

static void test_blocks(void)
{
    compare_blocks(false);
}

static void test_packed(void)
{
    compare_blocks(true);
}

const struct test tests[] = {
    { "blocks", test_blocks },
    { "packed weights", test_packed },
    { NULL, NULL }
};
