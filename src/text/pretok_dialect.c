/* Whether Oniguruma and PCRE2 read a pattern alike, and the pattern as PCRE2 wants it. */
#include "text/pretok.h"

/* Where they do not: escapes with another meaning, or of another set of characters. */
static const char other_escapes[] = "bBCgGhHkKNORvVwWXyYZ";

static bool refuse(const char *what, const char *at, struct err *err)
{
    return fail(err, ERR_UNSUPPORTED, "the pre_tokenizer's pattern has %s at \"%.20s\", which this "
                "build cannot be sure to read as the tokenizers package does", what, at);
}

/* At "(?": groups without a name, looking around, and (?i:...). */
static bool is_known_group(const char *at)
{
    const char *p = at + 2;
    if (*p == ':' || *p == '=' || *p == '!' || *p == '>')
        return true;
    if (*p == '<')
        return p[1] == '=' || p[1] == '!';
    return *p == 'i' && p[1] == ':';
}

static const char *trouble(const char *at, bool in_class, bool repeated)
{
    if (at[0] == '\\')
        return !at[1] || strchr(other_escapes, at[1]) ? "an escape" : NULL;
    if (in_class)
        return at[0] == '[' ? "a class in a class"
             : at[0] == '&' && at[1] == '&' ? "an intersection" : NULL;
    if (at[0] == '(' && (at[1] == '*' || (at[1] == '?' && !is_known_group(at))))
        return "a group";
    return (at[0] == '{' && at[1] == ',') || (at[0] == '+' && repeated) ? "a repetition" : NULL;
}

/* Copies an escape, \s and \S as White_Space; gives its length. */
static size_t put_escape(const char *at, struct buf *out)
{
    size_t n = 2;
    if (at[1] == 's' || at[1] == 'S') {
        buf_text(out, at[1] == 's' ? "\\p{wspace}" : "\\P{wspace}");
        return n;
    }
    if (at[2] == '{' && strchr("pPx", at[1]))
        n += strcspn(at + 2, "}") + (strchr(at + 2, '}') != NULL);
    buf_put(out, at, n);
    return n;
}

bool pretok_to_pcre2(const char *pattern, struct buf *out, struct err *err)
{
    bool in_class = false, repeated = false;
    for (const char *at = pattern; *at;) {
        const char *what = trouble(at, in_class, repeated);
        if (what)
            return refuse(what, at, err);
        repeated = !in_class && *at == '}';
        if (*at == '\\') {
            at += put_escape(at, out);
            continue;
        }
        size_t n = *at == '[' ? 1 + (at[1] == '^') : 1;
        in_class = in_class ? *at != ']' : *at == '[';
        buf_put(out, at, n);
        at += n;
        if (in_class && *at == ']' && (at[-1] == '[' || at[-1] == '^'))
            return refuse("an empty class", at, err);
    }
    return buf_ok(out, err);
}
