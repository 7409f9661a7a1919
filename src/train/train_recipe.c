/* A recipe's text: sections, keys, values; and a resolved recipe written back. */
#include "train/recipe_keys.h"

enum { RECIPE_BYTES_MAX = 1 << 20 };

static void put_presets(struct train_recipe *r)
{
    struct err err;
    for (size_t i = 0; recipe_keys[i].name; i++) {
        check(i < RECIPE_KEYS_MAX);
        if (recipe_keys[i].preset)        /* numbers and words: nothing is taken for them */
            check(recipe_value_put(r, i, "default", recipe_keys[i].preset, &err));
    }
}

void train_recipe_init(struct train_recipe *r)
{
    *r = (struct train_recipe){ 0 };
    put_presets(r);
}

void train_recipe_release(struct train_recipe *r)
{
    for (size_t i = 0; recipe_keys[i].name; i++)
        recipe_value_clear(r, i);
    json_decref(r->config);
    mem_give(r->file);
    *r = (struct train_recipe){ 0 };
}

static const char *section_word(size_t i, const void *arg)
{
    (void)arg;
    for (const struct recipe_key *k = recipe_keys; k->name; k++)
        if (k == recipe_keys || strcmp(k->section, k[-1].section))
            if (i-- == 0)
                return k->section;
    return NULL;
}

static const char *key_word(size_t i, const void *section)
{
    for (const struct recipe_key *k = recipe_keys; k->name; k++)
        if (!strcmp(k->section, section) && i-- == 0)
            return k->name;
    return NULL;
}

static bool has_section(const char *name)
{
    for (size_t i = 0; section_word(i, NULL); i++)
        if (!strcmp(section_word(i, NULL), name))
            return true;
    return false;
}

static bool unknown_section(const char *where, const char *name, struct err *err)
{
    struct buf all = { 0 };
    const char *near = nearest_word(name, section_word, NULL);
    for (size_t i = 0; section_word(i, NULL); i++)
        buf_printf(&all, "%s%s", i ? ", " : "", section_word(i, NULL));
    fail(err, ERR_USAGE, "%s: there is no section \"%.80s\"%s%s%s; a recipe has %s", where, name,
         near ? ", did you mean " : "", near ? near : "", near ? "?" : "",
         all.at && !all.failed ? all.at : "others");
    buf_release(&all);
    return false;
}

/* The section that has a key of this name, for a key in the wrong one. */
static const char *other_section(const char *name)
{
    for (const struct recipe_key *k = recipe_keys; k->name; k++)
        if (!strcmp(k->name, name))
            return k->section;
    return NULL;
}

static bool unknown_key(const char *where, const char *section, const char *name,
                        struct err *err)
{
    const char *near = nearest_word(name, key_word, section), *other = other_section(name);
    if (other && strcmp(other, section))
        return fail(err, ERR_USAGE, "%s: %.80s belongs to section %s, not %s", where, name, other,
                    section);
    return fail(err, ERR_USAGE, "%s: section %s has no key \"%.80s\"%s%s%s; `kexa pretrain "
                "--explain` lists all", where, section, name, near ? "; did you mean " : "",
                near ? near : "", near ? "?" : "");
}

static bool is_list(size_t i)
{
    return recipe_keys[i].kind == RECIPE_SOURCES || recipe_keys[i].kind == RECIPE_TEXTS;
}

/* The value between quotes, in place. */
static bool unquote(char *value, const char *where, struct err *err)
{
    char *to = value, *p = value + 1;
    for (; *p && *p != '"'; p++) {
        bool escaped = *p == '\\' && p[1];
        p += escaped;
        *to++ = escaped && *p == 'n' ? '\n' : *p;
    }
    if (*p != '"' || p[1])
        return fail(err, ERR_USAGE, "%s: %s", where, *p ? "something stands after the closing "
                    "quote" : "a quote is not closed");
    *to = 0;
    return true;
}

static bool put_value(struct train_recipe *r, size_t i, const char *where, char *value,
                      struct err *err)
{
    if (*value == '"' && recipe_keys[i].kind != RECIPE_SOURCES && !unquote(value, where, err))
        return false;
    return recipe_value_put(r, i, where, value, err);
}

