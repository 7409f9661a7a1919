#include "kern/norm/norm.h"

#if defined(__x86_64__)

#include <math.h>

#include "kern/norm/chains_avx2.h"

static __m256 load_part(const float *x, size_t n)
{
    return _mm256_maskload_ps(x, lanes_x8(n));
}

/* Lanes past the end add 0 * 0, which changes no square's sum. */
static float sum_squares(const float *x, size_t n)
{
    __m256 low = _mm256_setzero_ps(), high = low;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + 8);
        low = _mm256_fmadd_ps(a, a, low);
        high = _mm256_fmadd_ps(b, b, high);
    }
    size_t left = n - i;
    __m256 a = load_part(x + i, left < 8 ? left : 8);
    low = _mm256_fmadd_ps(a, a, low);
    if (left > 8) {
        __m256 b = load_part(x + i + 8, left - 8);
        high = _mm256_fmadd_ps(b, b, high);
    }
    return chains_sum_x8(low, high);
}

static void scale_row(float *y, const float *x, const float *g, size_t n, float s)
{
    __m256 k = _mm256_set1_ps(s);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), k);
        _mm256_storeu_ps(y + i, _mm256_mul_ps(v, _mm256_loadu_ps(g + i)));
    }
    __m256 v = _mm256_mul_ps(load_part(x + i, n - i), k);
    _mm256_maskstore_ps(y + i, lanes_x8(n - i), _mm256_mul_ps(v, load_part(g + i, n - i)));
}

void rmsnorm_fwd_avx2(float *y, const float *x, const float *g, size_t rows, size_t dim, float eps)
{
    for (size_t r = 0; r < rows; r++, x += dim, y += dim)
        scale_row(y, x, g, dim, 1.0f / sqrtf(sum_squares(x, dim) / (float)dim + eps));
}

#endif
