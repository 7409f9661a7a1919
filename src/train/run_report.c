#include "train/run_report.h"
#include "train/report_chart.h"
#include "train/report_heat.h"
#include "train/report_style.h"
#include "train/report_text.h"
#include "train/run_history.h"
#include "format/format.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* ---- head and summary ---------------------------------------------------------------- */

static void put_lines(struct buf *out, const char *const *line)
{
    for (; *line; line++) {
        buf_text(out, *line);
        buf_text(out, "\n");
    }
}

static void put_page_head(struct buf *out, const char *title)
{
    buf_text(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
             "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n<title>");
    report_put_html(out, title);
    buf_text(out, "</title>\n<style>\n");
    put_lines(out, report_style);
    buf_text(out, "</style></head>\n<body><main>\n");
}

static void put_state(struct buf *out, const struct run_history *h)
{
    bool done = h->why && !strcmp(h->why, "done");
    bool stopped = h->why && !strcmp(h->why, "stopped");
    buf_printf(out, "<span class=\"state %s\">", done ? "good" : h->why && !stopped ? "bad" : "");
    report_put_html(out, h->why ? h->why : "not ended");
    buf_text(out, "</span>\n");
}

static void put_header(struct buf *out, const struct run_history *h, const char *title)
{
    const struct run_begin *first = h->n_begins ? &h->begins[0] : NULL;
    buf_text(out, "<header><h1>");
    report_put_html(out, title);
    buf_text(out, "</h1>");
    put_state(out, h);
    buf_text(out, "<p class=\"sub\">");
    if (h->recipe_name) {
        buf_text(out, "Recipe ");
        report_put_html(out, h->recipe_name);
        buf_printf(out, ", seed %" PRIu64 ". ", h->seed);
    }
    if (first) {
        buf_text(out, "Begun ");
        report_put_date(out, first->unix_time);
        if (h->all_begins > 1)
            buf_printf(out, ", taken up again %" PRIu64 " time%s", h->all_begins - 1,
                       h->all_begins == 2 ? "" : "s");
        buf_text(out, ". ");
    }
    buf_text(out, "</p></header>\n");
    if (h->n_torn)
        buf_printf(out, "<p class=\"warn\">%" PRIu64 " line%s of the log could not be used, the "
                   "first is line %" PRIu64 ". The figures below are of the others.</p>\n",
                   h->n_torn, h->n_torn == 1 ? "" : "s", h->torn_line);
}

static void tile_begin(struct buf *out, const char *name)
{
    buf_printf(out, "<div><dt>%s</dt><dd>", name);
}

static void tile_end(struct buf *out)
{
    buf_text(out, "</small></dd></div>\n");
}

static double last_smooth(const struct series *s)
{
    double sum = 0, n = 0;
    for (size_t i = s->n - (s->n + 49) / 50; i < s->n; i++) {
        sum += s->at[i].sum;
        n += (double)s->at[i].n;
    }
    return n > 0 ? sum / n : NAN;
}

static void put_progress_tiles(struct buf *out, const struct run_history *h)
{
    tile_begin(out, "Steps");
    report_put_count(out, h->last_step);
    buf_text(out, "<small>");
    if (h->n_steps) {
        buf_text(out, "of ");
        report_put_count(out, h->n_steps);
        buf_printf(out, " planned, %.0f%%", 100.0 * (double)h->last_step / (double)h->n_steps);
    }
    tile_end(out);
    tile_begin(out, "Tokens");
    report_put_si(out, (double)h->all_tokens, "");
    buf_text(out, "<small>");
    if (h->n_active) {
        report_put_figure(out, (double)h->all_tokens / (double)h->n_active);
        buf_text(out, " for each active weight");
    }
    tile_end(out);
    if (h->n_params) {
        tile_begin(out, "Weights");
        report_put_si(out, (double)h->n_params, "");
        buf_text(out, "<small>");
        report_put_si(out, (double)h->n_active, "");
        buf_text(out, " for a token");
        tile_end(out);
    }
}

static void put_quality_tiles(struct buf *out, const struct run_history *h)
{
    const struct series *held = &h->heldout_bits_per_byte;
    size_t best = 0;
    tile_begin(out, "Loss");
    report_put_figure(out, last_smooth(&h->loss));
    buf_text(out, "<small>nats a token, mean of the last 2%");
    tile_end(out);
    tile_begin(out, "Held-out text");
    report_put_figure(out, held->n ? point_mean(&held->at[held->n - 1]) : NAN);
    buf_text(out, "<small>bits a byte");
    for (size_t i = 0; i < held->n; i++)
        if (held->at[i].low <= held->at[best].low)
            best = i;
    if (held->n) {
        buf_text(out, ", best ");
        report_put_figure(out, held->at[best].low);
        buf_text(out, " at step ");
        report_put_count(out, held->at[best].last);
    } else {
        buf_text(out, "; never measured");
    }
    tile_end(out);
}

