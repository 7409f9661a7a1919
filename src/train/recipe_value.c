/* The values of a recipe's keys: read from text into a field, and written back. */
#include "train/recipe_keys.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

static void *field(const struct train_recipe *r, const struct recipe_key *k)
{
    return (char *)(uintptr_t)(const void *)r + k->at;
}

static bool bad_value(const struct recipe_key *k, const char *where, const char *value,
                      const char *expected, struct err *err)
{
    return fail(err, ERR_USAGE, "%s: %s.%s is \"%.80s\"; expected %s", where, k->section, k->name,
                value, expected);
}

/* A number with k, m, g or t behind it where whole numbers are meant. */
static bool read_number(const char *text, bool suffix, double *out)
{
    static const char letters[] = "kmgt";
    char *end;
    double v = strtod(text, &end), factor = 1;
    const char *letter = suffix && *end ? strchr(letters, *end | 32) : NULL;
    if (end == text || strpbrk(text, "xXnN"))       /* no hexadecimal, inf or nan */
        return false;
    for (const char *p = letters; letter && p <= letter; p++)
        factor *= 1000;
    if (letter)
        end++;
    *out = v * factor;
    return !*end && isfinite(*out);
}

static bool put_number(struct train_recipe *r, const struct recipe_key *k, const char *where,
                       const char *value, struct err *err)
{
    double v;
    char expected[120];
    bool whole = k->kind != RECIPE_F64;
    snprintf(expected, sizeof expected, "a %s from %.16g to %.16g", whole ? "whole number"
             : "number", k->low, k->high);
    if (!strcmp(value, "nano") && k->at == offsetof(struct train_recipe, model.size))
        value = "200k";
    if (!read_number(value, whole, &v) || v < k->low || v > k->high || (whole && v != floor(v)))
        return bad_value(k, where, value, expected, err);
    if (k->kind == RECIPE_F64)
        *(double *)field(r, k) = v;
    else if (k->kind == RECIPE_U64)
        *(uint64_t *)field(r, k) = (uint64_t)v;
    else
        *(uint32_t *)field(r, k) = (uint32_t)v;
    return true;
}

/* The i-th word of "a|b|c" is `value`. */
static bool put_word(struct train_recipe *r, const struct recipe_key *k, const char *where,
                     const char *value, struct err *err)
{
    const char *at = k->words;
    char expected[120];
    for (int i = 0; at; i++) {
        size_t n = strcspn(at, "|");
        if (strlen(value) == n && !strncmp(at, value, n)) {
            *(int *)field(r, k) = i;
            return true;
        }
        at = at[n] ? at + n + 1 : NULL;
    }
    snprintf(expected, sizeof expected, "one of %s", k->words);
    return bad_value(k, where, value, expected, err);
}

static bool put_text(struct train_recipe *r, const struct recipe_key *k, const char *where,
                     const char *value, struct err *err)
{
    char **to = field(r, k), *copy;
    if (!*value)
        return bad_value(k, where, value, "a path", err);
    if (!(copy = mem_copy_text(value, strlen(value))))
        return fail(err, ERR_MEMORY, "out of memory for the recipe");
    mem_give(*to);
    *to = copy;
    return true;
}

static bool list_full(const struct recipe_key *k, const char *where, size_t n, struct err *err)
{
    return n < RECIPE_LIST_MAX
           || fail(err, ERR_LIMIT, "%s: %s.%s is given more than %d times", where, k->section,
                   k->name, RECIPE_LIST_MAX);
}

static bool add_prompt(struct train_recipe *r, const struct recipe_key *k, const char *where,
                       const char *value, struct err *err)
{
    char **grown;
    if (!list_full(k, where, r->run.n_prompts, err))
        return false;
    if (!(grown = mem_grow(r->run.prompt, r->run.n_prompts + 1, sizeof *grown)))
        return fail(err, ERR_MEMORY, "out of memory for the recipe");
    r->run.prompt = grown;
    if (!(grown[r->run.n_prompts] = mem_copy_text(value, strlen(value))))
        return fail(err, ERR_MEMORY, "out of memory for the recipe");
    r->run.n_prompts++;
    return true;
}

/* One " weight=2" at *at; false with nothing changed if there is none. */
static bool source_part(const char **at, const char *name, double *out)
{
    char number[40];
    size_t n = strlen(name), len;
    const char *p = *at + strspn(*at, " \t");
    if (p == *at || strncmp(p, name, n) || p[n] != '=')
        return false;
    p += n + 1;
    len = strcspn(p, " \t");
    if (!len || len >= sizeof number)
        return false;
    memcpy(number, p, len);
    number[len] = 0;
    *at = p + len;
    return read_number(number, false, out);
}

/* The text between quotes, or up to a blank; the rest of the line follows at *at. */
static bool source_path(const char **at, struct buf *path)
{
    const char *p = *at;
    if (*p != '"') {
        size_t n = strcspn(p, " \t");
        buf_put(path, p, n);
        *at = p + n;
        return n > 0;
    }
    for (p++; *p && *p != '"'; p++) {
        bool escaped = *p == '\\' && p[1];
        p += escaped;
        buf_put(path, escaped && *p == 'n' ? "\n" : p, 1);
    }
    *at = p + (*p == '"');
    return *p == '"' && path->len;
}

static bool read_source(const char *value, struct buf *path, struct recipe_source *s)
{
    const char *at = value;
    bool weight = false, epochs = false;
    if (!source_path(&at, path))
        return false;
    while (at[strspn(at, " \t")]) {
        if (!weight && source_part(&at, "weight", &s->weight))
            weight = true;
        else if (!epochs && source_part(&at, "epochs", &s->epochs))
            epochs = true;
        else
            return false;
    }
    return s->weight > 0 && s->weight <= 1e9 && s->epochs >= 0 && s->epochs <= 1e6;
}

