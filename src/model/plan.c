#include "model/model.h"

#include <math.h>

bool plan_take_layers(struct plan *p, const char *file, struct err *err)
{
    if (p->n_layers < 1 || p->n_layers > LAYERS_MAX || p->n_mtp > 16)
        return fail(err, ERR_FORMAT, "%s: %u layers and %u MTP blocks; expected 1 to %d and at "
                    "most 16", file, p->n_layers, p->n_mtp, LAYERS_MAX);
    p->layer = mem_take(plan_all_layers(p), sizeof *p->layer);
    return p->layer || fail(err, ERR_MEMORY, "%s: out of memory for the layer plan", file);
}

void plan_release(struct plan *p)
{
    mem_give(p->layer);
    *p = (struct plan){ 0 };
}

static bool check_heads(const struct plan *p, const char *file, struct err *err)
{
    if (!p->n_heads || !p->n_kv_heads || p->n_heads % p->n_kv_heads)
        return fail(err, ERR_FORMAT, "%s: %u attention heads over %u KV heads; the first must be "
                    "a multiple of the second", file, p->n_heads, p->n_kv_heads);
    if (p->head_dim < 2 || p->head_dim > ATTN_HD_MAX || p->head_dim % 2)
        return fail(err, ERR_FORMAT, "%s: head dimension %u; expected an even number from 2 to %d",
                    file, p->head_dim, ATTN_HD_MAX);
    if (!(p->attn_scale > 0) || !isfinite(p->attn_scale))
        return fail(err, ERR_FORMAT, "%s: attention scale %g; expected a positive number", file,
                    (double)p->attn_scale);
    return true;
}

static bool check_ropes(const struct plan *p, const char *file, struct err *err)
{
    check(p->n_ropes >= 1 && p->n_ropes <= ROPES_MAX);
    for (uint32_t i = 0; i < p->n_ropes; i++) {
        const struct rope_plan *r = &p->rope[i];
        if (r->dims > p->head_dim || r->dims % 2)
            return fail(err, ERR_FORMAT, "%s: RoPE over %u of %u elements of a head; expected an "
                        "even number not above the head", file, r->dims, p->head_dim);
        if (!(r->base > 0) || !isfinite(r->base))
            return fail(err, ERR_FORMAT, "%s: RoPE base %g; expected a positive number", file,
                        r->base);
    }
    return true;
}

static bool check_router(const struct plan *p, const char *file, struct err *err)
{
    const struct moe_router *r = &p->router;
    if (!r->n)
        return true;
    if (r->n > MOE_EXPERTS_MAX || r->top_k < 1 || r->top_k > MOE_TOPK_MAX || r->top_k > r->n)
        return fail(err, ERR_FORMAT, "%s: top %u of %u experts; expected at most %d of at most %d",
                    file, r->top_k, r->n, MOE_TOPK_MAX, MOE_EXPERTS_MAX);
    if (!r->n_group || r->n % r->n_group || !r->topk_group || r->topk_group > r->n_group)
        return fail(err, ERR_FORMAT, "%s: %u of %u expert groups over %u experts; groups must "
                    "divide the experts evenly", file, r->topk_group, r->n_group, r->n);
    if (r->top_k > r->topk_group * (r->n / r->n_group))
        return fail(err, ERR_FORMAT, "%s: top %u experts out of %u groups of %u: not enough",
                    file, r->top_k, r->topk_group, r->n / r->n_group);
    if (!isfinite(r->scale))
        return fail(err, ERR_FORMAT, "%s: routed scaling factor %g", file, (double)r->scale);
    return true;
}

