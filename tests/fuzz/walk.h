/*
 * walk: touches everything a reader gave out, so that a wrong pointer is found by a
 * sanitizer and not by a user.  Used by the fuzz targets and the format tests.
 */
#ifndef KEXA_TESTS_WALK_H
#define KEXA_TESTS_WALK_H

#include "format/format.h"

/* Sums of what was read: the compiler must not drop the reads. */
uint64_t walk_bytes(struct bytes b);
uint64_t walk_tensors(const struct tensors *t);
uint64_t walk_gguf(const struct gguf *g);

#endif
