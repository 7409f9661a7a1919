/*
 * merge_learn: learns merges from weighted sequences of tokens.
 *
 * While the vocabulary is not full: find the pair of neighbours with the highest count (on
 * ties the smaller left id, then the smaller right id), make it a merge, and replace it
 * everywhere, in each sequence from left to right.  A count is a sum over sequences of their
 * weight times how often the pair occurs in them, overlapping occurrences included, as in
 * Sennrich et al. 2016 (1508.07909) and the tokenizers package.
 *
 * All sequences lie in one array of slots.  A token takes as many slots as the tokens it was
 * made of, so nothing moves when it is made: its first slot holds its id, its second and its
 * last how many slots there are.  The places of a pair are kept only while its count is at
 * least some level; when no pair of that level is left, the array is closed up, the level is
 * lowered and the pairs are counted again.  That bounds memory and changes no result, but for
 * this: where a merge gives a token that exists already, occurrences of its pairs that were
 * below the level are not counted until the level is lowered.
 */
#ifndef KEXA_TEXT_MERGE_LEARN_H
#define KEXA_TEXT_MERGE_LEARN_H

#include "text/learnt.h"

enum { SPAN_END = 1 << 22 };              /* stands before the first, between all, after the last */

/* From slot `from` on, all sequences have this weight. */
struct weight_run {
    uint32_t from;
    uint64_t weight;
};

struct spans {
    uint32_t *sym;                        /* SPAN_END, ids, SPAN_END, ids, ..., SPAN_END */
    uint32_t n;
    struct weight_run *run;               /* ascending; the first from 0 */
    uint32_t n_runs;
};

void spans_release(struct spans *s);

struct merge_rules {
    uint32_t n_ids;                       /* stop when there are this many ids */
    uint64_t least;                       /* pairs that occur less often are no merges; >= 1 */
    unsigned max_words;                   /* in a token; 1: no merge crosses words */
    size_t max_bytes;                     /* of memory for pairs, about */
};

/* Called after each merge; false: learning ends with the failure it put into err. */
typedef bool merge_progress_fn(void *arg, uint32_t n_ids, struct err *err);

/* Learns until there are enough ids or no pair is left; the caller sees which by
 * learnt_ids().  The sequences end closed up, one slot for each token. */
bool merge_learn(struct spans *s, struct learnt *l, struct merge_rules rules,
                 merge_progress_fn *progress, void *arg, struct err *err);

#endif