bool plan_check(const struct plan *p, const char *file, struct err *err)
{
    if (!p->hidden || p->hidden > 1u << 20 || !p->vocab || p->vocab > 1u << 24)
        return fail(err, ERR_FORMAT, "%s: hidden size %u, vocabulary %u; expected 1 to 2^20 and "
                    "1 to 2^24", file, p->hidden, p->vocab);
    if (!p->context || p->context > 1u << 28)
        return fail(err, ERR_FORMAT, "%s: context length %u; expected 1 to 2^28", file,
                    p->context);
    if (!(p->eps >= 0) || p->eps > 1)
        return fail(err, ERR_FORMAT, "%s: RMSNorm epsilon %g; expected 0 to 1", file, p->eps);
    if (!check_heads(p, file, err) || !check_ropes(p, file, err) || !check_router(p, file, err))
        return false;
    for (uint32_t i = 0; i < plan_all_layers(p); i++) {
        const struct layer_plan *l = &p->layer[i];
        if (!l->ffn || l->ffn > 1u << 22 || l->shared_ffn > 1u << 22)
            return fail(err, ERR_FORMAT, "%s: layer %u has FFN width %u, shared experts %u; "
                        "expected 1 to 2^22", file, i, l->ffn, l->shared_ffn);
        if (l->sparse && !p->router.n)
            return fail(err, ERR_FORMAT, "%s: layer %u has experts but the expert count is 0",
                        file, i);
        check(l->rope_at < p->n_ropes && (p->act == ACT_SILU || !l->swiglu_limit));
        if (!(l->swiglu_limit >= 0) || !isfinite(l->swiglu_limit))
            return fail(err, ERR_FORMAT, "%s: layer %u has SwiGLU limit %g; expected 0 (none) or "
                        "more", file, i, (double)l->swiglu_limit);
    }
    return true;
}

/*
 * Llama 3's scaling: waves much longer than the original context are stretched by
 * `factor`, short ones kept, those between blended ("The Llama 3 Herd of Models", 2024;
 * the formula as transformers' modeling_rope_utils has it).
 */
static double scale_llama3(const struct rope_plan *r, double f)
{
    double wavelength = 2 * 3.14159265358979323846 / f;
    if (wavelength < r->original_context / r->high)
        return f;
    if (wavelength > r->original_context / r->low)
        return f / r->factor;
    double s = (r->original_context / wavelength - r->low) / (r->high - r->low);
    return f * ((1 - s) / r->factor + s);
}

/* The pair (not a whole number) that turns `turns` times within the original context. */
static double yarn_pair(const struct rope_plan *r, double turns)
{
    return r->dims * log(r->original_context / (turns * 2 * 3.14159265358979323846))
           / (2 * log(r->base));
}

/*
 * YaRN: pairs that turn beta_fast times or more keep their frequency, those that turn
 * beta_slow times or less are slowed by `factor`; between the two a straight line over the
 * pair's number (Peng et al., "YaRN", 2023, section 3.2; the bounds rounded outwards as in
 * transformers).
 */
static double scale_yarn(const struct rope_plan *r, uint32_t p, double f)
{
    double low = floor(yarn_pair(r, r->beta_fast > 0 ? r->beta_fast : 32));
    double high = ceil(yarn_pair(r, r->beta_slow > 0 ? r->beta_slow : 1));
    low = fmax(low, 0);
    high = fmin(high, r->dims - 1.0);
    double ramp = fmin(fmax((p - low) / fmax(high - low, 1e-3), 0), 1);
    return f / r->factor * ramp + f * (1 - ramp);
}

/* Section 3.4: the temperature of attention, put into q and k. */
float plan_rope_magnitude(const struct rope_plan *r)
{
    if (r->scaling != ROPE_YARN)
        return 1;
    return (float)(r->attention_factor > 0 ? r->attention_factor
                   : r->factor > 1 ? 0.1 * log(r->factor) + 1 : 1);
}

void plan_inv_freq(const struct rope_plan *r, float *inv_freq)
{
    for (uint32_t p = 0; p < r->dims / 2; p++) {
        double f = (double)(float)pow(r->base, -2.0 * p / r->dims);
        if (r->scaling == ROPE_LLAMA3)
            f = scale_llama3(r, f);
        else if (r->scaling == ROPE_YARN)
            f = scale_yarn(r, p, f);
        else if (r->scaling == ROPE_LINEAR)
            f /= r->factor;
        inv_freq[p] = (float)f;
    }
}
