/* chains_avx2: the tree of chains.h on two registers (four in f64), and the end of a row. */
#ifndef KEXA_KERN_CHAINS_AVX2_H
#define KEXA_KERN_CHAINS_AVX2_H

#include <immintrin.h>
#include <math.h>
#include <stddef.h>

/* All bits set in the lowest n lanes, n <= 8: for maskload and maskstore. */
static inline __m256i lanes_x8(size_t n)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

/* The first n elements, at most 8; zeros in the other lanes. */
static inline __m256 load_x8(const float *x, size_t n)
{
    return n >= 8 ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, lanes_x8(n));
}

static inline void store_x8(float *y, __m256 v, size_t n)
{
    if (n >= 8)
        _mm256_storeu_ps(y, v);
    else
        _mm256_maskstore_ps(y, lanes_x8(n), v);
}

/* low holds chains 0..7, high 8..15. */
static inline float chains_sum_x8(__m256 low, __m256 high)
{
    __m256 a = _mm256_add_ps(low, high);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

/* c[i] holds chains 4 i .. 4 i + 3. */
static inline double chains_sum_x4(const __m256d c[4])
{
    __m256d a = _mm256_add_pd(_mm256_add_pd(c[0], c[2]), _mm256_add_pd(c[1], c[3]));
    __m128d b = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(b, _mm_unpackhi_pd(b, b)));
}

static inline float row_max_x8(const float *x, size_t n)
{
    float max = -INFINITY, lane[8];
    __m256 v = _mm256_set1_ps(-INFINITY);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        v = _mm256_max_ps(_mm256_loadu_ps(x + i), v);      /* drops NaN */
    for (; i < n; i++)
        max = x[i] > max ? x[i] : max;
    _mm256_storeu_ps(lane, v);
    for (int j = 0; j < 8; j++)
        max = lane[j] > max ? lane[j] : max;
    return max;
}

#endif
