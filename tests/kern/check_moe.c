#include "checkkern.h"
#include "route.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_MAX = 64 };

/* The same choice in float64, by sorting: the plainest way to say it. */
struct ref {
    double s[N_MAX], c[N_MAX];
    uint32_t order[N_MAX];                /* by c, largest first, excluded ones last */
    double w[N_MAX];
};

static const struct ref *sorting;

static int by_c(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    if (sorting->c[x] != sorting->c[y])
        return sorting->c[x] > sorting->c[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x > y ? -1 : x < y;
}

static void exclude_groups(struct ref *f, const struct moe_router *r)
{
    size_t size = r->n / r->n_group;
    double best[N_MAX], kept[N_MAX];
    for (size_t g = 0; g < r->n_group; g++) {
        double c[N_MAX];
        memcpy(c, f->c + g * size, size * sizeof *c);
        qsort(c, size, sizeof *c, descending);
        best[g] = kept[g] = size > 1 ? c[0] + c[1] : c[0];
    }
    qsort(kept, r->n_group, sizeof *kept, descending);
    for (size_t e = 0; e < r->n; e++)
        if (best[e / size] < kept[r->topk_group - 1])
            f->c[e] = -INFINITY;
}

static void ref64(struct ref *f, const float *logits, const float *bias,
                  const struct moe_router *r)
{
    double sum = 0;
    for (size_t e = 0; e < r->n; e++)
        sum += exp((double)logits[e]);
    for (uint32_t e = 0; e < r->n; e++) {
        double x = exp((double)logits[e]);
        f->s[e] = r->scoring == MOE_SOFTMAX ? x / sum : x / (1 + x);
        f->c[e] = f->s[e] + (bias ? (double)bias[e] : 0);
        f->order[e] = e;
    }
    if (r->n_group > 1)
        exclude_groups(f, r);
    sorting = f;
    qsort(f->order, r->n, sizeof *f->order, by_c);
    sum = 1e-20;
    for (size_t i = 0; i < r->top_k; i++)
        sum += f->s[f->order[i]];
    for (size_t i = 0; i < r->top_k; i++)
        f->w[i] = f->s[f->order[i]] / (r->norm_topk ? sum : 1) * (double)r->scale;
}

static void one_random(struct tester *t, const struct moe_router *r, bool with_bias)
{
    float *logits = t_floats(t, r->n, 1, FILL_RANDOM), *bias = t_floats(t, r->n, 0, FILL_RANDOM);
    float *w = t_bytes(t, r->top_k * sizeof *w, 4), gap;
    uint32_t *ids = t_bytes(t, r->top_k * sizeof *ids, 4);
    double bound[N_MAX];
    struct ref f;
    for (size_t e = 0; e < r->n; e++)
        bias[e] *= 0.2f;
    ref64(&f, logits, with_bias ? bias : NULL, r);
    route(ids, w, &gap, logits, with_bias ? bias : NULL, r);
    t_same_bytes(t, ids, f.order, r->top_k * sizeof *ids, "ids");
    for (size_t i = 0; i < r->top_k; i++)
        bound[i] = f.w[i] * (2 * 6 + r->top_k + r->n / 16 + 8) * 0x1.01p-24;
    t_near(t, w, f.w, bound, r->top_k, "weights");
    double last = f.c[f.order[r->top_k - 1]];
    double want = r->top_k < r->n ? last - f.c[f.order[r->top_k]] : INFINITY, near = 1e-6;
    t_near(t, &gap, &want, &near, 1, "gap");
}

static void random_choices(struct tester *t)
{
    static const struct { uint32_t n, top_k, n_group, topk_group; } shape[] = {
        { 1, 1, 1, 1 },   { 8, 2, 1, 1 },  { 8, 8, 1, 1 },  { 16, 4, 2, 1 }, { 16, 4, 4, 2 },
        { 16, 8, 4, 2 },  { 64, 8, 1, 1 }, { 64, 8, 8, 4 }, { 4, 2, 4, 2 },  { 12, 6, 2, 2 },
    };
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (unsigned how = 0; how < 8; how++)
            for (int again = 0; again < 5; again++) {
                struct moe_router r = { shape[i].n, shape[i].top_k, shape[i].n_group,
                                        shape[i].topk_group, how & 1 ? MOE_SOFTMAX : MOE_SIGMOID,
                                        how & 2, how & 4 ? 2.5f : 1 };
                t_case(t, "n=%u top_k=%u groups=%u/%u how=%u", r.n, r.top_k, r.topk_group,
                       r.n_group, how);
                one_random(t, &r, again % 2);
                t_end(t);
            }
}

static void expect_ids(struct tester *t, const struct moe_router *r, const float *logits,
                       const float *bias, const uint32_t *want, const char *what)
{
    uint32_t ids[8];
    float w[8];
    route(ids, w, NULL, logits, bias, r);
    t_case(t, "%s: %u %u", what, ids[0], ids[1]);
    t_same_bytes(t, ids, want, r->top_k * sizeof *ids, "ids");
}

static void ties_and_groups(struct tester *t)
{
    struct moe_router r = { 8, 2, 1, 1, MOE_SIGMOID, true, 1 };
    static const float same[8] = { 1, 1, 1, 1, 1, 1, 1, 1 }, later[8] = { 0, 0, 0, 1, 0, 1, 1, 0 };
    static const float one_big[8] = { 4, -4, 0, 0, 1, 1, -4, 4 };
    expect_ids(t, &r, same, NULL, (const uint32_t[]){ 0, 1 }, "ties go to the lowest index");
    expect_ids(t, &r, later, NULL, (const uint32_t[]){ 3, 5 }, "ties go to the lowest index");
    r.n_group = 4;
    r.topk_group = 1;
    expect_ids(t, &r, same, NULL, (const uint32_t[]){ 0, 1 }, "tied groups: the lowest");
    expect_ids(t, &r, one_big, NULL, (const uint32_t[]){ 4, 5 }, "a group counts by its two best");
    r.n_group = 2;
    expect_ids(t, &r, one_big, NULL, (const uint32_t[]){ 7, 4 }, "two groups of four");
}

static void bias_selects_only(struct tester *t)
{
    struct moe_router r = { 4, 2, 1, 1, MOE_SIGMOID, false, 1 };
    static const float logits[4] = { 2, 1, 0, -1 }, bias[4] = { 0, 0, 0, 5 };
    uint32_t ids[2];
    float w[2], plain[4];
    uint32_t all[4];
    struct moe_router every = r;
    every.top_k = 4;
    route(all, plain, NULL, logits, NULL, &every);
    route(ids, w, NULL, logits, bias, &r);
    t_case(t, "bias");
    t_true(t, ids[0] == 3 && ids[1] == 0, "the bias selects");
    t_true(t, w[0] == plain[3] && w[1] == plain[0], "the weight does not see it");
}

static void nan_is_last(struct tester *t)
{
    for (int scoring = MOE_SIGMOID; scoring <= MOE_SOFTMAX; scoring++) {
        struct moe_router r = { 4, 2, 1, 1, (enum moe_scoring)scoring, true, 1 };
        const float logits[4] = { NAN, -3, NAN, -9 }, none[4] = { NAN, NAN, NAN, NAN };
        uint32_t ids[4];
        float w[4], gap;
        t_case(t, "NaN, scoring=%d", scoring);
        route(ids, w, &gap, logits, NULL, &r);
        t_true(t, ids[0] == 1 && ids[1] == 3 && w[0] + w[1] > 0.99f, "NaN is not selected");
        t_true(t, isinf(gap), "and is infinitely far");
        r.top_k = 4;
        route(ids, w, &gap, none, NULL, &r);
        t_true(t, ids[0] == 0 && ids[1] == 1 && ids[2] == 2 && ids[3] == 3, "only NaN: in order");
        t_true(t, isnan(w[0]) && isnan(w[3]), "and their weights are NaN");
    }
}

/* The definition as it reads: k times the lowest index of the largest value left. */
static float by_scans(uint32_t *ids, const float *c, const bool *open, const struct moe_router *r)
{
    bool left[N_MAX];
    float last = 0, next = 0;
    memcpy(left, open, r->n * sizeof *left);
    for (size_t i = 0; i <= r->top_k; i++) {
        uint32_t best = r->n;
        for (uint32_t e = 0; e < r->n; e++)
            if (left[e] && (best == r->n || c[e] > c[best]))
                best = e;
        if (best == r->n)
            return INFINITY;
        if (i == r->top_k) {
            next = c[best];
        } else {
            ids[i] = best;
            last = c[best];
            left[best] = false;
        }
    }
    return last > next ? last - next : 0;
}

/* Few different scores, zeros of both signs and NaN: equal ones stand on every border.  With
 * groups, the first half of the experts is better by far and all that may be chosen. */
static void many_ties(struct tester *t, uint32_t n_group)
{
    static const float values[] = { 0, -0.0f, 0.25f, 0.5f, NAN, 0.125f };
    float s[N_MAX], bias[N_MAX], c[N_MAX], w[N_MAX], gap;
    bool open[N_MAX];
    uint32_t ids[N_MAX], want[N_MAX], n = 2 * (uint32_t)(1 + t_below(t, N_MAX / 2));
    struct moe_router r = { n, 1 + (uint32_t)t_below(t, n / n_group), n_group, 1, MOE_SIGMOID,
                            false, 1 };
    for (uint32_t e = 0; e < n; e++) {
        s[e] = values[t_below(t, n_group > 1 ? 4 : 6)];
        bias[e] = n_group > 1 && e < n / 2 ? 4 : 0;
        c[e] = isnan(s[e]) ? -INFINITY : s[e] + bias[e];
        open[e] = n_group == 1 || e < n / 2;
    }
    t_case(t, "ties, n=%u top_k=%u groups=%u", n, r.top_k, n_group);
    float want_gap = by_scans(want, c, open, &r);
    moe_choose(ids, w, &gap, s, bias, &r);
    t_same_bytes(t, ids, want, r.top_k * sizeof *ids, "ids");
    t_same(t, &gap, &want_gap, 1, "gap");
    moe_choose(ids, w, NULL, s, bias, &r);
    t_same_bytes(t, ids, want, r.top_k * sizeof *ids, "ids without gap");
    for (size_t i = 0; i < r.top_k; i++)
        t_same(t, &w[i], &s[want[i]], 1, "weight");
}

void check_moe_choose(struct tester *t)
{
    if (t->level != CPU_C)
        return;
    random_choices(t);
    ties_and_groups(t);
    bias_selects_only(t);
    nan_is_last(t);
    for (int i = 0; i < 500; i++)
        many_ties(t, 1 + i % 2);
}
