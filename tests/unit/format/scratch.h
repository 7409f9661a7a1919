/*
 * scratch: a folder for a test's files, made at the first use and removed at exit.
 */
#ifndef KEXA_TESTS_SCRATCH_H
#define KEXA_TESTS_SCRATCH_H

#include "base/base.h"

/* The path of a file or folder in there; one of 8 buffers in turn. */
const char *scratch_path(const char *name);
const char *scratch_write(const char *name, const void *at, size_t len);   /* its path */
const char *scratch_text(const char *name, const char *text);
void scratch_folder(const char *name);

/* A copy of exactly len bytes, so that a sanitizer sees the first byte too far. */
struct bytes exact_copy(const void *at, size_t len);
void exact_give(struct bytes copy);

/* With KEXA_KEEP_LIES=FOLDER set, a file that must be refused goes to the fuzz corpus there. */
void keep_lie(const void *at, size_t len);

/* Whether an error is of this code and its message has each word, ending with NULL. */
bool err_says(const struct err *err, enum err_code code, const char *const *words);
#define SAYS(err, code, ...) err_says(err, code, (const char *const[]){ __VA_ARGS__, NULL })

#endif
