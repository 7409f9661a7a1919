#include "cmd/pretrain_line.h"
#include "cmd/pretrain.h"

#include <inttypes.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { DRAW_NS = 250000000 };
#define PRINT_NS 10000000000u
#define FORGET 0.1                        /* weight of the newest step in the averages */

void pretrain_line_begin(struct pretrain_line *l, const struct train_recipe *r,
                         const struct train_roof *roof, bool json)
{
    *l = (struct pretrain_line){ .json = json, .live = !json && isatty(1) && isatty(2),
                                 .n_steps = r->run.steps, .roof_flops = roof->flops,
                                 .roof_unit = roof->unit, .step_ns = now_ns(),
                                 .heldout = NAN };
}

void pretrain_line_clear(struct pretrain_line *l)
{
    if (l->shown)
        fputs("\r\033[K", stderr);
    l->shown = false;
}

static double average(double old, double now, bool first)
{
    return first ? now : old + FORGET * (now - old);
}

/* Speed by the clock, from step to step: evaluations, samples and checkpoints count. */
static void keep_pace(struct pretrain_line *l, const struct step_stats *s)
{
    uint64_t now = now_ns();
    bool first = !l->first;
    l->first = first ? s->step : l->first;
    l->seconds = average(l->seconds, (double)(now - l->step_ns) * 1e-9, first);
    l->tokens = average(l->tokens, (double)s->n_tokens, first);
    l->flops = average(l->flops, s->flops / (s->seconds > 0 ? s->seconds : 1), first);
    l->step_ns = now;
    if (isfinite(s->heldout_bits_per_byte))
        l->heldout = s->heldout_bits_per_byte;
}

static void put_pace(struct buf *out, const struct pretrain_line *l, uint64_t step, bool wide)
{
    buf_printf(out, "  %.0f tok/s  ", l->seconds > 0 ? l->tokens / l->seconds : 0);
    if (wide)
        buf_printf(out, "%.1f %% of %s", 100 * l->flops / l->roof_flops, l->roof_unit);
    else
        buf_printf(out, "roof %.1f %%", 100 * l->flops / l->roof_flops);
    if (step < l->n_steps) {
        buf_text(out, "  ");
        put_duration(out, (double)(l->n_steps - step) * l->seconds);
        buf_text(out, " left");
    }
}

/* A line that stays. */
static void put_step(struct buf *out, const struct pretrain_line *l, const struct step_stats *s)
{
    buf_printf(out, "step %" PRIu64 "/%" PRIu64 "  loss %.4f  bits/byte %.4f", s->step,
               l->n_steps, s->loss, s->bits_per_byte);
    if (isfinite(s->heldout_bits_per_byte))
        buf_printf(out, "  held-out %.4f", s->heldout_bits_per_byte);
    buf_printf(out, "  lr %.2g", s->lr);
    put_pace(out, l, s->step, true);
    if (s->skipped && isfinite(s->grad_norm))
        buf_printf(out, "  skipped (gradient norm %.3g)", s->grad_norm);
    else if (s->skipped)
        buf_text(out, "  skipped (gradient not finite)");
}

/* A line that is drawn over: no wider than the terminal. */
static void put_live(struct buf *out, const struct pretrain_line *l, const struct step_stats *s)
{
    struct winsize w = { 0 };
    size_t columns = ioctl(2, TIOCGWINSZ, &w) || !w.ws_col ? 80 : w.ws_col;
    buf_printf(out, "%" PRIu64 "/%" PRIu64 "  loss %.4f", s->step, l->n_steps, s->loss);
    if (isfinite(l->heldout))
        buf_printf(out, "  held-out %.4f", l->heldout);
    put_pace(out, l, s->step, false);
    if (out->at && out->len >= columns)
        out->at[columns - 1] = 0;
}

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static bool print_json(json_t *o, struct err *err)
{
    if (!o)
        return fail(err, ERR_MEMORY, "no memory for a line of JSON");
    json_dumpf(o, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    putchar('\n');
    fflush(stdout);
    json_decref(o);
    return true;
}

static bool json_step(const struct pretrain_line *l, const struct step_stats *s, struct err *err)
{
    double speed = s->seconds > 0 ? (double)s->n_tokens / s->seconds : NAN;
    return print_json(json_pack(
        "{s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o, s:o, s:o, s:o,"
        " s:o}",
        "event", "step", "step", (json_int_t)s->step, "tokens", (json_int_t)s->n_tokens,
        "all_tokens", (json_int_t)s->all_tokens, "loss", number(s->loss), "ce", number(s->ce),
        "mtp", number(s->mtp), "bits_per_byte", number(s->bits_per_byte),
        "heldout_bits_per_byte", number(s->heldout_bits_per_byte), "lr", number(s->lr),
        "grad_norm", number(s->grad_norm), "clipped", s->clipped, "skipped", s->skipped,
        "seconds", number(s->seconds), "cpu_seconds", number(s->cpu_seconds),
        "tokens_per_second", number(speed),
        "roof_share", number(s->flops / s->seconds / l->roof_flops),
        "seconds_left", number((double)(l->n_steps - s->step) * l->seconds)), err);
}

bool pretrain_line_step(struct pretrain_line *l, const struct step_stats *s, struct err *err)
{
    struct buf out = { 0 };
    uint64_t now;
    keep_pace(l, s);
    now = l->step_ns;
    if (l->json)
        return json_step(l, s, err);
    bool stays = isfinite(s->heldout_bits_per_byte) || s->skipped || s->step == l->n_steps
                 || (!l->live && (s->step == l->first || now - l->printed_ns >= PRINT_NS));
    if (!stays && (!l->live || now - l->drawn_ns < DRAW_NS))
        return true;
    if (stays)
        put_step(&out, l, s);
    else
        put_live(&out, l, s);
    if (!buf_ok(&out, err))
        return false;
    pretrain_line_clear(l);
    if (stays) {
        printf("%s\n", out.at);
        fflush(stdout);
        l->printed_ns = now;
    } else {
        fprintf(stderr, "\r%s\033[K", out.at);
        fflush(stderr);
        l->shown = true;
        l->drawn_ns = now;
    }
    buf_release(&out);
    return true;
}

bool pretrain_line_sample(struct pretrain_line *l, uint64_t step, const char *prompt,
                          const char *text, struct err *err)
{
    struct buf out = { 0 };
    if (l->json)
        return print_json(json_pack("{s:s, s:I, s:s, s:s}", "event", "sample", "step",
                                    (json_int_t)step, "prompt", prompt, "text", text), err);
    pretrain_line_clear(l);
    show_text(&out, bytes_of(prompt));
    buf_text(&out, "|");
    show_text(&out, bytes_of(text));
    bool ok = buf_ok(&out, err);
    for (size_t i = 0; ok && i < out.len; i++)
        out.at[i] = out.at[i] == '\n' ? ' ' : out.at[i];
    if (ok)
        printf("    %s\n", out.at);
    fflush(stdout);
    buf_release(&out);
    return ok;
}

bool pretrain_line_end(struct pretrain_line *l, uint64_t step, const char *why, struct err *err)
{
    pretrain_line_clear(l);
    return !l->json || print_json(json_pack("{s:s, s:I, s:s}", "event", "end", "step",
                                            (json_int_t)step, "why", why), err);
}
