/* The gradients of attention in plain C: the definition of class f32. */
#include "kern/attn/attn_bwd.h"

#include <math.h>

#include "kern/act/exp_f32.h"
#include "kern/attn/attn_bwd_rows.h"

static float dot(const float *x, const float *y, size_t hd)
{
    float acc = 0;
    for (size_t c = 0; c < hd; c++)
        acc = fmaf(x[c], y[c], acc);
    return acc;
}

static void add_scaled(float *y, float w, const float *x, size_t hd)
{
    for (size_t c = 0; c < hd; c++)
        y[c] = fmaf(w, x[c], y[c]);
}

/* Position i of head g against every key it sees. */
static void add_query(const struct attn_bwd *a, size_t g, size_t i)
{
    const float *q = a->q + i * a->q_stride + g * a->hd;
    const float *dout = a->dout + i * a->out_stride + g * a->hd;
    const float *out = a->out + i * a->out_stride + g * a->hd;
    float *dq = a->dq + i * a->q_stride + g * a->hd;
    float lse = a->lse[i * a->lse_stride + g], ds_mean = a->scale * row_dot(dout, out, a->hd);
    for (size_t j = first_key(a, i); j <= i; j++) {
        size_t at = j * a->kv_stride;
        float p = exp_f32(fmaf(a->scale, dot(q, a->k + at, a->hd), -lse));
        float ds = p * fmaf(a->scale, dot(dout, a->v + at, a->hd), -ds_mean);
        add_scaled(dq, ds, a->k + at, a->hd);
        add_scaled(a->dk + at, ds, q, a->hd);
        add_scaled(a->dv + at, p, dout, a->hd);
    }
}

void attn_bwd_c(const struct attn_bwd *a)
{
    clear_gradients(a);
    for (size_t g = 0; g < a->n_q; g++)
        for (size_t i = 0; i < a->n; i++)
            add_query(a, g, i);
}
