#include "kern/norm/norm.h"

#if defined(__x86_64__)

#include <math.h>

#include "kern/norm/chains_avx512.h"

/*
 * One register is the 16 chains, so the sum is bound by the latency of one fma per
 * 16 elements (4 cycles); a row of 2048 takes 0.2 us, once per layer and token.
 * Lanes past the end add 0 * 0, which changes no square's sum.
 */
static float sum_squares(const float *x, size_t n)
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

static void scale_row(float *y, const float *x, const float *g, size_t n, float s)
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

void rmsnorm_fwd_avx512(float *y, const float *x, const float *g, size_t rows, size_t dim,
                        float eps)
{
    for (size_t r = 0; r < rows; r++, x += dim, y += dim)
        scale_row(y, x, g, dim, 1.0f / sqrtf(sum_squares(x, dim) / (float)dim + eps));
}

/* As sum_squares; here a chain may hold -0 where denormals are flushed, so the last part is
 * masked and adds nothing past the end. */
static float dot_grad(const float *dy, const float *g, const float *x, size_t n)
{
    __m512 c = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes_x16(n - i < 16 ? n - i : 16);
        __m512 h = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, dy + i), _mm512_maskz_loadu_ps(m, g + i));
        c = _mm512_mask3_fmadd_ps(h, _mm512_maskz_loadu_ps(m, x + i), c, m);
    }
    return chains_sum_x16(c);
}

static void grad_row(float *dx, float *dg, const float *dy, const float *x, const float *g,
                     size_t n, float scale, float mean)
{
    __m512 s = _mm512_set1_ps(scale), k = _mm512_set1_ps(mean);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes_x16(n - i < 16 ? n - i : 16);
        __m512 xh = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), s);
        __m512 d = _mm512_maskz_loadu_ps(m, dy + i);
        __m512 h = _mm512_mul_ps(d, _mm512_maskz_loadu_ps(m, g + i));
        if (dg) {
            __m512 old = _mm512_maskz_loadu_ps(m, dg + i);
            _mm512_mask_storeu_ps(dg + i, m, _mm512_fmadd_ps(d, xh, old));
        }
        _mm512_mask_storeu_ps(dx + i, m, _mm512_mul_ps(s, _mm512_fnmadd_ps(k, xh, h)));
    }
}

void rmsnorm_bwd_avx512(float *dx, float *dg, const float *dy, const float *x, const float *g,
                        size_t rows, size_t dim, float eps)
{
    for (size_t r = 0; r < rows; r++, x += dim, dy += dim, dx += dim) {
        float s = 1.0f / sqrtf(sum_squares(x, dim) / (float)dim + eps);
        grad_row(dx, dg, dy, x, g, dim, s, dot_grad(dy, g, x, dim) * s / (float)dim);
    }
}

#endif
