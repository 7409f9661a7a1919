#include "kern/loss/loss.h"

#if defined(__x86_64__)

#include "kern/act/exp_f32_avx2.h"
#include "kern/loss/softmax_part.h"
#include "kern/norm/chains_avx2.h"

/*
 * Two passes over a part, which is in the first cache, maximum and sum; the exponential bounds
 * both kernels: about 25 instructions per 8 elements.
 * The sum of n <= 8 elements goes to half of the chains; a chain is never -0.
 */
static void exp_part(const float *x, size_t n, __m256 base, __m256d c[2])
{
    __m256 e = exp_f32_x8(_mm256_sub_ps(load_x8(x, n), base));
    e = _mm256_and_ps(e, _mm256_castsi256_ps(lanes_x8(n)));
    c[0] = _mm256_add_pd(c[0], _mm256_cvtps_pd(_mm256_castps256_ps128(e)));
    c[1] = _mm256_add_pd(c[1], _mm256_cvtps_pd(_mm256_extractf128_ps(e, 1)));
}

static void take_part(struct softmax_sum *s, const float *x, size_t n)
{
    __m256d c[4] = { _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(),
                     _mm256_setzero_pd() };
    softmax_reach(s, row_max_x8(x, n));
    __m256 base = _mm256_set1_ps(softmax_base(s->max));
    for (size_t i = 0; i < n; i += 16) {
        size_t left = n - i;
        exp_part(x + i, left < 8 ? left : 8, base, c);
        if (left > 8)
            exp_part(x + i + 8, left < 16 ? left - 8 : 8, base, c + 2);
    }
    s->sum += chains_sum_x4(c);
}

void softmax_sum_avx2(struct softmax_sum *s, const float *x, size_t n)
{
    softmax_take(s, x, n, take_part);
}

void softmax_grad_avx2(float *x, size_t n, float max, float k)
{
    __m256 top = _mm256_set1_ps(max), factor = _mm256_set1_ps(k);
    for (size_t i = 0; i < n; i += 8) {
        __m256 e = exp_f32_x8(_mm256_sub_ps(load_x8(x + i, n - i), top));
        store_x8(x + i, _mm256_mul_ps(e, factor), n - i);
    }
}

#endif
