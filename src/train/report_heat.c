#include "train/report_heat.h"
#include "train/report_chart.h"
#include "train/report_text.h"

#include <math.h>

/* Colour 0: not one token.  1 to 255: log2 of the share of the mean, -3 to 3. */
enum { COLORS = 256, DEAD = 0, EVEN = 128, SPAN = 3 };

/* The file's table (Windows 3): everything little-endian, rows from the bottom up, each padded
 * to 4 bytes. */
enum { HEAD_BYTES = 14, INFO_BYTES = 40, PIXELS_AT = HEAD_BYTES + INFO_BYTES + 4 * COLORS };

static void put_u32(struct buf *b, size_t v)
{
    const uint8_t le[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24) };
    buf_put(b, le, 4);
}

static uint8_t mix(int from, int to, double t)
{
    return (uint8_t)(from + (to - from) * t + 0.5);
}

static void put_palette(struct buf *b)
{
    static const int low[] = { 35, 86, 178 }, even[] = { 245, 245, 241 }, high[] = { 205, 62, 30 };
    for (int i = 0; i < COLORS; i++) {
        uint8_t bgr[4] = { 0 };
        double t = i < EVEN ? (double)(EVEN - i) / (EVEN - 1) : (double)(i - EVEN) / (255 - EVEN);
        for (int k = 0; k < 3 && i != DEAD; k++)
            bgr[2 - k] = mix(even[k], i < EVEN ? low[k] : high[k], pow(t, 0.8));
        buf_put(b, bgr, 4);
    }
}

static void put_head(struct buf *b, size_t width, size_t height)
{
    size_t row = (width + 3) / 4 * 4;
    buf_text(b, "BM");
    put_u32(b, PIXELS_AT + row * height);
    put_u32(b, 0);
    put_u32(b, PIXELS_AT);
    put_u32(b, INFO_BYTES);
    put_u32(b, width);
    put_u32(b, height);
    put_u32(b, 1 | 8 << 16);              /* planes, bits a pixel */
    put_u32(b, 0);
    put_u32(b, row * height);
    put_u32(b, 2835);
    put_u32(b, 2835);
    put_u32(b, COLORS);
    put_u32(b, 0);
    put_palette(b);
}

static uint8_t color_of(double share)
{
    if (!(share > 0))
        return DEAD;
    double t = fmax(-SPAN, fmin(SPAN, log2(share))) / SPAN;
    return (uint8_t)(EVEN + (t < 0 ? t * (EVEN - 1) : t * (255 - EVEN)) + 0.5);
}

static void put_image(struct buf *out, const struct buf *bmp, const char *class, const char *alt)
{
    buf_printf(out, "<img class=\"%s\" alt=\"", class);
    report_put_html(out, alt);
    buf_text(out, "\" src=\"data:image/bmp;base64,");
    out->failed |= bmp->failed;
    if (!bmp->failed)
        report_put_base64(out, (const uint8_t *)bmp->at, bmp->len);
    buf_text(out, "\">");
}

static void put_layer(struct buf *out, const struct heat *h, size_t layer)
{
    static const uint8_t zeros[4];
    struct buf bmp = { 0 };
    put_head(&bmp, h->n, h->experts);
    for (size_t e = h->experts; e-- > 0; ) {
        for (size_t i = 0; i < h->n; i++) {
            uint8_t color = color_of(heat_value(h, i, layer, e));
            buf_put(&bmp, &color, 1);
        }
        buf_put(&bmp, zeros, (4 - h->n % 4) % 4);
    }
    buf_printf(out, "<div class=\"heat\"><h4>sparse layer %zu</h4><div class=\"map\" "
               "style=\"height:%zupx\">", layer + 1, h->experts < 10 ? 80 : h->experts > 32 ? 256
                                                     : h->experts * 8);
    put_image(out, &bmp, "pixels", "tokens of each expert over time");
    buf_printf(out, "<span class=\"top\">0</span><span class=\"bottom\">%zu</span></div>"
               "<div class=\"foot\"><span>step ", h->experts - 1);
    report_put_count(out, h->first[0]);
    buf_text(out, "</span><span>");
    report_put_count(out, h->last[h->n - 1]);
    buf_text(out, "</span></div></div>\n");
    buf_release(&bmp);
}

static void put_scale(struct buf *out)
{
    struct buf bmp = { 0 };
    put_head(&bmp, COLORS - 1, 1);
    for (int i = 1; i <= COLORS; i++) {
        uint8_t color = i < COLORS ? (uint8_t)i : 0;
        buf_put(&bmp, &color, 1);
    }
    buf_text(out, "<span class=\"legend\"><span class=\"key\">\xe2\x85\x9b of the mean");
    put_image(out, &bmp, "pixels bar", "colours from one eighth to eight times the mean");
    buf_text(out, "8 times</span><span class=\"key\"><i class=\"dead\"></i>no token</span></span>");
    buf_release(&bmp);
}

void heat_put(struct buf *out, const struct heat *h)
{
    if (!h->n)
        return;
    buf_text(out, "<figure class=\"card wide\" id=\"load\"><figcaption>"
             "<h3>Load of the experts</h3>");
    put_scale(out);
    buf_text(out, "</figcaption>\n<p class=\"about\">Tokens of each expert (rows) over the steps, "
             "beside what an even split would give it.</p>\n<div class=\"heats\">\n");
    for (size_t i = 0; i < h->layers && !out->failed; i++)
        put_layer(out, h, i);
    buf_text(out, "</div></figure>\n");
}
