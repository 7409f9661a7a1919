#include "train/report_chart.h"
#include "train/report_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { LEFT = 62, RIGHT = 22, TOP = 10, BOTTOM = 34 };

/* From steps and values to places in the drawing. */
struct frame {
    double width, height;
    double x1;                            /* the last step; the first is 0 */
    double y0, y1;                        /* lowest and highest value drawn */
    double factor;
    bool log;
};

static double clamp(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

static double at_x(const struct frame *f, double step)
{
    return LEFT + step / f->x1 * (f->width - LEFT - RIGHT);
}

static double at_y(const struct frame *f, double v)
{
    double t = f->log ? log(clamp(v, f->y0, f->y1) / f->y0) / log(f->y1 / f->y0)
                      : (clamp(v, f->y0, f->y1) - f->y0) / (f->y1 - f->y0);
    return f->height - BOTTOM - t * (f->height - TOP - BOTTOM);
}

/* ---- scales -------------------------------------------------------------------------- */

/* Lowest positive point of a series, for logarithms. */
static double positive_low(const struct series *s)
{
    double low = NAN;
    for (size_t i = 0; i < s->n; i++)
        if (s->at[i].low > 0)
            low = fmin(low, s->at[i].low);
    return low;
}

static void fit_linear(struct frame *f, bool from_zero)
{
    double pad = (f->y1 - f->y0) * 0.05;
    if (!(pad > 0))
        pad = f->y1 != 0 ? fabs(f->y1) * 0.1 : 1;
    bool keeps_zero = from_zero || f->y0 == 0;
    f->y1 += pad;
    f->y0 = keeps_zero ? fmin(0, f->y0) : f->y0 - pad;
}

static void fit_log(struct frame *f)
{
    double pad = fmax(1.05, pow(f->y1 / f->y0, 0.05));
    f->y0 /= pad;
    f->y1 *= pad;
}

/* false: no value to draw. */
static bool fit(struct frame *f, const struct run_history *h, const struct chart *c, bool logs)
{
    *f = (struct frame){ .width = c->wide ? 1120 : 548, .height = c->wide ? 340 : 250,
                         .x1 = h->last_step ? (double)h->last_step : 1, .y0 = NAN, .y1 = NAN,
                         .factor = c->factor != 0 ? c->factor : 1, .log = logs };
    for (size_t i = 0; i < c->n; i++) {
        const struct series *s = c->lines[i].series;
        f->y0 = fmin(f->y0, (logs ? positive_low(s) : series_low(s)) * f->factor);
        f->y1 = fmax(f->y1, series_high(s) * f->factor);
    }
    if (isnan(f->y0) || isnan(f->y1) || f->y1 < f->y0)
        return false;
    f->y0 = fmin(f->y0, c->reference);
    f->y1 = fmax(f->y1, c->reference);
    if (logs)
        fit_log(f);
    else
        fit_linear(f, c->scale == CHART_FROM_ZERO);
    return true;
}

/* ---- axes ---------------------------------------------------------------------------- */

/* Ticks are round: no digits are cut. */
static void put_tick_value(struct buf *out, double v)
{
    double size = fabs(v);
    if (size >= 1e4 && size < 1e10)
        buf_printf(out, "%.6g%s", v / (size < 1e6 ? 1e3 : size < 1e9 ? 1e6 : 1e9),
                   size < 1e6 ? "k" : size < 1e9 ? "M" : "G");
    else
        buf_printf(out, "%.6g", v);
}

static void put_tick(struct buf *out, const struct frame *f, double v)
{
    double y = at_y(f, v);
    buf_printf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>"
               "<text class=\"tick\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT,
               f->width - RIGHT, y, y, LEFT - 8, y + 4);
    put_tick_value(out, v);
    buf_text(out, "</text>\n");
}

static void put_linear_ticks(struct buf *out, const struct frame *f)
{
    double step = nice_step(f->y1 - f->y0, f->width > 600 ? 9 : 7);
    double first = ceil(f->y0 / step - 1e-9);
    for (double i = first; i < first + 20 && i * step <= f->y1 + step * 1e-9; i++)
        put_tick(out, f, fabs(i * step) < step * 1e-9 ? 0 : i * step);
}

