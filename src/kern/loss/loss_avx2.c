#include "kern/loss/loss.h"

#if defined(__x86_64__)

#include <stdbool.h>

#include "kern/act/exp_f32_avx2.h"
#include "kern/loss/row_end.h"
#include "kern/norm/chains_avx2.h"

/*
 * Three passes over the row, which fits L2 for most vocabularies: maximum, exponential with
 * its sum, scaling.  The exponential bounds it: about 25 instructions per 8 elements.
 * The sum of n <= 8 elements goes to half of the chains; a chain is never -0.
 */
static void exp_part(float *x, size_t n, __m256 max, bool keep, __m256d c[2])
{
    __m256 e = exp_f32_x8(_mm256_sub_ps(load_x8(x, n), max));
    if (keep)
        store_x8(x, e, n);
    e = _mm256_and_ps(e, _mm256_castsi256_ps(lanes_x8(n)));
    c[0] = _mm256_add_pd(c[0], _mm256_cvtps_pd(_mm256_castps256_ps128(e)));
    c[1] = _mm256_add_pd(c[1], _mm256_cvtps_pd(_mm256_extractf128_ps(e, 1)));
}

static double sum_exp(float *x, size_t n, float max, bool keep)
{
    __m256d c[4] = { _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(),
                     _mm256_setzero_pd() };
    __m256 top = _mm256_set1_ps(max);
    for (size_t i = 0; i < n; i += 16) {
        size_t left = n - i;
        exp_part(x + i, left < 8 ? left : 8, top, keep, c);
        if (left > 8)
            exp_part(x + i + 8, left < 16 ? left - 8 : 8, top, keep, c + 2);
    }
    return chains_sum_x4(c);
}

void cross_entropy_avx2(float *x, uint32_t target, size_t n, float scale, float z_coef,
                        double *loss, double *lse)
{
    bool grad = scale != 0;
    float max = row_max_x8(x, n), xt = x[target];
    struct row_end r = row_end(max, sum_exp(x, n, max, grad), xt, scale, z_coef);
    *loss = r.loss;
    *lse = r.lse;
    if (!grad)
        return;
    __m256 k = _mm256_set1_ps(r.k);
    for (size_t i = 0; i < n; i += 8)
        store_x8(x + i, _mm256_mul_ps(load_x8(x + i, n - i), k), n - i);
    x[target] = r.at_target;
}

#endif
