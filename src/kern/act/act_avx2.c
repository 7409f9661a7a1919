#include "kern/act/act.h"

#if defined(__x86_64__)

#include "kern/act/exp_f32_avx2.h"
#include "kern/norm/chains_avx2.h"

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
        __m256 g = load_x8(gate + i, n - i), u = load_x8(up + i, n - i);
        store_x8(y + i, swiglu(g, u, limit), n - i);
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
        __m256 g = load_x8(gate + i, n - i), u = load_x8(up + i, n - i);
        store_x8(y + i, _mm256_mul_ps(gelu(g), u), n - i);
    }
}

void add_fwd_avx2(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        __m256 a = load_x8(y + i, n - i), b = load_x8(x + i, n - i);
        store_x8(y + i, _mm256_add_ps(a, b), n - i);
    }
}

void scale_add_fwd_avx2(float *y, float a, const float *x, size_t n)
{
    __m256 k = _mm256_set1_ps(a);
    for (size_t i = 0; i < n; i += 8) {
        __m256 v = load_x8(x + i, n - i), to = load_x8(y + i, n - i);
        store_x8(y + i, _mm256_fmadd_ps(k, v, to), n - i);
    }
}

/* n <= 8 elements of dx, their products added to half of the chains.  Where denormals are
 * flushed a chain may hold -0, so the lanes past the end keep what they have. */
static __m256 scale_add_part(float *dx, const float *dy, const float *x, float a, size_t n,
                             __m256 chain)
{
    __m256 d = load_x8(dy, n), sum = _mm256_fmadd_ps(d, load_x8(x, n), chain);
    store_x8(dx, _mm256_mul_ps(_mm256_set1_ps(a), d), n);
    return n == 8 ? sum : _mm256_blendv_ps(chain, sum, _mm256_castsi256_ps(lanes_x8(n)));
}

void scale_add_bwd_avx2(float *dx, float *da, const float *dy, const float *x, float a, size_t n)
{
    __m256 low = _mm256_setzero_ps(), high = low;
    for (size_t i = 0; i < n; i += 16) {
        size_t left = n - i;
        low = scale_add_part(dx + i, dy + i, x + i, a, left < 8 ? left : 8, low);
        if (left > 8)
            high = scale_add_part(dx + i + 8, dy + i + 8, x + i + 8, a,
                                  left < 16 ? left - 8 : 8, high);
    }
    *da = chains_sum_x8(low, high);
}

/* exp(x - max) in place of n <= 8 elements, added to a half of the chains. */
static __m256 exp_part(float *x, __m256 max, size_t n, __m256 chain)
{
    __m256 e = exp_f32_x8(_mm256_sub_ps(load_x8(x, n), max));
    store_x8(x, e, n);
    __m256 there = _mm256_castsi256_ps(lanes_x8(n));
    return _mm256_add_ps(chain, _mm256_and_ps(e, there));
}

void softmax_fwd_avx2(float *x, size_t n)
{
    __m256 max = _mm256_set1_ps(row_max_x8(x, n)), low = _mm256_setzero_ps(), high = low;
    for (size_t i = 0; i < n; i += 16) {
        size_t left = n - i;
        low = exp_part(x + i, max, left < 8 ? left : 8, low);
        if (left > 8)
            high = exp_part(x + i + 8, max, left < 16 ? left - 8 : 8, high);
    }
    __m256 sum = _mm256_set1_ps(chains_sum_x8(low, high));
    for (size_t i = 0; i < n; i += 8)
        store_x8(x + i, _mm256_div_ps(load_x8(x + i, n - i), sum), n - i);
}

/* Zero where x lies outside, d elsewhere; NaN is not outside. */
static __m256 unless_above(__m256 d, __m256 x, float limit)
{
    __m256 out = _mm256_cmp_ps(x, _mm256_set1_ps(limit), _CMP_GT_OQ);
    return limit > 0 ? _mm256_andnot_ps(out, d) : d;
}

static __m256 unless_below(__m256 d, __m256 x, float limit)
{
    __m256 out = _mm256_cmp_ps(x, _mm256_set1_ps(-limit), _CMP_LT_OQ);
    return limit > 0 ? _mm256_andnot_ps(out, d) : d;
}

static __m256 sigmoid(__m256 x)
{
    __m256 one = _mm256_set1_ps(1.0f), e = exp_f32_x8(_mm256_xor_ps(x, _mm256_set1_ps(-0.0f)));
    return _mm256_div_ps(one, _mm256_add_ps(one, e));
}

void sigmoid_fwd_avx2(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        __m256 v = load_x8(x + i, n - i), nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
        store_x8(y + i, _mm256_blendv_ps(sigmoid(v), v, nan), n - i);
    }
}

void swiglu_bwd_avx2(float *dgate, float *dup, const float *dy, const float *gate, const float *up,
                     size_t n, float limit)
{
    __m256 one = _mm256_set1_ps(1.0f);
    for (size_t i = 0; i < n; i += 8) {
        size_t left = n - i;
        __m256 ga = load_x8(gate + i, left), ua = load_x8(up + i, left), d = load_x8(dy + i, left);
        __m256 g = clamp_high(ga, limit), u = clamp_high(clamp_low(ua, limit), limit);
        __m256 s = sigmoid(g), q = _mm256_fmadd_ps(g, _mm256_sub_ps(one, s), one);
        __m256 dg = _mm256_mul_ps(_mm256_mul_ps(d, u), _mm256_mul_ps(s, q));
        __m256 du = _mm256_mul_ps(d, _mm256_mul_ps(g, s));
        store_x8(dgate + i, unless_above(dg, ga, limit), left);
        store_x8(dup + i, unless_below(unless_above(du, ua, limit), ua, limit), left);
    }
}

void geglu_bwd_avx2(float *dgate, float *dup, const float *dy, const float *gate, const float *up,
                    size_t n)
{
    __m256 one = _mm256_set1_ps(1.0f), c0 = _mm256_set1_ps(GELU_C0);
    for (size_t i = 0; i < n; i += 8) {
        size_t left = n - i;
        __m256 g = load_x8(gate + i, left), u = load_x8(up + i, left), d = load_x8(dy + i, left);
        __m256 c = clamp_high(clamp_low(g, GELU_FLAT), GELU_FLAT), cc = _mm256_mul_ps(c, c);
        __m256 s = sigmoid(_mm256_mul_ps(c, _mm256_fmadd_ps(cc, _mm256_set1_ps(GELU_C1), c0)));
        __m256 w = _mm256_mul_ps(c, _mm256_fmadd_ps(cc, _mm256_set1_ps(GELU_3C1), c0));
        __m256 q = _mm256_fmadd_ps(w, _mm256_sub_ps(one, s), one);
        store_x8(dgate + i, _mm256_mul_ps(_mm256_mul_ps(d, u), _mm256_mul_ps(s, q)), left);
        store_x8(dup + i, _mm256_mul_ps(d, _mm256_mul_ps(g, s)), left);
    }
}

#endif
