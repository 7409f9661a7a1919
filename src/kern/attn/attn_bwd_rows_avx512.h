/* attn_bwd_rows_avx512: what every row of a query needs, 16 rows at a time. */
#ifndef KEXA_KERN_ATTN_BWD_ROWS_AVX512_H
#define KEXA_KERN_ATTN_BWD_ROWS_AVX512_H

#include "kern/attn/attn_bwd_rows.h"
#include "kern/attn/attn_tree_avx512.h"

/* scale * D of 16 rows: row_dot for n of them, zeros for the rest. */
static inline void mean_rows(float *to, const struct attn_bwd *a, const float *dout,
                             const float *out, size_t n)
{
    __m512 part[16];
    for (size_t r = 0; r < 16; r++) {
        part[r] = _mm512_setzero_ps();
        for (size_t c = 0; r < n && c < a->hd; c += 16) {
            __mmask16 m = lanes_x16(a->hd - c < 16 ? a->hd - c : 16);
            size_t at = r * a->out_stride + c;
            part[r] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, dout + at),
                                      _mm512_maskz_loadu_ps(m, out + at), part[r]);
        }
    }
    _mm512_store_ps(to, _mm512_mul_ps(_mm512_set1_ps(a->scale), tree_x16(part)));
}

#endif
