/*
 * train_batch: the documents a tokenizer is trained on, in batches that many threads can
 * work through.
 *
 * Which documents count depends on nothing but their own bytes and language, and batches and
 * chunks are cut by bytes, so every pass sees the same, whatever the number of threads.  Long
 * documents are cut after a line, where the pre-tokenizers cut too, into parts of at most 1 MiB;
 * where only a share of the text is used, each part is in it or not by its own hash, so that one
 * large file can be used in part.
 */
#ifndef KEXA_TEXT_TRAIN_BATCH_H
#define KEXA_TEXT_TRAIN_BATCH_H

#include "base/base.h"

struct language_weight {
    const char *lang;
    double weight;                        /* of every document in this language; 0: left out */
};

enum { TRAIN_CHUNKS = 16, TRAIN_CHUNK_BYTES = 1 << 19, TRAIN_WEIGHT_UNIT = 64 };

struct train_source {
    const char *const *paths;             /* as jsonl_open() takes them */
    size_t n_paths;
    const struct language_weight *weights; /* languages not named have weight 1 */
    size_t n_weights;
    double held_out;                      /* share of the documents that is left out */
    double share;                         /* of the rest, the share that is used, part by part */
};

/* A count of `times` in the units that train_reader_next() gives weights in. */
uint64_t train_weight_units(const struct train_source *s, uint64_t times);

/* Whether a document belongs to the held-out share: by a hash of its bytes alone. */
bool document_is_held_out(struct bytes text, double held_out);

struct chunk_text {
    size_t at, len;                       /* in the chunk's text */
    uint32_t weight;
};

struct text_chunk {
    struct buf text;
    struct chunk_text *part;
    size_t n, cap;
};

struct train_reader;

struct train_reader *train_reader_open(const struct train_source *s, struct err *err);
void train_reader_close(struct train_reader *r);          /* NULL is fine */

/* The next batch, the texts in NFC or not as they were; *n chunks of it are filled, 0: there is
 * no more. */
bool train_reader_next(struct train_reader *r, struct text_chunk chunk[TRAIN_CHUNKS], size_t *n,
                       struct err *err);
void text_chunk_release(struct text_chunk *c);

/* Bytes of the source's files, and read so far; documents of which a part was given, bytes of text
 * given. */
struct train_read {
    uint64_t total_bytes, read_bytes, n_documents, n_text_bytes, n_held_out;
    size_t n_beside;                      /* text files not read, because there is JSONL */
};
struct train_read train_reader_state(const struct train_reader *r);

/* The first language of the weights that no document so far had; NULL: each was there. */
const char *train_reader_unmet(const struct train_reader *r);

#endif
