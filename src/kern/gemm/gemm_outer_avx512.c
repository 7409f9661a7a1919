/*
 * The float products of many rows, and those of training, with AVX-512: 12 rows by 32 columns;
 * bf16, with two chains for each sum, 6 by 32.
 */
#if defined(__x86_64__)

#include "kern/gemm/gemm_tile_avx512.h"

#define VEC __m512
#define SOME __mmask16
enum { F32_ROWS = 12, F32_FEW = 4, BF16_ROWS = 6 };

static inline VEC vec_zero(void)
{
    return _mm512_setzero_ps();
}

static inline VEC vec_set1(float f)
{
    return _mm512_set1_ps(f);
}

static inline VEC vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void vec_store(float *p, VEC v)
{
    _mm512_storeu_ps(p, v);
}

static inline VEC vec_add(VEC a, VEC b)
{
    return _mm512_add_ps(a, b);
}

static inline VEC vec_fma(VEC a, VEC b, VEC c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline VEC vec_from_bf16(const uint8_t *p)
{
    __m512i v = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
}

/* The first n lanes. */
static inline SOME vec_some(size_t n)
{
    return n < LANES ? (SOME)((1u << n) - 1) : (SOME)~0u;
}

static inline VEC vec_load_some(SOME some, const float *p)
{
    return _mm512_maskz_loadu_ps(some, p);
}

static inline void vec_store_some(SOME some, float *p, VEC v)
{
    _mm512_mask_storeu_ps(p, some, v);
}

#include "kern/gemm/gemm_outer_block.h"

static inline void turn_f32(float *to, const uint8_t *b, size_t bytes)
{
    __m512i v[4];
    load_16x16(v, b, bytes);
    for (size_t i = 0; i < 4; i++)
        _mm512_storeu_si512(to + i * WIDTH, v[i]);
}

static inline void turn_bf16(float *to, const uint8_t *b, size_t bytes)
{
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000u);
    __m512i v[4];
    load_16x16(v, b, bytes);
    for (size_t i = 0; i < 4; i++) {
        _mm512_storeu_si512(to + 2 * i * WIDTH, _mm512_slli_epi32(v[i], 16));
        _mm512_storeu_si512(to + (2 * i + 1) * WIDTH, _mm512_and_si512(v[i], upper));
    }
}

#include "kern/gemm/gemm_outer.h"

GEMM_OUTER(f32, float, f32, avx512)
GEMM_OUTER(bf16, bf16, bf16, avx512)

#endif
