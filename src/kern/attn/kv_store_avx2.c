/*
 * kv_store with AVX2.  VCVTPS2PH rounds as f32_to_f16 does, and DAZ changes nothing: an f32
 * denormal is a zero in f16, and f16 denormals are kept.
 */
#if defined(__x86_64__)

#include <immintrin.h>

#include "kern/attn/attn.h"
#include "kern/quant/quant.h"

static void store_f16(f16 *row, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(row + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++)
        row[i] = f32_to_f16(x[i]);
}

void kv_store_avx2(void *row, enum kv_type t, const float *x, size_t n)
{
    switch (t) {
    case KV_F16:  store_f16(row, x, n); break;
    case KV_BF16: round_bf16_avx2(row, x, n); break;
    case KV_F32:
    case KV_Q8_0: kv_store_c(row, t, x, n); break;
    }
}

#endif
