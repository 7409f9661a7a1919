#include "kern/act/act.h"

#if defined(__x86_64__)

#include "kern/act/exp_f32_avx512.h"
#include "kern/norm/chains_avx512.h"

#define INLINE static inline __attribute__((always_inline))

static __m512 minus(__m512 x)
{
    return _mm512_castsi512_ps(
        _mm512_xor_si512(_mm512_castps_si512(x), _mm512_set1_epi32(INT32_MIN)));
}

static __m512 silu(__m512 g)
{
    return _mm512_div_ps(g, _mm512_add_ps(_mm512_set1_ps(1.0f), exp_f32_x16(minus(g))));
}

static __m512 gelu(__m512 g)
{
    __m512 p = _mm512_fmadd_ps(_mm512_mul_ps(g, g), _mm512_set1_ps(GELU_C1),
                               _mm512_set1_ps(GELU_C0));
    __m512 e = exp_f32_x16(minus(_mm512_mul_ps(g, p)));
    return _mm512_div_ps(g, _mm512_add_ps(_mm512_set1_ps(1.0f), e));
}

/* min and max return their second operand when either is NaN: so NaN passes through. */
static __m512 clamp_high(__m512 x, float limit)
{
    return limit > 0 ? _mm512_min_ps(_mm512_set1_ps(limit), x) : x;
}

static __m512 clamp_low(__m512 x, float limit)
{
    return limit > 0 ? _mm512_max_ps(_mm512_set1_ps(-limit), x) : x;
}

static __m512 swiglu(__m512 gate, __m512 up, float limit)
{
    gate = clamp_high(gate, limit);
    up = clamp_high(clamp_low(up, limit), limit);
    return _mm512_mul_ps(silu(gate), up);
}

INLINE void swiglu_part(float *y, const float *gate, const float *up, float limit, __mmask16 m)
{
    __m512 g = _mm512_maskz_loadu_ps(m, gate), u = _mm512_maskz_loadu_ps(m, up);
    _mm512_mask_storeu_ps(y, m, swiglu(g, u, limit));
}

void swiglu_fwd_avx512(float *y, const float *gate, const float *up, size_t n, float limit)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        swiglu_part(y + i, gate + i, up + i, limit, 0xffff);
    swiglu_part(y + i, gate + i, up + i, limit, lanes_x16(n - i));
}

void geglu_fwd_avx512(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes_x16(n - i < 16 ? n - i : 16);
        __m512 g = _mm512_maskz_loadu_ps(m, gate + i), u = _mm512_maskz_loadu_ps(m, up + i);
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(gelu(g), u));
    }
}

void add_fwd_avx512(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(y + i, _mm512_add_ps(_mm512_loadu_ps(y + i), _mm512_loadu_ps(x + i)));
    __mmask16 m = lanes_x16(n - i);
    __m512 a = _mm512_maskz_loadu_ps(m, y + i), b = _mm512_maskz_loadu_ps(m, x + i);
    _mm512_mask_storeu_ps(y + i, m, _mm512_add_ps(a, b));
}

void scale_add_fwd_avx512(float *y, float a, const float *x, size_t n)
{
    __m512 k = _mm512_set1_ps(a);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512 v = _mm512_loadu_ps(x + i);
        _mm512_storeu_ps(y + i, _mm512_fmadd_ps(k, v, _mm512_loadu_ps(y + i)));
    }
    __mmask16 m = lanes_x16(n - i);
    __m512 v = _mm512_maskz_loadu_ps(m, x + i), to = _mm512_maskz_loadu_ps(m, y + i);
    _mm512_mask_storeu_ps(y + i, m, _mm512_fmadd_ps(k, v, to));
}

/* Where denormals are flushed a chain may hold -0, so the last part adds nothing past the end. */
void scale_add_bwd_avx512(float *dx, float *da, const float *dy, const float *x, float a,
                          size_t n)
{
    __m512 k = _mm512_set1_ps(a), c = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512 d = _mm512_loadu_ps(dy + i);
        c = _mm512_fmadd_ps(d, _mm512_loadu_ps(x + i), c);
        _mm512_storeu_ps(dx + i, _mm512_mul_ps(k, d));
    }
    __mmask16 m = lanes_x16(n - i);
    __m512 d = _mm512_maskz_loadu_ps(m, dy + i);
    c = _mm512_mask3_fmadd_ps(d, _mm512_maskz_loadu_ps(m, x + i), c, m);
    _mm512_mask_storeu_ps(dx + i, m, _mm512_mul_ps(k, d));
    *da = chains_sum_x16(c);
}

