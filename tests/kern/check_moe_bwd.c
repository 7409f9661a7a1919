#include "checkkern.h"
#include "route.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "slope.h"

enum { N_MAX = 64, ROWS_MAX = 40 };

/* Scores at logits + t v. */
static void scores64(double *s, const float *logits, const double *v, double t,
                     const struct moe_router *r)
{
    double sum = 0;
    for (size_t e = 0; e < r->n; e++) {
        double x = exp((double)logits[e] + t * v[e]);
        s[e] = r->scoring == MOE_SOFTMAX ? x : x / (1 + x);
        sum += x;
    }
    for (size_t e = 0; e < r->n && r->scoring == MOE_SOFTMAX; e++)
        s[e] /= sum;
}

/* sum_i dw_i w_i for ids that stay. */
struct route_along {
    const struct moe_router *r;
    const float *logits, *dw;
    const uint32_t *ids;
    double v[N_MAX];
};

static double weights(const void *arg, double t)
{
    const struct route_along *a = arg;
    double s[N_MAX], sum = 0, dot = 0;
    scores64(s, a->logits, a->v, t, a->r);
    for (size_t i = 0; i < a->r->top_k; i++) {
        sum += s[a->ids[i]];
        dot += (double)a->dw[i] * s[a->ids[i]];
    }
    return dot / (a->r->norm_topk ? sum : 1) * (double)a->r->scale;
}

/* The scores come in f32: 8 roundings in each; all else is f64 and rounded once. */
static void one_route(struct tester *t, const struct moe_router *r)
{
    float *logits = t_floats(t, r->n, 1, FILL_RANDOM), *s = t_floats(t, r->n, 0, FILL_RANDOM);
    float *dw = t_floats(t, r->top_k, 0, FILL_RANDOM), *dl = t_floats(t, r->n, 3, FILL_RANDOM);
    uint32_t *ids = t_bytes(t, r->top_k * sizeof *ids, 4);
    float *w = t_bytes(t, r->top_k * sizeof *w, 4);
    struct route_along a = { r, logits, dw, ids, { 0 } };
    double want[N_MAX], bound[N_MAX], size = 0, dot = 0, sum = 0;
    bool zeros = true;
    moe_scores(s, logits, r);
    route(ids, w, NULL, logits, NULL, r);
    moe_route_bwd(dl, dw, ids, s, r);
    for (size_t i = 0; i < r->top_k; i++)
        size += fabs((double)dw[i] * (double)w[i]) * 4;
    for (size_t e = 0; e < r->n; e++) {
        bool chosen = false;
        for (size_t i = 0; i < r->top_k; i++)
            chosen = chosen || ids[i] == e;
        a.v[e] = 1;
        want[e] = slope(weights, &a, 1e-3);
        a.v[e] = 0;
        bound[e] = size * 16 * 0x1p-24;
        zeros = zeros && (chosen || r->scoring == MOE_SOFTMAX || dl[e] == 0);
    }
    t_near(t, dl, want, bound, r->n, "dlogits");
    for (size_t e = 0; e < r->n; e++) {
        a.v[e] = (double)t_normal(t);
        dot += (double)dl[e] * a.v[e];
        sum += bound[e] * fabs(a.v[e]);
    }
    t_true(t, fabs(dot - slope(weights, &a, 1e-3)) <= sum, "the adjoint identity");
    t_true(t, zeros, "exactly zero for what a sigmoid router did not choose");
}

void check_moe_route_bwd(struct tester *t)
{
    static const struct { uint32_t n, top_k; } shape[] = { { 1, 1 }, { 8, 2 }, { 8, 8 },
                                                           { 16, 4 }, { 64, 8 } };
    if (t->level != CPU_C)
        return;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (unsigned how = 0; how < 8; how++)
            for (int again = 0; again < 5; again++) {
                struct moe_router r = { shape[i].n, shape[i].top_k, 1, 1,
                                        how & 1 ? MOE_SOFTMAX : MOE_SIGMOID, how & 2,
                                        how & 4 ? 2.5f : 1 };
                t_case(t, "n=%u top_k=%u how=%u", r.n, r.top_k, how);
                one_route(t, &r);
                t_end(t);
            }
    struct moe_router plain = { 6, 6, 1, 1, MOE_SOFTMAX, false, 1 };
    const float logits[6] = { 1, -2, NAN, 0.5f, -1, 3 };
    float s[6], w[6];
    uint32_t ids[6];
    t_case(t, "scores are what moe_route weighs with");
    moe_scores(s, logits, &plain);
    route(ids, w, NULL, logits, NULL, &plain);
    for (size_t i = 0; i < 6; i++)
        t_same(t, &w[i], &s[ids[i]], 1, "weight");
}

