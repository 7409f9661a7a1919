/* Corpora: JSONL, plain and compressed, text files and folders of them. */
#include "format/format.h"
#include "format/lines_in.h"
#include "../../harness.h"
#include "scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

static const char three[] =
    "{\"id\": 17, \"lang\": \"ko\", \"license\": \"CC0-1.0\", \"text\": \"\\u0000 one\"}\n"
    "\n  \r\n{\"text\": \"two\\nlines\"}\n{\"text\": \"\", \"lang\": null}";

static const char *packed(const char *name, const char *text, size_t cut, int frames)
{
    uint8_t out[1 << 16];
    size_t n = 0, len = strlen(text), part = len / (size_t)frames;
    for (int i = 0; i < frames; i++) {
        size_t at = (size_t)i * part;
        n += ZSTD_compress(out + n, sizeof out - n, text + at,
                           i + 1 == frames ? len - at : part, 3);
    }
    return scratch_write(name, out, n - cut);
}

static void expect_three(const char *path)
{
    struct err err = { 0 };
    struct jsonl *j = jsonl_open(path, &err);
    struct jsonl_record r;
    EXPECTF(j, "%s", err.msg);
    if (!j)
        return;
    EXPECT(jsonl_next(j, &r, &err) && r.text.len == 5 && !memcmp(r.text.at, "\0 one", 5));
    EXPECT(!strcmp(r.lang, "ko"));
    EXPECT(r.line == 1 && r.object && !strcmp(r.path, path));
    EXPECT(jsonl_next(j, &r, &err) && bytes_eq(r.text, bytes_of("two\nlines")) && r.line == 4);
    EXPECT(!*r.lang);
    EXPECT(jsonl_next(j, &r, &err) && r.text.len == 0 && r.path && r.line == 5);
    EXPECT(jsonl_next(j, &r, &err) && !r.path);
    EXPECT(jsonl_next(j, &r, &err) && !r.path);
    EXPECT(jsonl_read_bytes(j) == jsonl_total_bytes(j) && jsonl_total_bytes(j) > 0);
    jsonl_close(j);
}

static void reads_plain_and_compressed_lines(void)
{
    expect_three(scratch_text("three.jsonl", three));
    expect_three(packed("three.jsonl.zst", three, 0, 1));
    expect_three(packed("frames.jsonl.zst", three, 0, 4));
}

/* As pzstd packs: a frame to be passed over before each frame of text. */
static void frames_to_be_passed_over_hold_no_text(void)
{
    static const uint8_t skip[] = { 0x53, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 'n', 'o', '\n', '{' };
    uint8_t out[1 << 12];
    size_t n = 0, half = strlen(three) / 2;
    for (size_t i = 0; i < 2; i++) {
        memcpy(out + n, skip, sizeof skip);
        n += sizeof skip;
        n += ZSTD_compress(out + n, sizeof out - n, three + i * half,
                           i ? strlen(three) - half : half, 3);
    }
    expect_three(scratch_write("skippable.jsonl.zst", out, n));
}

/* Many long lines, over many chunks. */
static void long_lines_come_whole(void)
{
    struct buf text = { 0 };
    for (int i = 0; i < 60; i++) {
        buf_printf(&text, "{\"text\": \"%d ", i);
        for (int k = 0; k < 30000; k++)
            buf_put(&text, &"abcdefghij"[(k + i) % 10], 1);
        buf_text(&text, "\"}\n");
    }
    struct err err = { 0 };
    struct jsonl *j = jsonl_open(scratch_text("long.jsonl", text.at), &err);
    struct jsonl_record r;
    int n = 0;
    while (j && jsonl_next(j, &r, &err) && r.path) {
        EXPECT(atoi((const char *)r.text.at) == n);
        EXPECT(r.text.len == (n < 10 ? 30002u : 30003u));
        EXPECT(r.text.at[r.text.len - 1] == "abcdefghij"[(29999 + n) % 10]);
        n++;
    }
    EXPECT(n == 60);
    jsonl_close(j);
    buf_release(&text);
}

