/*
 * spm: ranks of merges by score, as SentencePiece's BPE has them.
 *
 * There is no list of merges: two neighbours merge when their texts together are a normal
 * token, and the greatest score goes first.  So a pair is looked up by the hash of both
 * texts together, which a polynomial hash gives from the hashes of the parts:
 * h(xy) = h(x) * base^len(y) + h(y), modulo 2^64.  The bytes are compared too.
 */
#ifndef KEXA_TEXT_SPM_H
#define KEXA_TEXT_SPM_H

#include "text/vocab.h"

enum { MAX_SPM_BYTES = 255 };             /* of a normal token */

#define NO_RANK UINT32_MAX

struct spm_slot {
    uint64_t hash;
    uint32_t id1, rank;                   /* id + 1; 0: free slot */
};

struct spm {
    const struct vocab *vocab;            /* NULL: ranks are not by score */
    struct spm_slot *slot;                /* mask + 1 */
    uint64_t mask;
    uint64_t *hash;                       /* of each id's bytes */
    uint64_t power[MAX_SPM_BYTES + 1];    /* of the base */
};

/* score: one for each id, none NaN. */
bool spm_init(struct spm *m, const struct vocab *v, const float *score, struct err *err);
void spm_release(struct spm *m);          /* a zeroed struct is fine */

/* Rank of the merge of two symbols, lower first, and its token; NO_RANK if none.  A symbol
 * is an id or, from MAX_VOCAB, a code point without a token. */
uint32_t spm_rank(const struct spm *m, uint32_t left, uint32_t right, uint32_t *merged);

#endif
