/* quant.h with AVX2: one block of 32 is four registers. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "kern/quant/q8_scale.h"
#include "kern/quant/quant.h"

static __m256i load_abs(const float *x)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)x);
    return _mm256_and_si256(v, _mm256_set1_epi32(0x7fffffff));
}

static uint32_t max_of_8(__m256i v)
{
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

static int32_t sum_of_8(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

static __m256i scaled_ints(const float *x, __m256 scale)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), scale));
}

static void quant_q8_block(int8_t *q, float *d, int32_t *sum, const float *x)
{
    __m256i top = _mm256_max_epu32(_mm256_max_epu32(load_abs(x), load_abs(x + 8)),
                                   _mm256_max_epu32(load_abs(x + 16), load_abs(x + 24)));
    float id = q8_scale(max_of_8(top), d);
    if (!(id > 0)) {                                      /* NaN * 0 is not 0 */
        memset(q, 0, 32);
        *sum = 0;
        return;
    }
    __m256 scale = _mm256_set1_ps(id);
    __m256i i0 = scaled_ints(x, scale), i1 = scaled_ints(x + 8, scale);
    __m256i i2 = scaled_ints(x + 16, scale), i3 = scaled_ints(x + 24, scale);
    *sum = sum_of_8(_mm256_add_epi32(_mm256_add_epi32(i0, i1), _mm256_add_epi32(i2, i3)));
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(i0, i1), _mm256_packs_epi32(i2, i3));
    __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  /* packs work per 128 bits */
    _mm256_storeu_si256((__m256i *)q, _mm256_permutevar8x32_epi32(bytes, order));
}

void quant_q8_avx2(int8_t *q, float *d, int32_t *sum, const float *x, size_t k)
{
    for (size_t b = 0; b < k / 32; b++)
        quant_q8_block(q + 32 * b, d + b, sum + b, x + 32 * b);
}

/* Nearest even by integers, as half_bits.h: denormals are kept whatever DAZ says. */
static __m256i round_8(__m256i u)
{
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i r = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i mag = _mm256_and_si256(u, _mm256_set1_epi32(0x7fffffff));
    __m256i nan = _mm256_cmpgt_epi32(mag, _mm256_set1_epi32(0x7f800000));
    r = _mm256_blendv_epi8(r, _mm256_or_si256(u, _mm256_set1_epi32(0x400000)), nan);
    return _mm256_srli_epi32(r, 16);
}

void round_bf16_avx2(bf16 *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i r = round_8(_mm256_loadu_si256((const __m256i *)(x + i)));
        __m128i h = _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
        _mm_storeu_si128((__m128i *)(y + i), h);
    }
    for (; i < n; i++)
        y[i] = f32_to_bf16(x[i]);
}

void widen_bf16_avx2(float *y, const bf16 *x, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i h = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(x + i)));
        _mm256_storeu_si256((__m256i *)(y + i), _mm256_slli_epi32(h, 16));
    }
    for (; i < n; i++)
        y[i] = bf16_to_f32(x[i]);
}

#endif
