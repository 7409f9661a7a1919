/*
 * The short way to read a line of a corpus: what it reads, jansson reads too and the same; and it
 * reads all lines of the usual kind, for which it is there.
 */
#include "format/format.h"
#include "format/json_file.h"
#include "format/json_flat.h"
#include "../../harness.h"

#include <stdlib.h>

struct maker {
    struct rng r;
    struct buf line;
    bool usual;                           /* nothing in the line needs jansson */
};

static size_t below(struct maker *m, size_t n)
{
    return (size_t)(rng_u64(&m->r) % n);
}

/* One of the first n_usual pieces, or seldom one of the others. */
static void put_piece(struct maker *m, const char *const *piece, size_t n_usual, size_t n)
{
    size_t i = below(m, 64) ? below(m, n_usual) : n_usual + below(m, n - n_usual);
    m->usual &= i < n_usual;
    buf_text(&m->line, piece[i]);
}
#define PUT_PIECE(m, list, n_usual) put_piece(m, list, n_usual, sizeof list / sizeof *list)

static void put_space(struct maker *m)
{
    static const char *const space[] = { "", "", "", " ", "\t", "\r", "\n", " \n ",
                                         "\f", "\v", "\xc2\xa0", "\x01" };
    PUT_PIECE(m, space, 8);
}

