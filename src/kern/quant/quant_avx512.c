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

/* Nearest even by integers, as half_bits.h: denormals are kept whatever DAZ says.  The bf16
 * stand in the low halves. */
static __m512i round_16(__m512i u)
{
    __m512i half = _mm512_add_epi32(u, _mm512_set1_epi32(0x7fff));
    __mmask16 odd = _mm512_test_epi32_mask(u, _mm512_set1_epi32(0x10000));
    __mmask16 nan = _mm512_fpclass_ps_mask(_mm512_castsi512_ps(u), 0x81);
    __m512i r = _mm512_mask_sub_epi32(half, odd, half, _mm512_set1_epi32(-1));
    r = _mm512_mask_or_epi32(r, nan, u, _mm512_set1_epi32(0x400000));
    return _mm512_srli_epi32(r, 16);
}

void round_bf16_avx512(bf16 *y, const float *x, size_t n)
{
    __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);    /* packs work per 128 bits */
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m512i a = round_16(_mm512_loadu_si512(x + i));
        __m512i b = round_16(_mm512_loadu_si512(x + i + 16));
        __m512i h = _mm512_permutexvar_epi64(order, _mm512_packus_epi32(a, b));
        _mm512_storeu_si512(y + i, h);
    }
    for (; i < n; i += 16) {
        __mmask16 m = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xffff;
        __m512i r = round_16(_mm512_maskz_loadu_epi32(m, x + i));
        _mm512_mask_cvtepi32_storeu_epi16(y + i, m, r);
    }
}

void widen_bf16_avx512(float *y, const bf16 *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xffff;
        __m512i h = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, x + i));
        _mm512_mask_storeu_epi32(y + i, m, _mm512_slli_epi32(h, 16));
    }
}

#endif
