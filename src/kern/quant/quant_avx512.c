/* quant.h with AVX-512: one block of 32 is two registers. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "kern/quant/q8_scale.h"
#include "kern/quant/quant.h"

static void quant_q8_block(int8_t *q, float *d, int32_t *sum, const float *x)
{
    __m512i a = _mm512_loadu_si512(x), b = _mm512_loadu_si512(x + 16);
    __m512i no_sign = _mm512_set1_epi32(0x7fffffff);
    __m512i top = _mm512_max_epu32(_mm512_and_si512(a, no_sign), _mm512_and_si512(b, no_sign));
    float id = q8_scale(_mm512_reduce_max_epu32(top), d);
    __mmask16 keep = id > 0 ? 0xffff : 0;                 /* NaN * 0 is not 0 */
    __m512 scale = _mm512_set1_ps(id);
    __m512i ia = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(_mm512_castsi512_ps(a), scale));
    __m512i ib = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(_mm512_castsi512_ps(b), scale));
    *sum = _mm512_reduce_add_epi32(_mm512_add_epi32(ia, ib));
    _mm_storeu_si128((__m128i *)q, _mm512_cvtepi32_epi8(ia));
    _mm_storeu_si128((__m128i *)(q + 16), _mm512_cvtepi32_epi8(ib));
}

void quant_q8_avx512(int8_t *q, float *d, int32_t *sum, const float *x, size_t k)
{
    for (size_t b = 0; b < k / 32; b++)
        quant_q8_block(q + 32 * b, d + b, sum + b, x + 32 * b);
}

/* Nearest even by integers, as half_bits.h: denormals are kept whatever DAZ says. */
static __m256i round_16(__m512i u)
{
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i r = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __m512i mag = _mm512_and_si512(u, _mm512_set1_epi32(0x7fffffff));
    __mmask16 nan = _mm512_cmpgt_epu32_mask(mag, _mm512_set1_epi32(0x7f800000));
    r = _mm512_mask_or_epi32(r, nan, u, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16));
}

void round_bf16_avx512(bf16 *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(y + i), round_16(_mm512_loadu_si512(x + i)));
    for (; i < n; i++)
        y[i] = f32_to_bf16(x[i]);
}

#endif
