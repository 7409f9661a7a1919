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

/* One row going backward: what it needs and its two sums. */
struct grad_row {
    float *dx;
    const float *dy, *x;
    __m512 squares, dot;
    float s, mean;
};

/* As in sum_squares; a chain of the dot product may hold -0 where denormals are flushed, so
 * there nothing is added past the end. */
INLINE void add_part(struct grad_row *r, const float *g, size_t i, __mmask16 m)
{
    __m512 x = _mm512_maskz_loadu_ps(m, r->x + i);
    __m512 h = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, r->dy + i), _mm512_maskz_loadu_ps(m, g + i));
    r->squares = _mm512_fmadd_ps(x, x, r->squares);
    r->dot = _mm512_mask3_fmadd_ps(h, x, r->dot, m);
}

INLINE void end_sums(struct grad_row *r, size_t dim, float eps)
{
    r->s = scale_of(chains_sum_x16(r->squares), dim, eps);
    r->mean = chains_sum_x16(r->dot) * r->s / (float)dim;
}

/* Writes dx; returns dg with the row's part added. */
INLINE __m512 grad_part(const struct grad_row *r, __m512 g, __m512 dg, size_t i, __mmask16 m)
{
    __m512 s = _mm512_set1_ps(r->s), k = _mm512_set1_ps(r->mean);
    __m512 xh = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, r->x + i), s);
    __m512 d = _mm512_maskz_loadu_ps(m, r->dy + i), h = _mm512_mul_ps(d, g);
    _mm512_mask_storeu_ps(r->dx + i, m, _mm512_mul_ps(s, _mm512_fnmadd_ps(k, xh, h)));
    return _mm512_fmadd_ps(d, xh, dg);
}

INLINE void grad_parts(struct grad_row *r, int rows, float *dg, const float *g, size_t i,
                       __mmask16 m)
{
    __m512 gain = _mm512_maskz_loadu_ps(m, g + i);
    __m512 sum = dg ? _mm512_maskz_loadu_ps(m, dg + i) : _mm512_setzero_ps();
    sum = grad_part(&r[0], gain, sum, i, m);
    if (rows == 2)
        sum = grad_part(&r[1], gain, sum, i, m);
    if (dg)
        _mm512_mask_storeu_ps(dg + i, m, sum);
}

/* One row or two, whose gradients are added to dg in their order. */
INLINE void grad_rows(struct grad_row *r, int rows, float *dg, const float *g, size_t dim,
                      float eps)
{
    size_t i = 0;
    for (; i < dim; i += 16) {
        __mmask16 m = dim - i < 16 ? lanes_x16(dim - i) : 0xffff;
        add_part(&r[0], g, i, m);
        if (rows == 2)
            add_part(&r[1], g, i, m);
    }
    end_sums(&r[0], dim, eps);
    if (rows == 2)
        end_sums(&r[1], dim, eps);
    for (i = 0; i + 16 <= dim; i += 16)
        grad_parts(r, rows, dg, g, i, 0xffff);
    if (i < dim)
        grad_parts(r, rows, dg, g, i, lanes_x16(dim - i));
}

void rmsnorm_bwd_avx512(float *dx, float *dg, const float *dy, const float *x, const float *g,
                        size_t rows, size_t dim, float eps)
{
    __m512 zero = _mm512_setzero_ps();
    for (; rows >= 2; rows -= 2, x += 2 * dim, dy += 2 * dim, dx += 2 * dim) {
        struct grad_row r[2] = { { dx, dy, x, zero, zero, 0, 0 },
                                 { dx + dim, dy + dim, x + dim, zero, zero, 0, 0 } };
        grad_rows(r, 2, dg, g, dim, eps);
    }
    if (rows) {
        struct grad_row r = { dx, dy, x, zero, zero, 0, 0 };
        grad_rows(&r, 1, dg, g, dim, eps);
    }
}

#endif
