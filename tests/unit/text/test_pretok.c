/*
 * pretok: every scanner against the regular expression it stands for, run by PCRE2, on
 * random strings that are dense in what the patterns look at, and on the sample text.
 */
#include "text/pretok.h"
#include "text/unicode.h"
#include "../../harness.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_PIECES = 1 << 16 };

/* Drawn from with equal chance: each class, each special case, each awkward neighbour. */
static const char *const parts[] = {
    "a", "Z", "s", "S", "t", "re", "RE", "vE", "ll", "lL", "m", "d", "é", "ß", "ſ", "K",
    "한", "각", "ᄀ", "ᅡ", "ᆨ", "あ", "漢", "ñ", "ก", "क", "ʼ", "ﬆ", "𝒜", "𐐷", "ª",
    " ", " ", " ", "  ", "   ", "\t", "\n", "\n", "\r", "\r\n", "\v", "\f", "\xC2\x85",
    "\xC2\xA0", "\xE3\x80\x80", "\xE2\x80\xA8", "\xE2\x80\x89", "\xE1\x9A\x80",
    "0", "1", "23", "٣", "९", "Ⅷ", "½", "²", "①", "𝟘", "一",
    "\xCC\x81", "\xCC\xA3", "\xE0\xA4\xBF", "\xE2\x83\x9D", "\xEF\xB8\x8F",
    "'", "'", "'s", "'T", "'re", "'Ve", "'ll", "'d", "'m", "'ſ", "''", "’",
    "!", ".", "/", "//", "-", "_", "$", "<|", "|>", "“", "—", "€", "∑", "\x01", "\x7F",
    "😀", "👩‍💻", "🇰🇷", "\xE2\x80\x8D", "\xE2\x80\x8B", "\xEF\xBB\xBF", "\xEE\x80\x80",
};

static struct buf random_text(struct rng *r)
{
    struct buf b = { 0 };
    size_t n = rng_u64(r) % 16;
    for (size_t i = 0; i < n; i++)
        buf_text(&b, parts[rng_u64(r) % (sizeof parts / sizeof *parts)]);
    if (!b.at)
        buf_text(&b, "");
    return b;
}

static pcre2_code *compile(const char *pattern)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
    if (re)
        pcre2_jit_compile(re, PCRE2_JIT_COMPLETE);
    EXPECTF(re != NULL, "pattern %s: error %d at %zu", pattern, code, (size_t)at);
    return re;
}

/* Ends of the pieces that re finds in text[low, high); every byte must be in one. */
static size_t split(pcre2_code *re, const char *text, size_t low, size_t high, size_t *ends)
{
    pcre2_match_data *m = pcre2_match_data_create_from_pattern(re, NULL);
    size_t n = 0;
    while (low < high && n < MAX_PIECES) {
        int k = pcre2_match(re, (PCRE2_SPTR)text, high, low, 0, m, NULL);
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m);
        EXPECTF(k > 0 && at[0] == low && at[1] > low, "no match at byte %zu: %d", low, k);
        if (k <= 0 || at[1] <= low)
            break;
        ends[n++] = low = at[1];
    }
    pcre2_match_data_free(m);
    return n;
}

/* Every \p{N} alone, and GPT-2's pattern on what is between, as texts of their own. */
static size_t split_digits(pcre2_code *gpt2, const char *text, size_t len, size_t *ends)
{
    const uint8_t *base = (const uint8_t *)text, *end = base + len, *low = base, *at = base;
    size_t n = 0;
    while (at < end && n < MAX_PIECES / 2) {
        struct unit u = unit_at(at, end);
        if (u.class & UC_NUMBER) {
            size_t k = split(gpt2, (const char *)low, 0, (size_t)(at - low), ends + n);
            for (size_t i = 0; i < k; i++)
                ends[n + i] += (size_t)(low - base);
            n += k;
            low = at + u.len;
            ends[n++] = (size_t)(low - base);
        }
        at += u.len;
    }
    size_t k = split(gpt2, (const char *)low, 0, (size_t)(end - low), ends + n);
    for (size_t i = 0; i < k; i++)
        ends[n + i] += (size_t)(low - base);
    return n + k;
}

