#include "train/report_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

static const char *escape_of(uint8_t c)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    case '\n':
    case '\t': return NULL;
    default: return c < 0x20 || c == 0x7f ? "\xef\xbf\xbd" : NULL;
    }
}

void report_put_html(struct buf *out, const char *text)
{
    const char *from = text;
    for (; *text; text++) {
        const char *escape = escape_of((uint8_t)*text);
        if (!escape)
            continue;
        buf_put(out, from, (size_t)(text - from));
        buf_text(out, escape);
        from = text + 1;
    }
    buf_put(out, from, (size_t)(text - from));
}

void report_put_figure(struct buf *out, double v)
{
    double size = fabs(v);
    if (!isfinite(v))
        buf_text(out, "\xe2\x80\x93");
    else if (size != 0 && (size < 1e-3 || size >= 1e6))
        buf_printf(out, "%.3g", v);
    else
        buf_printf(out, "%.*f", size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3, v);
}

void report_put_si(struct buf *out, double v, const char *unit)
{
    static const char prefix[] = { 0, 'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y' };
    size_t i = 0;
    if (!isfinite(v)) {
        buf_text(out, "\xe2\x80\x93");
        return;
    }
    for (; fabs(v) >= 999.5 && i + 1 < sizeof prefix; i++)
        v /= 1000;
    double size = fabs(v);
    if (size < 0.9995 && size > 0)
        buf_printf(out, "%.3g", v);
    else
        buf_printf(out, "%.*f", i == 0 && v == floor(v) ? 0 : size >= 100 ? 0 : size >= 10 ? 1 : 2,
                   v);
    buf_text(out, *unit ? " " : "");
    buf_put(out, &prefix[i], prefix[i] != 0);
    buf_text(out, unit);
}

void report_put_duration(struct buf *out, double seconds)
{
    uint64_t s = seconds > 0 && seconds < 1e15 ? (uint64_t)seconds : 0;
    if (seconds < 60)
        buf_printf(out, "%.1f s", seconds);
    else if (s < 3600)
        buf_printf(out, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    else if (s < 86400)
        buf_printf(out, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    else
        buf_printf(out, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
}

void report_put_date(struct buf *out, double unix_time)
{
    char text[64];
    struct tm tm;
    time_t t = unix_time >= 0 && unix_time < 1e11 ? (time_t)unix_time : -1;
    if (t >= 0 && gmtime_r(&t, &tm) && strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &tm))
        buf_text(out, text);
    else
        buf_text(out, "?");
}

void report_put_count(struct buf *out, uint64_t n)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
    for (int i = 0; i < len; i++)
        buf_printf(out, "%s%c", i && (len - i) % 3 == 0 ? "," : "", digits[i]);
}

void report_put_base64(struct buf *out, const uint8_t *at, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)at[i] << 16 | (i + 1 < n ? (uint32_t)at[i + 1] << 8 : 0)
                     | (i + 2 < n ? at[i + 2] : 0);
        char four[4] = { digit[v >> 18], digit[v >> 12 & 63], i + 1 < n ? digit[v >> 6 & 63] : '=',
                         i + 2 < n ? digit[v & 63] : '=' };
        buf_put(out, four, 4);
    }
}

double nice_step(double range, int n)
{
    double least = range / n, power = pow(10, floor(log10(least)));
    return power * (least > 5 * power ? 10 : least > 2 * power ? 5 : least > power ? 2 : 1);
}
