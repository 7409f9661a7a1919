#include "kern/loss/loss.h"

#if defined(__x86_64__)

#include <stdbool.h>

#include "kern/act/exp_f32_avx512.h"
#include "kern/loss/row_end.h"
#include "kern/norm/chains_avx512.h"

/*
 * Three passes over the row, which fits L2 for most vocabularies: maximum, exponential with
 * its sum, scaling.  The exponential bounds it: about 20 instructions per 16 elements.
 */
static double sum_exp(float *x, size_t n, float max, bool keep)
{
    __m512 top = _mm512_set1_ps(max);
    __m512d low = _mm512_setzero_pd(), high = low;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes_x16(n - i < 16 ? n - i : 16);
        __m512 e = exp_f32_x16(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, x + i), top));
        if (keep)
            _mm512_mask_storeu_ps(x + i, m, e);
        e = _mm512_maskz_mov_ps(m, e);
        low = _mm512_add_pd(low, _mm512_cvtps_pd(_mm512_castps512_ps256(e)));
        high = _mm512_add_pd(high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(e, 1)));
    }
    return chains_sum_x8d(low, high);
}

void cross_entropy_avx512(float *x, uint32_t target, size_t n, float scale, float z_coef,
                          double *loss, double *lse)
{
    bool grad = scale != 0;
    float max = row_max_x16(x, n), xt = x[target];
    struct row_end r = row_end(max, sum_exp(x, n, max, grad), xt, scale, z_coef);
    *loss = r.loss;
    *lse = r.lse;
    if (!grad)
        return;
    __m512 k = _mm512_set1_ps(r.k);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes_x16(n - i < 16 ? n - i : 16);
        _mm512_mask_storeu_ps(x + i, m, _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), k));
    }
    x[target] = r.at_target;
}

#endif
