#include "text/pretok_pattern.h"

#include "text/pretok.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <time.h>

enum {
    MAX_STEPS = 8, MAX_PATTERN = 1 << 16,
    MATCH_LIMIT = 10000000,               /* steps of one match: some tenths of a second */
    HEAP_LIMIT_KIB = 1 << 16,
    MATCHES_PER_LOOK = 16                 /* at the clock */
};
#define FIXED_NS 1000000000u              /* CPU time for one text, and for each byte of it */
#define BYTE_NS 4000u

/* What becomes of matches and of what is between them. */
enum how { ISOLATED, REMOVED, WITH_PREVIOUS, WITH_NEXT, CONTIGUOUS };
static const char *const how_names[] = {
    "Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"
};

struct step {
    pcre2_code *code;
    enum how how;
    bool invert;
};

struct pretok_pattern {
    struct step step[MAX_STEPS];
    size_t n;
    bool bytes;                           /* there was a ByteLevel */
    uint64_t hash;                        /* of all steps */
    json_t *source;                       /* the value it was read from */
    pcre2_general_context *memory;
    pcre2_match_context *limits;
};

/* ---- opening -------------------------------------------------------------------------- */

static void *take(size_t size, void *arg)
{
    (void)arg;
    return mem_take(size, 1);
}

static void give(void *at, void *arg)
{
    (void)arg;
    mem_give(at);
}

static bool add_step(struct pretok_pattern *p, const char *pattern, uint32_t flags, enum how how,
                     bool invert, struct err *err)
{
    int code;
    PCRE2_SIZE at;
    PCRE2_UCHAR why[120];
    if (p->n == MAX_STEPS || strlen(pattern) > MAX_PATTERN)
        return fail(err, ERR_LIMIT, "the pre_tokenizer has more than %d steps, or a pattern of "
                    "more than %d bytes", MAX_STEPS, MAX_PATTERN);
    pcre2_compile_context *c = pcre2_compile_context_create(p->memory);
    pcre2_code *re = !c ? NULL : pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                               flags | PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &code,
                                               &at, c);
    pcre2_compile_context_free(c);
    if (!c || (!re && code == PCRE2_ERROR_HEAP_FAILED))
        return fail(err, ERR_MEMORY, "no memory for the pre_tokenizer's pattern");
    if (!re) {
        pcre2_get_error_message(code, why, sizeof why);
        return fail(err, ERR_UNSUPPORTED, "the pre_tokenizer's pattern \"%.80s\": %s, at byte %zu",
                    pattern, (char *)why, (size_t)at);
    }
    p->hash = hash_bytes(bytes_of(pattern), p->hash + ((uint64_t)flags << 8) + 2 * how + invert);
    p->step[p->n++] = (struct step){ re, how, invert };
    return true;
}

static bool add_regex(struct pretok_pattern *p, const char *pattern, enum how how, bool invert,
                      struct err *err)
{
    struct buf b = { 0 };
    bool ok = pretok_to_pcre2(pattern, &b, err) &&
              add_step(p, b.at ? b.at : "", PCRE2_UCP | PCRE2_MULTILINE, how, invert, err);
    buf_release(&b);
    return ok;
}

static bool add_split(struct pretok_pattern *p, const json_t *v, struct err *err)
{
    const json_t *pattern = json_object_get(v, "pattern");
    const char *text = json_string_value(json_object_get(pattern, "String"));
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *name = json_string_value(json_object_get(v, "behavior"));
    bool invert = json_is_true(json_object_get(v, "invert"));
    for (size_t i = 0; name && i < sizeof how_names / sizeof *how_names; i++)
        if (!strcmp(name, how_names[i]) && regex)
            return add_regex(p, regex, (enum how)i, invert, err);
        else if (!strcmp(name, how_names[i]) && text && *text)
            return add_step(p, text, PCRE2_LITERAL, (enum how)i, invert, err);
    return pretok_refuse("this build cannot do the pre_tokenizer step", v, err);
}

static bool add_any(struct pretok_pattern *p, const json_t *v, struct err *err)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    const json_t *use = json_object_get(v, "use_regex");
    if (type && !strcmp(type, "Split"))
        return add_split(p, v, err);
    if (type && !strcmp(type, "Digits"))
        return add_regex(p, json_is_true(json_object_get(v, "individual_digits")) ? "\\p{N}"
                         : "\\p{N}+", ISOLATED, false, err);
    if (!type || strcmp(type, "ByteLevel") || json_is_true(json_object_get(v, "add_prefix_space")))
        return pretok_refuse("this build cannot do the pre_tokenizer step", v, err);
    p->bytes = true;
    return (use && !json_is_true(use)) || add_regex(p, PRETOK_GPT2_REGEX, ISOLATED, false, err);
}

static bool add_all(struct pretok_pattern *p, const json_t *v, struct err *err)
{
    const json_t *steps = json_object_get(v, "pretokenizers"), *one;
    size_t i;
    if (!json_is_array(steps))
        return add_any(p, v, err);
    json_array_foreach(steps, i, one)
        if (!add_any(p, one, err))
            return false;
    return true;
}

