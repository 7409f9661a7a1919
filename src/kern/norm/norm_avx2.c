#include "kern/norm/norm.h"

#if defined(__x86_64__)

#include <math.h>

#include "kern/norm/chains_avx2.h"
#include "kern/quant/quant.h"

enum { PIECE = 512 };                     /* floats that wait in L1 to be rounded */

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

void rmsnorm_fwd_bf16_avx2(bf16 *y, const float *x, const float *g, size_t rows, size_t dim,
                           float eps)
{
    float piece[PIECE];
    for (size_t r = 0; r < rows; r++, x += dim, y += dim) {
        float s = 1.0f / sqrtf(sum_squares(x, dim) / (float)dim + eps);
        for (size_t i = 0; i < dim; i += PIECE) {
            size_t n = dim - i < PIECE ? dim - i : PIECE;
            scale_row(piece, x + i, g + i, n, s);
            round_bf16_avx2(y + i, piece, n);
        }
    }
}

/* n <= 8 elements into a half of the chains.  Where denormals are flushed a chain may hold
 * -0, so the lanes past the end keep what they have. */
static __m256 dot_part(const float *dy, const float *g, const float *x, size_t n, __m256 chain)
{
    __m256 h = _mm256_mul_ps(load_x8(dy, n), load_x8(g, n));
    __m256 sum = _mm256_fmadd_ps(h, load_x8(x, n), chain);
    return n == 8 ? sum : _mm256_blendv_ps(chain, sum, _mm256_castsi256_ps(lanes_x8(n)));
}

static float dot_grad(const float *dy, const float *g, const float *x, size_t n)
{
    __m256 low = _mm256_setzero_ps(), high = low;
    for (size_t i = 0; i < n; i += 16) {
        size_t left = n - i;
        low = dot_part(dy + i, g + i, x + i, left < 8 ? left : 8, low);
        if (left > 8)
            high = dot_part(dy + i + 8, g + i + 8, x + i + 8, left < 16 ? left - 8 : 8, high);
    }
    return chains_sum_x8(low, high);
}

static void grad_row(float *dx, float *dg, const float *dy, const float *x, const float *g,
                     size_t n, float scale, float mean)
{
    __m256 s = _mm256_set1_ps(scale), k = _mm256_set1_ps(mean);
    for (size_t i = 0; i < n; i += 8) {
        size_t left = n - i;
        __m256 xh = _mm256_mul_ps(load_x8(x + i, left), s), d = load_x8(dy + i, left);
        __m256 h = _mm256_mul_ps(d, load_x8(g + i, left));
        if (dg)
            store_x8(dg + i, _mm256_fmadd_ps(d, xh, load_x8(dg + i, left)), left);
        store_x8(dx + i, _mm256_mul_ps(s, _mm256_fnmadd_ps(k, xh, h)), left);
    }
}

void rmsnorm_bwd_avx2(float *dx, float *dg, const float *dy, const float *x, const float *g,
                      size_t rows, size_t dim, float eps)
{
    for (size_t r = 0; r < rows; r++, x += dim, dy += dim, dx += dim) {
        float s = 1.0f / sqrtf(sum_squares(x, dim) / (float)dim + eps);
        grad_row(dx, dg, dy, x, g, dim, s, dot_grad(dy, g, x, dim) * s / (float)dim);
    }
}

#endif
