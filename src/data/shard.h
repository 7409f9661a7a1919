/*
 * shard: token ids of many documents in one file, mapped read-only.
 *
 * Little-endian, without gaps:
 *
 *     0  8  "KEXATOKS"
 *     8  4  version, 1               12  4  0: to train on, 1: held out
 *    16  8  hash of the tokenizer (tokenizer_hash)
 *    24  4  vocabulary size          28  4  0
 *    32  8  n: documents             40  8  m: tokens
 *    48  8  bytes of the documents' text
 *    56  8  XXH3-64 of all bytes from 72 on
 *    64  8  XXH3-64 of the 64 bytes before this
 *    72     u32 ids[m], 4 zero bytes if m is odd, u64 ends[n]
 *
 * Document i has the ids from ends[i - 1] (0 for the first) up to ends[i], and ends[n - 1] is m.
 * A document may be empty.
 *
 * Opening reads the file once and checks everything: both sums, the length against the counts,
 * that ends do not fall, that ids are below the vocabulary size.  After that nothing can fail.
 * The sums find accidents, not forgery.
 */
#ifndef KEXA_DATA_SHARD_H
#define KEXA_DATA_SHARD_H

#include "base/base.h"

enum { SHARD_VERSION = 1, SHARD_HEAD_BYTES = 72 };

struct shard_kind {
    uint64_t tokenizer;                   /* its hash */
    uint32_t vocab;
    bool held_out;
};

struct shard {
    struct shard_kind kind;
    const uint32_t *token;                /* n_tokens of them */
    const uint64_t *end;                  /* n_docs of them */
    uint64_t n_docs, n_tokens, n_bytes;
    uint64_t sum;                         /* of the body: names the contents */
    struct bytes map;                     /* empty when the bytes are the caller's */
};

/* want: the tokenizer and vocabulary the shard must have (held_out is not compared); NULL: any. */
bool shard_open(struct shard *s, const char *path, const struct shard_kind *want, struct err *err);
/* The same from memory that begins at a multiple of 8 and outlives s; `name` is for messages. */
bool shard_read(struct shard *s, struct bytes file, const char *name,
                const struct shard_kind *want, struct err *err);
void shard_close(struct shard *s);        /* a zeroed struct is fine */

static inline uint64_t shard_doc_begin(const struct shard *s, uint64_t doc)
{
    return doc ? s->end[doc - 1] : 0;
}

/*
 * Writing: begin, put each document, finish (all on the disk, under a temporary name), name.
 * The memory used is 8 bytes for each document.
 */
struct shard_writer {
    struct file_out file;
    struct shard_kind kind;
    uint64_t n_docs, n_tokens, n_bytes, cap;
    uint64_t sum;                         /* of the body, after finish */
    uint64_t *end;
    void *hash_room, *hash;               /* the running sum, aligned inside its room */
};

bool shard_writer_begin(struct shard_writer *w, const char *path, const struct shard_kind *kind,
                        struct err *err);
/* n_bytes: of the document's text. */
bool shard_writer_put(struct shard_writer *w, const uint32_t *id, size_t n, uint64_t n_bytes,
                      struct err *err);
bool shard_writer_finish(struct shard_writer *w, struct err *err);
bool shard_writer_name(struct shard_writer *w, struct err *err);  /* releases w in any case */
void shard_writer_drop(struct shard_writer *w);  /* removes it; a zeroed struct is fine */

#endif
