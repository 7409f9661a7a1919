/*
 * pack: documents as shards.
 *
 * Documents come from JSONL, zstd and text files (format/jsonl.h) in their order, and go in that
 * order into OUT/train-00000.kxs, -00001, ... and OUT/heldout.kxs; OUT/manifest.json is written
 * last.  A document is held out when the hash of its text (XXH3, seeded), as a fraction, is below
 * the share: equal texts stay together, and adding documents moves none.  Encoding is spread over
 * threads; the files do not depend on how many.
 *
 * Every file appears under its name only when all are complete; a failure or a stop leaves none
 * of them.
 */
#ifndef KEXA_DATA_PACK_H
#define KEXA_DATA_PACK_H

#include "base/base.h"

struct tokenizer;

struct pack_options {
    const struct tokenizer *tokenizer;
    const char *tokenizer_path;           /* for the manifest */
    const char *const *input;             /* files and folders */
    size_t n_inputs;
    const char *out;                      /* a folder; made if it is not there */
    double held_out;                      /* share of the documents, 0 to 0.5 */
    uint64_t seed;                        /* another one holds out other documents */
    uint64_t shard_tokens;                /* a shard ends before it has more, if it has any */
    int64_t eos;                          /* put after each document; -1: nothing */
    bool skip_bad;                        /* pass over documents that cannot be read */
    int threads;
    const volatile int *stop;             /* ERR_CANCELLED soon after it is set; may be NULL */
};

struct pack_count {
    uint64_t n_docs, n_tokens, n_bytes;   /* bytes of text */
};

struct pack_report {
    struct pack_count train, held_out;
    uint64_t n_empty, n_bad;              /* documents passed over */
    size_t n_beside;                      /* text files passed over, because there is JSONL */
    size_t n_shards;                      /* to train on */
    struct err first_bad;                 /* why, if n_bad */
};

bool pack_run(const struct pack_options *o, struct pack_report *r, struct err *err);

#endif
