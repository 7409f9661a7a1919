#include "kern/opt/opt.h"

#if defined(__x86_64__)

#include "kern/norm/chains_avx512.h"

/* 28 bytes per element through memory; from the caches the root and the division bound it. */
void adamw_step_avx512(float *w, float *m, float *v, const float *g, size_t n,
                       const struct adamw *c)
{
    __m512 scale = _mm512_set1_ps(c->grad_scale), take1 = _mm512_set1_ps(c->take1);
    __m512 beta2 = _mm512_set1_ps(c->beta2), take2 = _mm512_set1_ps(c->take2);
    __m512 root = _mm512_set1_ps(c->root), eps = _mm512_set1_ps(c->eps);
    __m512 step = _mm512_set1_ps(c->step), keep = _mm512_set1_ps(c->keep);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 k = lanes_x16(n - i < 16 ? n - i : 16);
        __m512 gs = _mm512_mul_ps(_mm512_maskz_loadu_ps(k, g + i), scale);
        __m512 a = _mm512_maskz_loadu_ps(k, m + i);
        __m512 b = _mm512_mul_ps(beta2, _mm512_maskz_loadu_ps(k, v + i));
        a = _mm512_fmadd_ps(take1, _mm512_sub_ps(gs, a), a);
        b = _mm512_fmadd_ps(_mm512_mul_ps(take2, gs), gs, b);
        __m512 d = _mm512_fmadd_ps(_mm512_sqrt_ps(b), root, eps);
        __m512 old = _mm512_mul_ps(_mm512_maskz_loadu_ps(k, w + i), keep);
        _mm512_mask_storeu_ps(m + i, k, a);
        _mm512_mask_storeu_ps(v + i, k, b);
        _mm512_mask_storeu_ps(w + i, k, _mm512_fnmadd_ps(step, _mm512_div_ps(a, d), old));
    }
}

/* Zeros past the end change nothing: squares are never -0. */
void sum_squares_avx512(double *sum, const float *x, size_t n)
{
    __m512d low = _mm512_setzero_pd(), high = low;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512d a = _mm512_cvtps_pd(_mm256_loadu_ps(x + i));
        __m512d b = _mm512_cvtps_pd(_mm256_loadu_ps(x + i + 8));
        low = _mm512_fmadd_pd(a, a, low);
        high = _mm512_fmadd_pd(b, b, high);
    }
    __m512 v = _mm512_maskz_loadu_ps(lanes_x16(n - i), x + i);
    __m512d a = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
    __m512d b = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
    low = _mm512_fmadd_pd(a, a, low);
    high = _mm512_fmadd_pd(b, b, high);
    *sum = chains_sum_x8d(low, high);
}

#endif
