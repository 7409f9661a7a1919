/* pack_docs: documents to pack, a batch at a time, and where they are from.  Private to pack. */
#ifndef KEXA_DATA_PACK_DOCS_H
#define KEXA_DATA_PACK_DOCS_H

#include "data/pack.h"
#include "format/format.h"

/* Documents that share source, language, licence and attribution. */
struct pack_source {
    char *key;                            /* these four texts, each with its NUL */
    struct pack_count train, held_out;
};

struct pack_sources {
    struct pack_source *at;
    size_t n, cap;
    struct map by_key;
};

enum { PACK_SOURCES_MAX = 200000 };       /* the manifest must stay readable as JSON */

struct pack_doc {
    size_t text_at, text_len;             /* in the batch's text */
    size_t path_at;                       /* of its file, in the batch's paths */
    uint64_t line;                        /* 0: it is the whole file */
    size_t source;
    bool held_out;
    bool encoded;                         /* false after encoding: it failed */
    struct ids ids;
};

enum { PACK_BATCH_BYTES = 4 << 20, PACK_BATCH_DOCS = 4096 };

struct pack_batch {
    struct buf text, paths;
    struct pack_doc doc[PACK_BATCH_DOCS];
    size_t n;
};

void pack_batch_release(struct pack_batch *b);

struct pack_docs {
    const struct pack_options *o;
    struct pack_sources sources;
    struct jsonl *j;                      /* NULL: none open */
    size_t at_input;                      /* the next to open */
    uint64_t total_bytes, before_bytes;   /* of all inputs' files; of those done */
    uint64_t n_bad, n_empty;
    size_t n_beside;
    struct err first_bad;
};

/* Finds every file there is. */
bool pack_docs_open(struct pack_docs *d, const struct pack_options *o, struct err *err);
void pack_docs_close(struct pack_docs *d);

/* The next documents; b->n is 0 after the last.  Texts that are empty or, with skip_bad, wrong
 * are counted instead. */
bool pack_docs_next(struct pack_docs *d, struct pack_batch *b, struct err *err);
uint64_t pack_docs_read_bytes(const struct pack_docs *d);

/* Counts a bad document whose reason is in err; false if bad ones are not passed over. */
bool pack_docs_pass_over(struct pack_docs *d, const struct err *err);

#endif
