#include "train/schedule.h"

#include <math.h>

static uint64_t decay_steps(const struct train_recipe *r)
{
    uint64_t n = (uint64_t)floor(r->schedule.decay * (double)r->run.steps + 0.5);
    return n < r->run.steps ? n : r->run.steps;
}

uint64_t schedule_decay_begins(const struct train_recipe *r)
{
    return r->schedule.kind == SCHEDULE_COSINE ? r->schedule.warmup + 1
                                               : r->run.steps - decay_steps(r) + 1;
}

/* What is left of the falling part at x in [0, 1). */
static double falling(const struct recipe_schedule *s, double x)
{
    if (s->kind == SCHEDULE_COSINE)
        return (1 + cos(acos(-1.0) * x)) / 2;
    return s->shape == DECAY_SQRT ? 1 - sqrt(x) : 1 - x;
}

double schedule_lr(const struct train_recipe *r, uint64_t step)
{
    const struct recipe_schedule *s = &r->schedule;
    uint64_t k = step - 1, begin = schedule_decay_begins(r) - 1;
    double rate = r->optimizer.lr;
    check(step >= 1 && step <= r->run.steps);
    if (k < s->warmup)
        rate *= (double)step / (double)s->warmup;
    if (k > begin) {
        double x = (double)(k - begin) / (double)(r->run.steps - begin);
        rate *= s->final_lr + (1 - s->final_lr) * falling(s, x);
    }
    return rate;
}

/* Mean and standard deviation of n values. */
static void moments(const double *v, size_t n, double *mean, double *std)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (v[i] - *mean) * (v[i] - *mean);
    *std = sqrt(squares / (double)n);
}

static bool is_spike(const double *seen, size_t n, double sigma, double v)
{
    double mean, std;
    moments(seen, n, &mean, &std);
    return v > mean + sigma * std;
}

bool spike_guard_step(struct spike_guard *g, double sigma, double loss, double norm)
{
    size_t n = g->n < SPIKE_WINDOW ? (size_t)g->n : SPIKE_WINDOW;
    bool finite = isfinite(loss) && isfinite(norm), skip = !finite;
    if (finite && sigma > 0 && n >= SPIKE_LEAST)
        skip = is_spike(g->loss, n, sigma, loss) || is_spike(g->norm, n, sigma, norm);
    if (finite) {
        g->loss[g->n % SPIKE_WINDOW] = loss;
        g->norm[g->n % SPIKE_WINDOW] = norm;
        g->n++;
    }
    g->n_skipped += skip;
    return skip;
}

double bits_per_byte(double ce, uint64_t n_bytes)
{
    return n_bytes ? ce / (log(2) * (double)n_bytes) : NAN;
}