static void compare(const struct pretok *p, pcre2_code *re, bool digits, const char *text,
                    size_t len)
{
    static size_t want[2 * MAX_PIECES];
    const uint8_t *base = (const uint8_t *)text, *at = base, *end = base + len;
    size_t n = digits ? split_digits(re, text, len, want) : split(re, text, 0, len, want);
    for (size_t i = 0; i < n && at < end; i++) {
        at += p->next(at, end);
        size_t got = (size_t)(at - base);
        EXPECTF(got == want[i], "%s: piece %zu of \"%.*s\" ends at %zu, the pattern says %zu",
                p->name, i, (int)(len < 200 ? len : 200), text, got, want[i]);
        if (got != want[i])
            return;
    }
    EXPECT(at == end);
}

static size_t n_strings(void)
{
    const char *n = getenv("KEXA_FUZZ_STRINGS");
    return n ? (size_t)strtoull(n, NULL, 10) : 50000;
}

static void compare_many(const struct pretok *p, const char *pattern, bool digits)
{
    pcre2_code *re = compile(pattern);
    struct rng r = { .seed = 11 };
    struct buf sample = { 0 };
    for (size_t i = 0, n = n_strings(); i < n; i++) {
        struct buf b = random_text(&r);
        compare(p, re, digits, b.at, b.len);
        buf_release(&b);
    }
    EXPECT(file_read(&sample, tree_path("tests/gold/text/sample.txt"), 1 << 20, NULL));
    for (size_t at = 0; at < sample.len;) {  /* paragraphs, as MAX_PIECES allows */
        const char *stop = strstr(sample.at + at, "\n\n");
        size_t len = stop ? (size_t)(stop + 2 - sample.at) - at : sample.len - at;
        compare(p, re, digits, sample.at + at, len);
        at += len;
    }
    buf_release(&sample);
    pcre2_code_free(re);
}

static const struct pretok *get(const char *name)
{
    const struct pretok *p = pretok_find(bytes_of(name));
    EXPECT(p != NULL);
    return p;
}

static void test_gpt2(void)
{
    compare_many(get("gpt2"), PRETOK_GPT2_REGEX, false);
    EXPECT(get("exaone4")->next == get("gpt-2")->next);
    EXPECT(get("exaone")->next == get("smollm")->next);
    EXPECT(get("solar-open")->next == get("qwen2")->next);
}

static void test_smollm(void)
{
    compare_many(get("smollm"), PRETOK_GPT2_REGEX, true);
}

static void test_llama3(void)
{
    compare_many(get("llama-bpe"), PRETOK_LLAMA3_REGEX, false);
}

static void test_qwen2(void)
{
    compare_many(get("qwen2"), PRETOK_QWEN2_REGEX, false);
}

static void test_exaone_moe(void)
{
    compare_many(get("exaone-moe"), PRETOK_EXAONE_MOE_REGEX, false);
}

static void test_exaone_moe_ascii(void)
{
    const struct pretok *p = get("exaone-moe") + 1;
    compare_many(p, PRETOK_EXAONE_MOE_ASCII_REGEX, false);
}

static void test_lines(void)
{
    compare_many(get("kexa-lines"), PRETOK_LINES_REGEX, false);
}

