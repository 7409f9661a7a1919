/*
 * write_run OUT STEPS [FROM]: the log and the event file of a made-up run, for the tests of
 * the report and of TensorBoard.  With FROM it goes on from that step.  What a step was is a
 * function of its number alone.
 */
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SPARSE = 4, EXPERTS = 16, TOKENS = 8192, BATCH_MS = 900 };

static double load_max[SPARSE], load_dead[SPARSE], entropy[SPARSE];
static uint64_t load[SPARSE * EXPERTS];

static double noise(uint64_t step, uint64_t stream)
{
    struct rng r = { .seed = 3, .stream = step * 64 + stream };
    double sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (double)(rng_u64(&r) >> 11) * 0x1p-53 - 0.5;
    return sum;
}

static double warmup(uint64_t step, uint64_t steps)
{
    double at = (double)step / (double)steps;
    return fmin(1, (double)step / (0.02 * (double)steps + 1)) * fmin(1, (1 - at) * 5);
}

static void make_router(uint64_t step, double done)
{
    for (size_t i = 0; i < SPARSE; i++) {
        uint64_t total = 0, most = 0;
        double skew = (0.1 + 0.1 * (double)i) * exp(-6 * done) + 0.03;
        for (size_t e = 0; e < EXPERTS; e++) {
            double share = exp(skew * (3 * sin(1.7 * (double)e + (double)i) + noise(step, e)));
            uint64_t n = done < 0.004 * (double)i && e == 5 ? 0 : (uint64_t)(share * TOKENS / 8);
            load[i * EXPERTS + e] = n;
            total += n;
            most = n > most ? n : most;
        }
        load_max[i] = (double)most * EXPERTS / (double)total;
        load_dead[i] = load[i * EXPERTS + 5] ? 0 : 1.0 / EXPERTS;
        entropy[i] = log(EXPERTS) - 0.9 * (1 - exp(-4 * done)) * (1 + 0.1 * (double)i)
                     + 0.02 * noise(step, 40 + i);
    }
}

static struct step_stats make_step(uint64_t step, uint64_t steps)
{
    double done = (double)step / (double)steps, n = (double)step + 10;
    bool spike = step % 977 == 500;
    struct step_stats s = {
        .step = step, .n_tokens = TOKENS, .n_targets = TOKENS - 9, .all_tokens = step * TOKENS,
        .ce = 2.1 + 7.5 * pow(n / 10, -0.42) + 0.06 * noise(step, 50) + (spike ? 3 : 0),
        .lr = 3e-3 * warmup(step, steps), .skipped = spike, .bias_low = -0.02 * done,
        .bias_high = 0.03 * done, .heldout_bits_per_byte = NAN, .z = 0, .flops = 3.1e11,
        .flops_6nd = 2.7e11, .n_sparse = SPARSE, .n_experts = EXPERTS, .load_max = load_max,
        .load_dead = load_dead, .entropy = entropy, .load = load };
    make_router(step, done);
    s.mtp = s.ce * 1.12 + 0.05 * noise(step, 51);
    s.balance = 1 + 0.4 * exp(-5 * done);
    s.loss = s.ce + 0.05 * s.mtp + 1e-4 * s.balance;
    s.bits_per_byte = s.ce / (3.7 * log(2));
    s.grad_norm = (0.35 + 2 * exp(-20 * done)) * exp(0.5 * noise(step, 52)) * (spike ? 30 : 1);
    s.clipped = s.grad_norm > 1;
    s.seconds = BATCH_MS * 1e-3 * (1 + 0.05 * fabs(noise(step, 53)));
    s.cpu_seconds = 2 * s.seconds;
    if (step % (steps / 20 ? steps / 20 : 1) == 0)
        s.heldout_bits_per_byte = s.bits_per_byte * 1.02;
    return s;
}

static const char recipe[] =
    "# nano: text to a model on two cores\n[model]\nsize = 3M\nexperts = 16\n\n[train]\n"
    "steps = 1000\ntokens_per_step = 8192\nlr = 3e-3   # <&> \"quoted\"\nschedule = wsd\n";
static const char hostile[] =
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> &amp; \"'` \x01 \xff "
    "http://example.com/ \xea\xb0\x80\xeb\x82\x98\n]]>\n--> done";

static bool write_steps(struct run_log *l, struct tensorboard *t, uint64_t from, uint64_t steps,
                        struct err *err)
{
    for (uint64_t i = from + 1; i <= steps; i++) {
        struct step_stats s = make_step(i, steps);
        uint64_t every = steps / 3 ? steps / 3 : 1;
        if (!run_log_step(l, &s, err) || !tensorboard_step(t, &s, err))
            return false;
        if (i % every == 0
            && (!run_log_sample(l, i, bytes_of("Once upon a time"), bytes_of(hostile), err)
                || !tensorboard_sample(t, i, bytes_of("Once upon a time"), bytes_of(hostile), err)
                || !run_log_sync(l, err)
                || !run_log_checkpoint(l, i, "step.kxc", 123456, 0.5, err)))
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: write_run OUT STEPS [FROM]\n");
        return 2;
    }
    uint64_t steps = strtoull(argv[2], NULL, 10), from = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    struct run_facts facts = { .version = "0.1.0", .recipe_name = "nano <b>.toml", .recipe = recipe,
                               .n_threads = 2, .seed = 7, .n_params = 3123456,
                               .n_active = 1234567, .n_steps = steps, .roof_flops = 1.1e12 };
    struct run_log log = { .fd = -1 };
    struct tensorboard tb = { 0 };
    struct err err = { 0 };
    bool ok = run_log_open(&log, argv[1], from, &err) && tensorboard_open(&tb, argv[1], from, &err)
              && run_log_begin(&log, from, &facts, &err)
              && write_steps(&log, &tb, from, steps, &err)
              && run_log_end(&log, steps, "done", &err);
    if (!ok)
        fprintf(stderr, "%s\n", err.msg);
    run_log_close(&log);
    tensorboard_close(&tb);
    return !ok;
}
