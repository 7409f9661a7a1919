#include "data/mixture.h"

size_t mixture_next(const struct mixture *m, const uint64_t *taken)
{
    double sum = 0, n_taken = 0, most = 0;
    size_t best = m->n;
    for (size_t s = 0; s < m->n; s++)
        if (taken[s] < m->limit[s]) {
            sum += m->weight[s];
            n_taken += (double)taken[s];
        }
    for (size_t s = 0; s < m->n; s++) {
        double behind = (n_taken + 1) * (m->weight[s] / sum) - (double)taken[s];
        if (taken[s] < m->limit[s] && (best == m->n || behind > most)) {
            best = s;
            most = behind;
        }
    }
    return best;
}

/* A source whose share is beyond its limit gives that; the rest is the others', whose shares
 * grow by it, until all shares fit. */
double mixture_rows(const struct mixture *m, size_t s, double n_rows)
{
    bool ended[MIXTURE_MAX] = { false }, more = true;
    double sum = 0;
    while (more) {
        double rest = n_rows;
        sum = 0;
        more = false;
        for (size_t i = 0; i < m->n; i++)
            sum += ended[i] ? 0 : m->weight[i];
        for (size_t i = 0; i < m->n; i++)
            if (!ended[i] && n_rows * (m->weight[i] / sum) >= (double)m->limit[i]) {
                ended[i] = more = true;
                rest -= (double)m->limit[i];
            }
        n_rows = rest;
    }
    return ended[s] ? (double)m->limit[s] : n_rows * (m->weight[s] / sum);
}
