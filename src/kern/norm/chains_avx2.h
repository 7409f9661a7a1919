/* chains_avx2: the tree of chains.h on two registers, and masks for the end of a row. */
#ifndef KEXA_KERN_CHAINS_AVX2_H
#define KEXA_KERN_CHAINS_AVX2_H

#include <immintrin.h>
#include <stddef.h>

/* All bits set in the lowest n lanes, n <= 8: for maskload and maskstore. */
static inline __m256i lanes_x8(size_t n)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

/* low holds chains 0..7, high 8..15. */
static inline float chains_sum_x8(__m256 low, __m256 high)
{
    __m256 a = _mm256_add_ps(low, high);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

#endif