static void put_log_ticks(struct buf *out, const struct frame *f)
{
    static const double in_decade[] = { 1, 2, 5, 1.5, 3, 7 };
    double decades = log10(f->y1 / f->y0);
    int each = decades > 6 ? (int)ceil(decades / 6) : 1;
    int n = decades > 3 ? 1 : decades > 1.5 ? 3 : 6;
    if (decades < 0.7) {
        put_linear_ticks(out, f);
        return;
    }
    int first = (int)floor(log10(f->y0));
    for (int power = first; power < first + 70; power += each)
        for (int i = 0; i < n; i++) {
            double v = in_decade[i] * pow(10, power);
            if (v >= f->y0 && v <= f->y1)
                put_tick(out, f, v);
        }
}

static void put_x_axis(struct buf *out, const struct frame *f)
{
    double step = fmax(1, nice_step(f->x1, f->width > 600 ? 10 : 5)), y = f->height - BOTTOM;
    buf_printf(out, "<line class=\"axis\" x1=\"%d\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT,
               f->width - RIGHT, y, y);
    for (double v = 0; v <= f->x1 * 1.000001 && step > 0; v += step) {
        double x = at_x(f, v);
        buf_printf(out, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                   "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", x, x, y,
                   y + 4, x, y + 17);
        if (v >= 1e5)
            report_put_si(out, v, "");
        else
            report_put_count(out, (uint64_t)(v + 0.5));
        buf_text(out, "</text>\n");
    }
    buf_printf(out, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">step"
               "</text>\n", (LEFT + f->width - RIGHT) / 2, f->height - 3);
}

static void put_unit(struct buf *out, const struct frame *f, const char *unit)
{
    double y = (TOP + f->height - BOTTOM) / 2;
    buf_printf(out, "<text class=\"name\" transform=\"translate(11 %.1f) rotate(-90)\" "
               "text-anchor=\"middle\">", y);
    report_put_html(out, unit);
    buf_text(out, "</text>\n");
}

/* ---- curves -------------------------------------------------------------------------- */

static void put_point(struct buf *out, const struct frame *f, double step, double v, bool first)
{
    buf_printf(out, "%c%.1f %.2f", first ? 'M' : 'L', at_x(f, step), at_y(f, v * f->factor));
}

/* The area between the lowest and the highest value of each point. */
static void put_band(struct buf *out, const struct frame *f, const struct chart_line *l)
{
    const struct series *s = l->series;
    buf_printf(out, "<path class=\"band\" style=\"fill:%s\" d=\"", l->color);
    for (size_t i = 0; i < s->n; i++)
        put_point(out, f, point_step(&s->at[i]), s->at[i].high, i == 0);
    for (size_t i = s->n; i-- > 0; )
        put_point(out, f, point_step(&s->at[i]), s->at[i].low, false);
    buf_text(out, "Z\"/>\n");
}

static void put_path(struct buf *out, const struct frame *f, const struct chart_line *l,
                     const char *class, const double *values)
{
    const struct series *s = l->series;
    buf_printf(out, "<path class=\"%s\" style=\"stroke:%s\" data-name=\"", class, l->color);
    report_put_html(out, l->name);
    buf_text(out, "\" d=\"");
    for (size_t i = 0; i < s->n; i++)
        put_point(out, f, point_step(&s->at[i]), values ? values[i] : point_mean(&s->at[i]),
                  i == 0);
    buf_text(out, "\"/>\n");
}

static void put_dots(struct buf *out, const struct frame *f, const struct chart_line *l)
{
    const struct series *s = l->series;
    for (size_t i = 0; i < s->n; i++)
        buf_printf(out, "<circle class=\"dot\" style=\"fill:%s\" r=\"2.6\" cx=\"%.1f\" "
                   "cy=\"%.2f\"/>", l->color, at_x(f, point_step(&s->at[i])),
                   at_y(f, point_mean(&s->at[i]) * f->factor));
    buf_text(out, "\n");
}

/* alone: few enough curves that their single values can be told apart. */
static void put_line(struct buf *out, const struct frame *f, const struct chart_line *l,
                     bool alone)
{
    const struct series *s = l->series;
    double *smooth = l->smooth && s->n > 30 ? mem_take(s->n, sizeof *smooth) : NULL;
    out->failed |= l->smooth && s->n > 30 && !smooth;
    if (!s->n)
        return;
    if (s->per_point > 1 && alone)
        put_band(out, f, l);
    if (smooth) {
        out->failed |= !series_smooth(s, s->n / 80 + 1, smooth);
        if (s->per_point == 1 && alone)
            put_path(out, f, l, "raw", NULL);
        put_path(out, f, l, "line", smooth);
    } else {
        put_path(out, f, l, "line", NULL);
        if (s->n <= 60)
            put_dots(out, f, l);
    }
    mem_give(smooth);
}

