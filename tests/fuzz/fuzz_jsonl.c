/*
 * Any bytes as a file of lines of JSON: each line is read as jansson alone would read it, or
 * refused by its number, and reading goes on behind it.  Compressed files are only read.
 */
#include "fuzz.h"

#include "format/format.h"
#include "format/json_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { COMPRESSED_MOST = 1024 };          /* more could hold lines for longer than FUZZ_SECONDS */

uint64_t fuzz_accepted, fuzz_sum;

static void write_file(char *path, const uint8_t *data, size_t size)
{
    int fd = mkstemps(path, 6);
    check(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0);
}

static bool is_blank(struct bytes line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.at[i] != ' ' && line.at[i] != '\t' && line.at[i] != '\r')
            return false;
    return true;
}

/* The next line that is not blank; false: there is none. */
static bool next_line(struct bytes *rest, struct bytes *line, uint64_t *number)
{
    while (rest->len) {
        const uint8_t *end = memchr(rest->at, '\n', rest->len);
        *line = (struct bytes){ rest->at, end ? (size_t)(end - rest->at) : rest->len };
        rest->at += line->len + (end != NULL);
        rest->len -= line->len + (end != NULL);
        ++*number;
        if (!is_blank(*line))
            return true;
    }
    return false;
}

static bool is_text(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return !v || json_is_null(v) || json_is_string(v);
}

/* What the line should give; NULL: it should be refused. */
static json_t *expected(struct bytes line, struct err *err)
{
    json_t *v = json_load_record(line, "line", err);
    if (v && json_is_object(v) && json_is_string(json_object_get(v, "text")) && is_text(v, "lang"))
        return v;
    if (v)
        fail(err, ERR_FORMAT, "no document");
    json_decref(v);
    return NULL;
}

static void check_failure(const struct err *err, enum err_code code, uint64_t number)
{
    char where[40];
    snprintf(where, sizeof where, ".jsonl, line %llu", (unsigned long long)number);
    check(err->code == code && strstr(err->msg, where));
}

/* Whether all lines were documents. */
static bool compare(struct jsonl *j, struct bytes rest)
{
    struct bytes line;
    struct jsonl_record r;
    uint64_t number = 0;
    size_t n = 0;
    bool all = true;
    for (; next_line(&rest, &line, &number); n++) {
        struct err want_err = { 0 }, err = { 0 };
        json_t *want = expected(line, &want_err);
        bool ok = jsonl_next(j, &r, &err);
        check(ok == (want != NULL));
        if (ok)
            check(r.path && r.line == number && json_equal(r.object, want)
                  && jsonl_check_utf8(&r, &err));
        else
            check_failure(&err, want_err.code, number);
        fuzz_sum += ok ? r.text.len : 0;
        all &= ok;
        json_decref(want);
        check(ok || jsonl_can_go_on(j) == (err.code != ERR_MEMORY));
        if (!ok && !jsonl_can_go_on(j))
            return false;
    }
    check(jsonl_next(j, &r, NULL) && !r.path && jsonl_read_bytes(j) == jsonl_total_bytes(j));
    return n && all;
}

static bool read_all(struct jsonl *j)
{
    struct err err = { 0 };
    struct jsonl_record r;
    size_t n = 0;
    bool all = true, ok = true;
    do {
        ok = jsonl_next(j, &r, &err);
        check(ok || err.code != ERR_NONE);
        all &= ok;
        n += ok && r.path;
        fuzz_sum += ok && r.path ? r.text.len : 0;
    } while (ok ? r.path != NULL : jsonl_can_go_on(j));
    return n && all;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "/tmp/kexa-fuzz-XXXXXX.jsonl";
    bool compressed = size >= 4 && (!memcmp(data, "\x28\xB5\x2F\xFD", 4)
                                    || (data[0] >> 4 == 5 && !memcmp(data + 1, "*M\x18", 3)));
    if (compressed && size > COMPRESSED_MOST)
        return 0;
    write_file(path, data, size);
    struct jsonl *j = jsonl_open(path, NULL);
    check(j != NULL);
    size_t mark = size >= 3 && !memcmp(data, "\xEF\xBB\xBF", 3) ? 3 : 0;
    fuzz_accepted += compressed ? read_all(j)
                                : compare(j, (struct bytes){ data + mark, size - mark });
    jsonl_close(j);
    unlink(path);
    return 0;
}
