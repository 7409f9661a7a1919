/*
 * loader: shards as batches of packed rows, in an order that a seed decides.
 *
 * Each source's documents are put in a random order and packed into rows (packing.h); the rows
 * are taken in another random order in every epoch (permutation.h), and the sources take turns
 * by weight (mixture.h).  All of it is a function of the shards, the seed and the counts of rows
 * taken, so that these counts are the whole state.
 *
 * A row holds pieces of documents one after the other.  `pos` counts from the piece's start.
 * `target` is the document's next token, also where the piece is cut there: so every token of a
 * document but its first is a target exactly once in an epoch.  `target2` is the token after
 * that within the piece: none for a piece's last two places.
 *
 * Held out: documents are packed in their order, and every row comes once, in a random order that
 * is the same for any seed, the sources in the ratio of their rows: who measures by the first rows
 * measures a fair sample (packing puts long documents first), and each run by the same.  A source
 * without held-out documents gives none, so that there may be no rows at all (loader_rows_left).
 */
#ifndef KEXA_DATA_LOADER_H
#define KEXA_DATA_LOADER_H

#include "base/base.h"
#include "data/mixture.h"
#include "model/batch.h"

struct tokenizer;
struct loader;

struct loader_source {
    const char *path;                     /* a folder of `kexa data pack`, or one shard */
    double weight;                        /* share of the rows; positive, of any sum */
    double epochs;                        /* how often it is gone through at most, as in 0.5 or 3;
                                             0: without end */
};

struct loader_config {
    const struct loader_source *source;
    size_t n_sources;                     /* 1 to MIXTURE_MAX */
    uint32_t context;                     /* tokens of a row, at least 2 */
    uint64_t seed;
    const struct tokenizer *tokenizer;    /* shards of another are refused; NULL: any tokenizer's,
                                             and n_bytes of a batch stays 0.  Read only at open */
    bool held_out;                        /* of each source what was held out; weights and epochs
                                             do not count */
};

/* Small enough for any checkpoint. */
struct loader_state {
    uint64_t rows_taken;
    uint64_t data;                        /* names shards, weights, context and seed */
    uint64_t taken[MIXTURE_MAX];          /* rows of each source; 0 beyond the sources */
};

struct loader_source_info {
    uint64_t n_docs, n_tokens, n_rows, n_pieces;
    double fill;                          /* share of the rows' places that hold tokens */
    double epochs_done;
};

bool loader_open(struct loader **out, const struct loader_config *c, struct err *err);
void loader_close(struct loader *l);      /* NULL is fine */

/*
 * The next n_rows >= 1 rows.  b's arrays are the loader's, valid until the next call or the
 * close.  ERR_LIMIT, with what each source gave, when fewer rows are left than that: nothing
 * is taken then.
 */
bool loader_next(struct loader *l, struct batch *b, size_t n_rows, struct err *err);

uint64_t loader_rows_left(const struct loader *l);   /* UINT64_MAX: without end */
/* How many of the first n_rows rows are of a source, as mixture_rows(). */
double loader_rows_from(const struct loader *l, size_t source, uint64_t n_rows);
struct loader_source_info loader_source_info(const struct loader *l, size_t source);

/* After loader_state_set() the rows are those that followed loader_state_get().  A state of
 * other shards, weights, context or seed is refused; more epochs are fine. */
struct loader_state loader_state_get(const struct loader *l);
bool loader_state_set(struct loader *l, const struct loader_state *state, struct err *err);

#endif
