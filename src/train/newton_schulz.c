#include "train/newton_schulz.h"

/* Rows of A that are computed at once; bytes of X^T a worker takes at once, which stay in its
 * cache while all rows of B pass over them. */
enum { GRAM_ROWS = 64, SLAB_BYTES = 128 << 10, SLAB_COLS = 256, SLAB_COLS_MIN = 16, TILE = 16 };

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

static size_t slab_cols(size_t m)
{
    size_t cols = SLAB_BYTES / (m * sizeof(float)) / TILE * TILE;
    return cols < SLAB_COLS_MIN ? SLAB_COLS_MIN : least(cols, SLAB_COLS);
}

static size_t padded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t slab_bytes(size_t m)
{
    return padded(slab_cols(m) * m * sizeof(float));
}

size_t ns_space_bytes(size_t m, size_t n, size_t workers)
{
    size_t matrix = padded(m * n * sizeof(float)), square = padded(m * m * sizeof(float));
    return 2 * matrix + 2 * square + padded(m * n * sizeof(bf16)) + padded(m * m * sizeof(bf16))
           + workers * slab_bytes(m);
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
    s->slabs = at;
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

/* What a block of rows [i0, i1) has left of its end, in the columns of the rows before. */
static void mirror(float *a, size_t m, size_t i0, size_t i1)
{
    for (size_t j = 0; j < i1; j++)
        for (size_t i = j < i0 ? i0 : j + 1; i < i1; i++)
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

/* B = b A + c A A; A A^T is A A. */
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
            for (size_t j = 0; j < i1; j++)
                s->b[i * s->m + j] = NS_B * s->a[i * s->m + j] + NS_C * s->b[i * s->m + j];
        mirror(s->b, s->m, i0, i1);
    }
}

/* to[j][i] = from[i][j0 + j] for n columns of the m rows, in tiles: the writes of a tile share
 * cache lines. */
static void turn_f32(float *to, const float *from, size_t m, size_t stride, size_t n)
{
    for (size_t i0 = 0; i0 < m; i0 += TILE)
        for (size_t j = 0; j < n; j++)
            for (size_t i = i0; i < least(i0 + TILE, m); i++)
                to[j * m + i] = from[i * stride + j];
}

static void turn_bf16(bf16 *to, const bf16 *from, size_t m, size_t stride, size_t n)
{
    for (size_t i0 = 0; i0 < m; i0 += TILE)
        for (size_t j = 0; j < n; j++)
            for (size_t i = i0; i < least(i0 + TILE, m); i++)
                to[j * m + i] = from[i * stride + j];
}

/* Y = B X + a X, some columns at a time: their X^T is the weight of the product. */
static void advance(void *arg, size_t begin, size_t end, int worker)
{
    const struct round *r = arg;
    const struct ns_space *s = r->s;
    void *slab = s->slabs + (size_t)worker * slab_bytes(s->m);
    for (size_t u = begin; u < end; u++) {
        size_t j0 = u * slab_cols(s->m), n = least(slab_cols(s->m), s->n - j0);
        if (r->half)
            turn_bf16(slab, s->half_x + j0, s->m, s->n, n);
        else
            turn_f32(slab, s->x + j0, s->m, s->n, n);
        product(r, s->y + j0, s->n, slab, row_of(r, s->b, s->half_a, 0), s->m, n, s->m);
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
    size_t blocks = units_of(s->m, GRAM_ROWS), slabs = units_of(s->n, slab_cols(s->m));
    for (int i = 0; i < NS_ROUNDS; i++) {
        round_matrix(&r, pool, s->half_x, s->x, s->m, s->n);
        pool_run(pool, blocks, 1, gram, &r);
        round_matrix(&r, pool, s->half_a, s->a, s->m, s->m);
        pool_run(pool, blocks, 1, square, &r);
        round_matrix(&r, pool, s->half_a, s->b, s->m, s->m);
        pool_run(pool, slabs, 1, advance, &r);
        float *next = s->y;
        s->y = s->x;
        s->x = next;
    }
}