/* The splits written down with the description of the pattern. */
static void test_known_splits(void)
{
    static const struct { const char *text, *pieces; } cases[] = {
        { "a b  c 12", "a b| | c| |1|2" }, { "don't", "don|'t" }, { "(\"hi", "(\"|hi" },
        { "x\n\n  y", "x|\n\n| | y" }, { "!\n\n", "!\n|\n" }, { "a'ſ", "a|'ſ" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint8_t *at = (const uint8_t *)cases[i].text, *end = at + strlen(cases[i].text);
        struct buf got = { 0 };
        while (at < end) {
            size_t n = get("exaone-moe")->next(at, end);
            buf_printf(&got, "%s%.*s", got.len ? "|" : "", (int)n, (const char *)at);
            at += n;
        }
        EXPECTF(!strcmp(got.at, cases[i].pieces), "%s: %s", cases[i].text, got.at);
        buf_release(&got);
    }
}

/* Broken bytes are units of one byte without a class; every byte is in some piece. */
static void test_broken_bytes(void)
{
    struct rng r = { .seed = 12 };
    uint8_t text[64];
    for (int i = 0; i < 20000; i++) {
        size_t len = rng_u64(&r) % sizeof text;
        for (size_t k = 0; k < len; k++)
            text[k] = (uint8_t)rng_u64(&r);
        for (const struct pretok *p = pretoks; p->name; p++) {
            const uint8_t *at = text, *end = text + len;
            while (at < end) {
                size_t n = p->next(at, end);
                EXPECT(n > 0 && n <= (size_t)(end - at));
                at += n > 0 ? n : 1;
            }
        }
    }
    EXPECT(pretok_find(bytes_of("default")) == NULL);
}

/* ---- patterns without a scanner -------------------------------------------------------- */

static struct pretok_pattern *open_general(const char *pattern, struct err *err)
{
    json_t *v = json_pack("{s:s, s:[{s:s, s:{s:s}, s:s}, {s:s, s:b}]}", "type", "Sequence",
                          "pretokenizers", "type", "Split", "pattern", "Regex", pattern,
                          "behavior", "Isolated", "type", "ByteLevel", "use_regex", 0);
    struct pretok_pattern *p = pretok_pattern_open(v, err);
    json_decref(v);
    return p;
}

/* What PCRE2 would read in another way than Oniguruma. */
static void test_other_dialects(void)
{
    static const char *const patterns[] = {
        "\\h+", "\\w+", "\\bx", "a{,3}", "a{1,2}+", "[a[bc]]", "[a&&b]", "(?m)a.b", "(?i)a",
        "(?<n>a)", "(*UTF)a", "(?#x)", "\\Kx", "\\v", "x\\",
    };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct err err = { 0 };
        struct pretok_pattern *p = open_general(patterns[i], &err);
        EXPECTF(!p && err.code == ERR_UNSUPPORTED && strstr(err.msg, "tokenizers package"),
                "%s: %s", patterns[i], err.msg);
        pretok_pattern_close(p);
    }
    struct err err = { 0 };
    EXPECT(!open_general("a(", &err) && strstr(err.msg, "pattern \"a(\": "));
}

static bool count_piece(void *arg, struct bytes piece, struct err *err)
{
    (void)err;
    *(size_t *)arg += piece.len > 0;
    return true;
}

/* Patterns that would run for hours are stopped; so are a million slow matches. */
static void test_hostile_patterns(void)
{
    static const char *const patterns[] = { "(?:a+)+b|x", "a*b|a" };
    struct buf text = { 0 };
    for (int i = 0; i < 200000; i++)
        buf_text(&text, "a");
    for (size_t i = 0; i < 2; i++) {
        struct err err = { 0 };
        struct pretok_pattern *p = open_general(patterns[i], &err);
        size_t n = 0;
        EXPECTF(p != NULL, "%s", err.msg);
        EXPECT(p && !pretok_pattern_split(p, (struct bytes){ (uint8_t *)text.at, text.len },
                                          count_piece, &n, &err));
        EXPECTF(err.code == ERR_LIMIT && strstr(err.msg, "takes too long"), "%s", err.msg);
        pretok_pattern_close(p);
    }
    buf_release(&text);
}

/* Each allocation of opening and splitting fails once. */
static void test_general_no_memory(void)
{
    struct err err;
    bool done = false;
    for (long nth = 0; !done && nth < 1000; nth++) {
        size_t n = 0;
        long live = mem_live;
        mem_fail_after = nth;
        struct pretok_pattern *p = open_general("\\s+|[^\\s]+?", &err);
        done = p && pretok_pattern_split(p, bytes_of("a b\xff \xed\x95\x9c"), count_piece, &n,
                                         &err);
        bool reached = mem_fail_after < 0;
        mem_fail_after = -1;
        EXPECTF(done == !reached, "allocation %ld", nth);
        EXPECTF(done ? n == 6 : err.code == ERR_MEMORY, "allocation %ld: %zu %s", nth, n, err.msg);
        pretok_pattern_close(p);
        EXPECT(mem_live == live);
    }
    EXPECT(done);
}

/* What cutting gives is the pieces, or their words, whatever room there is. */
static unsigned compare_cut(const struct pretok *p, struct bytes text, bool by_word, size_t room,
                            struct rng *r, unsigned *n_words)
{
    struct pretok_cut c = { text.at, text.at + text.len, by_word, NULL };
    struct piece_word w[16];
    unsigned n_wrong = 0;
    size_t n = 0, i = 0;
    for (const uint8_t *at = text.at, *end = c.end, *stop; at < end; at = stop) {
        stop = at + p->next(at, end);
        for (const uint8_t *word = at, *to; word < stop; word = to, i++) {
            to = by_word ? word_end(word, stop) : stop;
            if (i == n) {
                n = p->cut(&c, w, 1 + rng_u64(r) % room);
                i = 0;
            }
            bool same = i < n && w[i].text.at == word && w[i].text.len == (size_t)(to - word) &&
                        w[i].ends_piece == (to == stop);
            n_wrong += !same;
            *n_words += to < stop;
        }
    }
    return n_wrong + (i != n) + (p->cut(&c, w, 16) != 0);
}

