/* shard_make: shards for tests, with ids that say where they come from. */
#ifndef KEXA_TESTS_SHARD_MAKE_H
#define KEXA_TESTS_SHARD_MAKE_H

#include "data/data.h"

enum { MAKE_VOCAB = 60000 };
extern const struct shard_kind made_kind;

/* A file in a folder of this test's own, which is removed at exit.  Four names live at once. */
const char *made_path(const char *name);

/* A shard of documents with these lengths; the tokens number on from `first`. */
bool make_shard(const char *path, const uint32_t *length, size_t n_docs, uint32_t first,
                const struct shard_kind *kind, struct err *err);

#endif