static void put_speed_tiles(struct buf *out, const struct run_history *h)
{
    double rate = h->flops / h->seconds;
    tile_begin(out, "Speed");
    report_put_si(out, h->tokens_per_second.n ? last_smooth(&h->tokens_per_second) : NAN, "");
    buf_text(out, "<small>tokens a second, mean of the last 2%");
    tile_end(out);
    tile_begin(out, "Arithmetic");
    report_put_si(out, rate, "FLOP/s");
    buf_text(out, "<small>");
    if (h->roof_flops > 0) {
        buf_printf(out, "%.1f%% of this machine's ", 100 * rate / h->roof_flops);
        report_put_si(out, h->roof_flops, "FLOP/s");
    } else {
        buf_text(out, "the machine's roof was not measured");
    }
    tile_end(out);
    tile_begin(out, "Time in steps");
    report_put_duration(out, h->seconds);
    buf_text(out, "<small>");
    report_put_figure(out, h->cpu_seconds / h->seconds);
    buf_text(out, " CPUs busy on average");
    tile_end(out);
}

static void put_summary(struct buf *out, const struct run_history *h)
{
    buf_text(out, "<dl class=\"tiles\" id=\"summary\">\n");
    put_progress_tiles(out, h);
    put_quality_tiles(out, h);
    put_speed_tiles(out, h);
    buf_text(out, "</dl>\n");
}

/* ---- curves -------------------------------------------------------------------------- */

#define COUNT(lines) (sizeof(lines) / sizeof *(lines))

static void put_losses(struct buf *out, const struct run_history *h)
{
    const struct chart_line loss[] = { { "loss", &h->loss, "var(--c1)", true } };
    const struct chart_line bits[] = {
        { "training text", &h->bits_per_byte, "var(--c1)", true },
        { "held-out text", &h->heldout_bits_per_byte, "var(--c2)", false } };
    const struct chart_line heads[] = {
        { "next token", &h->ce, "var(--c1)", true },
        { "the one after it (MTP)", &h->mtp, "var(--c4)", true } };
    bool two = series_high(&h->mtp) > 0;
    chart_put(out, h, &(struct chart){ .id = "loss", .title = "Loss", .unit = "nats a token",
        .about = "What is minimised: cross-entropy, multi-token prediction and balance together.",
        .scale = CHART_CHOICE, .wide = true, .reference = NAN, .lines = loss, .n = COUNT(loss) });
    chart_put(out, h, &(struct chart){ .id = "bits", .title = "Bits per byte",
        .about = "Comes out the same for any tokenizer.", .unit = "bits a byte",
        .scale = CHART_CHOICE, .reference = NAN, .lines = bits, .n = COUNT(bits) });
    chart_put(out, h, &(struct chart){ .id = "mtp",
        .title = two ? "Cross-entropy of the two heads" : "Cross-entropy",
        .unit = "nats a token", .reference = NAN, .lines = heads, .n = two ? COUNT(heads) : 1 });
}

static void put_optimizer(struct buf *out, const struct run_history *h)
{
    const struct chart_line lr[] = { { "learning rate", &h->lr, "var(--c3)", false } };
    const struct chart_line norm[] = { { "norm", &h->grad_norm, "var(--c1)", true } };
    chart_put(out, h, &(struct chart){ .id = "lr", .title = "Learning rate", .unit = "",
        .scale = CHART_FROM_ZERO, .reference = NAN, .lines = lr, .n = COUNT(lr) });
    chart_put(out, h, &(struct chart){ .id = "gradient", .title = "Gradient norm",
        .about = "Before clipping.", .unit = "norm", .scale = CHART_LOG, .marks = true,
        .reference = NAN, .lines = norm, .n = COUNT(norm) });
}

