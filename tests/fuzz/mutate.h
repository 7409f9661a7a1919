/*
 * mutate: one input made from a set of files by a few random edits of the kinds that
 * find faults in readers: lengths and counts replaced by awkward numbers, bits flipped,
 * runs cut, doubled, moved or taken from another file.
 */
#ifndef KEXA_TESTS_MUTATE_H
#define KEXA_TESTS_MUTATE_H

#include "base/base.h"

/* n_files >= 1.  The result replaces *out.  Half of the results come from the first
 * n_good files, which are valid: edits of a file that is refused early find little. */
void mutate(struct buf *out, const struct buf *files, size_t n_files, size_t n_good,
            struct rng *rng);

#endif
