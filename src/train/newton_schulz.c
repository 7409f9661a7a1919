#include "train/newton_schulz.h"

/* What a thread takes at once: rows of G and of G G, columns of B Z. */
enum { GRAM_ROWS = 64, BZ_COLS = 256, TILE = 16 };

#define NS_B_ROOT_C (NS_B / (NS_SCALE * NS_SCALE))

struct round {
    const struct kernels *k;
    struct ns_space *s;
    bool half;
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t units_of(size_t n, size_t unit)
{
    return (n + unit - 1) / unit;
}

static size_t padded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

size_t ns_space_bytes(size_t m, size_t n)
{
    size_t matrix = padded(m * n * sizeof(float)), square = padded(m * m * sizeof(float));
    return 2 * matrix + 2 * square + padded(m * n * sizeof(bf16)) + padded(m * m * sizeof(bf16));
}

static void *cut(char **at, size_t bytes)
{
    char *p = *at;
    *at += padded(bytes);
    return p;
}

void ns_space_divide(struct ns_space *s, void *memory, size_t m, size_t n)
{
    char *at = memory;
    s->m = m;
    s->n = n;
    s->x = cut(&at, m * n * sizeof(float));
    s->y = cut(&at, m * n * sizeof(float));
    s->a = cut(&at, m * m * sizeof(float));
    s->b = cut(&at, m * m * sizeof(float));
    s->half_x = cut(&at, m * n * sizeof(bf16));
    s->half_a = cut(&at, m * m * sizeof(bf16));
}

/* y[i][j] = sum_l x[i][l] w[j][l] for `rows` of x and n of w, all of length k. */
static void product(const struct round *r, float *y, size_t y_stride, const void *w,
                    const void *x, size_t rows, size_t n, size_t k)
{
    if (r->half) {
        struct acts a = { .bf16 = x };
        r->k->gemm_bf16(y, y_stride, w, k * sizeof(bf16), &a, rows, n, k);
    } else {
        struct acts a = { .f32 = x };
        r->k->gemm_f32(y, y_stride, w, k * sizeof(float), &a, rows, n, k);
    }
}

static const void *row_of(const struct round *r, const float *x, const bf16 *half, size_t at)
{
    return r->half ? (const void *)(half + at) : (const void *)(x + at);
}

/* The columns [i0, i1) of the rows before and within become what the rows [i0, i1) hold; some
 * at a time, whose lines stay in the nearest cache. */
static void mirror(float *a, size_t m, size_t i0, size_t i1)
{
    for (; i0 < i1; i0 += TILE)
        for (size_t j = 0; j < least(i0 + TILE, i1); j++)
            for (size_t i = j < i0 ? i0 : j + 1; i < least(i0 + TILE, i1); i++)
                a[j * m + i] = a[i * m + j];
}

static void gram(void *arg, size_t begin, size_t end, int worker)
{
    const struct round *r = arg;
    const struct ns_space *s = r->s;
    (void)worker;
    for (size_t u = begin; u < end; u++) {
        size_t i0 = u * GRAM_ROWS, i1 = least(i0 + GRAM_ROWS, s->m);
        product(r, s->a + i0 * s->m, s->m, row_of(r, s->x, s->half_x, 0),
                row_of(r, s->x, s->half_x, i0 * s->n), i1 - i0, i1, s->n);
        mirror(s->a, s->m, i0, i1);
    }
}

/* B = G G + (b / sqrt(c)) G; G G^T is G G. */
static void square(void *arg, size_t begin, size_t end, int worker)
{
    const struct round *r = arg;
    const struct ns_space *s = r->s;
    (void)worker;
    for (size_t u = begin; u < end; u++) {
        size_t i0 = u * GRAM_ROWS, i1 = least(i0 + GRAM_ROWS, s->m);
        product(r, s->b + i0 * s->m, s->m, row_of(r, s->a, s->half_a, 0),
                row_of(r, s->a, s->half_a, i0 * s->m), i1 - i0, i1, s->m);
        for (size_t i = i0; i < i1; i++)
            r->k->scale_add_fwd(s->b + i * s->m, NS_B_ROOT_C, s->a + i * s->m, i1);
        mirror(s->b, s->m, i0, i1);
    }
}

/* Y = B Z + a Z, some columns at a time. */
static void advance(void *arg, size_t begin, size_t end, int worker)
{
    const struct round *r = arg;
    const struct ns_space *s = r->s;
    (void)worker;
    for (size_t u = begin; u < end; u++) {
        size_t j0 = u * BZ_COLS, n = least(BZ_COLS, s->n - j0);
        if (r->half)
            r->k->gemm_bf16_dx(s->y + j0, s->n, s->half_a, s->m, s->half_x + j0,
                               s->n * sizeof(bf16), s->m, s->m, n, false);
        else
            r->k->gemm_f32_dx(s->y + j0, s->n, s->b, s->m, s->x + j0, s->n * sizeof(float), s->m,
                              s->m, n, false);
        for (size_t i = 0; i < s->m; i++)
            r->k->scale_add_fwd(s->y + i * s->n + j0, NS_A, s->x + i * s->n + j0, n);
    }
}

struct rounding {
    const struct kernels *k;
    bf16 *to;
    const float *from;
    size_t n;
};

static void round_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct rounding *r = arg;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        r->k->round_bf16(r->to + i * r->n, r->from + i * r->n, r->n);
}

static void round_matrix(const struct round *r, struct pool *pool, bf16 *to, const float *from,
                         size_t rows, size_t cols)
{
    struct rounding rounding = { r->k, to, from, cols };
    if (r->half)
        pool_run(pool, rows, GRAM_ROWS, round_rows, &rounding);
}

void newton_schulz(struct ns_space *s, const struct kernels *k, struct pool *pool, bool half)
{
    struct round r = { k, s, half };
    size_t blocks = units_of(s->m, GRAM_ROWS), columns = units_of(s->n, BZ_COLS);
    for (int i = 0; i < NS_ROUNDS; i++) {
        round_matrix(&r, pool, s->half_x, s->x, s->m, s->n);
        pool_run(pool, blocks, 1, gram, &r);
        round_matrix(&r, pool, s->half_a, s->a, s->m, s->m);
        pool_run(pool, blocks, 1, square, &r);
        round_matrix(&r, pool, s->half_a, s->b, s->m, s->m);
        pool_run(pool, columns, 1, advance, &r);
        float *next = s->y;
        s->y = s->x;
        s->x = next;
    }
}
