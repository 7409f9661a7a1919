#include "kern/attn/attn_bwd.h"

#if defined(__x86_64__)

#include "kern/act/exp_f32_avx512.h"

enum { LANES = 16, ROWS = 4, VECS = 2 };

typedef __m512 vec;

#define vec_load(p)       _mm512_loadu_ps(p)
#define vec_store(p, x)   _mm512_storeu_ps(p, x)
#define vec_set(x)        _mm512_set1_ps(x)
#define vec_zero()        _mm512_setzero_ps()
#define vec_fma(a, b, c)  _mm512_fmadd_ps(a, b, c)
#define vec_fms(a, b, c)  _mm512_fmsub_ps(a, b, c)
#define vec_add(a, b)     _mm512_add_ps(a, b)
#define vec_mul(a, b)     _mm512_mul_ps(a, b)
#define vec_exp(x)        exp_f32_x16(x)
#define vec_widen(p)      _mm512_castsi512_ps(_mm512_slli_epi32( \
    _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(p))), 16))
#define round_bf16_here   round_bf16_avx512

#include "kern/attn/attn_bwd_bf16_tile.h"

void attn_bwd_bf16_avx512(const struct attn_bwd *a)
{
    bwd_bf16(a);
}

#endif