struct balance_along {
    const struct moe_router *r;
    const float *logits;                  /* [rows][n] */
    const uint32_t *ids;
    size_t rows;
    double alpha, v[ROWS_MAX * N_MAX];
};

static double balance64(const void *arg, double t)
{
    const struct balance_along *a = arg;
    size_t n = a->r->n, chosen = a->rows * a->r->top_k;
    double f[N_MAX] = { 0 }, mean[N_MAX] = { 0 }, loss = 0;
    for (size_t i = 0; i < chosen; i++)
        f[a->ids[i]] += (double)n / (double)chosen;
    for (size_t row = 0; row < a->rows; row++) {
        double s[N_MAX], sum = 0;
        scores64(s, a->logits + row * n, a->v + row * n, t, a->r);
        for (size_t e = 0; e < n; e++)
            sum += s[e];
        for (size_t e = 0; e < n; e++)
            mean[e] += s[e] / sum / (double)a->rows;
    }
    for (size_t e = 0; e < n; e++)
        loss += a->alpha * f[e] * mean[e];
    return loss;
}

static void one_balance(struct tester *t, const struct moe_router *r, size_t rows)
{
    size_t n = r->n, stride = n + 3, all = rows * stride;
    float *logits = t_floats(t, rows * n, 0, FILL_RANDOM), *s = t_floats(t, all, 0, FILL_RANDOM);
    float *dl = t_floats(t, all, 0, FILL_EXACT), *before = t_copy(t, dl, all), w[8];
    uint32_t *ids = t_bytes(t, rows * r->top_k * sizeof *ids, 0);
    struct balance_along a = { r, logits, ids, rows, 0.5, { 0 } };
    for (size_t i = 0; i < rows; i++) {
        logits[i * n] += 1;                               /* so that the load is not even */
        route(ids + i * r->top_k, w, NULL, logits + i * n, NULL, r);
        moe_scores(s + i * stride, logits + i * n, r);
    }
    double got = moe_balance(dl, s, stride, ids, rows, a.alpha, r);
    double want = balance64(&a, 0), bound = want * 16 * 0x1p-24;
    t_true(t, fabs(got - want) <= bound, "loss");
    t_true(t, got == moe_balance(NULL, s, stride, ids, rows, a.alpha, r), "the loss alone");
    for (size_t i = 0; i < rows * n; i++) {
        size_t to = i / n * stride + i % n;
        a.v[i] = 1;
        want = (double)before[to] + slope(balance64, &a, 1e-3);
        a.v[i] = 0;
        bound = fabs((double)dl[to]) * 0x1p-24 + a.alpha * (double)n / (double)rows * 16 * 0x1p-24;
        t_near(t, dl + to, &want, &bound, 1, "dlogits");
    }
    for (size_t i = 0; i < all; i++)
        if (i % stride >= n)
            t_true(t, dl[i] == before[i], "between the rows");
}

/* The identity along a random direction of all rows' logits. */
static void balance_adjoint(struct tester *t, const struct moe_router *r, size_t rows)
{
    size_t n = r->n;
    float *logits = t_floats(t, rows * n, 0, FILL_RANDOM), *s = t_copy(t, logits, rows * n), w[8];
    float *dl = t_bytes(t, rows * n * sizeof *dl, 0);
    uint32_t *ids = t_bytes(t, rows * r->top_k * sizeof *ids, 0);
    struct balance_along a = { r, logits, ids, rows, 0.5, { 0 } };
    double dot = 0, size = 0;
    memset(dl, 0, rows * n * sizeof *dl);
    for (size_t i = 0; i < rows; i++) {
        route(ids + i * r->top_k, w, NULL, logits + i * n, NULL, r);
        moe_scores(s + i * n, logits + i * n, r);
    }
    moe_balance(dl, s, n, ids, rows, a.alpha, r);
    for (size_t i = 0; i < rows * n; i++) {
        a.v[i] = (double)t_normal(t);
        dot += (double)dl[i] * a.v[i];
        size += fabs(a.v[i]) * a.alpha * (double)n / (double)rows;
    }
    t_true(t, fabs(dot - slope(balance64, &a, 1e-3)) <= size * 16 * 0x1p-24,
           "the adjoint identity");
}

