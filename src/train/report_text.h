/*
 * report_text: what the HTML report is written with: text that stays text, and numbers for
 * people.
 */
#ifndef KEXA_TRAIN_REPORT_TEXT_H
#define KEXA_TRAIN_REPORT_TEXT_H

#include "base/base.h"

/* Any text as HTML text or as an attribute in double quotes: & < > " ' are escaped, control
 * characters but newline and tab become U+FFFD. */
void report_put_html(struct buf *out, const char *text);

/* "8.19M", "337 GFLOP/s", "0.0312": three digits, a prefix and the unit (which may be ""). */
void report_put_si(struct buf *out, double v, const char *unit);

/* Four significant digits without an exponent where one can do without. */
void report_put_figure(struct buf *out, double v);

void report_put_duration(struct buf *out, double seconds); /* "1 h 12 min", "3.2 s" */
void report_put_date(struct buf *out, double unix_time);   /* "2026-11-21 23:52 UTC", "?" if NAN */
void report_put_count(struct buf *out, uint64_t n);          /* "12,345" */
void report_put_base64(struct buf *out, const uint8_t *at, size_t n);

/* The smallest of 1, 2, 5 times a power of ten of which at most n lie in `range`. */
double nice_step(double range, int n);

#endif
