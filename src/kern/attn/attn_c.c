#include "kern/attn/attn.h"

#include <math.h>
#include <string.h>

#include "kern/act/exp_f32.h"
#include "kern/attn/attn_row.h"
#include "kern/half_bits.h"
#include "kern/norm/chains.h"

static float q8_get(const uint8_t *row, size_t i)
{
    const uint8_t *block = row + i / KV_Q8_BLOCK * KV_Q8_BYTES;
    f16 d;
    memcpy(&d, block, sizeof d);
    return f16_to_f32(d) * (float)(int8_t)block[sizeof d + i % KV_Q8_BLOCK];
}

/* Element i of a row. */
static float kv_get(const void *kv, enum kv_type t, size_t i)
{
    switch (t) {
    case KV_Q8_0: return q8_get(kv, i);
    case KV_F32:  return ((const float *)kv)[i];
    case KV_F16:  return f16_to_f32(((const f16 *)kv)[i]);
    case KV_BF16: return bf16_to_f32(((const bf16 *)kv)[i]);
    }
    return NAN;
}

/* One query's problem: K and V by rows of `stride` bytes. */
struct query {
    const uint8_t *k, *v;
    enum kv_type type;
    size_t stride, hd;
    uint64_t first, last, ring;
    float scale;
};

static float dot(const float *q, const struct query *a, size_t row)
{
    const uint8_t *k = a->k + row * a->stride;
    float c[CHAINS] = { 0 };
    for (size_t i = 0; i < a->hd; i++)
        c[i % CHAINS] = fmaf(q[i], kv_get(k, a->type, i), c[i % CHAINS]);
    return chains_sum(c);
}

/* One head's running softmax: the largest score so far and the sum of weights. */
struct running {
    float max, sum;
};

/* The visible keys j0..j1 of one block, whose first position lies in row `row`. */
static void add_block(float *acc, struct running *run, const float *q, const struct query *a,
                      size_t row, size_t j0, size_t j1)
{
    float p[ATTN_BLOCK], max = run->max, chain[CHAINS] = { 0 };
    for (size_t j = j0; j <= j1; j++) {
        p[j] = a->scale * dot(q, a, row + j);
        max = p[j] > max ? p[j] : max;
    }
    float c = run->max == -INFINITY ? 0 : exp_f32(run->max - max);
    for (size_t j = j0; j <= j1; j++) {
        p[j] = exp_f32(p[j] - max);
        chain[j % CHAINS] += p[j];
    }
    run->max = max;
    run->sum = fmaf(run->sum, c, chains_sum(chain));
    for (size_t i = 0; i < a->hd; i++) {
        acc[i] *= c;
        for (size_t j = j0; j <= j1; j++)
            acc[i] = fmaf(p[j], kv_get(a->v + (row + j) * a->stride, a->type, i), acc[i]);
    }
}

static struct running attend(float *out, const float *q, const struct query *a)
{
    struct running run = { -INFINITY, 0 };
    for (size_t i = 0; i < a->hd; i++)
        out[i] = 0;
    for (uint64_t b = a->first / ATTN_BLOCK; b <= a->last / ATTN_BLOCK; b++) {
        uint64_t at = b * ATTN_BLOCK;
        size_t j0 = a->first > at ? (size_t)(a->first - at) : 0;
        size_t j1 = a->last - at < ATTN_BLOCK ? (size_t)(a->last - at) : ATTN_BLOCK - 1;
        add_block(out, &run, q, a, (size_t)(at % a->ring), j0, j1);
    }
    for (size_t i = 0; i < a->hd; i++)
        out[i] /= run.sum;
    return run;
}

void attn_rows_fwd_c(float *out, size_t out_stride, const struct attn_rows *a)
{
    struct query one = { a->k, a->v, a->kv_type, a->kv_stride, a->hd, 0, 0, a->ring, a->scale };
    for (size_t r = 0; r < a->n_rows; r++) {
        one.last = a->first_pos + r;
        one.first = attn_first_seen(a, one.last);
        for (size_t h = 0; h < a->n_q; h++) {
            size_t at = h * a->hd;
            struct running run = attend(out + r * out_stride + at, a->q + r * a->q_stride + at,
                                        &one);
            if (a->lse)
                a->lse[r * a->lse_stride + h] = attn_lse(run.max, run.sum);
        }
    }
}
