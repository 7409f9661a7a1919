#include "format/json_file.h"
#include "format/show.h"

/* Nesting of brackets outside strings; jansson's own limit of 2048 is its build's. */
static size_t json_depth(struct bytes text)
{
    size_t depth = 0, deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.at[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '[' || c == '{') {
            depth++;
            deepest = depth > deepest ? depth : deepest;
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        } else {
            in_string = c == '"';
        }
    }
    return deepest;
}

json_t *json_load_bytes(struct bytes text, const char *name, struct err *err)
{
    json_error_t e;
    size_t depth = json_depth(text);
    if (depth > JSON_DEPTH_MAX) {
        fail(err, ERR_LIMIT, "%s: JSON nested %zu deep; at most %d are accepted", name, depth,
             JSON_DEPTH_MAX);
        return NULL;
    }
    json_t *j = json_loadb(text.len ? (const char *)text.at : "", text.len,
                           JSON_REJECT_DUPLICATES, &e);
    if (!j && e.line < 0)                 /* jansson's only sign of it, and not always given */
        fail(err, ERR_MEMORY, "%s: out of memory for %zu bytes of JSON", name, text.len);
    else if (!j)
        fail(err, ERR_FORMAT, "%s: line %d, column %d is no valid JSON: %s", name, e.line,
             e.column, SHOW(bytes_of(e.text)));
    return j;
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
