/* exp_f32_avx512: sixteen exponentials; operation for operation exp_f32 of exp_f32.h. */
#ifndef KEXA_KERN_EXP_F32_AVX512_H
#define KEXA_KERN_EXP_F32_AVX512_H

#include <immintrin.h>

#include "kern/act/exp_f32.h"

static inline __m512 exp_f32_x16(__m512 x)
{
    __m512 one = _mm512_set1_ps(1.0f), round = _mm512_set1_ps(EXP_ROUND);
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
    __m512i e = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    __m512 y = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), e));

    __mmask16 high = _mm512_cmp_ps_mask(x, _mm512_set1_ps(EXP_HIGH), _CMP_GT_OQ);
    __mmask16 low = _mm512_cmp_ps_mask(x, _mm512_set1_ps(EXP_LOW), _CMP_LT_OQ);
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    y = _mm512_mask_mov_ps(y, high, _mm512_set1_ps(INFINITY));
    y = _mm512_mask_mov_ps(y, low, _mm512_setzero_ps());
    return _mm512_mask_mov_ps(y, nan, x);
}

#endif
