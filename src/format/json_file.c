#include "format/json_file.h"
#include "format/show.h"

#include <stdlib.h>

struct json_size {
    size_t depth, n_values;
};

/*
 * Deepest nesting, and values counted as brackets and commas outside strings: what
 * jansson is about to build, which is many times the size of the text.
 */
static struct json_size json_measure(struct bytes text)
{
    struct json_size size = { 0, 1 };
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.at[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '[' || c == '{') {
            depth++;
            size.depth = depth > size.depth ? depth : size.depth;
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        } else {
            in_string = c == '"';
        }
        size.n_values += !in_string && (c == '[' || c == '{' || c == ',');
    }
    return size;
}

static json_t *load(struct bytes text, const char *name, size_t flags, struct err *err)
{
    json_error_t e;
    struct json_size size = json_measure(text);
    if (size.depth > JSON_DEPTH_MAX || size.n_values > JSON_VALUES_MAX) {
        fail(err, ERR_LIMIT, "%s: JSON of %zu values nested %zu deep; at most %d and %d are "
             "accepted", name, size.n_values, size.depth, JSON_VALUES_MAX, JSON_DEPTH_MAX);
        return NULL;
    }
    json_t *j = json_loadb(text.len ? (const char *)text.at : "", text.len,
                           JSON_REJECT_DUPLICATES | flags, &e);
    if (!j && e.line < 0)                 /* jansson's only sign of it, and not always given */
        fail(err, ERR_MEMORY, "%s: out of memory for %zu bytes of JSON", name, text.len);
    else if (!j)
        fail(err, ERR_FORMAT, "%s: line %d, column %d is no valid JSON: %s", name, e.line,
             e.column, SHOW(bytes_of(e.text)));
    return j;
}

json_t *json_load_bytes(struct bytes text, const char *name, struct err *err)
{
    return load(text, name, 0, err);
}

json_t *json_load_record(struct bytes text, const char *name, struct err *err)
{
    return load(text, name, JSON_ALLOW_NUL, err);
}

json_t *json_load_path(const char *path, size_t max_bytes, struct err *err)
{
    struct bytes file;
    json_t *j = NULL;
    if (!file_map_open(&file, path, err))
        return NULL;
    if (file.len > max_bytes)
        fail(err, ERR_LIMIT, "%s: %zu bytes; at most %zu are accepted", path, file.len, max_bytes);
    else
        j = json_load_bytes(file, path, err);
    file_map_close(&file);
    return j;
}

bool json_save(const json_t *v, const char *folder, const char *name, struct err *err)
{
    struct buf path = { 0 };
    char *text = json_dumps(v, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    buf_printf(&path, "%s/%s", folder, name);
    bool ok = text ? buf_ok(&path, err) : fail(err, ERR_MEMORY, "out of memory for %s", name);
    ok = ok && file_write(path.at, text, strlen(text), err);
    free(text);
    buf_release(&path);
    return ok;
}
