/*
 * gguf_copy: what was read from a GGUF file, through the writer and compared.  Used by the
 * fuzz target of GGUF and by the writers' tests.
 */
#ifndef KEXA_TESTS_GGUF_COPY_H
#define KEXA_TESTS_GGUF_COPY_H

#include "format/format.h"

/* Writes all that g holds, but tensors of types that cannot be written. */
bool gguf_copy(const struct gguf *g, const char *path, uint64_t alignment, uint64_t max_bytes,
               struct err *err);

/* b holds what a copy of a should. */
bool gguf_same(const struct gguf *a, const struct gguf *b);

size_t gguf_writable(const struct gguf *g);  /* tensors of types that can be written */
bool tensor_same(const struct tensor *a, const struct tensor *b);  /* b may be NULL: false */

#endif
