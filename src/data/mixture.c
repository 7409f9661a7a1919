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