static void texts_of(const char *path, struct buf *out)
{
    struct err err = { 0 };
    struct jsonl *j = jsonl_open(path, &err);
    struct jsonl_record r;
    EXPECTF(j, "%s", err.msg);
    while (j && jsonl_next(j, &r, &err) && r.path)
        buf_printf(out, "%.*s|", (int)r.text.len, (const char *)r.text.at);
    EXPECTF(err.code == ERR_NONE, "%s", err.msg);
    jsonl_close(j);
}

static void a_folder_is_read_in_the_order_of_names(void)
{
    struct buf out = { 0 };
    scratch_folder("plain");
    scratch_folder("plain/sub");
    scratch_folder("plain/.hidden");
    scratch_text("plain/b.txt", "bee");
    scratch_text("plain/a.md", "ay");
    scratch_text("plain/z.c", "int no;");
    scratch_text("plain/sub/c.txt", "see");
    scratch_text("plain/e.txt", "");
    scratch_text("plain/.hidden/d.txt", "no");
    texts_of(scratch_path("plain"), &out);
    EXPECTF(!strcmp(out.at, "ay|bee||see|"), "%s", out.at);
    buf_clear(&out);
    scratch_text("plain/sub/d.jsonl", "{\"text\": \"line\"}");
    scratch_text("plain/A.jsonl", "{\"text\": \"first\"}");
    texts_of(scratch_path("plain"), &out);
    EXPECTF(!strcmp(out.at, "first|line|"), "%s", out.at);
    struct jsonl *j = jsonl_open(scratch_path("plain"), NULL);
    EXPECT(j && jsonl_beside(j) == 4);
    jsonl_close(j);
    j = jsonl_open(scratch_path("plain/b.txt"), NULL);
    EXPECT(j && jsonl_beside(j) == 0);
    jsonl_close(j);
    buf_release(&out);
}

static void a_byte_order_mark_is_no_text(void)
{
    struct buf out = { 0 };
    texts_of(scratch_text("mark.jsonl", "\xEF\xBB\xBF{\"text\": \"a\"}\n"
                                        "{\"text\": \"\xEF\xBB\xBF\"}"), &out);
    texts_of(scratch_text("mark.txt", "\xEF\xBB\xBF" "b\xEF\xBB\xBF"), &out);
    texts_of(scratch_text("only.txt", "\xEF\xBB\xBF"), &out);
    texts_of(packed("mark.jsonl.zst", "\xEF\xBB\xBF{\"text\": \"c\"}", 0, 1), &out);
    EXPECTF(!strcmp(out.at, "a|\xEF\xBB\xBF|b\xEF\xBB\xBF||c|"), "%s", out.at);
    buf_release(&out);
}

/* What is wrong with a line is that line's failure; a file that ends too early ends it all. */
static void reading_goes_on_behind_a_bad_line(void)
{
    struct err err = { 0 };
    struct jsonl_record r;
    struct buf out = { 0 }, deep = { 0 };
    scratch_folder("bad");
    for (int i = 0; i < 200; i++)
        buf_text(&deep, "[");
    buf_printf(&out, "{\"text\": \"a\"}\n{\"text\": 5}\n{\"x\": %s\n{\"text\": \"b\"}", deep.at);
    scratch_text("bad/a.jsonl", out.at);
    packed("bad/b.jsonl.zst", "{\"text\": \"lost\"}\n", 3, 1);
    scratch_text("bad/c.jsonl", "{\"text\": \"c\"}\n");
    struct jsonl *j = jsonl_open(scratch_path("bad"), &err);
    int n_failed = 0;
    buf_clear(&out);
    for (bool more = j != NULL; more;) {
        bool ok = jsonl_next(j, &r, &err);
        n_failed += !ok;
        if (ok && r.path)
            buf_printf(&out, "%.*s|", (int)r.text.len, (const char *)r.text.at);
        more = ok ? r.path != NULL : jsonl_can_go_on(j);
    }
    EXPECTF(n_failed == 3 && !strcmp(out.at, "a|b|"), "%d %s", n_failed, out.at);
    EXPECT(SAYS(&err, ERR_FORMAT, "b.jsonl.zst", "cut short"));
    jsonl_close(j);
    buf_release(&out);
    buf_release(&deep);
}

