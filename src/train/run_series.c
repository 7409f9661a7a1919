#include "train/run_series.h"

#include <math.h>
#include <stdlib.h>

static struct point join(struct point a, struct point b)
{
    return (struct point){ a.first, b.last, fmin(a.low, b.low), fmax(a.high, b.high),
                           a.sum + b.sum, a.n + b.n };
}

static void halve(struct series *s)
{
    for (size_t i = 0; i < s->n / 2; i++)
        s->at[i] = join(s->at[2 * i], s->at[2 * i + 1]);
    s->n /= 2;
    s->per_point *= 2;
}

static bool widen(struct series *s)
{
    size_t cap = s->cap ? s->cap * 2 : 64;
    cap = cap < s->most ? cap : s->most;
    struct point *at = mem_grow(s->at, cap, sizeof *at);
    if (!at)
        return false;
    s->at = at;
    s->cap = cap;
    return true;
}

bool series_add(struct series *s, uint64_t step, double value)
{
    struct point p = { step, step, value, value, value, 1 };
    if (!(fabs(value) <= SERIES_VALUE_MOST))
        return true;
    s->per_point += !s->per_point;
    if (s->n == s->most && s->at[s->n - 1].n >= s->per_point)
        halve(s);
    if (s->n && s->at[s->n - 1].n < s->per_point) {
        s->at[s->n - 1] = join(s->at[s->n - 1], p);
        return true;
    }
    if (s->n == s->cap && !widen(s))
        return false;
    s->at[s->n++] = p;
    return true;
}

void series_release(struct series *s)
{
    mem_give(s->at);
    *s = (struct series){ .most = s->most };
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What a smoothed point i looks at: near the first point as far ahead as back, so that a steep
 * beginning stays; near the last one all that is behind it, so that the end is not one value. */
struct window {
    size_t from, n;
};

static struct window window_at(size_t i, size_t n, size_t reach)
{
    size_t back = i < reach ? i : reach, ahead = n - 1 - i < back ? n - 1 - i : back;
    return (struct window){ i - back, back + 1 + ahead };
}

bool series_smooth(const struct series *s, size_t reach, double *smooth)
{
    double *median = mem_take(s->n + 2 * reach + 1, sizeof *median);
    double *sorted = median + s->n;
    if (!median)
        return false;
    for (size_t i = 0; i < s->n; i++) {
        struct window w = window_at(i, s->n, reach);
        for (size_t k = 0; k < w.n; k++)
            sorted[k] = point_mean(&s->at[w.from + k]);
        qsort(sorted, w.n, sizeof *sorted, by_value);
        median[i] = sorted[w.n / 2];
    }
    for (size_t i = 0; i < s->n; i++) {
        struct window w = window_at(i, s->n, reach / 2);
        smooth[i] = 0;
        for (size_t k = 0; k < w.n; k++)
            smooth[i] += median[w.from + k] / (double)w.n;
    }
    mem_give(median);
    return true;
}

double series_low(const struct series *s)
{
    double low = NAN;
    for (size_t i = 0; i < s->n; i++)
        low = fmin(low, s->at[i].low);
    return low;
}

double series_high(const struct series *s)
{
    double high = NAN;
    for (size_t i = 0; i < s->n; i++)
        high = fmax(high, s->at[i].high);
    return high;
}

/* ---- heat ---------------------------------------------------------------------------- */

static double *column(const struct heat *h, size_t i)
{
    return h->at + i * h->layers * h->experts;
}

static void halve_columns(struct heat *h)
{
    size_t cells = h->layers * h->experts;
    for (size_t i = 0; i < h->n / 2; i++) {
        for (size_t k = 0; k < cells; k++)
            column(h, i)[k] = column(h, 2 * i)[k] + column(h, 2 * i + 1)[k];
        h->first[i] = h->first[2 * i];
        h->last[i] = h->last[2 * i + 1];
        h->count[i] = h->count[2 * i] + h->count[2 * i + 1];
    }
    h->n /= 2;
    h->per_column *= 2;
}

/* The column the next values go to, emptied if it is a new one. */
static size_t next_column(struct heat *h, uint64_t step)
{
    if (h->n == HEAT_MOST && h->count[h->n - 1] >= h->per_column)
        halve_columns(h);
    if (!h->n || h->count[h->n - 1] >= h->per_column) {
        memset(column(h, h->n), 0, h->layers * h->experts * sizeof *h->at);
        h->first[h->n] = step;
        h->count[h->n++] = 0;
    }
    return h->n - 1;
}

bool heat_add(struct heat *h, uint64_t step, const double *load, size_t layers, size_t experts)
{
    if (!h->at) {
        *h = (struct heat){ .layers = layers, .experts = experts, .per_column = 1 };
        h->at = mem_take(HEAT_MOST * layers, experts * sizeof *h->at);
        if (!h->at)
            return false;
    }
    size_t at = next_column(h, step);
    for (size_t i = 0; i < layers; i++) {
        double total = 0;
        for (size_t e = 0; e < experts; e++)
            total += load[i * experts + e];
        for (size_t e = 0; e < experts && total > 0; e++)
            column(h, at)[i * experts + e] += load[i * experts + e] * (double)experts / total;
    }
    h->last[at] = step;
    h->count[at]++;
    return true;
}

void heat_release(struct heat *h)
{
    mem_give(h->at);
    *h = (struct heat){ 0 };
}