static bool add_source(struct train_recipe *r, const struct recipe_key *k, const char *where,
                       const char *value, struct err *err)
{
    struct recipe_source s = { .weight = 1 }, *grown;
    struct buf path = { 0 };
    bool ok = list_full(k, where, r->data.n_sources, err);
    if (ok && !read_source(value, &path, &s))
        ok = bad_value(k, where, value, "PATH weight=W epochs=E, weight above 0 (default 1), "
                       "epochs 0 or more (default 0: no limit)", err);
    ok = ok && buf_ok(&path, err);
    grown = ok ? mem_grow(r->data.source, r->data.n_sources + 1, sizeof *grown) : NULL;
    if (grown) {
        r->data.source = grown;
        s.path = mem_copy_text(path.at, path.len);
    }
    if (s.path)
        grown[r->data.n_sources++] = s;
    else if (ok)
        ok = fail(err, ERR_MEMORY, "out of memory for the recipe");
    buf_release(&path);
    return ok;
}

bool recipe_value_put(struct train_recipe *r, size_t i, const char *where, const char *value,
                      struct err *err)
{
    const struct recipe_key *k = &recipe_keys[i];
    switch (k->kind) {
    case RECIPE_WORD: return put_word(r, k, where, value, err);
    case RECIPE_TEXT: return put_text(r, k, where, value, err);
    case RECIPE_TEXTS: return add_prompt(r, k, where, value, err);
    case RECIPE_SOURCES: return add_source(r, k, where, value, err);
    case RECIPE_U32: case RECIPE_U64: case RECIPE_F64: break;
    }
    return put_number(r, k, where, value, err);
}

size_t recipe_value_count(const struct train_recipe *r, size_t i)
{
    switch (recipe_keys[i].kind) {
    case RECIPE_SOURCES: return r->data.n_sources;
    case RECIPE_TEXTS: return r->run.n_prompts;
    case RECIPE_TEXT: return *(char **)field(r, &recipe_keys[i]) ? 1 : 0;
    default: return 1;
    }
}

void recipe_value_clear(struct train_recipe *r, size_t i)
{
    const struct recipe_key *k = &recipe_keys[i];
    size_t n = recipe_value_count(r, i);
    for (size_t j = 0; j < n && k->kind == RECIPE_SOURCES; j++)
        mem_give(r->data.source[j].path);
    for (size_t j = 0; j < n && k->kind == RECIPE_TEXTS; j++)
        mem_give(r->run.prompt[j]);
    if (k->kind == RECIPE_SOURCES)
        r->data.n_sources = 0;
    if (k->kind == RECIPE_TEXTS)
        r->run.n_prompts = 0;
    if (k->kind == RECIPE_SOURCES || k->kind == RECIPE_TEXTS || k->kind == RECIPE_TEXT) {
        mem_give(*(void **)field(r, k));
        *(void **)field(r, k) = NULL;
    }
}

/* In quotes where it would not be read back as it is. */
static void put_quoted(struct buf *out, const char *text, const char *special)
{
    size_t n = strlen(text);
    if (n && !strpbrk(text, special) && text[0] != ' ' && text[n - 1] != ' ') {
        buf_text(out, text);
        return;
    }
    buf_text(out, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_text(out, "\\");
        if (*text == '\n')
            buf_text(out, "\\n");
        else
            buf_put(out, text, 1);
    }
    buf_text(out, "\"");
}

/* The shortest decimal that is the same double. */
static void put_double(struct buf *out, double v)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    buf_text(out, text);
}

static void put_weight(struct buf *out, const struct recipe_source *s)
{
    buf_text(out, "weight=");
    put_double(out, s->weight);
}

static void put_source(struct buf *out, const struct recipe_source *s)
{
    put_quoted(out, s->path, "\"\\\n\t #");
    buf_text(out, " ");
    put_weight(out, s);
    buf_text(out, " epochs=");
    put_double(out, s->epochs);
}

static void put_index_word(struct buf *out, const char *words, int index)
{
    while (index--)
        words += strcspn(words, "|") + 1;
    buf_put(out, words, strcspn(words, "|"));
}

void recipe_value_text(const struct train_recipe *r, size_t i, size_t j, struct buf *out)
{
    const struct recipe_key *k = &recipe_keys[i];
    const void *at = field(r, k);
    switch (k->kind) {
    case RECIPE_U32: buf_printf(out, "%u", *(const uint32_t *)at); break;
    case RECIPE_U64: buf_printf(out, "%llu", (unsigned long long)*(const uint64_t *)at); break;
    case RECIPE_F64: put_double(out, *(const double *)at); break;
    case RECIPE_WORD: put_index_word(out, k->words, *(const int *)at); break;
    case RECIPE_TEXT: put_quoted(out, *(char *const *)at, "\"\\\n\t #"); break;
    case RECIPE_TEXTS: put_quoted(out, r->run.prompt[j], "\"\\\n\t #"); break;
    case RECIPE_SOURCES: put_source(out, &r->data.source[j]); break;
    }
}

void recipe_value_core(const struct train_recipe *r, size_t i, size_t j, struct buf *out)
{
    if (recipe_keys[i].kind == RECIPE_SOURCES)
        put_weight(out, &r->data.source[j]);
    else
        recipe_value_text(r, i, j, out);
}
