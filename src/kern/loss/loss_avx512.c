#include "kern/loss/loss.h"

#if defined(__x86_64__)

#include "kern/act/exp_f32_avx512.h"
#include "kern/loss/softmax_part.h"
#include "kern/norm/chains_avx512.h"

/*
 * Two passes over a part, which is in the first cache, maximum and sum; the exponential bounds
 * both kernels: about 15 instructions per 16 elements.
 */
#define INLINE static inline __attribute__((always_inline))

INLINE void exp_part(const float *x, __m512 base, __m512d c[2], __mmask16 m)
{
    __m512 e = exp_f32_x16(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, x), base));
    e = _mm512_maskz_mov_ps(m, e);
    c[0] = _mm512_add_pd(c[0], _mm512_cvtps_pd(_mm512_castps512_ps256(e)));
    c[1] = _mm512_add_pd(c[1], _mm512_cvtps_pd(_mm512_extractf32x8_ps(e, 1)));
}

static void take_part(struct softmax_sum *s, const float *x, size_t n)
{
    softmax_reach(s, row_max_x16(x, n));
    __m512 base = _mm512_set1_ps(softmax_base(s->max));
    __m512d c[2] = { _mm512_setzero_pd(), _mm512_setzero_pd() };
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        exp_part(x + i, base, c, 0xffff);
    exp_part(x + i, base, c, lanes_x16(n - i));
    s->sum += chains_sum_x8d(c[0], c[1]);
}

void softmax_sum_avx512(struct softmax_sum *s, const float *x, size_t n)
{
    softmax_take(s, x, n, take_part);
}

INLINE void grad_part(float *x, __m512 top, __m512 k, __mmask16 m)
{
    __m512 e = exp_f32_x16(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, x), top));
    _mm512_mask_storeu_ps(x, m, _mm512_mul_ps(e, k));
}

void softmax_grad_avx512(float *x, size_t n, float max, float k)
{
    __m512 top = _mm512_set1_ps(max), factor = _mm512_set1_ps(k);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        grad_part(x + i, top, factor, 0xffff);
    grad_part(x + i, top, factor, lanes_x16(n - i));
}

#endif