static void test_words(void)
{
    struct rng r = { 21, 4, 0 };
    for (const struct pretok *p = pretoks; p->name; p++) {
        unsigned n_inside = 0, n_wrong = 0;
        for (int i = 0; i < 40000; i++) {
            struct buf b = random_text(&r);
            struct bytes text = { (const uint8_t *)b.at, b.len };
            n_wrong += compare_cut(p, text, i % 4 > 0, i % 3 ? 16 : 1, &r, &n_inside);
            buf_release(&b);
        }
        EXPECTF(!n_wrong && (n_inside > 500 || strncmp(p->name, "exaone-moe", 10)),
                "%s: %u wrong, %u ends of words inside pieces", p->name, n_wrong, n_inside);
    }
}

/* Each character among others that never compose. */
static void test_nfc_each(void)
{
    unsigned n_wrong = 0;
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        uint8_t text[40];
        memset(text, 'a', sizeof text);
        if (cp >= 0xD800 && cp <= 0xDFFF)
            continue;
        utf8_encode(cp, text + 1 + cp % 19);
        n_wrong += unicode_is_nfc((struct bytes){ text, sizeof text }) !=
                   !(unicode_class(cp) & UC_COMPOSES);
    }
    EXPECTF(!n_wrong, "%u wrong", n_wrong);
}

/* One accent, joined to its letter or not, anywhere among letters below U+0080. */
static void test_nfc_places(void)
{
    unsigned n_wrong = 0;
    for (size_t before = 1; before < 100; before++)
        for (size_t after = 0; after < 70; after++) {
            uint8_t text[200];
            memset(text, 'e', sizeof text);
            memcpy(text + before, "\xCC\x81", 2);
            n_wrong += unicode_is_nfc((struct bytes){ text, before + 2 + after });
            memcpy(text + before, "\xC3\xA9", 2);
            n_wrong += !unicode_is_nfc((struct bytes){ text, before + 2 + after });
        }
    EXPECTF(!n_wrong, "%u", n_wrong);
}

/* Looking at many bytes at a time finds what looking at each character does. */
static void test_nfc_look(void)
{
    struct rng r = { 22, 4, 0 };
    unsigned n_wrong = 0, n_nfc = 0, n = 200000;
    for (unsigned i = 0; i < n; i++) {
        uint8_t text[40];
        unsigned len = rng_u64(&r) % sizeof text;
        bool want = true;
        for (unsigned k = 0, size = 1; k < len; k += size) {
            uint32_t cp = (uint32_t)(rng_u64(&r) % (rng_u64(&r) % 4 ? 0x3400 : 0x110000));
            bool raw = len - k < 4 || rng_u64(&r) % 8 == 0 || (cp >= 0xD800 && cp <= 0xDFFF);
            size = raw ? 1 : utf8_encode(cp, text + k);
            if (raw)
                text[k] = (uint8_t)rng_u64(&r) & (rng_u64(&r) % 2 ? 0x7F : 0xFF);
        }
        for (const uint8_t *at = text; at < text + len; at += unit_at(at, text + len).len)
            want = want && !(unit_at(at, text + len).class & UC_COMPOSES);
        n_wrong += unicode_is_nfc((struct bytes){ text, len }) != want;
        n_nfc += want;
    }
    EXPECTF(!n_wrong && n_nfc > n / 10 && n_nfc < n - n / 10, "%u wrong, %u of %u in NFC", n_wrong,
            n_nfc, n);
}

const struct test tests[] = {
    { "words", test_words },
    { "nfc_each", test_nfc_each },
    { "nfc_places", test_nfc_places },
    { "nfc_look", test_nfc_look },
    { "other_dialects", test_other_dialects },
    { "hostile_patterns", test_hostile_patterns },
    { "general_no_memory", test_general_no_memory },
    { "gpt2", test_gpt2 },
    { "smollm", test_smollm },
    { "llama3", test_llama3 },
    { "qwen2", test_qwen2 },
    { "exaone_moe", test_exaone_moe },
    { "exaone_moe_ascii", test_exaone_moe_ascii },
    { "lines", test_lines },
    { "known_splits", test_known_splits },
    { "broken_bytes", test_broken_bytes },
    { 0 }
};
