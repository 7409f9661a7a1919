#include "kern/moe/moe.h"

#include <math.h>
#include <string.h>

#include "kern/act/act.h"

static float below_all(float x)
{
    return isnan(x) ? -INFINITY : x;
}

void moe_scores(float *s, const float *logits, const struct moe_router *r)
{
    bool nan[MOE_EXPERTS_MAX];
    if (r->scoring == MOE_SIGMOID) {
        sigmoid_fwd_c(s, logits, r->n);
        return;
    }
    for (size_t e = 0; e < r->n; e++) {
        nan[e] = isnan(logits[e]);
        s[e] = below_all(logits[e]);
    }
    softmax_fwd_c(s, r->n);
    for (size_t e = 0; e < r->n; e++)
        if (nan[e])
            s[e] = NAN;
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

/* open[e]: whether expert e is in one of the topk_group best groups. */
static void keep_groups(bool *open, const float *c, const struct moe_router *r)
{
    float group[MOE_EXPERTS_MAX];
    bool left[MOE_EXPERTS_MAX];
    size_t size = r->n / r->n_group;
    for (size_t g = 0; g < r->n_group; g++) {
        group[g] = two_best(c + g * size, size);
        left[g] = true;
    }
    for (size_t i = 0; i < r->topk_group; i++)
        left[best_open(group, left, r->n_group)] = false;
    for (size_t e = 0; e < r->n; e++)
        open[e] = !left[e / size];
}

/* The best so far, largest first, equal ones by index. */
struct best {
    float c[MOE_TOPK_MAX + 1];
    uint32_t id[MOE_TOPK_MAX + 1];
    size_t n;
};

/* The k largest of the open ones (open NULL: of all), by insertion in one pass: most of the n
 * are below the last of the k and cost one comparison. */
static void best_k(struct best *b, size_t k, const float *c, const bool *open, uint32_t n)
{
    b->n = 0;
    for (uint32_t e = 0; e < n; e++) {
        if ((b->n == k && !(c[e] > b->c[k - 1])) || (open && !open[e]))
            continue;
        size_t at = b->n < k ? b->n++ : k - 1;
        for (; at && c[e] > b->c[at - 1]; at--) {
            b->c[at] = b->c[at - 1];
            b->id[at] = b->id[at - 1];
        }
        b->c[at] = c[e];
        b->id[at] = e;
    }
}

static void weigh(float *w, const uint32_t *ids, const float *s, const struct moe_router *r)
{
    float sum = 0;
    for (size_t i = 0; i < r->top_k; i++)
        sum += w[i] = s[ids[i]];
    for (size_t i = 0; i < r->top_k; i++) {
        if (r->norm_topk)
            w[i] /= sum + 1e-20f;
        w[i] *= r->scale;
    }
}

void moe_choose(uint32_t *ids, float *w, float *gap, const float *s, const float *bias,
                const struct moe_router *r)
{
    float c[MOE_EXPERTS_MAX];
    bool open[MOE_EXPERTS_MAX];
    struct best b;
    for (size_t e = 0; e < r->n; e++)
        c[e] = below_all(bias ? s[e] + bias[e] : s[e]);
    if (r->n_group > 1)
        keep_groups(open, c, r);
    best_k(&b, r->top_k + (gap != NULL), c, r->n_group > 1 ? open : NULL, r->n);
    memcpy(ids, b.id, r->top_k * sizeof *ids);
    weigh(w, ids, s, r);
    if (gap) {
        float last = b.c[r->top_k - 1], next = b.c[b.n - 1];
        *gap = b.n == r->top_k ? INFINITY : last > next ? last - next : 0;
    }
}
