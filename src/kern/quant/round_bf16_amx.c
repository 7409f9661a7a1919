/*
 * round_bf16 where the CPU has AVX512_BF16 (level amx asks for it).  VCVTNE2PS2BF16 rounds 32
 * at a time as half_bits.h does, with one difference: whatever MXCSR says, it takes denormals
 * for zero.  So 64 elements among which one is denormal go by integers.
 */
#if defined(__x86_64__)

#include <immintrin.h>

#include "kern/quant/quant.h"

enum { PIECE = 64 };

/* Denormal: no exponent, but not zero.  Zeros are common, so they are told apart. */
static __mmask16 denormals(__m512i u)
{
    __mmask16 small = _mm512_testn_epi32_mask(u, _mm512_set1_epi32(0x7f800000));
    return _mm512_mask_test_epi32_mask(small, u, _mm512_set1_epi32(0x7fffff));
}

static __m512i round_32(__m512i low, __m512i high)
{
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_castsi512_ps(high), _mm512_castsi512_ps(low));
}

void round_bf16_amx(bf16 *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + PIECE <= n; i += PIECE) {
        __m512i a = _mm512_loadu_si512(x + i), b = _mm512_loadu_si512(x + i + 16);
        __m512i c = _mm512_loadu_si512(x + i + 32), d = _mm512_loadu_si512(x + i + 48);
        if (denormals(a) | denormals(b) | denormals(c) | denormals(d)) {
            round_bf16_avx512(y + i, x + i, PIECE);
            continue;
        }
        _mm512_storeu_si512(y + i, round_32(a, b));
        _mm512_storeu_si512(y + i + 32, round_32(c, d));
    }
    round_bf16_avx512(y + i, x + i, n - i);
}

#endif
