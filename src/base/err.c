#include "base/base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(struct err *err, enum err_code code, const char *fmt, va_list ap)
{
    err->code = code;
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
}

bool fail(struct err *err, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (err)
        put(err, code, fmt, ap);
    va_end(ap);
    return false;
}

bool fail_errno(struct err *err, enum err_code code, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    if (err) {
        put(err, code, fmt, ap);
        size_t n = strlen(err->msg);
        snprintf(err->msg + n, sizeof err->msg - n, ": %s", strerror(saved));
    }
    va_end(ap);
    return false;
}

bool fail_in(struct err *err, const char *prefix)
{
    if (err) {
        char old[sizeof err->msg];
        memcpy(old, err->msg, sizeof old);
        size_t n = (size_t)snprintf(err->msg, sizeof err->msg, "%s: ", prefix);
        if (n < sizeof err->msg) {
            size_t room = sizeof err->msg - n - 1, len = strlen(old);
            memcpy(err->msg + n, old, len < room ? len : room);
            err->msg[n + (len < room ? len : room)] = 0;
        }
    }
    return false;
}

static const struct { int exit_status, http; } codes[] = {
#define X(code, exit_status, http, word) [code] = { exit_status, http },
    ERR_CODES(X)
#undef X
};

int err_exit_status(enum err_code code)
{
    return codes[code].exit_status;
}

int err_http_status(enum err_code code)
{
    return codes[code].http;
}

void check_failed(const char *file, int line, const char *expr)
{
    fprintf(stderr, "kexa: bug at %s:%d: %s\n"
            "kexa: please report this line with the command and the model used\n",
            file, line, expr);
    abort();
}
