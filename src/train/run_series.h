/*
 * run_series: a curve of any number of steps in bounded memory.
 *
 * Up to `most` points are kept.  When they are used up, neighbours are joined and from then on a
 * point stands for twice as many values: it keeps their lowest, highest and mean, so no spike is
 * lost however long the run is.
 */
#ifndef KEXA_TRAIN_RUN_SERIES_H
#define KEXA_TRAIN_RUN_SERIES_H

#include "base/base.h"

struct point {
    uint64_t first, last;                 /* steps */
    double low, high, sum;
    uint64_t n;                           /* values */
};

struct series {
    struct point *at;
    size_t n, cap, most;                  /* most: even, set before the first value */
    uint64_t per_point;                   /* values; 0 before the first */
};

#define SERIES_VALUE_MOST 1e30            /* sums stay finite */

/* Steps must not fall; NAN and what is larger than that is left out.  false: out of memory. */
bool series_add(struct series *s, uint64_t step, double value);
void series_release(struct series *s);

static inline double point_mean(const struct point *p)
{
    return p->sum / (double)p->n;
}

static inline double point_step(const struct point *p)
{
    return ((double)p->first + (double)p->last) / 2;
}

/* Median of the means of the points within `reach` of point i, then a mean over half of that:
 * smooth[n].  false: out of memory. */
bool series_smooth(const struct series *s, size_t reach, double *smooth);

double series_low(const struct series *s);            /* NAN when empty */
double series_high(const struct series *s);

enum { HEAT_MOST = 160 };

/* Tokens of each expert over time, as shares of the mean: 1 is even.  One column for some
 * steps; columns are joined like points. */
struct heat {
    size_t layers, experts;
    double *at;                           /* [HEAT_MOST][layers][experts], sums */
    uint64_t first[HEAT_MOST], last[HEAT_MOST], count[HEAT_MOST], per_column;
    size_t n;                             /* columns in use */
};

/* load[layers][experts]: for the first call of a heat (zeroed) it fixes the shape. */
bool heat_add(struct heat *h, uint64_t step, const double *load, size_t layers, size_t experts);
void heat_release(struct heat *h);

static inline double heat_value(const struct heat *h, size_t column, size_t layer, size_t expert)
{
    return h->at[(column * h->layers + layer) * h->experts + expert] / (double)h->count[column];
}

#endif
