#include "kern/moe/moe.h"

#include <math.h>

#include "kern/act/act.h"
#include "kern/act/exp_f32.h"

/* One token's choice in the making: score, selection value, still to be had. */
struct choice {
    float s[MOE_EXPERTS_MAX], c[MOE_EXPERTS_MAX];
    bool open[MOE_EXPERTS_MAX];
};

static float below_all(float x)
{
    return isnan(x) ? -INFINITY : x;
}

void moe_scores(float *s, const float *logits, const struct moe_router *r)
{
    for (size_t e = 0; e < r->n; e++)
        s[e] = r->scoring == MOE_SIGMOID ? 1.0f / (1.0f + exp_f32(-logits[e]))
                                         : below_all(logits[e]);
    if (r->scoring == MOE_SOFTMAX)
        softmax_fwd_c(s, r->n);
    for (size_t e = 0; e < r->n; e++)
        if (isnan(logits[e]))
            s[e] = logits[e];
}

static void score(struct choice *ch, const float *logits, const float *bias,
                  const struct moe_router *r)
{
    moe_scores(ch->s, logits, r);
    for (size_t e = 0; e < r->n; e++) {
        ch->c[e] = below_all(bias ? ch->s[e] + bias[e] : ch->s[e]);
        ch->open[e] = true;
    }
}

/* The sum of the two largest of n values; the value itself if n is 1. */
static float two_best(const float *c, size_t n)
{
    float a = c[0], b = -INFINITY;
    for (size_t i = 1; i < n; i++) {
        if (c[i] > a) {
            b = a;
            a = c[i];
        } else if (c[i] > b) {
            b = c[i];
        }
    }
    return n > 1 ? a + b : a;
}

/* The lowest index of the largest value among the open ones; n if none is open. */
static size_t best_open(const float *c, const bool *open, size_t n)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (open[i] && (best == n || c[i] > c[best]))
            best = i;
    return best;
}

/* Closes every expert outside the topk_group best groups. */
static void keep_groups(struct choice *ch, const struct moe_router *r)
{
    float c[MOE_EXPERTS_MAX];
    bool open[MOE_EXPERTS_MAX];
    size_t size = r->n / r->n_group;
    for (size_t g = 0; g < r->n_group; g++) {
        c[g] = two_best(ch->c + g * size, size);
        open[g] = true;
    }
    for (size_t i = 0; i < r->topk_group; i++)
        open[best_open(c, open, r->n_group)] = false;
    for (size_t e = 0; e < r->n; e++)
        ch->open[e] = !open[e / size];
}

static void weigh(float *w, const uint32_t *ids, const struct choice *ch,
                  const struct moe_router *r)
{
    float sum = 0;
    for (size_t i = 0; i < r->top_k; i++)
        sum += w[i] = ch->s[ids[i]];
    for (size_t i = 0; i < r->top_k; i++) {
        if (r->norm_topk)
            w[i] /= sum + 1e-20f;
        w[i] *= r->scale;
    }
}

void moe_route(uint32_t *ids, float *w, float *gap, const float *logits, const float *bias,
               const struct moe_router *r)
{
    struct choice ch;
    score(&ch, logits, bias, r);
    if (r->n_group > 1)
        keep_groups(&ch, r);
    for (size_t i = 0; i < r->top_k; i++) {
        ids[i] = (uint32_t)best_open(ch.c, ch.open, r->n);
        ch.open[ids[i]] = false;
    }
    weigh(w, ids, &ch, r);
    if (gap) {
        size_t next = best_open(ch.c, ch.open, r->n);
        float last = ch.c[ids[r->top_k - 1]];
        *gap = next == r->n ? INFINITY : last > ch.c[next] ? last - ch.c[next] : 0;
    }
}
