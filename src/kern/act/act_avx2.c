#include "kern/act/act.h"

#if defined(__x86_64__)

#include "kern/act/exp_f32_avx2.h"
#include "kern/norm/chains_avx2.h"

static __m256 load_part(const float *x, size_t n)
{
    return n >= 8 ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, lanes_x8(n));
}

static void store_part(float *y, __m256 v, size_t n)
{
    if (n >= 8)
        _mm256_storeu_ps(y, v);
    else
        _mm256_maskstore_ps(y, lanes_x8(n), v);
}

static __m256 silu(__m256 g)
{
    __m256 e = exp_f32_x8(_mm256_xor_ps(g, _mm256_set1_ps(-0.0f)));
    return _mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
}

/* min and max return their second operand when either is NaN: so NaN passes through. */
static __m256 clamp_high(__m256 x, float limit)
{
    return limit > 0 ? _mm256_min_ps(_mm256_set1_ps(limit), x) : x;
}

static __m256 clamp_low(__m256 x, float limit)
{
    return limit > 0 ? _mm256_max_ps(_mm256_set1_ps(-limit), x) : x;
}

static __m256 swiglu(__m256 gate, __m256 up, float limit)
{
    gate = clamp_high(gate, limit);
    up = clamp_high(clamp_low(up, limit), limit);
    return _mm256_mul_ps(silu(gate), up);
}

void swiglu_fwd_avx2(float *y, const float *gate, const float *up, size_t n, float limit)
{
    for (size_t i = 0; i < n; i += 8) {
        __m256 g = load_part(gate + i, n - i), u = load_part(up + i, n - i);
        store_part(y + i, swiglu(g, u, limit), n - i);
    }
}

static __m256 gelu(__m256 g)
{
    __m256 p = _mm256_fmadd_ps(_mm256_mul_ps(g, g), _mm256_set1_ps(GELU_C1),
                               _mm256_set1_ps(GELU_C0));
    __m256 e = exp_f32_x8(_mm256_xor_ps(_mm256_mul_ps(g, p), _mm256_set1_ps(-0.0f)));
    return _mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
}

void geglu_fwd_avx2(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        __m256 g = load_part(gate + i, n - i), u = load_part(up + i, n - i);
        store_part(y + i, _mm256_mul_ps(gelu(g), u), n - i);
    }
}

void add_fwd_avx2(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        __m256 a = load_part(y + i, n - i), b = load_part(x + i, n - i);
        store_part(y + i, _mm256_add_ps(a, b), n - i);
    }
}

void scale_add_fwd_avx2(float *y, float a, const float *x, size_t n)
{
    __m256 k = _mm256_set1_ps(a);
    for (size_t i = 0; i < n; i += 8) {
        __m256 v = load_part(x + i, n - i), to = load_part(y + i, n - i);
        store_part(y + i, _mm256_fmadd_ps(k, v, to), n - i);
    }
}

static float max_of(const float *x, size_t n)
{
    float max = -INFINITY, lane[8];
    __m256 v = _mm256_set1_ps(-INFINITY);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        v = _mm256_max_ps(_mm256_loadu_ps(x + i), v);      /* drops NaN */
    for (; i < n; i++)
        max = x[i] > max ? x[i] : max;
    _mm256_storeu_ps(lane, v);
    for (int j = 0; j < 8; j++)
        max = lane[j] > max ? lane[j] : max;
    return max;
}

/* exp(x - max) in place of n <= 8 elements, added to a half of the chains. */
static __m256 exp_part(float *x, __m256 max, size_t n, __m256 chain)
{
    __m256 e = exp_f32_x8(_mm256_sub_ps(load_part(x, n), max));
    store_part(x, e, n);
    __m256 there = _mm256_castsi256_ps(lanes_x8(n));
    return _mm256_add_ps(chain, _mm256_and_ps(e, there));
}

void softmax_fwd_avx2(float *x, size_t n)
{
    __m256 max = _mm256_set1_ps(max_of(x, n)), low = _mm256_setzero_ps(), high = low;
    for (size_t i = 0; i < n; i += 16) {
        size_t left = n - i;
        low = exp_part(x + i, max, left < 8 ? left : 8, low);
        if (left > 8)
            high = exp_part(x + i + 8, max, left < 16 ? left - 8 : 8, high);
    }
    __m256 sum = _mm256_set1_ps(chains_sum_x8(low, high));
    for (size_t i = 0; i < n; i += 8)
        store_part(x + i, _mm256_div_ps(load_part(x + i, n - i), sum), n - i);
}

#endif
