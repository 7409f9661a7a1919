/* attn_bwd_rows: what every version of attn_bwd does row by row. */
#ifndef KEXA_KERN_ATTN_BWD_ROWS_H
#define KEXA_KERN_ATTN_BWD_ROWS_H

#include <math.h>
#include <string.h>

#include "kern/attn/attn_bwd.h"
#include "kern/norm/chains.h"

/* The first key that position i sees. */
static inline size_t first_key(const struct attn_bwd *a, size_t i)
{
    return a->window && i >= a->window ? i - a->window + 1 : 0;
}

/* One past the last position that sees key j. */
static inline size_t end_query(const struct attn_bwd *a, size_t j)
{
    return a->window && a->n - j > a->window ? j + a->window : a->n;
}

static inline float row_dot(const float *x, const float *y, size_t hd)
{
    float c[CHAINS] = { 0 };
    for (size_t i = 0; i < hd; i++)
        c[i % CHAINS] = fmaf(x[i], y[i], c[i % CHAINS]);
    return chains_sum(c);
}

static inline void clear_gradients(const struct attn_bwd *a)
{
    for (size_t i = 0; i < a->n; i++) {
        memset(a->dq + i * a->q_stride, 0, a->n_q * a->hd * sizeof *a->dq);
        memset(a->dk + i * a->kv_stride, 0, a->hd * sizeof *a->dk);
        memset(a->dv + i * a->kv_stride, 0, a->hd * sizeof *a->dv);
    }
}

#endif
