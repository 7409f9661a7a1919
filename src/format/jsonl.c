#include "format/jsonl.h"

#include "format/json_file.h"
#include "format/json_flat.h"
#include "format/lines_in.h"

#include <sys/stat.h>

struct jsonl {
    struct buf files;                     /* paths, each followed by a NUL */
    size_t n_files, at_file;              /* at_file: the next to open */
    size_t n_beside;
    const char *next, *path;              /* in files: the next, and the one open */
    struct lines_in *lines;               /* NULL: none open */
    struct bytes map;                     /* of a file that is no JSONL */
    json_t *object;
    struct buf name;                      /* "FILE, line N" */
    struct buf room;                      /* for a string */
    bool bad_line;                        /* the last failure was a line's */
    uint64_t total, before;               /* bytes of all files; of those already closed */
};

static uint64_t file_bytes(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode) ? (uint64_t)s.st_size : 0;
}

void jsonl_close(struct jsonl *j)
{
    if (!j)
        return;
    lines_close(j->lines);
    file_map_close(&j->map);
    json_decref(j->object);
    buf_release(&j->files);
    buf_release(&j->name);
    buf_release(&j->room);
    mem_give(j);
}

struct jsonl *jsonl_open(const char *path, struct err *err)
{
    struct jsonl *j = mem_take(1, sizeof *j);
    if (!j) {
        fail(err, ERR_MEMORY, "no memory to read %s", path);
        return NULL;
    }
    if (!jsonl_list_files(path, &j->files, &j->n_files, &j->n_beside, err)) {
        jsonl_close(j);
        return NULL;
    }
    j->next = j->files.at;
    const char *name = j->files.at;
    for (size_t i = 0; i < j->n_files; i++, name += strlen(name) + 1)
        j->total += file_bytes(name);
    return j;
}

bool jsonl_check_utf8(const struct jsonl_record *r, struct err *err)
{
    size_t good = r->object ? r->text.len : bytes_utf8(r->text);
    return good == r->text.len
           || fail(err, ERR_FORMAT, "%s: no UTF-8: byte %zu is %#04x; text must be UTF-8, and only "
                   ".jsonl.zst may be compressed", r->path, good, r->text.at[good]);
}

bool jsonl_can_go_on(const struct jsonl *j)
{
    return j->bad_line;
}

size_t jsonl_beside(const struct jsonl *j)
{
    return j->n_beside;
}

uint64_t jsonl_total_bytes(const struct jsonl *j)
{
    return j->total;
}

uint64_t jsonl_read_bytes(const struct jsonl *j)
{
    return j->before + (j->lines ? lines_file_bytes(j->lines) : 0);
}

/* A string of the line's object; "" where it is absent or null. */
static bool get_text(const struct jsonl *j, const char *key, const char **out, struct err *err)
{
    const json_t *v = json_object_get(j->object, key);
    *out = "";
    if (!v || json_is_null(v))
        return true;
    if (!json_is_string(v))
        return fail(err, ERR_FORMAT, "%s: \"%s\" is not a string", j->name.at, key);
    *out = json_string_value(v);
    return true;
}

static bool read_line(struct jsonl *j, struct bytes line, struct jsonl_record *r,
                      struct err *err)
{
    uint64_t number = lines_number(j->lines);
    buf_clear(&j->name);
    buf_printf(&j->name, "%s, line %llu", j->path, (unsigned long long)number);
    if (!buf_ok(&j->name, err))
        return false;
    json_decref(j->object);
    j->object = json_load_flat(line, &j->room);
    if (!buf_ok(&j->room, err))
        return false;
    if (!j->object)
        j->object = json_load_record(line, j->name.at, err);
    if (!j->object)
        return false;
    const json_t *text = json_object_get(j->object, "text");
    if (!json_is_object(j->object) || !json_is_string(text))
        return fail(err, ERR_FORMAT, "%s is no object with a string \"text\"", j->name.at);
    *r = (struct jsonl_record){
        .text = { (const uint8_t *)json_string_value(text), json_string_length(text) },
        .object = j->object, .path = j->path, .line = number };
    return get_text(j, "lang", &r->lang, err);
}

static struct bytes without_mark(struct bytes b)
{
    size_t n = b.len >= 3 && !memcmp(b.at, "\xEF\xBB\xBF", 3) ? 3 : 0;
    return (struct bytes){ b.at + n, b.len - n };
}

/* A file whose first line is a document should be called .jsonl. */
static bool check_name(const struct jsonl *j, struct bytes text, struct err *err)
{
    const uint8_t *end = text.len ? memchr(text.at, '\n', text.len) : NULL;
    struct err why = { 0 };
    if (!text.len || text.at[0] != '{')
        return true;
    struct bytes line = { text.at, end ? (size_t)(end - text.at) : text.len };
    json_t *v = json_load_record(line, j->path, &why);
    bool document = json_is_string(json_object_get(v, "text"));
    json_decref(v);
    if (why.code == ERR_MEMORY)
        return fail(err, ERR_MEMORY, "%s", why.msg);
    return !document
           || fail(err, ERR_FORMAT, "%s: its first line is a JSON object with \"text\"; call the "
                   "file .jsonl, and each line is a document", j->path);
}

/* Opens the next file; one that is no JSONL becomes the record. */
static bool open_file(struct jsonl *j, struct jsonl_record *r, struct err *err)
{
    j->path = j->next;
    j->next += strlen(j->next) + 1;
    j->at_file++;
    if (jsonl_is_name(j->path)) {
        j->lines = lines_open(j->path, err);
        return j->lines != NULL;
    }
    if (!file_map_open(&j->map, j->path, err))
        return false;
    if (!check_name(j, without_mark(j->map), err))
        return false;
    j->before += j->map.len;
    *r = (struct jsonl_record){ .text = without_mark(j->map), .lang = "", .path = j->path };
    return true;
}

static bool is_blank(struct bytes line)
{
    for (size_t i = 0; i < line.len; i++)
        if (!strchr(" \t\r", line.at[i]) || !line.at[i])
            return false;
    return true;
}

/* The next line of the open file, or its end. */
static bool next_line(struct jsonl *j, struct jsonl_record *r, struct err *err)
{
    struct bytes line;
    if (!lines_next(j->lines, &line, err))
        return false;
    if (!line.at) {
        j->before += lines_file_bytes(j->lines);
        lines_close(j->lines);
        j->lines = NULL;
        return true;
    }
    if (lines_number(j->lines) == 1)
        line = without_mark(line);
    if (is_blank(line) || read_line(j, line, r, err))
        return true;
    j->bad_line = err && err->code != ERR_MEMORY;
    return false;
}

bool jsonl_next(struct jsonl *j, struct jsonl_record *r, struct err *err)
{
    *r = (struct jsonl_record){ .path = NULL };
    j->bad_line = false;
    file_map_close(&j->map);
    while (!r->path && (j->lines || j->at_file < j->n_files))
        if (!(j->lines ? next_line(j, r, err) : open_file(j, r, err))) {
            r->path = NULL;
            return false;
        }
    return true;
}