static char *trim(char *at)
{
    at += strspn(at, " \t\r");
    size_t n = strlen(at);
    while (n && strchr(" \t\r", at[n - 1]))
        n--;
    at[n] = 0;
    return at;
}

/* Ends the line at a # that begins it or follows a blank, outside quotes. */
static void cut_comment(char *line)
{
    bool quoted = false;
    for (char *p = line; *p; p++) {
        if (quoted && *p == '\\' && p[1])
            p++;
        else if (*p == '"')
            quoted = !quoted;
        else if (*p == '#' && !quoted && (p == line || p[-1] == ' ' || p[-1] == '\t'))
            *p = 0;
        if (!*p)
            break;
    }
}

static bool read_key(struct train_recipe *r, const char *where, uint32_t line,
                     const char *section, char *text, struct err *err)
{
    char *eq = strchr(text, '=');
    if (!eq)
        return fail(err, ERR_USAGE, "%s: \"%.80s\" is neither [section] nor key = value", where,
                    text);
    *eq = 0;
    char *name = trim(text);
    if (!*section)
        return fail(err, ERR_USAGE, "%s: %.80s stands before the first [section]", where, name);
    size_t i = recipe_key_find(section, name);
    if (i == SIZE_MAX)
        return unknown_key(where, section, name, err);
    if (r->line[i] && !is_list(i))
        return fail(err, ERR_USAGE, "%s: %s.%s is given again; line %u has it already", where,
                    section, name, r->line[i]);
    r->line[i] = line;
    return put_value(r, i, where, trim(eq + 1), err);
}

static bool read_line(struct train_recipe *r, uint32_t line, char *text, char section[32],
                      struct err *err)
{
    char where[300];
    snprintf(where, sizeof where, "%.280s:%u", r->file, line);
    cut_comment(text);
    text = trim(text);
    size_t n = strlen(text);
    if (!n)
        return true;
    if (*text != '[')
        return read_key(r, where, line, section, text, err);
    if (text[n - 1] != ']')
        return fail(err, ERR_USAGE, "%s: \"%.80s\" has no closing bracket", where, text);
    text[n - 1] = 0;
    text = trim(text + 1);
    if (!has_section(text))
        return unknown_section(where, text, err);
    snprintf(section, 32, "%s", text);
    return true;
}

static bool read_lines(struct train_recipe *r, char *text, struct err *err)
{
    char section[32] = "", *next = text;
    for (uint32_t line = 1; next; line++) {
        char *at = next;
        if ((next = strchr(at, '\n')))
            *next++ = 0;
        if (!read_line(r, line, at, section, err))
            return false;
    }
    return true;
}

/* Logs and checkpoints hold the recipe as JSON. */
static bool check_utf8(const char *where, struct bytes text, struct err *err)
{
    size_t n = bytes_utf8(text), line = 1;
    for (size_t i = 0; i < n; i++)
        line += text.at[i] == '\n';
    return n == text.len
           || fail(err, ERR_FORMAT, "%s: line %zu is not UTF-8: it has a byte 0x%02x", where, line,
                   text.at[n]);
}

bool train_recipe_read(struct train_recipe *r, const char *file, struct bytes text,
                       struct err *err)
{
    if (text.len >= 3 && !memcmp(text.at, "\xef\xbb\xbf", 3)) {   /* a byte order mark */
        text.at += 3;
        text.len -= 3;
    }
    char *copy = mem_copy_text((const char *)text.at, text.len);
    char *name = mem_copy_text(file, strlen(file));
    mem_give(r->file);
    r->file = name;
    bool ok = (copy && name) || fail(err, ERR_MEMORY, "out of memory for the recipe");
    if (ok && text.len && memchr(text.at, 0, text.len))
        ok = fail(err, ERR_FORMAT, "%s: a byte 0 in a recipe; it is a text file", file);
    ok = ok && check_utf8(file, text, err);
    ok = ok && read_lines(r, copy, err);
    mem_give(copy);
    return ok;
}

bool train_recipe_load(struct train_recipe *r, const char *path, struct err *err)
{
    struct buf text = { 0 };
    bool ok = file_read(&text, path, RECIPE_BYTES_MAX, err)
              && train_recipe_read(r, path, (struct bytes){ (const uint8_t *)text.at, text.len },
                                   err);
    buf_release(&text);
    return ok;
}