/* Row i chooses i, i + 1, ...: every expert top_k times. */
static void even_load(struct tester *t, const struct moe_router *r)
{
    size_t n = r->n;
    float *logits = t_floats(t, n * n, 0, FILL_RANDOM), *s = t_copy(t, logits, n * n);
    float *dl = t_bytes(t, n * n * sizeof *dl, 0);
    uint32_t *ids = t_bytes(t, n * r->top_k * sizeof *ids, 0);
    bool zeros = true;
    memset(dl, 0, n * n * sizeof *dl);
    for (size_t i = 0; i < n; i++) {
        moe_scores(s + i * n, logits + i * n, r);
        for (size_t j = 0; j < r->top_k; j++)
            ids[i * r->top_k + j] = (uint32_t)((i + j) % n);
    }
    double loss = moe_balance(dl, s, n, ids, n, 1e-4, r);
    for (size_t i = 0; i < n * n; i++)
        zeros = zeros && dl[i] == 0;
    t_true(t, loss == 1e-4, "the loss is alpha");
    t_true(t, zeros, "the gradient is exactly zero");
    ids[0] = ids[0] ? 0 : 1;
    moe_balance(dl, s, n, ids, n, 1e-4, r);
    t_true(t, dl[0] != 0, "and not if one choice moves");
}

void check_moe_balance(struct tester *t)
{
    static const struct { uint32_t n, top_k; } shape[] = { { 4, 1 }, { 7, 3 }, { 16, 8 },
                                                           { 64, 8 } };
    if (t->level != CPU_C)
        return;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int scoring = MOE_SIGMOID; scoring <= MOE_SOFTMAX; scoring++) {
            struct moe_router r = { shape[i].n, shape[i].top_k, 1, 1, (enum moe_scoring)scoring,
                                    true, 2.5f };
            for (size_t rows = 1; rows <= 9; rows += 4) {
                t_case(t, "n=%u top_k=%u scoring=%d rows=%zu", r.n, r.top_k, scoring, rows);
                one_balance(t, &r, rows);
                balance_adjoint(t, &r, rows);
                t_end(t);
            }
            t_case(t, "even load, n=%u top_k=%u scoring=%d", r.n, r.top_k, scoring);
            even_load(t, &r);
            t_true(t, moe_balance(NULL, NULL, 0, NULL, 0, 1, &r) == 0, "no rows");
            t_end(t);
        }
}

/* What is not the loss: the bias that follows the load, and the router's entropy. */
void check_moe_load(struct tester *t)
{
    if (t->level != CPU_C)
        return;
    float bias[4] = { 0, 1, -1, 0.5f };
    const uint64_t load[4] = { 3, 5, 0, 4 }, even[4] = { 7, 7, 7, 7 };
    moe_bias_update(bias, load, 4, 0.25f);
    t_case(t, "bias");
    t_true(t, bias[0] == 0 && bias[1] == 0.75f && bias[2] == -0.75f && bias[3] == 0.25f,
           "up below the mean of 3, down above, as it was at the mean");
    moe_bias_update(bias, even, 4, 0.25f);
    t_true(t, bias[0] == 0 && bias[1] == 0.75f, "even load moves nothing");
    const float same[5] = { 0.3f, 0.3f, 0.3f, 0.3f, 0.3f }, sure[2] = { 1, 1e-30f };
    const float two[2] = { 0.25f, 0.75f };
    t_case(t, "entropy");
    t_true(t, fabs(moe_entropy(same, 5) - log(5)) < 1e-14, "log n where all are equal");
    t_true(t, moe_entropy(sure, 2) >= 0 && moe_entropy(sure, 2) < 1e-27, "none where one is sure");
    t_true(t, fabs(moe_entropy(two, 2) - 0.5623351446188083) < 1e-14, "of 1/4 and 3/4");
}
