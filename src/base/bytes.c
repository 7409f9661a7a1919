#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>

/* Length of the well-formed character at p; 0: there is none. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint8_t c = *p;
    size_t n = c < 0x80 ? 1 : c >= 0xf8 ? 0 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 0;
    if (n == 1 || !n || n > left)
        return n == 1;
    uint32_t cp = c & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        cp = cp << 6 | (p[i] & 0x3f);
    }
    return cp < least[n] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000) ? 0 : n;
}

size_t bytes_utf8(struct bytes b)
{
    size_t at = 0, n = 1;
    while (at < b.len && n) {
        n = utf8_length(b.at + at, b.len - at);
        at += n;
    }
    return at;
}

/* Room for `more` elements of `size` bytes beyond n, by doubling; NULL on failure. */
static void *grown(void *at, size_t n, size_t *cap, size_t more, size_t size)
{
    if (more <= *cap - n)
        return at;
    if (more > SIZE_MAX / 4 || n > SIZE_MAX / 4)
        return NULL;
    size_t want = *cap ? *cap * 2 : 64;
    if (want < n + more)
        want = n + more;
    void *p = mem_grow(at, want, size);
    if (p)
        *cap = want;
    return p;
}

void buf_put(struct buf *b, const void *at, size_t len)
{
    if (b->failed)
        return;
    char *p = len == SIZE_MAX ? NULL : grown(b->at, b->len, &b->cap, len + 1, 1);
    if (!p) {
        b->failed = true;
        return;
    }
    b->at = p;
    if (len)
        memcpy(b->at + b->len, at, len);
    b->len += len;
    b->at[b->len] = 0;
}

void buf_text(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[512];
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    if (n >= 0 && (size_t)n < sizeof small) {
        buf_put(b, small, (size_t)n);
    } else if (n >= 0) {
        char *big = mem_take((size_t)n + 1, 1);
        if (big)
            vsnprintf(big, (size_t)n + 1, fmt, again);
        if (big)
            buf_put(b, big, (size_t)n);
        else
            b->failed = true;
        mem_give(big);
    }
    va_end(again);
    va_end(ap);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->at)
        b->at[0] = 0;
}

void buf_release(struct buf *b)
{
    mem_give(b->at);
    *b = (struct buf){ 0 };
}

bool buf_ok(const struct buf *b, struct err *err)
{
    return !b->failed || fail(err, ERR_MEMORY, "out of memory while building a text of %zu bytes",
                              b->len);
}

bool ids_reach(struct ids *v, size_t n_more)
{
    uint32_t *p = v->failed ? NULL : grown(v->at, v->n, &v->cap, n_more, sizeof *p);
    v->failed = !p;
    if (p)
        v->at = p;
    return p != NULL;
}

void put_size(struct buf *out, uint64_t bytes)
{
    static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 1024 && u + 1 < sizeof unit / sizeof *unit; u++)
        v /= 1024;
    buf_printf(out, u && v < 100 ? "%.1f %s" : "%.0f %s", v, unit[u]);
}

void ids_put(struct ids *v, uint32_t id)
{
    if (ids_reach(v, 1))
        v->at[v->n++] = id;
}

void ids_release(struct ids *v)
{
    mem_give(v->at);
    *v = (struct ids){ 0 };
}
