/*
 * bytes: a borrowed run of bytes, a growable buffer, and checked arithmetic.
 *
 * struct buf grows by doubling; after a failed growth `failed` is set and every
 * later put is a no-op, so a caller builds a whole text and asks once at the end
 * (buf_ok).  buf text is kept NUL-terminated for printing; `len` does not count it.
 */
#ifndef KEXA_BASE_BYTES_H
#define KEXA_BASE_BYTES_H

#include "base/err.h"

#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *at;
    size_t len;
};

static inline struct bytes bytes_of(const char *text)
{
    return (struct bytes){ (const uint8_t *)text, strlen(text) };
}

static inline bool bytes_eq(struct bytes a, struct bytes b)
{
    return a.len == b.len && (!a.len || !memcmp(a.at, b.at, a.len));
}

/* How many bytes from the start are well-formed UTF-8 (no surrogates, nothing beyond U+10FFFF):
 * b.len if all are. */
size_t bytes_utf8(struct bytes b);

struct buf {
    char *at;
    size_t len, cap;
    bool failed;
};

void buf_put(struct buf *b, const void *at, size_t len);
void buf_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_clear(struct buf *b);            /* length 0, memory kept */
void buf_release(struct buf *b);
bool buf_ok(const struct buf *b, struct err *err);
void put_size(struct buf *out, uint64_t bytes);  /* "93.8 MiB" */

/* Growable array of token ids; same rules as struct buf. */
struct ids {
    uint32_t *at;
    size_t n, cap;
    bool failed;
};

void ids_put(struct ids *v, uint32_t id);
bool ids_reach(struct ids *v, size_t n_more);   /* room for more; false: out of memory */
void ids_release(struct ids *v);

/* false when the result does not fit in 64 bits. */
static inline bool mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

#endif
