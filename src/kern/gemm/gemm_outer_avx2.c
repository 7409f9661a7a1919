/*
 * The float products of many rows, and those of training, with AVX2: 6 rows by 16 columns;
 * bf16, with two chains for each sum, 3 by 16.
 */
#if defined(__x86_64__)

#include "kern/gemm/gemm_tile_avx2.h"

#define VEC __m256
#define SOME __m256i
enum { F32_ROWS = 6, F32_FEW = 2, BF16_ROWS = 3 };

static inline VEC vec_zero(void)
{
    return _mm256_setzero_ps();
}

static inline VEC vec_set1(float f)
{
    return _mm256_set1_ps(f);
}

static inline VEC vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void vec_store(float *p, VEC v)
{
    _mm256_storeu_ps(p, v);
}

static inline VEC vec_add(VEC a, VEC b)
{
    return _mm256_add_ps(a, b);
}

static inline VEC vec_fma(VEC a, VEC b, VEC c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline VEC vec_from_bf16(const uint8_t *p)
{
    __m256i v = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
}

/* The first n lanes. */
static inline SOME vec_some(size_t n)
{
    __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < LANES ? (int)n : LANES), at);
}

static inline VEC vec_load_some(SOME some, const float *p)
{
    return _mm256_maskload_ps(p, some);
}

static inline void vec_store_some(SOME some, float *p, VEC v)
{
    _mm256_maskstore_ps(p, some, v);
}

#include "kern/gemm/gemm_outer_block.h"

static inline void turn_f32(float *to, const uint8_t *b, size_t bytes)
{
    __m256i v[4];
    load_8x16(v, b, bytes);
    for (size_t i = 0; i < 4; i++)
        _mm256_storeu_si256((__m256i *)(void *)(to + i * WIDTH), v[i]);
}

static inline void turn_bf16(float *to, const uint8_t *b, size_t bytes)
{
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
    __m256i v[4];
    load_8x16(v, b, bytes);
    for (size_t i = 0; i < 4; i++) {
        __m256i *even = (__m256i *)(void *)(to + 2 * i * WIDTH);
        __m256i *odd = (__m256i *)(void *)(to + (2 * i + 1) * WIDTH);
        _mm256_storeu_si256(even, _mm256_slli_epi32(v[i], 16));
        _mm256_storeu_si256(odd, _mm256_and_si256(v[i], upper));
    }
}

#include "kern/gemm/gemm_outer.h"

GEMM_OUTER(f32, float, f32, avx2)
GEMM_OUTER(bf16, bf16, bf16, avx2)

#endif
