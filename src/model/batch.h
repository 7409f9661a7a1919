/*
 * batch: packed rows of tokens for one pass of training.
 *
 * n_rows sequences of `context` tokens each stand one after the other in flat arrays of
 * n_rows * context.  Inside a sequence whole documents (or pieces of long ones) follow each
 * other; a document begins where pos is 0, and sees nothing before that.  What is left at the
 * end of a sequence is padding: token 0, no targets, a document of its own.
 */
#ifndef KEXA_MODEL_BATCH_H
#define KEXA_MODEL_BATCH_H

#include <stddef.h>
#include <stdint.h>

#define NO_TARGET UINT32_MAX

struct batch {
    size_t n_rows, context;
    uint32_t *token;
    uint32_t *target;                     /* the document's next token, or NO_TARGET */
    uint32_t *target2;                    /* the one after that (MTP), or NO_TARGET */
    uint32_t *pos;                        /* from the document's start */
    uint32_t *used;                       /* [n_rows] tokens of a sequence that are not padding */
    uint64_t n_targets, n_targets2;
    uint64_t n_bytes;                     /* UTF-8 bytes of all targets, for bits per byte */
};

#endif
