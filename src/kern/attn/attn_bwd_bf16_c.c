/* The gradients of attention in plain C: the definition of class bf16. */
#include "kern/attn/attn_bwd.h"

#include <math.h>
#include <stdbool.h>

#include "kern/act/exp_f32.h"
#include "kern/attn/attn.h"
#include "kern/attn/attn_bwd_rows.h"
#include "kern/half_bits.h"

enum { T = ATTN_BWD_TILE };

/* What one tile works on: rows rounded to bf16, in f32, with zeros past the end. */
struct tile_rows {
    float q[T][ATTN_HD_MAX], dout[T][ATTN_HD_MAX], k[T][ATTN_HD_MAX], v[T][ATTN_HD_MAX];
    float lse[T], ds_mean[T];
    float p[T][T], ds[T][T];              /* [query][key], rounded */
};

static float rounded(float x)
{
    return bf16_to_f32(f32_to_bf16(x));
}

/* n <= T rows of x; every row up to hd, continued with zeros to a multiple of T. */
static void load_rows(float y[T][ATTN_HD_MAX], const float *x, size_t stride, size_t n, size_t hd)
{
    for (size_t r = 0; r < T; r++)
        for (size_t c = 0; c < (hd + T - 1) / T * T; c++)
            y[r][c] = r < n && c < hd ? rounded(x[r * stride + c]) : 0;
}

/* What TDPBF16PS adds for one block of 32: element b of x is x[b * x_step]. */
static float block_dot(const float *x, size_t x_step, const float *y, size_t y_step)
{
    float even = 0, odd = 0;
    for (size_t b = 0; b < T; b += 2) {
        even = fmaf(x[b * x_step], y[b * y_step], even);
        odd = fmaf(x[(b + 1) * x_step], y[(b + 1) * y_step], odd);
    }
    return even + odd;
}

static float dot(const float *x, const float *y, size_t hd)
{
    float acc = 0;
    for (size_t c = 0; c < hd; c += T)
        acc += block_dot(x + c, 1, y + c, 1);
    return acc;
}

static bool sees(const struct attn_bwd *a, size_t i, size_t j)
{
    return i < a->n && j <= i && j >= first_key(a, i);
}

static void weigh(struct tile_rows *t, const struct attn_bwd *a, size_t i0, size_t j0)
{
    for (size_t i = 0; i < T; i++)
        for (size_t j = 0; j < T; j++) {
            float p = 0, ds = 0;
            if (sees(a, i0 + i, j0 + j)) {
                p = exp_f32(fmaf(a->scale, dot(t->q[i], t->k[j], a->hd), -t->lse[i]));
                ds = p * fmaf(a->scale, dot(t->dout[i], t->v[j], a->hd), -t->ds_mean[i]);
            }
            t->p[i][j] = rounded(p);
            t->ds[i][j] = rounded(ds);
        }
}

/* Positions i0 + i and keys j0 + j of head g: the three sums. */
static void add_tile(struct tile_rows *t, const struct attn_bwd *a, size_t g, size_t i0, size_t j0)
{
    size_t n_i = a->n - i0 < T ? a->n - i0 : T, n_j = a->n - j0 < T ? a->n - j0 : T;
    load_rows(t->k, a->k + j0 * a->kv_stride, a->kv_stride, n_j, a->hd);
    load_rows(t->v, a->v + j0 * a->kv_stride, a->kv_stride, n_j, a->hd);
    weigh(t, a, i0, j0);
    for (size_t i = 0; i < n_i; i++)
        for (size_t c = 0; c < a->hd; c++)
            a->dq[(i0 + i) * a->q_stride + g * a->hd + c] +=
                block_dot(t->ds[i], 1, &t->k[0][c], ATTN_HD_MAX);
    for (size_t j = 0; j < n_j; j++)
        for (size_t c = 0; c < a->hd; c++) {
            size_t at = (j0 + j) * a->kv_stride + c;
            a->dk[at] += block_dot(&t->ds[0][j], T, &t->q[0][c], ATTN_HD_MAX);
            a->dv[at] += block_dot(&t->p[0][j], T, &t->dout[0][c], ATTN_HD_MAX);
        }
}

/* Positions i0 .. i0 + T - 1 of head g against the tiles of keys they see. */
static void add_queries(struct tile_rows *t, const struct attn_bwd *a, size_t g, size_t i0)
{
    size_t n = a->n - i0 < T ? a->n - i0 : T, at = i0 * a->out_stride + g * a->hd;
    load_rows(t->q, a->q + i0 * a->q_stride + g * a->hd, a->q_stride, n, a->hd);
    load_rows(t->dout, a->dout + at, a->out_stride, n, a->hd);
    for (size_t i = 0; i < n; i++) {
        size_t row = at + i * a->out_stride;
        t->lse[i] = a->lse[(i0 + i) * a->lse_stride + g];
        t->ds_mean[i] = a->scale * row_dot(a->dout + row, a->out + row, a->hd);
    }
    for (size_t j0 = first_key(a, i0) / T * T; j0 <= i0; j0 += T)
        add_tile(t, a, g, i0, j0);
}

void attn_bwd_bf16_c(const struct attn_bwd *a)
{
    struct tile_rows t;
    clear_gradients(a);
    for (size_t b = 0; b < a->n; b += ATTN_BWD_BLOCK)
        for (size_t g = 0; g < a->n_q; g++)
            for (size_t i0 = b; i0 < a->n && i0 < b + ATTN_BWD_BLOCK; i0 += T)
                add_queries(&t, a, g, i0);
}
