#include "kern/attn/attn.h"

#include <string.h>

#include "kern/half_bits.h"

size_t kv_type_bytes(enum kv_type t)
{
    return t == KV_F32 ? sizeof(float) : sizeof(f16);
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

void kv_store(void *row, enum kv_type t, const float *x, size_t n)
{
    switch (t) {
    case KV_F32:  memcpy(row, x, n * sizeof *x); break;
    case KV_F16:  store_f16(row, x, n); break;
    case KV_BF16: store_bf16(row, x, n); break;
    }
}
