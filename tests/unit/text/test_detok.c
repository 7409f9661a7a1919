#include "text/text.h"
#include "../../harness.h"

#include <stdio.h>

/* Unicode table 3-7, written out by rows: the independent statement of what is well formed. */
static const uint8_t rows[][8] = {
    { 0x00, 0x7f },
    { 0xc2, 0xdf, 0x80, 0xbf },
    { 0xe0, 0xe0, 0xa0, 0xbf, 0x80, 0xbf },
    { 0xe1, 0xec, 0x80, 0xbf, 0x80, 0xbf },
    { 0xed, 0xed, 0x80, 0x9f, 0x80, 0xbf },
    { 0xee, 0xef, 0x80, 0xbf, 0x80, 0xbf },
    { 0xf0, 0xf0, 0x90, 0xbf, 0x80, 0xbf, 0x80, 0xbf },
    { 0xf1, 0xf3, 0x80, 0xbf, 0x80, 0xbf, 0x80, 0xbf },
    { 0xf4, 0xf4, 0x80, 0x8f, 0x80, 0xbf, 0x80, 0xbf },
};
static const size_t row_length[] = { 1, 2, 3, 3, 3, 3, 4, 4, 4 };

/* Bytes at the front of b that fit a row; *whole: all of the row. */
static size_t ref_prefix(struct bytes b, bool *whole)
{
    size_t best = 0;
    *whole = false;
    for (size_t r = 0; r < sizeof row_length / sizeof *row_length; r++) {
        size_t n = 0;
        while (n < row_length[r] && n < b.len && b.at[n] >= rows[r][2 * n]
               && b.at[n] <= rows[r][2 * n + 1])
            n++;
        if (n > best) {
            best = n;
            *whole = n == row_length[r];
        }
    }
    return best;
}

static void ref_decode(struct bytes b, struct buf *out)
{
    while (b.len) {
        bool whole;
        size_t n = ref_prefix(b, &whole);
        if (whole)
            buf_put(out, b.at, n);
        else
            buf_text(out, "\xef\xbf\xbd");
        n = n ? n : 1;
        b.at += n;
        b.len -= n;
    }
}

/* Puts b in pieces: bit i of cuts ends a piece after byte i. */
static void put_cut(struct bytes b, uint32_t cuts, struct buf *out)
{
    struct detok d = { 0 };
    size_t from = 0;
    for (size_t i = 0; i < b.len; i++) {
        if (!(cuts >> i & 1))
            continue;
        detok_put(&d, (struct bytes){ b.at + from, i + 1 - from }, out);
        from = i + 1;
    }
    detok_put(&d, (struct bytes){ b.at + from, b.len - from }, out);
    detok_end(&d, out);
    EXPECT(d.n_held == 0);
}

static void expect_decoded(struct bytes b, uint32_t cuts)
{
    static struct buf want, got;
    buf_clear(&want);
    buf_clear(&got);
    ref_decode(b, &want);
    put_cut(b, cuts, &got);
    EXPECTF(want.len == got.len && (!want.len || !memcmp(want.at, got.at, want.len)),
            "%zu bytes %02x %02x %02x %02x cut %x: \"%s\", expected \"%s\"", b.len, b.at[0],
            b.len > 1 ? b.at[1] : 0, b.len > 2 ? b.at[2] : 0, b.len > 3 ? b.at[3] : 0, cuts,
            got.at ? got.at : "", want.at ? want.at : "");
    if (!want.len) {
        buf_release(&want);
        buf_release(&got);
    }
}

/* Every byte at which a row of table 3-7 begins or ends, and its neighbours. */
static const uint8_t edges[] = {
    0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1,
    0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
};
enum { N_EDGES = sizeof edges };

static void test_all_edges(void)
{
    uint8_t b[4];
    for (int len = 1; len <= 4; len++) {
        uint32_t n = 1;
        for (int i = 0; i < len; i++)
            n *= N_EDGES;
        for (uint32_t k = 0; k < n; k++) {
            uint32_t rest = k;
            for (int i = 0; i < len; i++, rest /= N_EDGES)
                b[i] = edges[rest % N_EDGES];
            expect_decoded((struct bytes){ b, (size_t)len }, 0);
            expect_decoded((struct bytes){ b, (size_t)len }, UINT32_MAX);
        }
    }
    expect_decoded((struct bytes){ b, 0 }, 0);         /* frees the buffers */
}

static void test_all_pairs(void)
{
    for (uint32_t k = 0; k < 65536; k++) {
        uint8_t b[2] = { (uint8_t)(k >> 8), (uint8_t)k };
        expect_decoded((struct bytes){ b, 2 }, k & 1);
    }
    expect_decoded((struct bytes){ edges, 0 }, 0);
}

static void test_any_split(void)
{
    static const char *const texts[] = {
        "K-EXAONE 한국어", "a\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x94\xac",
        "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab\xff\xe1\x84", "\xed\xa0\x80\xf4\x90\x80\x80",
    };
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        struct bytes b = bytes_of(texts[t]);
        for (uint32_t cuts = 0; cuts < 1u << (b.len > 14 ? 14 : b.len); cuts++)
            expect_decoded(b, cuts | cuts << 14);
    }
    expect_decoded((struct bytes){ edges, 0 }, 0);
}

static void test_known_answers(void)
{
    /* The example of the Unicode standard, chapter 3, table 3-11. */
    static const uint8_t table[] = { 0x61, 0xf1, 0x80, 0x80, 0xe1, 0x80, 0xc2, 0x62, 0x80, 0x63,
                                     0x80, 0xbf, 0x64 };
    static const char answer[] = "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" "b\xef\xbf\xbd" "c"
                                 "\xef\xbf\xbd\xef\xbf\xbd" "d";
    struct buf out = { 0 };
    put_cut((struct bytes){ table, sizeof table }, 0, &out);
    EXPECT(out.at && !strcmp(out.at, answer));
    buf_release(&out);
}

/* Nothing is given out before it is certain, and nothing is kept longer than needed. */
static void test_streams(void)
{
    struct detok d = { 0 };
    struct buf out = { 0 };
    detok_put(&d, bytes_of("A\xed\x95"), &out);
    EXPECT(out.len == 1 && d.n_held == 2);
    detok_put(&d, bytes_of("\x9c" "B\xed"), &out);
    EXPECT(out.len == 5 && d.n_held == 1);
    detok_end(&d, &out);
    EXPECT(out.len == 8 && !strcmp(out.at, "A\xed\x95\x9c" "B\xef\xbf\xbd"));
    detok_end(&d, &out);
    EXPECT(out.len == 8);
    buf_release(&out);
}

const struct test tests[] = {
    { "all_edges", test_all_edges },
    { "all_pairs", test_all_pairs },
    { "any_split", test_any_split },
    { "known_answers", test_known_answers },
    { "streams", test_streams },
    { 0 }
};
