#include "kern/rope/rope.h"

#if defined(__x86_64__)

#include "kern/norm/chains_avx512.h"

static void rotate_half(float *a, float *b, const float *cs, const float *sn, size_t n)
{
    for (size_t p = 0; p < n; p += 16) {
        __mmask16 m = lanes_x16(n - p < 16 ? n - p : 16);
        __m512 va = _mm512_maskz_loadu_ps(m, a + p), vb = _mm512_maskz_loadu_ps(m, b + p);
        __m512 c = _mm512_maskz_loadu_ps(m, cs + p), s = _mm512_maskz_loadu_ps(m, sn + p);
        _mm512_mask_storeu_ps(a + p, m, _mm512_fnmadd_ps(vb, s, _mm512_mul_ps(va, c)));
        _mm512_mask_storeu_ps(b + p, m, _mm512_fmadd_ps(va, s, _mm512_mul_ps(vb, c)));
    }
}

void rope_half_fwd_avx512(float *x, const float *cs, const float *sn, size_t n_heads, size_t hd,
                          size_t half)
{
    for (size_t h = 0; h < n_heads; h++, x += hd)
        rotate_half(x, x + half, cs, sn, half);
}

/* Each of n <= 8 floats twice: f0 f0 f1 f1 ... */
static __m512 load_twice(const float *f, size_t n)
{
    __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(lanes_x16(n), f));
}

/* With a and b swapped in pairs and the sine's sign turned in even lanes, one fma serves both. */
static void rotate_pairs(float *x, const float *cs, const float *sn, size_t n)
{
    __m512 even = _mm512_castsi512_ps(_mm512_set1_epi64(INT64_C(0x80000000)));
    for (size_t p = 0; p < n; p += 8) {
        size_t left = n - p < 8 ? n - p : 8;
        __mmask16 m = lanes_x16(2 * left);
        __m512 v = _mm512_maskz_loadu_ps(m, x + 2 * p), swapped = _mm512_permute_ps(v, 0xb1);
        __m512 c = load_twice(cs + p, left), s = load_twice(sn + p, left);
        __m512 y = _mm512_fmadd_ps(swapped, _mm512_xor_ps(s, even), _mm512_mul_ps(v, c));
        _mm512_mask_storeu_ps(x + 2 * p, m, y);
    }
}

void rope_pair_fwd_avx512(float *x, const float *cs, const float *sn, size_t n_heads, size_t hd,
                          size_t half)
{
    for (size_t h = 0; h < n_heads; h++, x += hd)
        rotate_pairs(x, cs, sn, half);
}

#endif