static bool fill(struct pretok_pattern *p, const json_t *v, struct err *err)
{
    p->memory = pcre2_general_context_create(take, give, NULL);
    p->limits = p->memory ? pcre2_match_context_create(p->memory) : NULL;
    if (!p->limits)
        return fail(err, ERR_MEMORY, "no memory for the pre_tokenizer");
    pcre2_set_match_limit(p->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(p->limits, HEAP_LIMIT_KIB);
    if (!add_all(p, v, err))
        return false;
    return p->bytes || pretok_refuse("there is no ByteLevel step in the pre_tokenizer", v, err);
}

struct pretok_pattern *pretok_pattern_open(const json_t *v, struct err *err)
{
    struct pretok_pattern *p = mem_take(1, sizeof *p);
    if (!p) {
        fail(err, ERR_MEMORY, "no memory for the pre_tokenizer");
        return NULL;
    }
    p->source = v ? json_deep_copy(v) : json_null();
    if (p->source ? fill(p, v, err) : fail(err, ERR_MEMORY, "no memory for the pre_tokenizer"))
        return p;
    pretok_pattern_close(p);
    return NULL;
}

void pretok_pattern_close(struct pretok_pattern *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        pcre2_code_free(p->step[i].code);
    pcre2_match_context_free(p->limits);
    pcre2_general_context_free(p->memory);
    json_decref(p->source);
    mem_give(p);
}

json_t *pretok_pattern_json(const struct pretok_pattern *p)
{
    return json_deep_copy(p->source);
}

uint64_t pretok_pattern_hash(const struct pretok_pattern *p)
{
    return p->hash;
}

/* ---- splitting ------------------------------------------------------------------------ */

struct run {
    const struct pretok_pattern *p;
    pcre2_match_data *match;
    size_t text_len, n_matches;
    uint64_t end_ns;                      /* of this thread's CPU time */
    pretok_piece_fn *fn;
    void *arg;
};

/* A piece that may still grow; from == to: none. */
struct open_piece {
    const uint8_t *from, *to;
    bool match;
};

static bool split_from(struct run *r, size_t step, struct bytes text, struct err *err);

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool too_long(const struct run *r, struct err *err)
{
    return fail(err, ERR_LIMIT, "the pattern of this tokenizer's pre_tokenizer takes too long on a "
                "text of %zu bytes; use shorter texts, or a tokenizer without it", r->text_len);
}

static bool flush(struct run *r, size_t step, struct open_piece *o, struct err *err)
{
    struct bytes piece = { o->from, (size_t)(o->to - o->from) };
    o->from = o->to;
    return !piece.len || split_from(r, step + 1, piece, err);
}

/* The next match or what is between two: what came before it may now be a whole piece. */
static bool put_span(struct run *r, size_t step, struct open_piece *o, const uint8_t *from,
                     const uint8_t *to, bool match, struct err *err)
{
    enum how how = r->p->step[step].how;
    bool open = o->from != o->to;
    if (from == to || (how == REMOVED && match))
        return true;
    bool joins = open && ((how == CONTIGUOUS && o->match == match) ||
                          (how == WITH_PREVIOUS && match && !o->match) ||
                          (how == WITH_NEXT && !match && o->match));
    if (!joins && !flush(r, step, o, err))
        return false;
    if (!joins)
        o->from = from;
    o->to = to;
    o->match = how == WITH_NEXT && joins ? false : match;
    return true;
}

/* The first match at or after text.at[at]; *found: there is one. */
static bool find(struct run *r, size_t step, struct bytes text, size_t at, size_t *from,
                 size_t *to, bool *found, struct err *err)
{
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(r->match);
    if (r->n_matches++ % MATCHES_PER_LOOK == 0 && cpu_ns() > r->end_ns)
        return too_long(r, err);
    int n = pcre2_match(r->p->step[step].code, text.at, text.len, at, 0, r->match, r->p->limits);
    if (n == PCRE2_ERROR_MATCHLIMIT || n == PCRE2_ERROR_HEAPLIMIT || n == PCRE2_ERROR_DEPTHLIMIT)
        return too_long(r, err);
    if (n == PCRE2_ERROR_NOMEMORY)
        return fail(err, ERR_MEMORY, "no memory to split a text of %zu bytes", r->text_len);
    *found = n >= 0;
    if (n < 0 && n != PCRE2_ERROR_NOMATCH)
        return fail(err, ERR_UNSUPPORTED, "the pattern of this tokenizer's pre_tokenizer fails on "
                    "a text of %zu bytes (PCRE2 says %d)", r->text_len, n);
    *from = o[0];
    *to = o[1];
    return true;
}

static bool split_from(struct run *r, size_t step, struct bytes text, struct err *err)
{
    if (step == r->p->n)
        return r->fn(r->arg, text, err);
    bool invert = r->p->step[step].invert, found = true;
    struct open_piece o = { text.at, text.at, false };
    size_t done = 0, at = 0, from = 0, to = 0;
    while (at <= text.len && found) {
        if (!find(r, step, text, at, &from, &to, &found, err))
            return false;
        if (!found)
            break;
        if (!put_span(r, step, &o, text.at + done, text.at + from, invert, err) ||
            !put_span(r, step, &o, text.at + from, text.at + to, !invert, err))
            return false;
        done = to;
        at = to > from ? to : to + 1;     /* after an empty match */
        while (at < text.len && (text.at[at] & 0xC0) == 0x80)
            at++;
    }
    return put_span(r, step, &o, text.at + done, text.at + text.len, invert, err) &&
           flush(r, step, &o, err);
}

bool pretok_pattern_split(const struct pretok_pattern *p, struct bytes text,
                          pretok_piece_fn *fn, void *arg, struct err *err)
{
    struct run r = { .p = p, .text_len = text.len, .fn = fn, .arg = arg };
    r.end_ns = cpu_ns() + FIXED_NS + BYTE_NS * (uint64_t)text.len;
    r.match = pcre2_match_data_create(1, p->memory);
    if (!r.match)
        return fail(err, ERR_MEMORY, "no memory to split a text of %zu bytes", text.len);
    bool ok = !text.len || split_from(&r, 0, text, err);
    pcre2_match_data_free(r.match);
    return ok;
}