static void put_resumes(struct buf *out, const struct run_history *h, const struct frame *f)
{
    for (size_t i = 0; i < h->n_begins; i++) {
        double x = at_x(f, clamp((double)h->begins[i].step, 0, f->x1));
        if (h->begins[i].step)
            buf_printf(out, "<line class=\"resume\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%.0f\">"
                       "<title>went on from step %" PRIu64 "</title></line>\n", x, x, TOP,
                       f->height - BOTTOM, h->begins[i].step);
    }
}

/* Along the axis the share of steps that were clipped; crosses where the guard skipped one. */
static void put_marks(struct buf *out, const struct run_history *h, const struct frame *f)
{
    const struct series *s = &h->clipped;
    for (size_t i = 0; i < s->n; i++) {
        double x = at_x(f, (double)s->at[i].first - 0.5), share = point_mean(&s->at[i]);
        double next = at_x(f, (double)s->at[i].last + 0.5);
        if (share > 0)
            buf_printf(out, "<rect class=\"clip\" x=\"%.1f\" y=\"%.1f\" width=\"%.2f\" "
                       "height=\"5\" opacity=\"%.2f\"/>", fmax(x, LEFT), f->height - BOTTOM - 5,
                       fmax(0.6, next - fmax(x, LEFT)), 0.25 + 0.75 * share);
    }
    for (size_t i = 0; i < h->n_skips; i++) {
        double v = h->skips[i].grad_norm;
        double x = at_x(f, (double)h->skips[i].step), y = isfinite(v) ? at_y(f, v) : TOP;
        buf_printf(out, "<path class=\"skip\" d=\"M%.1f %.1fl8 8m-8 0l8 -8\"><title>step %" PRIu64
                   " was skipped</title></path>", x - 4, y - 4, h->skips[i].step);
    }
    buf_text(out, "\n");
}

static void put_reference(struct buf *out, const struct frame *f, const struct chart *c)
{
    double y = at_y(f, c->reference);
    if (isnan(c->reference))
        return;
    buf_printf(out, "<line class=\"reference\" x1=\"%d\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>"
               "<text class=\"tick\" x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">", LEFT,
               f->width - RIGHT, y, y, f->width - RIGHT - 2, y < TOP + 22 ? y + 13 : y - 5);
    report_put_html(out, c->reference_name);
    buf_text(out, "</text>\n");
}

static void put_drawing(struct buf *out, const struct run_history *h, const struct chart *c,
                        bool logs)
{
    struct frame f;
    if (!fit(&f, h, c, logs)) {
        buf_text(out, "<p class=\"none\">No value above zero.</p>\n");
        return;
    }
    buf_printf(out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" data-map=\"%d %.0f 0 %.17g %.0f %d"
               " %.17g %.17g %d\"><title>", f.width, f.height, LEFT, f.width - RIGHT, f.x1,
               f.height - BOTTOM, TOP, f.y0, f.y1, f.log);
    report_put_html(out, c->title);
    buf_text(out, "</title>\n");
    if (logs)
        put_log_ticks(out, &f);
    else
        put_linear_ticks(out, &f);
    put_x_axis(out, &f);
    put_unit(out, &f, c->unit);
    put_resumes(out, h, &f);
    if (c->marks)
        put_marks(out, h, &f);
    for (size_t i = 0; i < c->n; i++)
        put_line(out, &f, &c->lines[i], c->n <= 3);
    put_reference(out, &f, c);
    buf_text(out, "</svg>\n");
}

/* ---- the figure ---------------------------------------------------------------------- */

static void put_swatch(struct buf *out, const char *color, const char *name)
{
    buf_printf(out, "<span class=\"key\"><i style=\"background:%s\"></i>", color);
    report_put_html(out, name);
    buf_text(out, "</span>");
}

