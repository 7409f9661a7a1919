#include "kern/rope/rope.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

static void rotate(float *a, float *b, float c, float s)
{
    float a0 = *a, b0 = *b;
    *a = fmaf(-b0, s, a0 * c);
    *b = fmaf(a0, s, b0 * c);
}

static void rotate_half(float *a, float *b, const float *cs, const float *sn, size_t n)
{
    size_t p = 0;
    for (; p + 8 <= n; p += 8) {
        __m256 va = _mm256_loadu_ps(a + p), vb = _mm256_loadu_ps(b + p);
        __m256 c = _mm256_loadu_ps(cs + p), s = _mm256_loadu_ps(sn + p);
        _mm256_storeu_ps(a + p, _mm256_fnmadd_ps(vb, s, _mm256_mul_ps(va, c)));
        _mm256_storeu_ps(b + p, _mm256_fmadd_ps(va, s, _mm256_mul_ps(vb, c)));
    }
    for (; p < n; p++)
        rotate(a + p, b + p, cs[p], sn[p]);
}

void rope_half_fwd_avx2(float *x, const float *cs, const float *sn, size_t n_heads, size_t hd,
                        size_t half)
{
    for (size_t h = 0; h < n_heads; h++, x += hd)
        rotate_half(x, x + half, cs, sn, half);
}

/* Each of four floats twice: f0 f0 f1 f1 f2 f2 f3 f3. */
static __m256 load_twice(const float *f)
{
    __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(f)), twice);
}

/* With a and b swapped in pairs and the sine's sign turned in even lanes, one fma serves both. */
static void rotate_pairs(float *x, const float *cs, const float *sn, size_t n)
{
    __m256 even = _mm256_setr_ps(-0.0f, 0, -0.0f, 0, -0.0f, 0, -0.0f, 0);
    size_t p = 0;
    for (; p + 4 <= n; p += 4) {
        __m256 v = _mm256_loadu_ps(x + 2 * p), swapped = _mm256_permute_ps(v, 0xb1);
        __m256 s = _mm256_xor_ps(load_twice(sn + p), even);
        __m256 y = _mm256_fmadd_ps(swapped, s, _mm256_mul_ps(v, load_twice(cs + p)));
        _mm256_storeu_ps(x + 2 * p, y);
    }
    for (; p < n; p++)
        rotate(x + 2 * p, x + 2 * p + 1, cs[p], sn[p]);
}

void rope_pair_fwd_avx2(float *x, const float *cs, const float *sn, size_t n_heads, size_t hd,
                        size_t half)
{
    for (size_t h = 0; h < n_heads; h++, x += hd)
        rotate_pairs(x, cs, sn, half);
}

#endif