void softmax_fwd_avx512(float *x, size_t n)
{
    __m512 max = _mm512_set1_ps(row_max_x16(x, n)), chain = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes_x16(n - i < 16 ? n - i : 16);
        __m512 e = exp_f32_x16(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, x + i), max));
        chain = _mm512_mask_add_ps(chain, m, chain, e);
        _mm512_mask_storeu_ps(x + i, m, e);
    }
    __m512 sum = _mm512_set1_ps(chains_sum_x16(chain));
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes_x16(n - i < 16 ? n - i : 16);
        _mm512_mask_storeu_ps(x + i, m, _mm512_div_ps(_mm512_maskz_loadu_ps(m, x + i), sum));
    }
}

/* The lanes where x lies outside the clamp; NaN does not. */
static __mmask16 above(__m512 x, float limit)
{
    return _mm512_cmp_ps_mask(x, _mm512_set1_ps(limit), _CMP_GT_OQ);
}

static __mmask16 below(__m512 x, float limit)
{
    return _mm512_cmp_ps_mask(x, _mm512_set1_ps(-limit), _CMP_LT_OQ);
}

static __m512 sigmoid(__m512 x)
{
    __m512 one = _mm512_set1_ps(1.0f);
    return _mm512_div_ps(one, _mm512_add_ps(one, exp_f32_x16(minus(x))));
}

void sigmoid_fwd_avx512(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes_x16(n - i < 16 ? n - i : 16);
        __m512 v = _mm512_maskz_loadu_ps(m, x + i);
        __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
        _mm512_mask_storeu_ps(y + i, m, _mm512_mask_mov_ps(sigmoid(v), nan, v));
    }
}

INLINE void swiglu_bwd_part(float *dgate, float *dup, __m512 d, __m512 ga, __m512 ua,
                            float limit, __mmask16 m)
{
    __m512 one = _mm512_set1_ps(1.0f), zero = _mm512_setzero_ps();
    __m512 g = clamp_high(ga, limit), u = clamp_high(clamp_low(ua, limit), limit);
    __m512 s = sigmoid(g), q = _mm512_fmadd_ps(g, _mm512_sub_ps(one, s), one);
    __m512 dg = _mm512_mul_ps(_mm512_mul_ps(d, u), _mm512_mul_ps(s, q));
    __m512 du = _mm512_mul_ps(d, _mm512_mul_ps(g, s));
    if (limit > 0) {
        dg = _mm512_mask_mov_ps(dg, above(ga, limit), zero);
        du = _mm512_mask_mov_ps(du, above(ua, limit) | below(ua, limit), zero);
    }
    _mm512_mask_storeu_ps(dgate, m, dg);
    _mm512_mask_storeu_ps(dup, m, du);
}

void swiglu_bwd_avx512(float *dgate, float *dup, const float *dy, const float *gate,
                       const float *up, size_t n, float limit)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        swiglu_bwd_part(dgate + i, dup + i, _mm512_loadu_ps(dy + i), _mm512_loadu_ps(gate + i),
                        _mm512_loadu_ps(up + i), limit, 0xffff);
    __mmask16 m = lanes_x16(n - i);
    swiglu_bwd_part(dgate + i, dup + i, _mm512_maskz_loadu_ps(m, dy + i),
                    _mm512_maskz_loadu_ps(m, gate + i), _mm512_maskz_loadu_ps(m, up + i), limit, m);
}

void geglu_bwd_avx512(float *dgate, float *dup, const float *dy, const float *gate,
                      const float *up, size_t n)
{
    __m512 one = _mm512_set1_ps(1.0f), c0 = _mm512_set1_ps(GELU_C0);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = lanes_x16(n - i < 16 ? n - i : 16);
        __m512 g = _mm512_maskz_loadu_ps(m, gate + i), u = _mm512_maskz_loadu_ps(m, up + i);
        __m512 d = _mm512_maskz_loadu_ps(m, dy + i);
        __m512 c = clamp_high(clamp_low(g, GELU_FLAT), GELU_FLAT), cc = _mm512_mul_ps(c, c);
        __m512 s = sigmoid(_mm512_mul_ps(c, _mm512_fmadd_ps(cc, _mm512_set1_ps(GELU_C1), c0)));
        __m512 w = _mm512_mul_ps(c, _mm512_fmadd_ps(cc, _mm512_set1_ps(GELU_3C1), c0));
        __m512 q = _mm512_fmadd_ps(w, _mm512_sub_ps(one, s), one);
        __m512 dg = _mm512_mul_ps(_mm512_mul_ps(d, u), _mm512_mul_ps(s, q));
        _mm512_mask_storeu_ps(dgate + i, m, dg);
        _mm512_mask_storeu_ps(dup + i, m, _mm512_mul_ps(d, _mm512_mul_ps(g, s)));
    }
}

#endif