static void put_legend(struct buf *out, const struct run_history *h, const struct chart *c)
{
    buf_text(out, "<span class=\"legend\">");
    for (size_t i = 0; i < c->n && c->n <= 8; i++)
        if (c->lines[i].series->n)
            put_swatch(out, c->lines[i].color, c->lines[i].name);
    if (c->n > 8) {
        buf_text(out, "<span class=\"key\">");
        report_put_html(out, c->lines[0].name);
        buf_text(out, "<i class=\"ramp\"></i>");
        report_put_html(out, c->lines[c->n - 1].name);
        buf_text(out, "</span>");
    }
    if (c->marks && h->all_clips)
        put_swatch(out, "var(--clip)", "clipped");
    if (c->marks && h->all_skips)
        put_swatch(out, "var(--skip)", "skipped (\xc3\x97)");
    buf_text(out, "</span>");
}

static void put_caption(struct buf *out, const struct run_history *h, const struct chart *c)
{
    buf_text(out, "<figcaption><h3>");
    report_put_html(out, c->title);
    buf_text(out, "</h3>");
    put_legend(out, h, c);
    buf_text(out, "</figcaption>\n");
    if (c->about) {
        buf_text(out, "<p class=\"about\">");
        report_put_html(out, c->about);
        buf_text(out, "</p>\n");
    }
}

void chart_put(struct buf *out, const struct run_history *h, const struct chart *c)
{
    size_t n_points = 0;
    for (size_t i = 0; i < c->n; i++)
        n_points += c->lines[i].series->n;
    if (!n_points)
        return;
    buf_printf(out, "<figure class=\"card%s\" id=\"%s\">\n", c->wide ? " wide" : "", c->id);
    if (c->scale == CHART_CHOICE)
        buf_printf(out, "<input type=\"radio\" name=\"%s-scale\" id=\"%s-linear\" "
                   "class=\"pick-linear\" checked><input type=\"radio\" name=\"%s-scale\" "
                   "id=\"%s-log\" "
                   "class=\"pick-log\"><span class=\"scale\"><label for=\"%s-linear\">linear"
                   "</label><label for=\"%s-log\">log</label></span>\n", c->id, c->id, c->id, c->id,
                   c->id, c->id);
    put_caption(out, h, c);
    if (c->scale == CHART_CHOICE) {
        buf_text(out, "<div class=\"linear\">");
        put_drawing(out, h, c, false);
        buf_text(out, "</div><div class=\"log\">");
        put_drawing(out, h, c, true);
        buf_text(out, "</div>");
    } else {
        put_drawing(out, h, c, c->scale == CHART_LOG);
    }
    buf_text(out, "<div class=\"tip\" hidden></div></figure>\n");
}

/* ---- layers -------------------------------------------------------------------------- */

/* Colour i of n in the ramp, "#rrggbb". */
static void put_ramp(char color[8], size_t i, size_t n)
{
    static const int stop[][3] = { { 62, 98, 214 }, { 20, 158, 158 }, { 222, 158, 12 },
                                   { 214, 62, 104 } };
    double t = n > 1 ? 3.0 * (double)i / (double)(n - 1) : 0;
    int a = t >= 3 ? 2 : (int)t, rgb[3];
    for (int k = 0; k < 3; k++)
        rgb[k] = (int)(stop[a][k] + (stop[a + 1][k] - stop[a][k]) * (t - a) + 0.5);
    snprintf(color, 8, "#%02x%02x%02x", rgb[0] & 255, rgb[1] & 255, rgb[2] & 255);
}

struct layer_label {
    char name[40], color[8];
};

void chart_put_layers(struct buf *out, const struct run_history *h, const struct chart *c,
                      const struct series *layers, size_t n)
{
    struct chart_line *lines = n ? mem_take(n, sizeof *lines) : NULL;
    struct layer_label *label = n ? mem_take(n, sizeof *label) : NULL;
    struct chart filled = *c;
    for (size_t i = 0; lines && label && i < n; i++) {
        snprintf(label[i].name, sizeof label[i].name, "sparse layer %zu", i + 1);
        put_ramp(label[i].color, i, n);
        lines[i] = (struct chart_line){ label[i].name, &layers[i], label[i].color, !c->rare };
    }
    filled.lines = lines;
    filled.n = n;
    if (lines && label)
        chart_put(out, h, &filled);
    else
        out->failed |= n > 0;
    mem_give(lines);
    mem_give(label);
}
