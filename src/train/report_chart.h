/*
 * report_chart: curves over the steps of a run as inline SVG, with axes and a legend; the page's
 * script (report_style.h) shows values under the pointer.
 */
#ifndef KEXA_TRAIN_REPORT_CHART_H
#define KEXA_TRAIN_REPORT_CHART_H

#include "train/run_history.h"

struct chart_line {
    const char *name;
    const struct series *series;
    const char *color;                    /* CSS */
    bool smooth;                          /* values thin, their running mean thick */
};

enum chart_scale { CHART_LINEAR, CHART_FROM_ZERO, CHART_LOG, CHART_CHOICE /* the reader's */ };

struct chart {
    const char *id, *title, *about;       /* about: one sentence, or NULL */
    const char *unit;                     /* of the values */
    enum chart_scale scale;
    bool wide, marks;                     /* marks: steps clipped and skipped */
    bool rare;                            /* layers: what a running median would hide */
    double reference;                     /* a dashed line; NAN: none */
    const char *reference_name;
    double factor;                        /* of all values; 0: 1 */
    const struct chart_line *lines;
    size_t n;
};

/* Nothing when all lines are empty. */
void chart_put(struct buf *out, const struct run_history *h, const struct chart *c);

/* One line for each layer, first to last in a ramp of colours. */
void chart_put_layers(struct buf *out, const struct run_history *h, const struct chart *c,
                      const struct series *layers, size_t n);

#endif
