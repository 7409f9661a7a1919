#include "kern/attn/attn.h"

#if defined(__x86_64__)

void attn_rows_fwd_avx512(float *out, size_t out_stride, const struct attn_rows *a)
{
    attn_rows_fwd_c(out, out_stride, a);
}

#endif
