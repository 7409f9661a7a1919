#include "text/text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static void put_string(const char *at, size_t len, struct buf *out)
{
    static const char named[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    buf_text(out, "\"");
    size_t from = 0;
    for (size_t i = 0; i <= len; i++) {
        const char *special = i < len && at[i] ? strchr(named, at[i]) : NULL;
        if (i < len && !special && (unsigned char)at[i] >= 0x20)
            continue;
        buf_put(out, at + from, i - from);
        from = i + 1;
        if (special)
            buf_printf(out, "\\%c", letters[special - named]);
        else if (i < len)
            buf_printf(out, "\\u%04x", (unsigned char)at[i]);
    }
    buf_text(out, "\"");
}

void chat_json_quote(const char *text, struct buf *out)
{
    put_string(text, strlen(text), out);
}

/*
 * A double as Python's repr(): the fewest digits that read back as the same number, with an
 * exponent below 1e-4 and from 1e16 on, and always a point or an exponent.  A locale's
 * decimal comma is put right.
 */
static void put_real(double v, struct buf *out)
{
    char text[40];
    int digits = 0;
    do {
        snprintf(text, sizeof text, "%.*e", digits, v);
    } while (strtod(text, NULL) != v && ++digits < 17);
    int exponent = atoi(strchr(text, 'e') + 1);
    if (exponent >= -4 && exponent < 16)
        snprintf(text, sizeof text, "%.*f", digits - exponent > 1 ? digits - exponent : 1, v);
    for (char *c = text; *c; c++)
        *c = *c == ',' ? '.' : *c;
    buf_text(out, text);
}

static void put_value(const json_t *v, struct buf *out);

static void put_members(const json_t *v, struct buf *out)
{
    const char *separator = "{";
    for (void *at = json_object_iter((json_t *)v); at;
         at = json_object_iter_next((json_t *)v, at)) {
        buf_text(out, separator);
        chat_json_quote(json_object_iter_key(at), out);
        buf_text(out, ": ");
        put_value(json_object_iter_value(at), out);
        separator = ", ";
    }
    buf_text(out, json_object_size(v) ? "}" : "{}");
}

static void put_items(const json_t *v, struct buf *out)
{
    buf_text(out, "[");
    for (size_t i = 0; i < json_array_size(v); i++) {
        buf_text(out, i ? ", " : "");
        put_value(json_array_get(v, i), out);
    }
    buf_text(out, "]");
}

static void put_value(const json_t *v, struct buf *out)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        put_members(v, out);
        break;
    case JSON_ARRAY:
        put_items(v, out);
        break;
    case JSON_STRING:
        put_string(json_string_value(v), json_string_length(v), out);
        break;
    case JSON_INTEGER:
        buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_REAL:
        put_real(json_real_value(v), out);
        break;
    case JSON_TRUE:
        buf_text(out, "true");
        break;
    case JSON_FALSE:
        buf_text(out, "false");
        break;
    case JSON_NULL:
        buf_text(out, "null");
        break;
    }
}

bool chat_json_normal(const char *json, const char *what, struct buf *out, struct err *err)
{
    json_error_t e;
    json_t *v = json_loads(json, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (!v)
        return fail(err, ERR_FORMAT, "%s is not valid JSON: %s, at line %d column %d of \"%.60s\"",
                    what, e.text, e.line, e.column, json);
    put_value(v, out);
    json_decref(v);
    return true;
}
