/* attn_row: one query position, as the versions that go row by row see it. */
#ifndef KEXA_KERN_ATTN_ROW_H
#define KEXA_KERN_ATTN_ROW_H

#include "kern/attn/attn.h"
#include "kern/loss/log_f64.h"

/* log of the sum of exponentials, rounded once.  sum is 1 or more: the largest score has
 * weight 1; or NaN, which shows. */
static inline float attn_lse(float max, float sum)
{
    return (float)((double)max + log_f64((double)sum));
}

static inline uint64_t attn_first_seen(const struct attn_rows *a, uint64_t pos)
{
    return a->window && pos >= a->window ? pos - a->window + 1 : 0;
}

/* A few heads of row r, which sees positions first .. last. */
struct attn_row {
    const struct attn_rows *all;
    float *out, *lse;                     /* lse may be NULL */
    const float *q;
    uint64_t first, last;
    size_t n_q;
};

/* Heads h .. h + n_q - 1 of row r. */
static inline struct attn_row attn_row_at(float *out, size_t out_stride, const struct attn_rows *a,
                                          size_t r, size_t h, size_t n_q)
{
    uint64_t pos = a->first_pos + r;
    return (struct attn_row){ a, out + r * out_stride + h * a->hd,
                              a->lse ? a->lse + r * a->lse_stride + h : NULL,
                              a->q + r * a->q_stride + h * a->hd, attn_first_seen(a, pos), pos,
                              n_q };
}

#if defined(__x86_64__)

/* attn_rows_fwd row by row: what is fastest for few queries. */
attn_rows_fwd_fn attn_few_avx512;

#endif

#endif