static bool set_key(struct train_recipe *r, const char *option, char *text, struct err *err)
{
    char where[120], *eq = strchr(text, '='), *dot = strchr(text, '.');
    if (!eq || !dot || dot > eq)
        return fail(err, ERR_USAGE, "%s: \"%.80s\" is not section.key=value", option, text);
    *eq = *dot = 0;
    char *section = trim(text), *name = trim(dot + 1);
    snprintf(where, sizeof where, "%s", option);
    if (!has_section(section))
        return unknown_section(where, section, err);
    size_t i = recipe_key_find(section, name);
    if (i == SIZE_MAX)
        return unknown_key(where, section, name, err);
    if (is_list(i) && !r->option[i])
        recipe_value_clear(r, i);
    r->option[i] = option;
    return put_value(r, i, where, trim(eq + 1), err);
}

bool train_recipe_set(struct train_recipe *r, const char *option, const char *assignment,
                      struct err *err)
{
    char *copy = mem_copy_text(assignment, strlen(assignment));
    bool ok = (copy || fail(err, ERR_MEMORY, "out of memory for %s", option))
              && check_utf8(option, bytes_of(assignment), err) && set_key(r, option, copy, err);
    mem_give(copy);
    return ok;
}

void train_recipe_write(const struct train_recipe *r, struct buf *out)
{
    const char *section = "";
    for (size_t i = 0; recipe_keys[i].name; i++) {
        const struct recipe_key *k = &recipe_keys[i];
        size_t n = recipe_value_count(r, i);
        if (strcmp(k->section, section))
            buf_printf(out, "%s[%s]\n", *section ? "\n" : "", k->section);
        section = k->section;
        if (k->at == offsetof(struct train_recipe, run.tokens))
            continue;                     /* steps say it */
        for (size_t j = 0; j < n; j++) {
            buf_printf(out, "%s = ", k->name);
            recipe_value_text(r, i, j, out);
            buf_text(out, "\n");
        }
    }
}

typedef void value_text_fn(const struct train_recipe *r, size_t i, size_t j, struct buf *out);

static void put_values(const struct train_recipe *r, size_t i, value_text_fn *put,
                       struct buf *out)
{
    for (size_t j = 0; j < recipe_value_count(r, i); j++) {
        buf_text(out, j ? "; " : "");
        put(r, i, j, out);
    }
}

static bool other_value(const struct train_recipe *was, const struct train_recipe *now, size_t i,
                        struct err *err)
{
    const struct recipe_key *k = &recipe_keys[i];
    struct buf a = { 0 }, b = { 0 };
    char where[300];
    put_values(was, i, recipe_value_text, &a);
    put_values(now, i, recipe_value_text, &b);
    recipe_where(now, i, where, sizeof where);
    if (buf_ok(&a, err) && buf_ok(&b, err))
        fail(err, ERR_USAGE, "%s: %s.%s is %.300s, but the run began with %.300s; to go on "
             "keep it, or begin another run in another folder", where, k->section, k->name,
             b.len ? b.at : "nothing", a.len ? a.at : "nothing");
    buf_release(&a);
    buf_release(&b);
    return false;
}

static bool same_value(const struct train_recipe *was, const struct train_recipe *now, size_t i,
                       struct err *err)
{
    struct buf a = { 0 }, b = { 0 };
    put_values(was, i, recipe_value_core, &a);
    put_values(now, i, recipe_value_core, &b);
    bool ok = buf_ok(&a, err) && buf_ok(&b, err);
    if (ok && (a.len != b.len || (a.len && memcmp(a.at, b.at, a.len))))
        ok = other_value(was, now, i, err);
    buf_release(&a);
    buf_release(&b);
    return ok;
}

bool train_recipe_same(const struct train_recipe *was, const struct train_recipe *now,
                       struct err *err)
{
    /* First what others follow from. */
    if (!same_value(was, now, recipe_key_at(offsetof(struct train_recipe, model.init_from)), err))
        return false;
    for (size_t i = 0; recipe_keys[i].name; i++)
        if (recipe_keys[i].decides && !same_value(was, now, i, err))
            return false;
    return true;
}
