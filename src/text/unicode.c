#include "text/unicode.h"

#include <utf8proc.h>

#include "unicode_table.h"

/*
 * Well-formed sequences (Unicode chapter 3, table 3-7): the first byte fixes the length
 * and the range of the second; the rest are 80..BF.
 */
uint32_t utf8_decode_wide(const uint8_t *at, const uint8_t *end, unsigned *len)
{
    uint8_t b = at[0], low = 0x80, high = 0xBF;
    unsigned n = b >= 0xF0 ? 4 : b >= 0xE0 ? 3 : 2;
    *len = 1;
    if (b < 0x80)
        return b;
    if (b < 0xC2 || b > 0xF4 || (size_t)(end - at) < n)
        return UTF8_BROKEN;
    if (b == 0xE0)
        low = 0xA0;                       /* shorter forms exist */
    else if (b == 0xED)
        high = 0x9F;                      /* surrogates */
    else if (b == 0xF0)
        low = 0x90;
    else if (b == 0xF4)
        high = 0x8F;                      /* above U+10FFFF */
    if (at[1] < low || at[1] > high)
        return UTF8_BROKEN;
    uint32_t cp = b & (0x7Fu >> n);
    for (unsigned i = 1; i < n; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return UTF8_BROKEN;
        cp = cp << 6 | (at[i] & 0x3F);
    }
    *len = n;
    return cp;
}

unsigned utf8_encode(uint32_t cp, uint8_t out[4])
{
    if (cp < 0x80) {
        out[0] = (uint8_t)cp;
        return 1;
    }
    unsigned n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (unsigned i = n - 1; i > 0; i--, cp >>= 6)
        out[i] = (uint8_t)(0x80 | (cp & 0x3F));
    out[0] = (uint8_t)(cp | (0xF00u >> n & 0xFF));
    return n;
}

struct unit unit_before(const uint8_t *low, const uint8_t *at)
{
    for (unsigned back = 1; back <= 4 && low + back <= at; back++) {
        struct unit u = unit_at(at - back, at);
        if (u.cp != UTF8_BROKEN && u.len == back)
            return u;
    }
    return (struct unit){ UTF8_BROKEN, 1, 0 };
}

/* Whether a composing character may begin at one of the eight bytes; nine can be read. */
static bool may_compose(const uint8_t *at)
{
    unsigned any = 0;
    for (int i = 0; i < 8; i++) {
        unsigned pair = at[i] | (unsigned)at[i + 1] << 8;
        any |= (unsigned)unicode_composing_pairs[pair >> 3] >> (pair & 7);
    }
    return any & 1;
}

typedef uint8_t sixteen_bytes __attribute__((vector_size(16)));
typedef uint64_t two_words __attribute__((vector_size(16)));

/* Surely not at one of 16 bytes; 18 can be read.  Composing characters begin with CC to E3, with
 * EA and less than B0, or with EF or more; not with E2 80 and more than 81, and among those that
 * begin with E3 only with 80 and at least AA, or 82 and 99 or 9A. */
static bool none_composes(const uint8_t *at)
{
    sixteen_bytes x, y, z;
    memcpy(&x, at, sizeof x);
    memcpy(&y, at + 1, sizeof y);
    memcpy(&z, at + 2, sizeof z);
    sixteen_bytes some = (sixteen_bytes)(x - 0xCC < 0xE3 - 0xCC) | (sixteen_bytes)(x > 0xEE) |
                         ((sixteen_bytes)(x == 0xEA) & (sixteen_bytes)(y < 0xB0));
    sixteen_bytes marks = ((sixteen_bytes)(y == 0x80) & (sixteen_bytes)(z > 0xA9)) |
                          ((sixteen_bytes)(y == 0x82) & (sixteen_bytes)(z - 0x99 < 2));
    sixteen_bytes quotes = (sixteen_bytes)(x == 0xE2) & (sixteen_bytes)(y == 0x80) &
                           (sixteen_bytes)(z > 0x81);
    some = (some & ~quotes) | ((sixteen_bytes)(x == 0xE3) & marks);
    two_words any = (two_words)some;
    return !(any[0] | any[1]);
}

static inline bool is_ascii_32(const uint8_t *at)
{
    uint64_t x[4];
    memcpy(x, at, sizeof x);
    return !((x[0] | x[1] | x[2] | x[3]) & 0x8080808080808080u);
}

/* Many bytes at a time, wherever characters begin: bytes that begin none are in no table. */
bool unicode_is_nfc(struct bytes text)
{
    const uint8_t *at = text.at, *end = at + text.len;
    while (at < end) {
        uint64_t eight = 0;
        while (end - at > 31 && is_ascii_32(at))
            at += 32;
        while (end - at > 17 && none_composes(at))
            at += 16;
        if (end - at > 8) {
            memcpy(&eight, at, 8);
            if (!(eight & 0x8080808080808080u) || !may_compose(at)) {
                at += 8;
                continue;
            }
        }
        const uint8_t *stop = end - at > 8 ? at + 8 : end;
        for (; at < stop; at++)
            if (unit_at(at, end).class & UC_COMPOSES)
                return false;
    }
    return true;
}

static void put_cps(struct buf *out, const int32_t *cp, size_t n)
{
    uint8_t bytes[4];
    for (size_t i = 0; i < n; i++)
        buf_put(out, bytes, utf8_encode((uint32_t)cp[i], bytes));
}

enum { FEW_CPS = 64 };

/* A cluster is what NFC may change: well-formed, and nothing outside it joins it. */
static bool put_cluster(struct bytes cluster, struct buf *out, struct err *err)
{
    int32_t few[FEW_CPS], *cps = few;
    utf8proc_ssize_t len = (utf8proc_ssize_t)cluster.len;
    utf8proc_option_t how = UTF8PROC_COMPOSE | UTF8PROC_STABLE;
    utf8proc_ssize_t n = utf8proc_decompose(cluster.at, len, few, FEW_CPS, how);
    if (n > FEW_CPS) {
        cps = mem_take((size_t)n, sizeof *cps);
        if (!cps)
            return fail(err, ERR_MEMORY, "no memory to bring %zu bytes of text to NFC",
                        cluster.len);
        n = utf8proc_decompose(cluster.at, len, cps, n, how);
    }
    n = utf8proc_normalize_utf32(cps, n, how);
    check(n > 0);
    put_cps(out, cps, (size_t)n);
    if (cps != few)
        mem_give(cps);
    return true;
}

/*
 * A unit without UC_COMPOSES joins nothing before it, and so separates.  A cluster is
 * one such character and the composing ones after it; other text is copied.
 */
bool unicode_to_nfc(struct bytes text, struct buf *out, struct err *err)
{
    const uint8_t *at = text.at, *end = at + text.len, *copied = at, *last = at;
    while (at < end) {
        struct unit u = unit_at(at, end);
        if (!(u.class & UC_COMPOSES)) {
            last = u.cp == UTF8_BROKEN ? at + 1 : at;
            at += u.len;
            continue;
        }
        for (; u.class & UC_COMPOSES; u = unit_at(at, end))
            at += u.len;
        buf_put(out, copied, (size_t)(last - copied));
        if (!put_cluster((struct bytes){ last, (size_t)(at - last) }, out, err))
            return false;
        copied = last = at;
    }
    buf_put(out, copied, (size_t)(end - copied));
    return buf_ok(out, err);
}
