/*
 * unicode: UTF-8 decoding, the code point classes of the pre-tokenizers, and NFC.
 *
 * The class table is made at build time by tools/gen_unicode.c from utf8proc.  A byte
 * that is not part of a well-formed character is a unit of its own, one byte long,
 * with the value UTF8_BROKEN and no class: it behaves like an unassigned symbol.
 */
#ifndef KEXA_TEXT_UNICODE_H
#define KEXA_TEXT_UNICODE_H

#include "base/base.h"

enum {
    UC_LETTER   = 1,                      /* \p{L} */
    UC_MARK     = 2,                      /* \p{M} */
    UC_NUMBER   = 4,                      /* \p{N} */
    UC_SPACE    = 8,                      /* White_Space: 25 code points */
    UC_WORD     = 16,                     /* \w: Alphabetic, M, Nd, Pc, Join_Control */
    UC_COMPOSES = 32,                     /* text without any such code point is in NFC */
    UC_BROKEN   = 64,                     /* of a block: no well-formed three bytes */
    UC_MIXED    = 128                     /* of a block: its code points differ */
};

#define UTF8_BROKEN 0xFFFFFFFFu

extern const uint8_t unicode_page_of[0x1100];
extern const uint8_t unicode_pages[][256];            /* the first is that of U+0000 */

/* Class of the 64 characters with the same first two of three bytes, by their low 10 bits. */
extern const uint8_t unicode_block_class[1024];

/* Bits by first byte + 256 * second: a character of UC_COMPOSES may begin with them. */
extern const uint8_t unicode_composing_pairs[1 << 13];

/* Class bits of a code point; 0 for UTF8_BROKEN. */
static inline unsigned unicode_class(uint32_t cp)
{
    return cp < 0x110000 ? unicode_pages[unicode_page_of[cp >> 8]][cp & 255] : 0;
}

/* The code point at `at` (at < end), its length in bytes in *len. */
uint32_t utf8_decode_wide(const uint8_t *at, const uint8_t *end, unsigned *len);

static inline uint32_t utf8_decode(const uint8_t *at, const uint8_t *end, unsigned *len)
{
    *len = 1;
    return *at < 0x80 ? *at : utf8_decode_wide(at, end, len);
}

/* Bytes of cp written to out[4]; cp is a Unicode scalar value. */
unsigned utf8_encode(uint32_t cp, uint8_t out[4]);

/* One decoded unit: where the scanners look. */
struct unit {
    uint32_t cp;
    unsigned len;                         /* 0 at the end of the text */
    unsigned class;
};

/* Two to four bytes, or a broken one. */
static inline struct unit unit_wide(const uint8_t *at, const uint8_t *end)
{
    struct unit u = { UTF8_BROKEN, 0, 0 };
    if (end - at > 2 && (at[0] & 0xF0) == 0xE0 && (at[1] & 0xC0) == 0x80 &&
        (at[2] & 0xC0) == 0x80) {
        unsigned block = (at[0] & 15u) << 6 | (at[1] & 63u), class = unicode_block_class[block];
        uint32_t cp = block << 6 | (at[2] & 63u);
        if (class != UC_BROKEN)
            return (struct unit){ cp, 3, class == UC_MIXED ? unicode_class(cp) : class };
    }
    u.cp = utf8_decode_wide(at, end, &u.len);
    u.class = unicode_class(u.cp);
    return u;
}

static inline struct unit unit_at(const uint8_t *at, const uint8_t *end)
{
    if (at >= end)
        return (struct unit){ UTF8_BROKEN, 0, 0 };
    if (*at < 0x80)
        return (struct unit){ *at, 1, unicode_pages[0][*at] };
    return unit_wide(at, end);
}

/* The unit that ends at `at` (low < at): the broken byte or the character before it. */
struct unit unit_before(const uint8_t *low, const uint8_t *at);

/* true: text is surely in NFC.  false: it may not be. */
bool unicode_is_nfc(struct bytes text);

/*
 * Appends text in NFC to out.  Broken bytes stay as they are and separate what can
 * compose.  Fails only for lack of memory.
 */
bool unicode_to_nfc(struct bytes text, struct buf *out, struct err *err);

#endif