/* Reads all of it; the error, or ERR_NONE. */
static struct err failure_of(const char *path)
{
    struct err err = { 0 };
    struct jsonl *j = jsonl_open(path, &err);
    struct jsonl_record r = { .path = path };
    while (j && r.path && jsonl_next(j, &r, &err))
        ;
    jsonl_close(j);
    return err;
}

static void bad_files_are_refused_with_their_line(void)
{
    struct err e = failure_of(scratch_text("a.jsonl", "{\"text\": \"x\"}\n{\"text\": 5}\n"));
    EXPECT(SAYS(&e, ERR_FORMAT, "a.jsonl, line 2", "text"));
    e = failure_of(scratch_text("b.jsonl", "{\"text\": \"x\"}\n\n{\"text\": \"x\""));
    EXPECT(SAYS(&e, ERR_FORMAT, "b.jsonl, line 3"));
    e = failure_of(scratch_text("c.jsonl", "[1]\n"));
    EXPECT(SAYS(&e, ERR_FORMAT, "c.jsonl, line 1"));
    e = failure_of(scratch_text("d.jsonl", "{\"text\": \"x\", \"lang\": 3}\n"));
    EXPECT(SAYS(&e, ERR_FORMAT, "d.jsonl, line 1", "lang"));
    e = failure_of(scratch_text("u.jsonl", "{\"text\": \"\xff\"}\n"));
    EXPECT(SAYS(&e, ERR_FORMAT, "u.jsonl, line 1"));
    e = failure_of(packed("cut.jsonl.zst", three, 3, 1));
    EXPECT(SAYS(&e, ERR_FORMAT, "cut.jsonl.zst", "cut short"));
    e = failure_of(scratch_text("junk.jsonl.zst", "\x28\xB5\x2F\xFD\xFF\xFF\xFFjunk"));
    EXPECT(SAYS(&e, ERR_FORMAT, "junk.jsonl.zst"));
    EXPECT(!jsonl_open(scratch_path("missing.jsonl"), &e) && SAYS(&e, ERR_IO, "missing.jsonl"));
    e = failure_of(scratch_text("lines.json", "{\"text\": \"x\"}\n{\"text\": \"y\"}\n"));
    EXPECT(SAYS(&e, ERR_FORMAT, "lines.json", ".jsonl"));
    EXPECT(failure_of(scratch_text("other.json", "{\"a\":\n{\"text\": 5}}")).code == ERR_NONE);
    EXPECT(failure_of(scratch_text("open.txt", "{\"text\": \"x\n")).code == ERR_NONE);
    scratch_folder("empty");
    e = failure_of(scratch_path("empty"));
    EXPECT(SAYS(&e, ERR_USAGE, "empty", ".jsonl"));
}

static void every_refused_allocation_is_survived(void)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s", packed("oom.jsonl.zst", three, 0, 2));
    long live = mem_live;
    long k = 0;
    for (bool done = false; !done && k < 100; k++) {
        mem_fail_after = k;
        struct err e = failure_of(path);
        done = mem_fail_after >= 0;
        mem_fail_after = -1;
        EXPECTF(e.code == (done ? ERR_NONE : ERR_MEMORY), "%ld: %s", k, e.msg);
        EXPECT(mem_live == live);
    }
    EXPECT(k > 5 && k < 100);
}

const struct test tests[] = {
    { "plain and compressed lines", reads_plain_and_compressed_lines },
    { "frames to be passed over", frames_to_be_passed_over_hold_no_text },
    { "byte order mark", a_byte_order_mark_is_no_text },
    { "behind a bad line", reading_goes_on_behind_a_bad_line },
    { "long lines", long_lines_come_whole },
    { "folders", a_folder_is_read_in_the_order_of_names },
    { "bad files", bad_files_are_refused_with_their_line },
    { "out of memory", every_refused_allocation_is_survived },
    { 0 }
};
