/* Products with weights packed once: kern/gemm/gemm_packed.h. */
#include <string.h>

#include "checkkern.h"

struct packed_case {
    size_t rows, cols, depth, a_gap, skew;       /* a_gap, skew: elements */
    bool add;
};

/* c = or += a b by the definition; b as its depth rows lie in memory, and turned. */
struct packed_sides {
    bf16 *a, *b, *turned;
    float *before, *want;
    size_t a_stride, b_stride, c_stride, n_c;
};

static bf16 *any_bf16(struct tester *t, size_t n, size_t skew)
{
    bf16 *v = t_bytes(t, n * sizeof *v, skew * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = f32_to_bf16(t_normal(t));
    return v;
}

static struct packed_sides begin(struct tester *t, const struct packed_case *p)
{
    struct packed_sides s = { .a_stride = p->depth + p->a_gap, .b_stride = p->cols + p->skew,
                              .c_stride = p->cols + p->a_gap % 7 };
    t_case(t, "rows=%zu cols=%zu depth=%zu gap=%zu skew=%zu%s", p->rows, p->cols, p->depth,
           p->a_gap, p->skew, p->add ? ", added" : "");
    s.n_c = p->rows * s.c_stride;
    s.a = any_bf16(t, p->rows * s.a_stride, p->skew);
    s.b = any_bf16(t, p->depth * s.b_stride, p->skew);
    s.turned = any_bf16(t, p->cols * (p->depth + 1), 1);
    for (size_t i = 0; i < p->depth * p->cols; i++)
        s.turned[i % p->cols * (p->depth + 1) + i / p->cols] =
            s.b[i / p->cols * s.b_stride + i % p->cols];
    s.before = t_floats(t, s.n_c, 1, FILL_RANDOM);
    s.want = t_copy(t, s.before, s.n_c);
    t->ref->gemm_bf16_dx(s.want, s.c_stride, s.a, s.a_stride, s.b, 2 * s.b_stride, p->rows,
                         p->depth, p->cols, p->add);
    return s;
}

/* The columns in two blocks, and then the depth, cut at a multiple of 32. */
static void multiply(struct tester *t, const struct packed_case *p, const struct packed_sides *s,
                     const uint8_t *b, const char *what)
{
    float *got = t_copy(t, s->before, s->n_c);
    size_t cut = p->cols / 64 * 32, panel = gemm_packed_bytes(p->depth, 32);
    t->k->gemm_bf16_packed(got, s->c_stride, s->a, s->a_stride, b, panel, p->rows, cut, p->depth,
                           p->add);
    t->k->gemm_bf16_packed(got + cut, s->c_stride, s->a, s->a_stride, b + cut / 32 * panel, panel,
                           p->rows, p->cols - cut, p->depth, p->add);
    t_same_bytes(t, got, s->want, s->n_c * sizeof *got, what);
    cut = p->depth / 64 * 32;
    if (cut) {
        memcpy(got, s->before, s->n_c * sizeof *got);
        t->k->gemm_bf16_packed(got, s->c_stride, s->a, s->a_stride, b, panel, p->rows, p->cols,
                               cut, p->add);
        t->k->gemm_bf16_packed(got, s->c_stride, s->a + cut, s->a_stride, b + 64 * cut, panel,
                               p->rows, p->cols, p->depth - cut, true);
        t_same_bytes(t, got, s->want, s->n_c * sizeof *got, what);
    }
}

static void check_case(struct tester *t, const struct packed_case *p)
{
    struct packed_sides s = begin(t, p);
    size_t bytes = gemm_packed_bytes(p->cols, p->depth);
    uint8_t *y = t_bytes(t, bytes, 0), *dx = t_bytes(t, bytes, 0);
    t->k->gemm_bf16_pack_y(y, s.turned, 2 * (p->depth + 1), p->cols, p->depth);
    t->k->gemm_bf16_pack_dx(dx, s.b, 2 * s.b_stride, p->depth, p->cols);
    t_same_bytes(t, y, dx, bytes, "W and its transpose, packed");
    multiply(t, p, &s, y, "packed as for y");
    multiply(t, p, &s, dx, "packed as for dx");
    t_end(t);
}

/* A in place and not: apart from lines, steps that lack k, rows on the same cache lines. */
void check_gemm_packed(struct tester *t)
{
    static const struct packed_case cases[] = {
        { 1, 1, 1, 0, 0, false }, { 5, 33, 31, 3, 1, true }, { 12, 32, 32, 0, 0, false },
        { 33, 70, 64, 0, 0, true }, { 40, 100, 96, 32, 0, false }, { 16, 96, 640, 0, 0, true },
        { 70, 40, 672, 32, 0, false }, { 20, 129, 1300, 0, 1, true }, { 64, 64, 1024, 0, 0, false },
        { 45, 31, 992, 32, 0, true }, { 37, 64, 256, 0, 1, false }, { 0, 64, 32, 0, 0, false },
        { 3, 0, 64, 0, 0, false }, { 17, 1100, 480, 0, 0, true },
    };
    bool tiles = t->level == CPU_AMX;
    t_case(t, "level %s", cpu_level_name(t->level));
    t_true(t, (t->k->gemm_bf16_pack_y != NULL) == tiles &&
              (t->k->gemm_bf16_pack_dx != NULL) == tiles &&
              (t->k->gemm_bf16_packed != NULL) == tiles, "only level amx has them");
    t_end(t);
    for (size_t i = 0; tiles && i < sizeof cases / sizeof *cases; i++)
        check_case(t, &cases[i]);
}
