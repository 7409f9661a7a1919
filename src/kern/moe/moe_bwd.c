#include "kern/moe/moe.h"

#include "kern/loss/log_f64.h"

/* ds_e into ds[i] for the chosen e = ids[i]. */
static void unweigh(double *ds, const float *dw, const uint32_t *ids, const float *s,
                    const struct moe_router *r)
{
    double sum = 1e-20, mean = 0;
    for (size_t i = 0; i < r->top_k; i++)
        sum += (double)s[ids[i]];
    if (!r->norm_topk)
        sum = 1;
    for (size_t i = 0; r->norm_topk && i < r->top_k; i++)
        mean += (double)dw[i] * ((double)s[ids[i]] / sum);
    for (size_t i = 0; i < r->top_k; i++)
        ds[i] = (double)r->scale / sum * ((double)dw[i] - mean);
}

void moe_route_bwd(float *dlogits, const float *dw, const uint32_t *ids, const float *s,
                   const struct moe_router *r)
{
    double ds[MOE_TOPK_MAX], dot = 0;
    unweigh(ds, dw, ids, s, r);
    if (r->scoring == MOE_SOFTMAX)
        for (size_t i = 0; i < r->top_k; i++)
            dot += ds[i] * (double)s[ids[i]];
    for (size_t e = 0; e < r->n; e++)
        dlogits[e] = r->scoring == MOE_SOFTMAX ? (float)(-dot * (double)s[e]) : 0;
    for (size_t i = 0; i < r->top_k; i++) {
        double p = (double)s[ids[i]];
        dlogits[ids[i]] = (float)(r->scoring == MOE_SOFTMAX ? p * (ds[i] - dot)
                                                            : ds[i] * p * (1 - p));
    }
}

/* f_i - 1: how far each expert's load is from even. */
static void excess(double *u, const uint32_t *ids, size_t rows, const struct moe_router *r)
{
    int64_t chosen = (int64_t)(rows * r->top_k), count[MOE_EXPERTS_MAX] = { 0 };
    for (int64_t i = 0; i < chosen; i++)
        count[ids[i]]++;
    for (size_t e = 0; e < r->n; e++)
        u[e] = (double)(count[e] * (int64_t)r->n - chosen) / (double)chosen;
}

double moe_balance(float *dlogits, const float *s, size_t stride, const uint32_t *ids,
                   size_t rows, double alpha, const struct moe_router *r)
{
    double u[MOE_EXPERTS_MAX], above = 0;
    if (rows == 0)
        return 0;
    excess(u, ids, rows, r);
    for (size_t t = 0; t < rows; t++, s += stride) {
        double sum = 1e-20, mean = 0;
        for (size_t e = 0; e < r->n; e++) {
            sum += (double)s[e];
            mean += u[e] * (double)s[e];
        }
        mean /= sum;
        above += mean;
        if (!dlogits)
            continue;
        double k = alpha / ((double)rows * sum);
        for (size_t e = 0; e < r->n; e++) {
            double d = (double)s[e] * (r->scoring == MOE_SIGMOID ? 1 - (double)s[e] : 1);
            dlogits[e] += (float)(k * (u[e] - mean) * d);
        }
        dlogits += stride;
    }
    return alpha * (1 + above / (double)rows);
}

void moe_bias_update(float *bias, const uint64_t *load, uint32_t n, float u)
{
    uint64_t total = 0;
    for (uint32_t e = 0; e < n; e++)
        total += load[e];
    for (uint32_t e = 0; e < n; e++)
        bias[e] += load[e] * n < total ? u : load[e] * n > total ? -u : 0;
}

double moe_entropy(const float *s, uint32_t n)
{
    double sum = 0, h = 0;
    for (uint32_t e = 0; e < n; e++)
        sum += (double)s[e];
    for (uint32_t e = 0; e < n; e++)
        h -= (double)s[e] / sum * log_f64((double)s[e] / sum);
    return h;
}
