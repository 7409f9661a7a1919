/* chains_avx512: the tree of chains.h on one register (two in f64), and the end of a row. */
#ifndef KEXA_KERN_CHAINS_AVX512_H
#define KEXA_KERN_CHAINS_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <stddef.h>

/* The lowest n lanes, n <= 16. */
static inline __mmask16 lanes_x16(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

static inline float chains_sum_x16(__m512 c)
{
    __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(c), 1));
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(c), high);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

/* low holds chains 0..7, high 8..15. */
static inline double chains_sum_x8d(__m512d low, __m512d high)
{
    __m512d c = _mm512_add_pd(low, high);
    __m256d a = _mm256_add_pd(_mm512_castpd512_pd256(c), _mm512_extractf64x4_pd(c, 1));
    __m128d b = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(b, _mm_unpackhi_pd(b, b)));
}

static inline float row_max_x16(const float *x, size_t n)
{
    __m512 least = _mm512_set1_ps(-INFINITY), a = least, b = least;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        a = _mm512_max_ps(_mm512_loadu_ps(x + i), a);      /* drops NaN */
        b = _mm512_max_ps(_mm512_loadu_ps(x + i + 16), b);
    }
    for (; i < n; i += 16) {
        __mmask16 m = lanes_x16(n - i < 16 ? n - i : 16);
        a = _mm512_max_ps(_mm512_mask_loadu_ps(least, m, x + i), a);
    }
    return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
}

#endif
