/*
 * schedule: the learning rate of a step, the guard against spikes, and bits per byte.
 *
 * Step s = 1 .. T, k = s - 1.  eta: optimizer.lr, w: warmup, f: final_lr, D: round(decay T).
 *
 *   warm-up   a = (k + 1) / w for k < w, else 1
 *   wsd       b = 1 for k < T - D, else f + (1 - f) d(x), x = (k - (T - D)) / D,
 *             d(x) = 1 - sqrt(x)  or  1 - x
 *   cosine    b = f + (1 - f) (1 + cos(pi x)) / 2, x = (k - w) / (T - w), 1 before w
 *   lr        eta a b
 *
 * So x runs over [0, 1): the first decaying step still has all of eta, and the last is not 0.
 * WSD: Hu et al., MiniCPM, arXiv 2404.06395, section 4; the square root: Haegele et al.,
 * arXiv 2405.18392, section 3.
 */
#ifndef KEXA_TRAIN_SCHEDULE_H
#define KEXA_TRAIN_SCHEDULE_H

#include "train/train_recipe.h"

/* 1 <= step <= r->run.steps; r is resolved. */
double schedule_lr(const struct train_recipe *r, uint64_t step);

/* The first step that decays; steps + 1 where none does. */
uint64_t schedule_decay_begins(const struct train_recipe *r);

/*
 * The last step after which a run can still be made longer: wsd's last before it decays, 0 where
 * there is none.  Up to there a longer run with the same warm-up had the same rates.
 */
uint64_t schedule_branches(const struct train_recipe *r);

/*
 * Refuses `now` unless the first `done` steps had the same rates by `was`: then a state after
 * them is also one of a run that was planned as `now` from the beginning.  Both are resolved;
 * what is no matter of schedule and length is not compared (train_recipe_same).
 */
bool schedule_continues(const struct train_recipe *was, const struct train_recipe *now,
                        uint64_t done, struct err *err);

/*
 * The guard: a step is skipped when its loss or its gradient norm is more than sigma standard
 * deviations above the mean of the last SPIKE_WINDOW steps, or is not finite.  Skipped steps
 * count in the window too (finite ones), so that a lasting change is accepted after a while;
 * before SPIKE_LEAST steps nothing but the infinite is skipped.  The struct has no pointers
 * and no padding: a checkpoint holds it as it is.
 */
enum { SPIKE_WINDOW = 128, SPIKE_LEAST = 64 };

struct spike_guard {
    uint64_t n;                           /* values ever put in; slot n % SPIKE_WINDOW is next */
    uint64_t n_skipped;
    double loss[SPIKE_WINDOW], norm[SPIKE_WINDOW];
};

/* Whether to skip, by what was seen before; then puts the values in.  sigma 0: only what is
 * not finite is skipped. */
bool spike_guard_step(struct spike_guard *g, double sigma, double loss, double norm);

/* ce: sum of cross-entropies in nats over targets of n_bytes bytes; NAN for no bytes. */
double bits_per_byte(double ce, uint64_t n_bytes);

#endif
