/*
 * cursor: reads little-endian numbers and runs from a file's bytes, never past the end.
 * A failed read leaves the cursor where it was and returns false; the caller, which
 * knows what it was reading, says so.
 */
#ifndef KEXA_FORMAT_CURSOR_H
#define KEXA_FORMAT_CURSOR_H

#include "base/base.h"

struct cursor {
    struct bytes all;
    size_t at;                            /* <= all.len */
};

static inline size_t cursor_left(const struct cursor *c)
{
    return c->all.len - c->at;
}

static inline bool read_run(struct cursor *c, uint64_t n_bytes, struct bytes *out)
{
    if (n_bytes > cursor_left(c))
        return false;
    *out = (struct bytes){ c->all.at + c->at, (size_t)n_bytes };
    c->at += (size_t)n_bytes;
    return true;
}

/* n <= 8 bytes at p as a little-endian number. */
static inline uint64_t number_at(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static inline bool read_u32(struct cursor *c, uint32_t *out)
{
    struct bytes b;
    if (!read_run(c, 4, &b))
        return false;
    *out = (uint32_t)number_at(b.at, 4);
    return true;
}

static inline bool read_u64(struct cursor *c, uint64_t *out)
{
    struct bytes b;
    if (!read_run(c, 8, &b))
        return false;
    *out = number_at(b.at, 8);
    return true;
}

/* A u64 length and as many bytes. */
static inline bool read_string(struct cursor *c, struct bytes *out)
{
    struct cursor start = *c;
    uint64_t len;
    if (read_u64(c, &len) && read_run(c, len, out))
        return true;
    *c = start;
    return false;
}

#endif
