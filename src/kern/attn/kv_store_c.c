#include "kern/attn/attn.h"

#include <math.h>
#include <string.h>

#include "kern/half_bits.h"

size_t kv_row_bytes(enum kv_type t, size_t n)
{
    switch (t) {
    case KV_F32:  return n * sizeof(float);
    case KV_F16:
    case KV_BF16: return n * sizeof(f16);
    case KV_Q8_0: return (n + KV_Q8_BLOCK - 1) / KV_Q8_BLOCK * KV_Q8_BYTES;
    }
    return 0;
}

static void store_f16(f16 *row, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        row[i] = f32_to_f16(x[i]);
}

static void store_bf16(bf16 *row, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        row[i] = f32_to_bf16(x[i]);
}

/* max |x|, or NaN when an element is NaN or infinite. */
static float largest(const float *x)
{
    float max = 0, sum = 0;
    for (size_t i = 0; i < KV_Q8_BLOCK; i++) {
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
        sum += x[i] * 0;                  /* 0, or NaN */
    }
    return sum == 0 ? max : NAN;
}

static void store_q8(uint8_t *block, const float *x)
{
    f16 d = f32_to_f16(largest(x) / 127);
    float scale = f16_to_f32(d), inverse = scale > 0 && scale < INFINITY ? 1 / scale : 0;
    int8_t *q = (int8_t *)block + sizeof d;
    memcpy(block, &d, sizeof d);
    for (size_t i = 0; i < KV_Q8_BLOCK; i++) {
        float v = inverse > 0 ? rintf(x[i] * inverse) : 0;
        q[i] = (int8_t)(v > 127 ? 127 : v < -127 ? -127 : v);
    }
}

void kv_store_c(void *row, enum kv_type t, const float *x, size_t n)
{
    switch (t) {
    case KV_F32:  memcpy(row, x, n * sizeof *x); break;
    case KV_F16:  store_f16(row, x, n); break;
    case KV_BF16: store_bf16(row, x, n); break;
    case KV_Q8_0:
        for (size_t i = 0; i < n; i += KV_Q8_BLOCK)
            store_q8((uint8_t *)row + i / KV_Q8_BLOCK * KV_Q8_BYTES, x + i);
        break;
    }
}
