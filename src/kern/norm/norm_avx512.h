/* norm_avx512: the parts of rmsnorm_fwd, for all its versions with AVX-512. */
#ifndef KEXA_KERN_NORM_AVX512_H
#define KEXA_KERN_NORM_AVX512_H

#include <math.h>

#include "kern/norm/chains_avx512.h"

#define INLINE static inline __attribute__((always_inline))

/*
 * One register is the 16 chains, so a row's sum is bound by the latency of one fma per
 * 16 elements (4 cycles).  Four rows at once hide it.
 * Lanes past the end add 0 * 0, which changes no square's sum.
 */
static inline float sum_squares(const float *x, size_t n)
{
    __m512 c = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512 v = _mm512_loadu_ps(x + i);
        c = _mm512_fmadd_ps(v, v, c);
    }
    __m512 v = _mm512_maskz_loadu_ps(lanes_x16(n - i), x + i);
    return chains_sum_x16(_mm512_fmadd_ps(v, v, c));
}

INLINE __m512 add_square(__m512 sum, const float *x, __mmask16 m)
{
    __m512 v = _mm512_maskz_loadu_ps(m, x);
    return _mm512_fmadd_ps(v, v, sum);
}

INLINE void add_squares(__m512 c[4], const float *x, size_t n, __mmask16 m)
{
    c[0] = add_square(c[0], x, m);
    c[1] = add_square(c[1], x + n, m);
    c[2] = add_square(c[2], x + 2 * n, m);
    c[3] = add_square(c[3], x + 3 * n, m);
}

static inline void sum_squares_4(float sum[4], const float *x, size_t n)
{
    __m512 c[4] = { _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                    _mm512_setzero_ps() };
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        add_squares(c, x + i, n, 0xffff);
    add_squares(c, x + i, n, lanes_x16(n - i));
    for (int r = 0; r < 4; r++)
        sum[r] = chains_sum_x16(c[r]);
}

static inline float scale_of(float sum, size_t dim, float eps)
{
    return 1.0f / sqrtf(sum / (float)dim + eps);
}

static inline void scale_row(float *y, const float *x, const float *g, size_t n, float s)
{
    __m512 k = _mm512_set1_ps(s);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + i), k);
        _mm512_storeu_ps(y + i, _mm512_mul_ps(v, _mm512_loadu_ps(g + i)));
    }
    __mmask16 m = lanes_x16(n - i);
    __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), k);
    _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, g + i)));
}

#endif
