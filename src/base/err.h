/*
 * err: how a function says that the world, not the program, is at fault.
 *
 * A function that can fail returns bool and takes `struct err *err` last.  On
 * false, *err holds a complete sentence that names the thing, what was found,
 * what was expected and the remedy if one is known; outputs are untouched.  On
 * true, *err is untouched.  A bug (ours) stops the program through check().
 */
#ifndef KEXA_BASE_ERR_H
#define KEXA_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>

/* X(code, exit status, HTTP status, word): the one list of error codes; the word is for
 * the manual. */
#define ERR_CODES(X) \
    X(ERR_NONE,        0, 200, "none")        \
    X(ERR_INTERNAL,    1, 500, "internal")    \
    X(ERR_USAGE,       2, 400, "usage")       /* options or arguments are wrong */  \
    X(ERR_IO,          3, 500, "io")          /* the system refused: open, read, write */ \
    X(ERR_FORMAT,      4, 422, "format")      /* bytes of a file or request make no sense */ \
    X(ERR_UNSUPPORTED, 5, 501, "unsupported") /* well-formed, but this build cannot do it */ \
    X(ERR_LIMIT,       6, 413, "limit")       /* a documented limit or a context is exceeded */ \
    X(ERR_MEMORY,      7, 507, "memory")      /* not enough memory, by plan or by malloc */ \
    X(ERR_CANCELLED,   8, 499, "cancelled")   /* Ctrl-C or a client that went away */

enum err_code {
#define X(code, exit_status, http, word) code,
    ERR_CODES(X)
#undef X
};

struct err {
    enum err_code code;
    char msg[1000];
};

/* Fills *err (which may be NULL) and returns false, so `return fail(err, ...)`. */
bool fail(struct err *err, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message of a failure passed on; returns false. */
bool fail_in(struct err *err, const char *prefix);

/* As fail(), with ": strerror(errno)" appended. */
bool fail_errno(struct err *err, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

int err_exit_status(enum err_code code);  /* 0..125 */
int err_http_status(enum err_code code);

/* Stops the program: a condition that only a bug of ours can break. */
_Noreturn void check_failed(const char *file, int line, const char *expr);
#define check(x) ((x) ? (void)0 : check_failed(__FILE__, __LINE__, #x))

#endif
