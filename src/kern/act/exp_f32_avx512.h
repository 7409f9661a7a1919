/*
 * exp_f32_avx512: sixteen exponentials, to the bit those of exp_f32.h: the same polynomial, and
 * p 2^n by VSCALEFPS, which rounds nothing here, overflows to infinity where exp_f32 says so
 * and passes NaN on.  128 stands for all that is larger: so r stays small.
 */
#ifndef KEXA_KERN_EXP_F32_AVX512_H
#define KEXA_KERN_EXP_F32_AVX512_H

#include <immintrin.h>

#include "kern/act/exp_f32.h"

static inline __m512 exp_f32_x16(__m512 x)
{
    __m512 one = _mm512_set1_ps(1.0f), round = _mm512_set1_ps(EXP_ROUND);
    __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(EXP_LOW), _CMP_NLT_UQ);
    x = _mm512_min_ps(_mm512_set1_ps(128.0f), x);                /* keeps NaN */
    __m512 t = _mm512_fmadd_ps(x, _mm512_set1_ps(EXP_LOG2E), round);
    __m512 n = _mm512_sub_ps(t, round);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXP_LN2_HI), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXP_LN2_LO), r);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(EXP_C6), r, _mm512_set1_ps(EXP_C5));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C2));
    p = _mm512_fmadd_ps(p, r, one);
    p = _mm512_fmadd_ps(p, r, one);
    return _mm512_maskz_scalef_ps(normal, p, n);
}

#endif