static void put_speed(struct buf *out, const struct run_history *h)
{
    const struct chart_line tokens[] = { { "tokens a second", &h->tokens_per_second, "var(--c3)",
                                           true } };
    const struct chart_line share[] = { { "share", &h->roof_share, "var(--c2)", true } };
    const struct chart_line cpus[] = { { "CPUs", &h->cpus, "var(--c4)", true } };
    chart_put(out, h, &(struct chart){ .id = "speed", .title = "Speed",
        .unit = "tokens a second", .scale = CHART_FROM_ZERO, .reference = NAN, .lines = tokens,
        .n = COUNT(tokens) });
    if (h->roof_flops > 0)
        chart_put(out, h, &(struct chart){ .id = "roof", .title = "Share of the roof",
            .about = "Counted operations a second beside the fastest measured when the run began "
                     "or went on.",
            .unit = "%", .scale = CHART_FROM_ZERO, .reference = NAN,
            .factor = 100, .lines = share, .n = COUNT(share) });
    else
        chart_put(out, h, &(struct chart){ .id = "cpus", .title = "CPUs busy",
            .about = "CPU time of a step by its time on the clock: less than the threads means "
                     "other work or waiting.", .unit = "CPUs", .scale = CHART_FROM_ZERO,
            .reference = NAN, .lines = cpus, .n = COUNT(cpus) });
}

static void put_router(struct buf *out, const struct run_history *h)
{
    double even = h->heat.experts ? log((double)h->heat.experts) : NAN;
    chart_put_layers(out, h, &(struct chart){ .id = "entropy", .title = "Router entropy",
        .about = "Of the router's scores of a token, mean.", .unit = "nats",
        .reference = even, .reference_name = "all experts alike" }, h->entropy,
        h->entropy ? h->n_layers : 0);
    chart_put_layers(out, h, &(struct chart){ .id = "load-max", .title = "Largest load",
        .about = "Tokens of the busiest expert by the mean: 1 is even.", .unit = "times the mean",
        .scale = CHART_LOG, .reference = NAN }, h->load_max, h->load_max ? h->n_layers : 0);
    chart_put_layers(out, h, &(struct chart){ .id = "idle", .title = "Idle experts",
        .about = "Share of the experts that got no token in a step.", .unit = "%",
        .factor = 100, .scale = CHART_FROM_ZERO, .rare = true, .reference = NAN }, h->load_dead,
        h->load_dead ? h->n_layers : 0);
}

static void put_experts(struct buf *out, const struct run_history *h)
{
    const struct chart_line balance[] = { { "balance", &h->balance, "var(--c3)", true } };
    buf_text(out, "<h2 id=\"experts\">Experts</h2>\n");
    if (!h->n_layers && !h->heat.n) {
        buf_text(out, "<p class=\"none\">This model has none.</p>\n");
        return;
    }
    buf_text(out, "<div class=\"grid\">\n");
    heat_put(out, &h->heat);
    put_router(out, h);
    chart_put(out, h, &(struct chart){ .id = "balance", .title = "Balance loss",
        .about = "Of all sparse layers, before its coefficient.", .unit = "", .reference = NAN,
        .lines = balance, .n = COUNT(balance) });
    buf_text(out, "</div>\n");
}

/* ---- tables -------------------------------------------------------------------------- */

static void put_flop_row(struct buf *out, const struct run_history *h, const char *name,
                         double flops)
{
    buf_printf(out, "<tr><td>%s</td><td class=\"n\">", name);
    report_put_si(out, flops, "FLOP");
    buf_text(out, "</td><td class=\"n\">");
    report_put_si(out, h->all_tokens ? flops / (double)h->all_tokens : NAN, "FLOP");
    buf_text(out, "</td><td class=\"n\">");
    report_put_si(out, flops / h->seconds, "FLOP/s");
    buf_text(out, "</td><td class=\"n\">");
    if (h->roof_flops > 0)
        buf_printf(out, "%.1f%%", 100 * flops / h->seconds / h->roof_flops);
    else
        buf_text(out, "\xe2\x80\x93");
    buf_text(out, "</td></tr>\n");
}

static void put_flops(struct buf *out, const struct run_history *h)
{
    buf_text(out, "<h2 id=\"flops\">Operations</h2>\n<div class=\"card scroll\"><table>\n<tr>"
             "<th>how they are counted</th><th class=\"n\">in all</th><th class=\"n\">a token</th>"
             "<th class=\"n\">a second</th><th class=\"n\">of the roof</th></tr>\n");
    put_flop_row(out, h, "6 N<sub>active</sub> D", h->flops_6nd);
    put_flop_row(out, h, "products and attention that were done, forward and backward", h->flops);
    buf_text(out, "</table></div>\n");
}

