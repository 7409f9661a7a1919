/*
 * gen_unicode: writes unicode_table.h, the code point classes the pre-tokenizers need.
 *
 *   gen_unicode > build/gen/unicode_table.h
 *
 * One byte of class bits for each of the 0x110000 code points, as a two-stage table:
 * page_of[cp >> 8] numbers one of the distinct 256-byte pages.  Categories and
 * decompositions come from utf8proc; the 25 White_Space code points are listed here
 * because utf8proc has no property for them (Unicode PropList.txt).
 *
 * unicode_block_class[] answers for all 64 characters that share the first two of three
 * UTF-8 bytes at once, where they have one class: most Hangul, Han and Kana.
 */
#include "text/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <utf8proc.h>

enum { N_CPS = 0x110000, N_PAGES = N_CPS / 256 };

static uint8_t class_of[N_CPS];

static int is_white_space(uint32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0D) || cp == 0x20 || cp == 0x85 || cp == 0xA0 ||
           cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

static unsigned bits_of_category(utf8proc_category_t c)
{
    switch (c) {
    case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM: case UTF8PROC_CATEGORY_LO:
        return UC_LETTER | UC_WORD;
    case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME:
        return UC_MARK | UC_WORD;
    case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL:
        return UC_NUMBER | UC_WORD;
    case UTF8PROC_CATEGORY_NO:
        return UC_NUMBER;
    case UTF8PROC_CATEGORY_PC:
        return UC_WORD;
    default:
        return 0;
    }
}

/*
 * Text without a UC_COMPOSES code point is in NFC.  The bit is set where the code point
 * alone changes under NFC, has a combining class, or stands after the first place of
 * some canonical decomposition (so that it may join what is before it).
 */
static void mark_composing(uint32_t cp)
{
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)cp);
    utf8proc_int32_t parts[64];
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, parts, 64,
                                                 UTF8PROC_DECOMPOSE, NULL);
    if (p->combining_class)
        class_of[cp] |= UC_COMPOSES;
    for (utf8proc_ssize_t i = 1; i < n; i++)
        class_of[parts[i]] |= UC_COMPOSES;
    if (n > 64)
        abort();
    n = utf8proc_normalize_utf32(parts, n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (n != 1 || parts[0] != (utf8proc_int32_t)cp)
        class_of[cp] |= UC_COMPOSES;
}

/* \w of the regex dialects is Alphabetic, M, Nd, Pc and Join_Control; of the symbols only
 * these circled and squared letters are Alphabetic (PropList.txt, Other_Alphabetic). */
static bool is_letter_symbol(uint32_t cp)
{
    return (cp >= 0x24B6 && cp <= 0x24E9) || (cp >= 0x1F130 && cp <= 0x1F149)
           || (cp >= 0x1F150 && cp <= 0x1F169) || (cp >= 0x1F170 && cp <= 0x1F189);
}

static void fill(void)
{
    for (uint32_t cp = 0; cp < N_CPS; cp++) {
        if (cp >= 0xD800 && cp <= 0xDFFF)
            continue;
        class_of[cp] |= (uint8_t)bits_of_category(utf8proc_category((utf8proc_int32_t)cp));
        if (is_white_space(cp))
            class_of[cp] |= UC_SPACE;
        if (cp == 0x200C || cp == 0x200D || is_letter_symbol(cp))
            class_of[cp] |= UC_WORD;
        mark_composing(cp);
    }
}

/* Prints the distinct pages, fills page_of, and gives their number. */
static unsigned print_pages(uint8_t page_of[N_PAGES])
{
    static const uint8_t *seen[N_PAGES];
    unsigned n = 0;
    printf("const uint8_t unicode_pages[][256] = {\n");
    for (unsigned page = 0; page < N_PAGES; page++) {
        const uint8_t *at = class_of + page * 256;
        unsigned k = 0;
        while (k < n && memcmp(seen[k], at, 256))
            k++;
        page_of[page] = (uint8_t)k;
        if (k < n)
            continue;
        seen[n++] = at;
        printf("{");
        for (int i = 0; i < 256; i++)
            printf("%s%u", !i ? "" : i % 32 ? "," : ",\n", (unsigned)at[i]);
        printf("},\n");
    }
    printf("};\n");
    return n;
}

/* The class of every code point from cp to cp + 63, or UC_MIXED, or UC_BROKEN. */
static unsigned class_of_block(uint32_t cp)
{
    if (cp < 0x800 || (cp >= 0xD800 && cp <= 0xDFFF))
        return UC_BROKEN;
    for (unsigned i = 1; i < 64; i++)
        if (class_of[cp + i] != class_of[cp])
            return UC_MIXED;
    return class_of[cp];
}

/* Prints for each two bytes (first + 256 * second) whether a UC_COMPOSES
 * character may begin with them. */
static void print_composing_pairs(void)
{
    static uint8_t bits[1 << 13];
    for (uint32_t cp = 0x80; cp < N_CPS; cp++) {
        uint8_t utf8[4];
        if (!(class_of[cp] & UC_COMPOSES) || (cp >= 0xD800 && cp <= 0xDFFF))
            continue;
        utf8proc_encode_char((utf8proc_int32_t)cp, utf8);
        unsigned pair = utf8[0] | (unsigned)utf8[1] << 8;
        bits[pair >> 3] |= (uint8_t)(1 << (pair & 7));
    }
    printf("};\nconst uint8_t unicode_composing_pairs[1 << 13] = {\n");
    for (unsigned i = 0; i < sizeof bits; i++)
        printf("%u%s", (unsigned)bits[i], i % 32 == 31 ? ",\n" : ",");
}

int main(void)
{
    static uint8_t page_of[N_PAGES];
    fill();
    printf("/* Made by tools/gen_unicode.c from utf8proc, Unicode %s. */\n",
           utf8proc_unicode_version());
    if (print_pages(page_of) > 256) {
        fprintf(stderr, "gen_unicode: more than 256 distinct pages; page_of needs 16 bits\n");
        return 1;
    }
    printf("const uint8_t unicode_page_of[%d] = {\n", N_PAGES);
    for (int i = 0; i < N_PAGES; i++)
        printf("%u%s", (unsigned)page_of[i], i % 32 == 31 ? ",\n" : ",");
    printf("};\nconst uint8_t unicode_block_class[1024] = {\n");
    for (uint32_t i = 0; i < 1024; i++)
        printf("%u%s", class_of_block(i * 64), i % 32 == 31 ? ",\n" : ",");
    print_composing_pairs();
    printf("};\n");
    return ferror(stdout) || fflush(stdout);
}
