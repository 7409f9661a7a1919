/* chains_avx512: the tree of chains.h on one register, and masks for the end of a row. */
#ifndef KEXA_KERN_CHAINS_AVX512_H
#define KEXA_KERN_CHAINS_AVX512_H

#include <immintrin.h>
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

#endif
