/*
 * json_file: JSON from untrusted files and strings through jansson, with caps on
 * size and nesting, and errors that name file, line and column.
 */
#ifndef KEXA_FORMAT_JSON_FILE_H
#define KEXA_FORMAT_JSON_FILE_H

#include "base/base.h"

#include <jansson.h>

/* Nested arrays and objects; values in all (a value takes up to 240 bytes of memory). */
enum { JSON_DEPTH_MAX = 64, JSON_VALUES_MAX = 1 << 22 };

/* Objects with a repeated key are refused.  NULL on failure (with err).  The caller
 * releases with json_decref(). */
json_t *json_load_path(const char *path, size_t max_bytes, struct err *err);
json_t *json_load_bytes(struct bytes text, const char *name, struct err *err);

/* The same for one line of many: strings may hold U+0000, so their length counts. */
json_t *json_load_record(struct bytes text, const char *name, struct err *err);

/* folder/name, indented, atomic (base/file_out.h). */
bool json_save(const json_t *v, const char *folder, const char *name, struct err *err);

#endif
