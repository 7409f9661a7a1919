/*
 * mixture: which source the next row comes from.
 *
 * Always the one that is furthest behind: with K rows taken so far from the sources that have
 * rows left, source s is behind by (K + 1) w_s / W - taken_s, where W sums the weights of just
 * these sources; the first of equals.  So the counts follow the weights at every point, and a
 * source that has given all it may leaves the others at their ratios.  The whole state is the
 * counts.
 */
#ifndef KEXA_DATA_MIXTURE_H
#define KEXA_DATA_MIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MIXTURE_MAX = 32 };

struct mixture {
    size_t n;                             /* sources, at most MIXTURE_MAX */
    double weight[MIXTURE_MAX];           /* positive, of any sum */
    uint64_t limit[MIXTURE_MAX];          /* rows a source gives; UINT64_MAX: any number */
};

/* The source of the next row; m->n when all have given what they may. */
size_t mixture_next(const struct mixture *m, const uint64_t *taken);

/* How many of the first n_rows rows are source s's, without counting them one by one: within
 * m->n of it.  Fewer in all than n_rows when the limits do not allow more. */
double mixture_rows(const struct mixture *m, size_t s, double n_rows);

#endif
