#include "kern/attn/attn_bwd.h"

#if defined(__x86_64__)

void attn_bwd_avx512(const struct attn_bwd *a)
{
    attn_bwd_c(a);
}

void attn_bwd_bf16_avx512(const struct attn_bwd *a)
{
    attn_bwd_bf16_c(a);
}

#endif
