/*
 * shard_set: the shards behind one path, as one list of documents.
 *
 * A path is a folder that `kexa data pack` made, whose manifest.json names its shards (a folder
 * without one is not finished and refused), or one shard.
 */
#ifndef KEXA_DATA_SHARD_SET_H
#define KEXA_DATA_SHARD_SET_H

#include "data/shard.h"

struct shard_set {
    struct shard *shard;
    uint64_t *first;                      /* n + 1: number of each shard's first document */
    size_t n;
    uint64_t n_docs, n_tokens, n_bytes;
    uint64_t sum;                         /* names the contents */
};

/* held_out: the held-out shards, of which there may be none; else those to train on, and then a
 * shard that is held out is refused.  want: as in shard_open(). */
bool shard_set_open(struct shard_set *s, const char *path, bool held_out,
                    const struct shard_kind *want, struct err *err);
void shard_set_close(struct shard_set *s); /* a zeroed struct is fine */

/* Tokens of a document, doc < n_docs. */
struct shard_doc {
    const uint32_t *token;
    uint64_t n;
};
struct shard_doc shard_set_doc(const struct shard_set *s, uint64_t doc);

#endif
