#include "text/pretok.h"

enum { MAX_STEPS = 8 };

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

static bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

bool pretok_refuse(const char *what, const json_t *v, struct err *err)
{
    char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    struct buf known = { 0 };
    pretok_list(&known);
    fail(err, ERR_UNSUPPORTED, "%s: %.400s; the known pre-tokenizers are %s", what,
         text ? text : "?", known.at ? known.at : "?");
    buf_release(&known);
    free(text);
    return false;
}

/*
 * Every known pattern matches all text, so cutting out the matches (Isolated) and
 * dropping what is between them (Removed, inverted) are the same.
 */
static bool spell_split(const json_t *v, struct buf *out, struct err *err)
{
    const char *how = text_of(v, "behavior");
    const json_t *pattern = json_object_get(v, "pattern");
    bool keeps = !strcmp(how, "Isolated") || (!strcmp(how, "Removed") && is_true(v, "invert"));
    if (!keeps || !json_is_string(json_object_get(pattern, "Regex")))
        return pretok_refuse("a Split step that is not an isolating Regex", v, err);
    buf_printf(out, "split:%s", text_of(pattern, "Regex"));
    return true;
}

static bool spell_step(const json_t *v, struct buf *out, struct err *err)
{
    const char *type = text_of(v, "type");
    if (!strcmp(type, "Split"))
        return spell_split(v, out, err);
    if (!strcmp(type, "Digits") && is_true(v, "individual_digits")) {
        buf_text(out, "digits");
        return true;
    }
    if (!strcmp(type, "ByteLevel") && !is_true(v, "add_prefix_space")) {
        const json_t *use = json_object_get(v, "use_regex");
        buf_text(out, !use || json_is_true(use) ? "bytelevel:" PRETOK_GPT2_REGEX : "bytelevel");
        return true;
    }
    return pretok_refuse("this build cannot do the pre_tokenizer step", v, err);
}

bool pretok_spell(const json_t *v, struct buf *out, struct err *err)
{
    const json_t *steps = json_object_get(v, "pretokenizers");
    if (strcmp(text_of(v, "type"), "Sequence"))
        return spell_step(v, out, err);
    size_t n = json_array_size(steps);
    if (n > MAX_STEPS)
        return fail(err, ERR_UNSUPPORTED, "the pre_tokenizer has %zu steps; the most is %d",
                    n, MAX_STEPS);
    for (size_t i = 0; i < n; i++) {
        buf_text(out, i ? " + " : "");
        if (!spell_step(json_array_get(steps, i), out, err))
            return false;
    }
    return true;
}

bool pretok_splits_nothing(const json_t *v)
{
    return !v || json_is_null(v) || (!strcmp(text_of(v, "type"), "Split") && !is_true(v, "invert")
           && !strcmp(text_of(json_object_get(v, "pattern"), "String"), " "));
}

/* NULL without ERR_MEMORY: there is none. */
static const struct pretok *find_scanner(const json_t *v, struct err *err)
{
    struct buf spelling = { 0 };
    const struct pretok *found = NULL;
    bool ok = pretok_spell(v, &spelling, err) && buf_ok(&spelling, err);
    for (const struct pretok *p = pretoks; ok && p->name && !found; p++)
        for (size_t i = 0; i < sizeof p->json / sizeof *p->json && p->json[i]; i++)
            if (spelling.len && !strcmp(spelling.at, p->json[i]))
                found = p;
    buf_release(&spelling);
    return found;
}

const struct pretok *pretok_of_json(const json_t *v, struct pretok_pattern **pattern,
                                    struct err *err)
{
    struct err why = { 0 };
    const struct pretok *found = find_scanner(v, &why);
    if (why.code == ERR_MEMORY)
        fail(err, ERR_MEMORY, "%s", why.msg);
    if (found || why.code == ERR_MEMORY)
        return found;
    *pattern = pretok_pattern_open(v, err);
    return *pattern ? &pretok_general : NULL;
}

static json_t *byte_level(bool use_regex)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", use_regex);
}

/* One step of a spelling, n bytes long; the inverse of spell_step(). */
static json_t *step_of(const char *step, size_t n)
{
    size_t head = strlen("split:");
    if (n == strlen("digits") && !strncmp(step, "digits", n))
        return json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 1);
    if (n > head && !strncmp(step, "split:", head))
        return json_pack("{s:s, s:{s:s%}, s:s, s:b}", "type", "Split", "pattern", "Regex",
                         step + head, n - head, "behavior", "Isolated", "invert", 0);
    return byte_level(n > strlen("bytelevel"));
}

/* The end of the step at `at`: before " + " and the beginning of another. */
static size_t step_length(const char *at)
{
    static const char *const begins[] = { " + digits", " + split:", " + bytelevel" };
    size_t n = strlen(at);
    for (size_t i = 0; i < 3; i++) {
        const char *found = strstr(at, begins[i]);
        if (found && (size_t)(found - at) < n)
            n = (size_t)(found - at);
    }
    return n;
}

json_t *pretok_to_json(const struct pretok *p)
{
    const char *at = p->json[0];
    for (const struct pretok *q = pretoks; q->name && !at; q++)
        at = q->next == p->next ? q->json[0] : NULL;
    json_t *steps = at ? json_array() : NULL;
    while (steps && *at) {
        size_t n = step_length(at);
        if (json_array_append_new(steps, step_of(at, n)) != 0) {
            json_decref(steps);
            return NULL;
        }
        at += n + (at[n] ? strlen(" + ") : 0);
    }
    if (json_array_size(steps) != 1)
        return steps ? json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", steps) : NULL;
    json_t *one = json_incref(json_array_get(steps, 0));
    json_decref(steps);
    return one;
}
