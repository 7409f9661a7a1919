/* One step: passes, norm, guard, optimizer, figures. */
#include "train/trainer_parts.h"

#include <math.h>
#include <time.h>

static double clock_seconds(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Rows [first, first + n) of a batch; its bytes count with the first. */
static struct batch rows_of(const struct batch *b, size_t first, size_t n)
{
    struct batch part = *b;
    size_t at = first * b->context;
    part.n_rows = n;
    part.token += at;
    part.target += at;
    part.target2 += at;
    part.pos += at;
    part.used += first;
    part.n_bytes = first ? 0 : b->n_bytes;
    return part;
}

static struct objective objective_of(const struct train_recipe *r, const struct batch *b)
{
    double n = (double)b->n_targets, n2 = (double)b->n_targets2;
    return (struct objective){ .scale_main = n > 0 ? 1 / n : 0,
                               .scale_mtp = n2 > 0 ? r->loss.mtp / n2 : 0, .z_coef = r->loss.z,
                               .balance = r->loss.balance / (double)b->n_rows };
}

static void run_passes(struct trainer *t, const struct batch *b, struct pass_sums *sums)
{
    struct objective o = objective_of(t->recipe, b);
    size_t step = t->recipe->run.micro_rows;
    params_clear_grads(&t->ps);
    memset(t->load, 0, t->n_sparse * t->n_experts * sizeof *t->load);
    memset(t->entropy, 0, t->n_sparse * sizeof *t->entropy);
    for (size_t at = 0; at < b->n_rows; at += step) {
        struct batch part = rows_of(b, at, b->n_rows - at < step ? b->n_rows - at : step);
        pass_gradients(t->tape, &part, &o, &t->ps.grads, sums);
    }
}

static double mean(double sum, uint64_t n)
{
    return n ? sum / (double)n : 0;
}

static void fill_losses(const struct trainer *t, const struct batch *b,
                        const struct pass_sums *sums, struct step_stats *s)
{
    const struct recipe_loss *l = &t->recipe->loss;
    s->n_tokens = sums->n_tokens;
    s->n_targets = sums->n_targets;
    s->ce = mean(sums->ce, sums->n_targets);
    s->mtp = mean(sums->mtp, sums->n_targets2);
    s->z = mean(sums->z, sums->n_targets);
    s->balance = mean(sums->balance, b->n_rows);
    s->loss = s->ce + l->mtp * s->mtp + l->balance * s->balance + l->z * s->z;
    s->bits_per_byte = bits_per_byte(sums->ce, sums->n_bytes);
    s->flops = train_flops_batch(&t->flops, &t->model.plan, b);
    s->flops_6nd = 6 * t->flops.active * (double)sums->n_tokens;
}

static void fill_router(struct trainer *t, struct step_stats *s)
{
    for (size_t i = 0; i < t->n_sparse; i++) {
        const uint64_t *load = t->load + i * t->n_experts;
        uint64_t sum = 0, max = 0, dead = 0;
        for (size_t e = 0; e < t->n_experts; e++) {
            sum += load[e];
            max = load[e] > max ? load[e] : max;
            dead += load[e] == 0;
        }
        t->load_max[i] = sum ? (double)max * (double)t->n_experts / (double)sum : 0;
        t->load_dead[i] = (double)dead / (double)t->n_experts;
        t->entropy[i] = mean(t->entropy[i], s->n_tokens);
    }
    s->n_sparse = t->n_sparse;
    s->n_experts = t->n_experts;
    s->load = t->load;
    s->load_max = t->load_max;
    s->load_dead = t->load_dead;
    s->entropy = t->entropy;
}

static void fill_biases(const struct trainer *t, struct step_stats *s)
{
    bool any = false;
    for (size_t i = 0; i < t->ps.n; i++) {
        const struct param *p = &t->ps.at[i];
        for (size_t k = 0; p->group == PARAM_BIAS && k < p->n; k++, any = true) {
            double v = (double)p->master[k];
            s->bias_low = !any || v < s->bias_low ? v : s->bias_low;
            s->bias_high = !any || v > s->bias_high ? v : s->bias_high;
        }
    }
}

/* Clips, or leaves the weights alone where the guard says so. */
static void update(struct trainer *t, struct step_stats *s)
{
    double clip = t->recipe->optimizer.clip;
    s->lr = schedule_lr(t->recipe, s->step);
    s->grad_norm = optimizer_norm(&t->optimizer);
    s->skipped = spike_guard_step(&t->guard, t->recipe->optimizer.spike_sigma, s->loss,
                                  s->grad_norm);
    if (s->skipped)
        return;
    s->clipped = clip > 0 && s->grad_norm > clip;
    t->counts.updates++;
    optimizer_step(&t->optimizer, t->counts.updates, s->lr, s->clipped ? clip / s->grad_norm : 1,
                   t->n_sparse ? t->load : NULL);
}

/* Held-out bits per byte of the weights as they are. */
static bool evaluate(struct trainer *t, double *bits, struct err *err)
{
    struct pass_sums sums = { 0 };
    struct objective none = { 0 };
    size_t left = t->recipe->data.heldout_rows, step = t->recipe->run.micro_rows;
    if (!loader_state_set(t->heldout, &t->heldout_begin, err))
        return false;
    uint64_t all = loader_rows_left(t->heldout);
    left = left < all ? left : (size_t)all;
    while (left) {
        struct batch b;
        size_t n = left < step ? left : step;
        if (!loader_next(t->heldout, &b, n, err))
            return false;
        pass_forward(t->eval_tape, &b, &none, &sums, NULL);
        left -= n;
    }
    *bits = bits_per_byte(sums.ce, sums.n_bytes);
    return true;
}

static bool due(uint64_t every, uint64_t step, uint64_t last)
{
    return every && (step % every == 0 || step == last);
}

bool trainer_step(struct trainer *t, struct step_stats *s, struct err *err)
{
    const struct recipe_run *run = &t->recipe->run;
    double wall = clock_seconds(CLOCK_MONOTONIC), cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    struct pass_sums sums = { .load = t->load, .entropy = t->entropy };
    struct batch b;
    *s = (struct step_stats){ .step = t->counts.step + 1, .heldout_bits_per_byte = NAN };
    if (t->counts.step >= run->steps)
        return fail(err, ERR_LIMIT, "all %llu steps are done", (unsigned long long)run->steps);
    if (!loader_next(t->loader, &b, (size_t)train_recipe_rows(t->recipe), err))
        return false;
    run_passes(t, &b, &sums);
    fill_losses(t, &b, &sums, s);
    fill_router(t, s);
    update(t, s);
    fill_biases(t, s);
    t->counts.step++;
    t->counts.all_tokens += s->n_tokens;
    s->all_tokens = t->counts.all_tokens;
    s->seconds = clock_seconds(CLOCK_MONOTONIC) - wall;
    s->cpu_seconds = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (t->heldout && due(run->eval_every, s->step, run->steps)
        && !evaluate(t, &s->heldout_bits_per_byte, err))
        return false;
    return run_log_step(&t->log, s, err) && tensorboard_step(&t->board, s, err);
}

bool trainer_save_due(struct trainer *t, struct err *err)
{
    const struct recipe_run *run = &t->recipe->run;
    bool branch = run->checkpoint_every && t->counts.step == schedule_branches(t->recipe);
    return (!branch && !due(run->checkpoint_every, t->counts.step, run->steps))
           || trainer_checkpoint(t, err);
}
