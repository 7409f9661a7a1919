#include "format/json_flat.h"

enum { MAX_FIELDS = 64, MAX_DIGITS = 15 };

struct flat {
    const uint8_t *at, *end;
    struct buf *room;                     /* of a string with escapes */
};

/* Past white space: the next byte; 0 at the end. */
static uint8_t next(struct flat *f)
{
    while (f->at < f->end && (*f->at == ' ' || *f->at == '\t' || *f->at == '\r' || *f->at == '\n'))
        f->at++;
    return f->at < f->end ? *f->at : 0;
}

static bool take(struct flat *f, uint8_t c)
{
    if (next(f) != c)
        return false;
    f->at++;
    return true;
}

/* What the escape \c stands for; 0: another one. */
static char escaped(uint8_t c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *found = c ? strchr(from, c) : NULL;
    return found ? to[found - from] : 0;
}

/* A string behind its quote; borrowed from the text or from room. */
static bool read_string(struct flat *f, struct bytes *out)
{
    const uint8_t *begin = f->at;
    uint8_t high = 0;
    buf_clear(f->room);
    for (; f->at < f->end && *f->at != '"'; f->at++) {
        if (*f->at < 0x20)
            return false;
        high |= *f->at;
        if (*f->at != '\\')
            continue;
        buf_put(f->room, begin, (size_t)(f->at - begin));
        char c = ++f->at < f->end ? escaped(*f->at) : 0;
        if (!c)
            return false;
        buf_put(f->room, &c, 1);
        begin = f->at + 1;
    }
    *out = (struct bytes){ begin, (size_t)(f->at - begin) };
    if (f->room->len) {
        buf_put(f->room, begin, out->len);
        *out = (struct bytes){ (const uint8_t *)f->room->at, f->room->len };
    }
    return take(f, '"') && !f->room->failed && (high < 0x80 || bytes_utf8(*out) == out->len);
}

/* A whole number of few digits; the caller refuses what may not follow it. */
static json_t *read_number(struct flat *f)
{
    json_int_t n = 0;
    const uint8_t *begin = f->at;
    for (; f->at < f->end && *f->at >= '0' && *f->at <= '9'; f->at++)
        if (f->at - begin < MAX_DIGITS)
            n = n * 10 + (*f->at - '0');
    size_t digits = (size_t)(f->at - begin);
    return digits > MAX_DIGITS || (*begin == '0' && digits > 1) ? NULL : json_integer(n);
}

static json_t *read_value(struct flat *f)
{
    struct bytes s;
    uint8_t c = next(f);
    if (c >= '0' && c <= '9')
        return read_number(f);
    if (!take(f, '"') || !read_string(f, &s))
        return NULL;
    return json_stringn_nocheck((const char *)s.at, s.len);
}

/* "key": value; false also where the key is there already. */
static bool read_field(struct flat *f, json_t *object)
{
    char key[64];
    struct bytes s;
    if (!take(f, '"') || !read_string(f, &s) || s.len >= sizeof key || !take(f, ':'))
        return false;
    memcpy(key, s.at, s.len);
    key[s.len] = 0;
    if (json_object_get(object, key))
        return false;
    return json_object_set_new_nocheck(object, key, read_value(f)) == 0;
}

json_t *json_load_flat(struct bytes text, struct buf *room)
{
    struct flat f = { text.at, text.at + text.len, room };
    json_t *object = json_object();
    bool ok = object && text.len && take(&f, '{'), more = ok;
    for (int n = 0; ok && more; n++) {
        ok = n < MAX_FIELDS && read_field(&f, object);
        more = ok && take(&f, ',');
    }
    if (ok && take(&f, '}') && !next(&f) && f.at == f.end)
        return object;
    json_decref(object);
    return NULL;
}