static void put_string(struct maker *m)
{
    static const char *const piece[] = {
        "a", "the cat", ",", "{[:]}", "\x7f", "\xea\xb0\x80", "\xc3\xa9", "\xf0\x9f\x98\x80",
        "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf", "\\n", "\\\"", "\\\\", "\\/", "\\b", "\\f", "\\r",
        "\\t", "",
        "\\u00e9", "\\ud83d\\ude00", "\\ud800", "\\udc00\\ud83d", "\\u0000", "\\u12", "\\x41",
        "\\", "\"", "\n", "\x1f", "\x80", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xe0\x80\xaf", "\xea\xb0", "\xf8\x88\x80\x80\x80" };
    buf_text(&m->line, "\"");
    for (size_t n = below(m, 6); n; n--)
        PUT_PIECE(m, piece, 19);
    buf_text(&m->line, "\"");
}

/* Names that come twice now and then, and some that are as long as may be. */
static void put_key(struct maker *m, size_t i)
{
    static const char *const name[] = { "text", "id", "lang", "\\n", "" };
    size_t kind = below(m, 24);
    if (kind == 0) {
        put_string(m);
        m->usual = false;                 /* it may come twice */
    } else if (kind == 1) {
        size_t len = 62 + below(m, 5);
        m->usual &= len < 64;
        buf_printf(&m->line, "\"%0*zu\"", (int)len, i);
    } else if (kind == 2) {
        m->usual = false;
        buf_printf(&m->line, "\"%s\"", name[below(m, 5)]);
    } else {
        buf_printf(&m->line, "\"%s%zu\"", name[below(m, 5)], i);
    }
}

static void put_value(struct maker *m)
{
    static const char *const value[] = {
        "0", "7", "10", "123456789012345", "999999999999999",
        "1234567890123456", "9223372036854775807", "9223372036854775808", "-1", "-0", "01", "00",
        "1.5", "1e3", "1E", "1x", "+1", "true", "false", "null", "nul", "[]", "{}", "[1,[2,\"x\"]]",
        "{\"text\":\"in\",\"a\":{}}", "[1,", "{", "]", "" };
    if (below(m, 3))
        put_string(m);
    else
        PUT_PIECE(m, value, 5);
}

static void put_object(struct maker *m)
{
    size_t n = below(m, 64) ? below(m, 6) : 60 + below(m, 8);
    m->usual &= n <= 64;
    buf_text(&m->line, "{");
    for (size_t i = 0; i < n; i++) {
        buf_text(&m->line, i ? "," : "");
        put_space(m);
        put_key(m, i);
        put_space(m);
        buf_text(&m->line, ":");
        put_space(m);
        put_value(m);
        put_space(m);
    }
    m->usual &= n > 0;
    buf_text(&m->line, "}");
}

/* One in three lines is cut, gets a tail or has a byte changed. */
static void make_line(struct maker *m)
{
    static const char *const tail[] = { "", " ", ",", "}", "{}", "x", "\"", "\\" };
    buf_clear(&m->line);
    m->usual = true;
    put_object(m);
    size_t kind = below(m, 12);
    if (kind < 4)
        m->usual = false;
    if (kind == 0)
        m->line.len = below(m, m->line.len);
    else if (kind == 1)
        m->line.at[below(m, m->line.len)] = (char)rng_u64(&m->r);
    else if (kind == 2)
        buf_text(&m->line, tail[below(m, 8)]);
    else if (kind == 3)
        buf_put(&m->line, "", 1);         /* U+0000, which is no white space */
}

static void it_reads_what_jansson_reads(void)
{
    struct maker m = { .r = { .seed = 5 } };
    struct buf room = { 0 };
    size_t n_usual = 0, n_other = 0, n_left = 0, n_refused = 0;
    for (int i = 0; i < 60000; i++) {
        make_line(&m);
        uint8_t *line = malloc(m.line.len + 1);           /* a sanitizer sees a byte too far */
        check(line != NULL && !m.line.failed);
        memcpy(line, m.line.at, m.line.len);
        struct bytes text = { line, m.line.len };
        struct err err = { 0 };
        json_t *want = json_load_record(text, "line", &err), *got = json_load_flat(text, &room);
        EXPECTF(!got || json_equal(got, want), "%.*s", (int)text.len, (const char *)line);
        EXPECTF(got || !m.usual, "left to jansson: %.*s", (int)text.len, (const char *)line);
        EXPECT(!m.usual || want);
        n_usual += m.usual;
        n_other += got && !m.usual;
        n_left += !got && want;
        n_refused += !want;
        json_decref(want);
        json_decref(got);
        free(line);
    }
    EXPECTF(n_usual > 15000 && n_other > 1000 && n_left > 1000 && n_refused > 5000,
            "%zu usual, %zu others, %zu left, %zu refused", n_usual, n_other, n_left, n_refused);
    buf_release(&m.line);
    buf_release(&room);
}

static void it_knows_its_bounds(void)
{
    static const char *const lines[] = {
        "{\"text\": \"a\\n\\\"b\\\" \\\\ \\t/ \xea\xb0\x80\", \"id\": \"x-1\", \"rating\": 10}",
        " { \"text\" : \"\xf0\x9f\x98\x80 \\b\\f\\r\\/\" , \"n\":0,\"m\" : 123456789012345 }\t\r",
        "{\"\": \"\", \"text\": \"\\n\"}",
        "{}", "", "{\"a\": [1], \"text\": \"x\"}", "{\"text\": \"\\u00e9\"}",
        "{\"a\": 1, \"a\": 2}",
        "{\"a\": 1234567890123456}", "{\"a\": 1.0}", "{\"a\": -1}", "[1]", "{\"a\": 1} x" };
    struct buf room = { 0 };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        json_t *got = json_load_flat(bytes_of(lines[i]), &room);
        EXPECTF((got != NULL) == (i < 3), "%s", lines[i]);
        json_decref(got);
    }
    for (int n = 64; n < 66; n++) {
        struct buf line = { 0 };
        for (int i = 0; i < n; i++)
            buf_printf(&line, "%c\"%d\":%d", i ? ',' : '{', i, i);
        buf_text(&line, "}");
        json_t *got = json_load_flat(bytes_of(line.at), &room);
        EXPECTF(json_object_size(got) == (n < 65 ? 64 : 0), "%d fields", n);
        json_decref(got);
        buf_release(&line);
    }
    buf_release(&room);
}

const struct test tests[] = {
    { "what jansson reads", it_reads_what_jansson_reads },
    { "bounds", it_knows_its_bounds },
    { 0 }
};
