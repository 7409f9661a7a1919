#include "kern/opt/opt.h"

#if defined(__x86_64__)

#include "kern/norm/chains_avx2.h"

/* 28 bytes per element through memory; from the caches the root and the division bound it. */
void adamw_step_avx2(float *w, float *m, float *v, const float *g, size_t n,
                     const struct adamw *c)
{
    __m256 scale = _mm256_set1_ps(c->grad_scale), take1 = _mm256_set1_ps(c->take1);
    __m256 beta2 = _mm256_set1_ps(c->beta2), take2 = _mm256_set1_ps(c->take2);
    __m256 root = _mm256_set1_ps(c->root), eps = _mm256_set1_ps(c->eps);
    __m256 step = _mm256_set1_ps(c->step), keep = _mm256_set1_ps(c->keep);
    for (size_t i = 0; i < n; i += 8) {
        size_t left = n - i;
        __m256 gs = _mm256_mul_ps(load_x8(g + i, left), scale);
        __m256 a = load_x8(m + i, left), b = _mm256_mul_ps(beta2, load_x8(v + i, left));
        a = _mm256_fmadd_ps(take1, _mm256_sub_ps(gs, a), a);
        b = _mm256_fmadd_ps(_mm256_mul_ps(take2, gs), gs, b);
        __m256 d = _mm256_fmadd_ps(_mm256_sqrt_ps(b), root, eps);
        __m256 old = _mm256_mul_ps(load_x8(w + i, left), keep);
        store_x8(m + i, a, left);
        store_x8(v + i, b, left);
        store_x8(w + i, _mm256_fnmadd_ps(step, _mm256_div_ps(a, d), old), left);
    }
}

/* Zeros past the end change nothing: squares are never -0. */
void sum_squares_avx2(double *sum, const float *x, size_t n)
{
    __m256d c[4] = { _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(),
                     _mm256_setzero_pd() };
    for (size_t i = 0; i < n; i += 16)
        for (size_t h = 0; h < 2 && i + 8 * h < n; h++) {
            __m256 v = load_x8(x + i + 8 * h, n - i - 8 * h);
            __m256d a = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
            __m256d b = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
            c[2 * h] = _mm256_fmadd_pd(a, a, c[2 * h]);
            c[2 * h + 1] = _mm256_fmadd_pd(b, b, c[2 * h + 1]);
        }
    *sum = chains_sum_x4(c);
}

#endif
