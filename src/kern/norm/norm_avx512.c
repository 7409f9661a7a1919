#include "kern/norm/norm.h"

#if defined(__x86_64__)

#include "kern/norm/norm_avx512.h"

void rmsnorm_fwd_avx512(float *y, const float *x, const float *g, size_t rows, size_t dim,
                        float eps)
{
    float sum[4];
    for (; rows >= 4; rows -= 4, x += 4 * dim, y += 4 * dim) {
        sum_squares_4(sum, x, dim);
        for (size_t r = 0; r < 4; r++)
            scale_row(y + r * dim, x + r * dim, g, dim, scale_of(sum[r], dim, eps));
    }
    for (; rows; rows--, x += dim, y += dim)
        scale_row(y, x, g, dim, scale_of(sum_squares(x, dim), dim, eps));
}

/* What rows going backward share, `dim` elements each, and what one of them has alone. */
struct grads {
    float *dx, *dg;
    const float *dy, *x, *g;
    size_t dim;
};

struct grad_row {
    __m512 squares, dot;
    float s, mean;
};

/* As in sum_squares; a chain of the dot product may hold -0 where denormals are flushed, so
 * there nothing is added past the end. */
INLINE void add_parts(struct grad_row *r, int rows, const struct grads *a, size_t i, __mmask16 m)
{
    __m512 g = _mm512_maskz_loadu_ps(m, a->g + i);
#pragma GCC unroll 4
    for (int j = 0; j < rows; j++, i += a->dim) {
        __m512 x = _mm512_maskz_loadu_ps(m, a->x + i);
        __m512 h = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, a->dy + i), g);
        r[j].squares = _mm512_fmadd_ps(x, x, r[j].squares);
        r[j].dot = _mm512_mask3_fmadd_ps(h, x, r[j].dot, m);
    }
}

INLINE void end_sums(struct grad_row *r, size_t dim, float eps)
{
    r->s = scale_of(chains_sum_x16(r->squares), dim, eps);
    r->mean = chains_sum_x16(r->dot) * r->s / (float)dim;
}

/* Writes dx and adds the rows' parts to dg, in their order. */
INLINE void grad_parts(const struct grad_row *r, int rows, const struct grads *a, size_t i,
                       __mmask16 m)
{
    __m512 g = _mm512_maskz_loadu_ps(m, a->g + i), dg = _mm512_setzero_ps();
    float *to = a->dg ? a->dg + i : NULL;
    if (to)
        dg = _mm512_maskz_loadu_ps(m, to);
#pragma GCC unroll 4
    for (int j = 0; j < rows; j++, i += a->dim) {
        __m512 s = _mm512_set1_ps(r[j].s), k = _mm512_set1_ps(r[j].mean);
        __m512 xh = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, a->x + i), s);
        __m512 d = _mm512_maskz_loadu_ps(m, a->dy + i), h = _mm512_mul_ps(d, g);
        _mm512_mask_storeu_ps(a->dx + i, m, _mm512_mul_ps(s, _mm512_fnmadd_ps(k, xh, h)));
        dg = _mm512_fmadd_ps(d, xh, dg);
    }
    if (to)
        _mm512_mask_storeu_ps(to, m, dg);
}

/* One row or four. */
INLINE void grad_rows(const struct grads *a, int rows, float eps)
{
    struct grad_row r[4];
    size_t i = 0, dim = a->dim;
    __mmask16 last = lanes_x16(dim % 16);
#pragma GCC unroll 4
    for (int j = 0; j < rows; j++)
        r[j] = (struct grad_row){ _mm512_setzero_ps(), _mm512_setzero_ps(), 0, 0 };
    for (; i + 16 <= dim; i += 16)
        add_parts(r, rows, a, i, 0xffff);
    if (last)
        add_parts(r, rows, a, i, last);
#pragma GCC unroll 4
    for (int j = 0; j < rows; j++)
        end_sums(&r[j], dim, eps);
    for (i = 0; i + 16 <= dim; i += 16)
        grad_parts(r, rows, a, i, 0xffff);
    if (last)
        grad_parts(r, rows, a, i, last);
}

void rmsnorm_bwd_avx512(float *dx, float *dg, const float *dy, const float *x, const float *g,
                        size_t rows, size_t dim, float eps)
{
    while (rows) {
        size_t n = rows >= 4 ? 4 : 1;
        struct grads a = { dx, dg, dy, x, g, dim };
        if (n == 4)
            grad_rows(&a, 4, eps);
        else
            grad_rows(&a, 1, eps);
        rows -= n;
        dx += n * dim;
        dy += n * dim;
        x += n * dim;
    }
}

#endif