static void put_samples(struct buf *out, const struct run_history *h)
{
    buf_text(out, "<h2 id=\"samples\">Samples</h2>\n");
    if (!h->n_samples)
        buf_text(out, "<p class=\"none\">None were written.</p>\n");
    for (size_t i = h->n_samples; i-- > 0; ) {
        buf_text(out, "<div class=\"card sample\"><h4>step ");
        report_put_count(out, h->samples[i].step);
        buf_text(out, "</h4><pre><span class=\"prompt\">");
        report_put_html(out, h->samples[i].prompt ? h->samples[i].prompt : "");
        buf_text(out, "</span>");
        report_put_html(out, h->samples[i].text ? h->samples[i].text : "");
        buf_text(out, "</pre></div>\n");
    }
}

static void put_cell(struct buf *out, const char *text)
{
    buf_text(out, "<td>");
    report_put_html(out, text ? text : "");
    buf_text(out, "</td>");
}

static void put_machine(struct buf *out, const struct run_history *h)
{
    buf_text(out, "<h2 id=\"machine\">Machine</h2>\n<div class=\"card scroll\"><table>\n<tr>"
             "<th>begun</th><th class=\"n\">from step</th><th>machine</th><th>CPU level</th>"
             "<th class=\"n\">threads</th><th>version</th></tr>\n");
    for (size_t i = 0; i < h->n_begins; i++) {
        const struct run_begin *b = &h->begins[i];
        buf_text(out, "<tr><td>");
        report_put_date(out, b->unix_time);
        buf_text(out, "</td><td class=\"n\">");
        report_put_count(out, b->step);
        buf_text(out, "</td>");
        put_cell(out, b->machine);
        put_cell(out, b->cpu_level);
        buf_printf(out, "<td class=\"n\">%" PRIu64 "</td>", b->n_threads);
        put_cell(out, b->version);
        buf_text(out, "</tr>\n");
    }
    buf_text(out, "</table></div>\n");
    if (h->n_checkpoints) {
        buf_text(out, "<p class=\"none\">Checkpoints written: ");
        report_put_count(out, h->n_checkpoints);
        buf_text(out, "; the last after step ");
        report_put_count(out, h->checkpoint_step);
        buf_text(out, ", ");
        report_put_si(out, (double)h->checkpoint_bytes, "B");
        buf_text(out, ": ");
        report_put_html(out, h->checkpoint);
        buf_text(out, "</p>\n");
    }
}

static void put_recipe(struct buf *out, const struct run_history *h)
{
    buf_text(out, "<h2 id=\"recipe\">Recipe</h2>\n<div class=\"card\"><pre class=\"columns\">");
    report_put_html(out, h->recipe ? h->recipe : "");
    buf_text(out, "</pre></div>\n");
}

static void put_page(struct buf *out, const struct run_history *h, const char *title)
{
    put_page_head(out, title);
    put_header(out, h, title);
    put_summary(out, h);
    buf_text(out, "<h2 id=\"curves\">Curves</h2>\n<div class=\"grid\">\n");
    put_losses(out, h);
    put_optimizer(out, h);
    put_speed(out, h);
    buf_text(out, "</div>\n");
    put_experts(out, h);
    put_flops(out, h);
    put_samples(out, h);
    put_recipe(out, h);
    put_machine(out, h);
    buf_text(out, "<footer>Thin lines are single steps, thick ones their running median; shaded "
             "bands hold all values where steps were joined. Dotted vertical lines: the run went "
             "on from a checkpoint.</footer>\n</main>\n<script>\n");
    put_lines(out, report_script);
    buf_text(out, "</script></body></html>\n");
}

/* ---- the file ------------------------------------------------------------------------ */

/* The last part of the folder's name, also where it was given as "." or with slashes behind. */
static void put_title(struct buf *out, const char *out_dir)
{
    char *real = realpath(out_dir, NULL);
    const char *path = real ? real : out_dir, *slash = strrchr(path, '/');
    show_text(out, bytes_of(slash && slash[1] ? slash + 1 : path));
    free(real);
}

bool run_report_write(const char *out_dir, const char *html_path, struct err *err)
{
    struct buf page = { 0 }, log = { 0 }, html = { 0 }, title = { 0 };
    struct run_history h;
    buf_printf(&log, "%s/log.jsonl", out_dir);
    buf_printf(&html, "%s/report.html", out_dir);
    put_title(&title, out_dir);
    bool ok = buf_ok(&log, err) && buf_ok(&html, err) && buf_ok(&title, err)
              && run_history_load(&h, log.at, err);
    if (ok) {
        put_page(&page, &h, title.at);
        run_history_release(&h);
        ok = buf_ok(&page, err)
             && file_write(html_path ? html_path : html.at, page.at, page.len, err);
    }
    buf_release(&page);
    buf_release(&log);
    buf_release(&html);
    buf_release(&title);
    return ok;
}
