/*
 * pull_fetch: one file over HTTP, whole and checked, or not there at all.
 *
 * Bytes go to "<path>.part".  A second attempt, also of a later run, goes on where the part
 * ends (HTTP Range); a server that sends the whole file again starts it anew.  When the
 * length and the checksum are right the part is renamed to <path>.
 */
#ifndef KEXA_CMD_PULL_FETCH_H
#define KEXA_CMD_PULL_FETCH_H

#include "base/base.h"

enum { PULL_JSON_MAX = 64 << 20, PULL_ATTEMPTS = 6 };

struct pull_file {
    const char *url, *path;
    uint64_t n_bytes;                     /* UINT64_MAX: unknown */
    const char *sha256;                   /* 64 hex digits, or NULL */
    const char *git_sha1;                 /* of "blob <length>\0" and the bytes, or NULL */
};

struct pull {                             /* one pull; start with { 0 } */
    void *curl;                           /* CURL *, kept for the connection */
    const char *token;                    /* bearer token, or NULL */
    struct progress bar;
    uint64_t done_bytes, total_bytes;     /* of all files */
    unsigned wait_ms;                     /* before the second attempt; doubles */
};

bool pull_begin(struct pull *p, struct err *err);
void pull_end(struct pull *p);

/* The body of a small document. */
bool pull_text(struct pull *p, const char *url, struct buf *out, struct err *err);

/* *kept: the file was there already, whole and right. */
bool pull_one(struct pull *p, const struct pull_file *f, bool *kept, struct err *err);

#endif
