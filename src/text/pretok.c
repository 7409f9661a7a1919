#include "text/pretok.h"

#include "text/unicode.h"

static bool is_other(struct unit u)
{
    return u.len && !(u.class & (UC_SPACE | UC_LETTER | UC_NUMBER));
}

static inline bool is_ascii_letter(uint8_t c)
{
    return (unsigned)(c | 0x20) - 'a' < 26;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/* How many of the eight bytes at `at` are ASCII letters, from the first on. */
static inline unsigned leading_letters(const uint8_t *at)
{
    const uint64_t ones = 0x0101010101010101u, high = ones << 7;
    uint64_t x;
    memcpy(&x, at, sizeof x);
    uint64_t low = (x | ones * 0x20) & ~high;
    uint64_t other = ~(low + ones * (0x80 - 'a')) | (low + ones * (0x7F - 'z')) | x;
    other &= high;
    return other ? (unsigned)__builtin_ctzll(other) >> 3 : 8;
}
#else
static inline unsigned leading_letters(const uint8_t *at)
{
    unsigned n = 0;
    while (n < 8 && is_ascii_letter(at[n]))
        n++;
    return n;
}
#endif

/* Past units of a class that has the letters, and of the others only marks. */
static inline const uint8_t *skip_letters(const uint8_t *at, const uint8_t *end, unsigned class)
{
    for (;;) {
        while (at < end && *at >= 0x80) {
            struct unit u = unit_wide(at, end);
            if (!(u.class & class))
                return at;
            at += u.len;
        }
        unsigned n = 8;
        while (n == 8 && end - at >= 8) {
            n = leading_letters(at);
            at += n;
        }
        while (at < end && is_ascii_letter(*at))
            at++;
        if (at == end || *at < 0x80)
            return at;
    }
}

static const uint8_t *skip_class(const uint8_t *at, const uint8_t *end, unsigned class)
{
    for (struct unit u = unit_at(at, end); u.class & class; u = unit_at(at, end))
        at += u.len;
    return at;
}

static const uint8_t *skip_other(const uint8_t *at, const uint8_t *end)
{
    for (struct unit u = unit_at(at, end); is_other(u); u = unit_at(at, end))
        at += u.len;
    return at;
}

/* 's 't 're 've 'm 'll 'd at `at`: its length, or 0.  fold: 0x20 for either case. */
static size_t contraction(const uint8_t *at, const uint8_t *end, uint8_t fold)
{
    size_t left = (size_t)(end - at);
    if (left < 2 || *at != '\'')
        return 0;
    uint8_t a = at[1] | fold, b = left > 2 ? at[2] | fold : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    bool two = (b == 'e' && (a == 'r' || a == 'v')) || (b == 'l' && a == 'l');
    return two ? 3 : 0;
}

/*
 * \s+(?!\S)|\s+ from a White_Space unit: the whole run where the text (or, for smollm,
 * the part before a digit) ends with it, else all but its last unit, which may be the
 * space that the next piece begins with.
 */
static size_t space_run(const uint8_t *at, const uint8_t *end, unsigned stop_class)
{
    const uint8_t *p = at, *last = at;
    struct unit u = unit_at(p, end);
    while (u.class & UC_SPACE) {
        last = p;
        p += u.len;
        u = unit_at(p, end);
    }
    bool whole = !u.len || (u.class & stop_class) || last == at;
    return (size_t)((whole ? p : last) - at);
}

/*
 * GPT-2's pattern.  With `digits`, every \p{N} is first cut out alone and the pattern
 * sees only what is between them.
 */
static inline size_t gpt2_or_digits(const uint8_t *at, const uint8_t *end, bool digits)
{
    size_t n = contraction(at, end, 0);
    if (n)
        return n;
    struct unit u = unit_at(at, end);
    if (digits && (u.class & UC_NUMBER))
        return u.len;
    struct unit first = u;
    const uint8_t *p = at;
    if (u.cp == ' ')
        first = unit_at(++p, end);
    if (first.class & UC_LETTER)
        return (size_t)(skip_letters(p + first.len, end, UC_LETTER) - at);
    if (!digits && (first.class & UC_NUMBER))
        return (size_t)(skip_class(p + first.len, end, UC_NUMBER) - at);
    if (is_other(first))
        return (size_t)(skip_other(p + first.len, end) - at);
    return space_run(at, end, digits ? UC_NUMBER : 0);
}

static size_t next_gpt2(const uint8_t *at, const uint8_t *end)
{
    return gpt2_or_digits(at, end, false);
}

static size_t next_smollm(const uint8_t *at, const uint8_t *end)
{
    return gpt2_or_digits(at, end, true);
}

/* Whether a space and a letter follow: another word of the same piece. */
static inline bool more_words(const uint8_t *at, const uint8_t *end)
{
    return at < end && *at == ' ' && (unit_at(at + 1, end).class & UC_LETTER);
}

/* L M*(?:L M*)* from a letter. */
static inline const uint8_t *skip_word(const uint8_t *at, const uint8_t *end)
{
    return skip_letters(at + unit_at(at, end).len, end, UC_LETTER | UC_MARK);
}

/* (?:L M*(?: L M*)*)+ from a letter: words joined by single spaces. */
static const uint8_t *skip_words(const uint8_t *at, const uint8_t *end)
{
    for (at = skip_word(at, end); more_words(at, end); at = skip_word(at + 1, end))
        ;
    return at;
}

/* \s*[\r\n] : up to and with the last line break of the run; 0 if it has none. */
static size_t line_breaks(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *p = at;
    size_t n = 0;
    for (struct unit u = unit_at(p, end); u.class & UC_SPACE; u = unit_at(p, end)) {
        p += u.len;
        if (u.cp == '\r' || u.cp == '\n')
            n = (size_t)(p - at);
    }
    return n;
}

/*
 * The order of tests is the order of the pattern's alternatives.  The / in its tail
 * class [\r\n/]? never matters: the run before it has already taken every slash.
 */
static size_t next_exaone_moe_ascii(const uint8_t *at, const uint8_t *end)
{
    size_t n = contraction(at, end, 0x20);
    if (n)
        return n;
    struct unit u = unit_at(at, end), v = unit_at(at + u.len, end);
    bool is_break = u.cp == '\r' || u.cp == '\n';
    if (u.class & UC_LETTER)
        return (size_t)(skip_words(at, end) - at);
    if (u.class & UC_NUMBER)
        return u.len;
    if (!is_break && (v.class & UC_LETTER))
        return (size_t)(skip_words(at + u.len, end) - at);
    if (is_other(u) || (u.cp == ' ' && is_other(v))) {
        const uint8_t *p = skip_other(at + u.len, end);
        struct unit tail = unit_at(p, end);
        if (tail.cp == '\r' || tail.cp == '\n')
            p++;
        return (size_t)(p - at);
    }
    n = line_breaks(at, end);
    return n ? n : space_run(at, end, 0);
}

/*
 * The models' own patterns say (?i:'s|...), and under Unicode's case folding U+017F, the
 * long s, is an s too: 'ſ is cut off as a contraction.  No other letter of the seven has
 * a third form.
 */
static size_t long_s(const uint8_t *at, const uint8_t *end)
{
    static const uint8_t text[] = { '\'', 0xC5, 0xBF };
    bool found = *at == '\'' && (size_t)(end - at) >= sizeof text &&
                 !memcmp(at, text, sizeof text);
    return found ? sizeof text : 0;
}

static size_t next_exaone_moe(const uint8_t *at, const uint8_t *end)
{
    size_t n = long_s(at, end);
    return n ? n : next_exaone_moe_ascii(at, end);
}

/* \p{N}{1,most}, from a number. */
static size_t numbers(const uint8_t *at, const uint8_t *end, unsigned most)
{
    const uint8_t *p = at;
    struct unit u = unit_at(p, end);
    for (; most && (u.class & UC_NUMBER); most--, u = unit_at(p, end))
        p += u.len;
    return (size_t)(p - at);
}

/* LLaMA 3's and Qwen2's patterns, which differ in how many digits are one piece. */
static inline size_t llama3_or_qwen2(const uint8_t *at, const uint8_t *end, unsigned digits)
{
    size_t n = contraction(at, end, 0x20);
    n = n ? n : long_s(at, end);
    if (n)
        return n;
    struct unit u = unit_at(at, end), v = unit_at(at + u.len, end);
    bool is_break = u.cp == '\r' || u.cp == '\n';
    if (u.class & UC_LETTER)
        return (size_t)(skip_letters(at, end, UC_LETTER) - at);
    if (u.class & UC_NUMBER)
        return numbers(at, end, digits);
    if (!is_break && (v.class & UC_LETTER))
        return (size_t)(skip_letters(at + u.len, end, UC_LETTER) - at);
    if (is_other(u) || (u.cp == ' ' && is_other(v))) {
        const uint8_t *p = skip_other(at + u.len, end);
        while (p < end && (*p == '\r' || *p == '\n'))
            p++;
        return (size_t)(p - at);
    }
    n = line_breaks(at, end);
    return n ? n : space_run(at, end, 0);
}

static size_t next_llama3(const uint8_t *at, const uint8_t *end)
{
    return llama3_or_qwen2(at, end, 3);
}

static size_t next_qwen2(const uint8_t *at, const uint8_t *end)
{
    return llama3_or_qwen2(at, end, 1);
}

/* PRETOK_LINES_REGEX */
static size_t next_lines(const uint8_t *at, const uint8_t *end)
{
    struct unit u = unit_at(at, end), first = u;
    const uint8_t *p = at;
    if (u.class & UC_NUMBER)
        return u.len;
    if (u.cp == ' ')
        first = unit_at(++p, end);
    if (!first.len || (first.class & (UC_SPACE | UC_NUMBER))) {
        size_t n = line_breaks(at, end);
        return n ? n : space_run(at, end, 0);
    }
    while (u = unit_at(p, end), u.len && u.cp != '\r' && u.cp != '\n' && !(u.class & UC_NUMBER))
        p += u.len;
    p += p < end && *p == '\r';
    p += p < end && *p == '\n';
    return (size_t)(p - at);
}

/* How a pattern treats a run of letters: as nothing special; with a space before it as a piece;
 * with any one character but a line break or a number before it as a piece; as the latter, and
 * more such runs behind single spaces with it. */
enum letters { LETTERS_APART, LETTERS_SPACED, LETTERS_LED, LETTERS_JOINED };

/* Past what may be before letters; `at` where it may not, or may be a contraction. */
static inline const uint8_t *skip_lead(const uint8_t *at, const uint8_t *end, enum letters letters)
{
    if (*at == ' ')
        return at + 1;
    if (letters == LETTERS_SPACED || is_ascii_letter(*at) || *at == '\'' || *at == '\r' ||
        *at == '\n')
        return at;
    struct unit u = unit_at(at, end);
    return u.class & (UC_LETTER | UC_NUMBER) ? at : at + u.len;
}

/* Past letters of `class` and what may be before them; `at` where there are none. */
static inline const uint8_t *led_letters(const uint8_t *at, const uint8_t *end, unsigned class,
                                         enum letters letters)
{
    const uint8_t *p = skip_lead(at, end, letters);
    if (p == end)
        return at;
    if (*p < 0x80)
        return is_ascii_letter(*p) ? skip_letters(p + 1, end, class) : at;
    struct unit u = unit_wide(p, end);
    return u.class & UC_LETTER ? skip_letters(p + u.len, end, class) : at;
}

/* Most pieces are such runs, or are joined from them, and are not looked at closer. */
static inline __attribute__((always_inline)) size_t
cut_words(struct pretok_cut *c, struct piece_word *w, size_t room, pretok_next_fn *next,
          enum letters letters)
{
    bool joined = letters == LETTERS_JOINED;
    unsigned class = joined ? UC_LETTER | UC_MARK : UC_LETTER;
    bool fast = letters != LETTERS_APART && (c->by_word || !joined);
    const uint8_t *at = c->at, *end = c->end;
    size_t n = 0;
    while (n < room && at < end) {
        const uint8_t *stop = fast && !c->piece_end ? led_letters(at, end, class, letters) : at;
        bool ends = true;
        if (stop > at) {
            ends = !joined || !more_words(stop, end);
        } else {
            const uint8_t *piece = c->piece_end ? c->piece_end : at + next(at, end);
            stop = c->by_word ? word_end(at, piece) : piece;
            ends = stop == piece;
            c->piece_end = ends ? NULL : piece;
        }
        w[n++] = (struct piece_word){ { at, (size_t)(stop - at) }, ends };
        at = stop;
    }
    c->at = at;
    return n;
}

#define CUT(name, next, letters) \
    static size_t name(struct pretok_cut *c, struct piece_word *w, size_t room) \
    { \
        return cut_words(c, w, room, next, letters); \
    }
CUT(cut_gpt2, next_gpt2, LETTERS_SPACED)
CUT(cut_smollm, next_smollm, LETTERS_SPACED)
CUT(cut_exaone_moe, next_exaone_moe, LETTERS_JOINED)
CUT(cut_exaone_moe_ascii, next_exaone_moe_ascii, LETTERS_JOINED)
CUT(cut_llama3, next_llama3, LETTERS_LED)
CUT(cut_qwen2, next_qwen2, LETTERS_LED)
CUT(cut_lines, next_lines, LETTERS_APART)
#undef CUT

const struct pretok pretok_spm = { .name = "spm" };
const struct pretok pretok_general = { .name = "pattern" };

const struct pretok pretoks[] = {
    { .name = "smollm", .next = next_smollm, .cut = cut_smollm, .gguf_names = "smollm",
      .json = { "digits + bytelevel:" PRETOK_GPT2_REGEX,
                "split:\\p{N} + bytelevel:" PRETOK_GPT2_REGEX,
                "split:\\p{N} + split:" PRETOK_GPT2_REGEX " + bytelevel" } },
    { .name = "gpt2", .next = next_gpt2, .cut = cut_gpt2, .gguf_names = "gpt-2 gpt2",
      .json = { "bytelevel:" PRETOK_GPT2_REGEX, "split:" PRETOK_GPT2_REGEX " + bytelevel" } },
    { .name = "exaone", .next = next_smollm, .cut = cut_smollm, .gguf_names = "exaone" },
    { .name = "exaone4", .next = next_gpt2, .cut = cut_gpt2, .gguf_names = "exaone4" },
    { .name = "exaone-moe", .next = next_exaone_moe, .cut = cut_exaone_moe,
      .gguf_names = "exaone-moe",
      .json = { "split:" PRETOK_EXAONE_MOE_REGEX " + bytelevel" } },
    { .name = "exaone-moe", .next = next_exaone_moe_ascii, .cut = cut_exaone_moe_ascii,
      .json = { "split:" PRETOK_EXAONE_MOE_ASCII_REGEX " + bytelevel" } },
    { .name = "llama3", .next = next_llama3, .cut = cut_llama3,
      .gguf_names = "llama-bpe llama3 llama-v3",
      .json = { "split:" PRETOK_LLAMA3_REGEX " + bytelevel" },
      .gguf_whole = true, .gguf_bos = true },
    { .name = "qwen2", .next = next_qwen2, .cut = cut_qwen2,
      .gguf_names = "qwen2 deepseek-r1-qwen solar-open",
      .json = { "split:" PRETOK_QWEN2_REGEX " + bytelevel" } },
    { .name = "kexa-lines", .next = next_lines, .cut = cut_lines, .gguf_names = "kexa-lines",
      .json = { "split:" PRETOK_LINES_REGEX " + bytelevel" } },
    { 0 }
};

static bool list_has(const char *list, struct bytes word)
{
    while (*list) {
        size_t n = strcspn(list, " ");
        if (bytes_eq(word, (struct bytes){ (const uint8_t *)list, n }))
            return true;
        list += n + (list[n] == ' ');
    }
    return false;
}

const struct pretok *pretok_find(struct bytes gguf_name)
{
    for (const struct pretok *p = pretoks; p->name; p++)
        if (p->gguf_names && list_has(p->gguf_names, gguf_name))
            return p;
    return NULL;
}

void pretok_list(struct buf *out)
{
    for (const struct pretok *p = pretoks; p->name; p++)
        if (p->gguf_names)
            buf_printf(out, "%s%s", p == pretoks ? "" : ", ", p->name);
}
