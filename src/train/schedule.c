#include "train/schedule.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

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

uint64_t schedule_branches(const struct train_recipe *r)
{
    uint64_t begins = schedule_decay_begins(r);
    return r->schedule.kind == SCHEDULE_WSD && begins <= r->run.steps ? begins - 1 : 0;
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

/* Where a run that was planned as `was` can still take another length. */
static bool refuse_length(const struct train_recipe *was, const struct train_recipe *now,
                          uint64_t step, uint64_t done, struct err *err)
{
    char remedy[200] = "a cosine has its length from the beginning";
    uint64_t until = schedule_branches(was);
    if (was->schedule.kind == SCHEDULE_WSD)
        snprintf(remedy, sizeof remedy, "another length or decay can follow up to step %" PRIu64
                 ", whose checkpoint, step-%08" PRIu64 ".kxc, is kept: alone in checkpoints/ of "
                 "another folder, --out and --resume go on from it", until, until);
    return fail(err, ERR_USAGE, "%s: %" PRIu64 " steps are done, and with run.steps %" PRIu64
                " (it was %" PRIu64 ") and this [schedule] the lr of step %" PRIu64 " would have "
                "been %g, not %g; %s", now->file, done, now->run.steps, was->run.steps, step,
                schedule_lr(now, step), schedule_lr(was, step), remedy);
}

bool schedule_continues(const struct train_recipe *was, const struct train_recipe *now,
                        uint64_t done, struct err *err)
{
    if (was->run.steps < done)
        return fail(err, ERR_FORMAT, "%s: the state after step %" PRIu64 " of a run of %" PRIu64,
                    was->file, done, was->run.steps);
    if (now->run.steps < done)
        return fail(err, ERR_USAGE, "%s: run.steps is %" PRIu64 ", but %" PRIu64 " steps are done "
                    "already", now->file, now->run.steps, done);
    for (uint64_t step = 1; step <= done; step++)
        if (schedule_lr(was, step) != schedule_lr(now, step))
            return refuse_length(was, now, step, done, err);
    return true;
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
