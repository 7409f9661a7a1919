#include "kern/attn/attn_bwd.h"

#if defined(__x86_64__)

#include "kern/act/exp_f32_avx2.h"

enum { LANES = 8, ROWS = 2, VECS = 2 };

typedef __m256 vec;

#define vec_load(p)       _mm256_loadu_ps(p)
#define vec_store(p, x)   _mm256_storeu_ps(p, x)
#define vec_set(x)        _mm256_set1_ps(x)
#define vec_zero()        _mm256_setzero_ps()
#define vec_fma(a, b, c)  _mm256_fmadd_ps(a, b, c)
#define vec_fms(a, b, c)  _mm256_fmsub_ps(a, b, c)
#define vec_add(a, b)     _mm256_add_ps(a, b)
#define vec_mul(a, b)     _mm256_mul_ps(a, b)
#define vec_exp(x)        exp_f32_x8(x)
#define vec_widen(p)      _mm256_castsi256_ps(_mm256_slli_epi32( \
    _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))), 16))
#define round_bf16_here   round_bf16_avx2

#include "kern/attn/attn_bwd_bf16_tile.h"

void attn_bwd_bf16_avx2(const struct attn_bwd *a)
{
    bwd_bf16(a);
}

#endif
