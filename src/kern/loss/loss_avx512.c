#include "kern/loss/loss.h"

#if defined(__x86_64__)

#include <stdbool.h>

#include "kern/act/exp_f32_avx512.h"
#include "kern/loss/row_end.h"
#include "kern/norm/chains_avx512.h"

/*
 * Three passes over the row, which fits L2 for most vocabularies: maximum, exponential with
 * its sum, scaling.  The exponential bounds it: about 15 instructions per 16 elements.
 */
#define INLINE static inline __attribute__((always_inline))

INLINE void exp_part(float *x, __m512 top, bool keep, __m512d c[2], __mmask16 m)
{
    __m512 e = exp_f32_x16(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, x), top));
    if (keep)
        _mm512_mask_storeu_ps(x, m, e);
    e = _mm512_maskz_mov_ps(m, e);
    c[0] = _mm512_add_pd(c[0], _mm512_cvtps_pd(_mm512_castps512_ps256(e)));
    c[1] = _mm512_add_pd(c[1], _mm512_cvtps_pd(_mm512_extractf32x8_ps(e, 1)));
}

INLINE double sum_exp(float *x, size_t n, float max, bool keep)
{
    __m512 top = _mm512_set1_ps(max);
    __m512d c[2] = { _mm512_setzero_pd(), _mm512_setzero_pd() };
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        exp_part(x + i, top, keep, c, 0xffff);
    exp_part(x + i, top, keep, c, lanes_x16(n - i));
    return chains_sum_x8d(c[0], c[1]);
}

static double sum_and_keep(float *x, size_t n, float max)
{
    return sum_exp(x, n, max, true);
}

static double sum_alone(float *x, size_t n, float max)
{
    return sum_exp(x, n, max, false);
}

void cross_entropy_avx512(float *x, uint32_t target, size_t n, float scale, float z_coef,
                          double *loss, double *lse)
{
    bool grad = scale != 0;
    float max = row_max_x16(x, n), xt = x[target];
    double sum = grad ? sum_and_keep(x, n, max) : sum_alone(x, n, max);
    struct row_end r = row_end(max, sum, xt, scale, z_coef);
    *loss = r.loss;
    *lse = r.lse;
    if (!grad)
        return;
    __m512 k = _mm512_set1_ps(r.k);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(x + i, _mm512_mul_ps(_mm512_loadu_ps(x + i), k));
    __mmask16 m = lanes_x16(n - i);
    _mm512_mask_storeu_ps(x + i, m, _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), k));
    x[target] = r.at_target;
}

#endif
