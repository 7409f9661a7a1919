/*
 * packing: documents into rows of `context` tokens, none lost.
 *
 * A document longer than a row is cut into pieces of `context` tokens and a rest.  Full pieces
 * are rows of their own.  The others are taken in windows of PACKING_WINDOW documents, longest
 * first, and each goes into the row with the least free space that still holds it, also a row
 * of an earlier window; if there is none, a row is begun.  (Best fit decreasing; for language
 * models: Ding et al., Fewer Truncations Improve Language Modeling, 2024.)  Rows by free
 * space are in lists, and a bit set says which lists are not empty, so that a piece takes a few
 * steps for any context.  The result depends on the lengths and their order only.
 *
 * 8 bytes for a piece and 8 for a row stay; 8 more for each while packing.
 */
#ifndef KEXA_DATA_PACKING_H
#define KEXA_DATA_PACKING_H

#include "base/base.h"

enum { PACKING_WINDOW = 10000, PACKING_CONTEXT_MAX = 1 << 24 };

struct piece {
    uint32_t doc;
    uint32_t part;                        /* begins at token part * context of the document */
};

struct packing {
    uint32_t context;
    struct piece *piece;                  /* row after row */
    uint64_t *first;                      /* n_rows + 1: each row's first piece */
    uint64_t n_rows, n_pieces;
    uint64_t n_tokens;                    /* n_rows * context less the padding */
};

struct packing_doc {
    uint32_t doc;
    uint64_t n_tokens;                    /* empty documents are passed over */
};
/* The i-th document in the order of packing. */
typedef struct packing_doc packing_doc_fn(const void *arg, uint64_t i);

/* 1 <= context <= PACKING_CONTEXT_MAX.  ERR_LIMIT beyond 2^32 - 2 rows or pieces. */
bool packing_init(struct packing *p, uint32_t context, uint64_t n_docs, packing_doc_fn *doc,
                  const void *arg, struct err *err);
void packing_release(struct packing *p);  /* a zeroed struct is fine */

/* Share of the places in rows that hold tokens; 1 for no rows. */
double packing_fill(const struct packing *p);

#endif
