/*
 * bpe: what is fast gives what the definition gives.
 *
 * Small vocabularies are made in four ways: merges learnt from the sample inside words; the
 * same and then across words; across words from the start; and merges of random pairs in
 * random order, as no training would give them.  Random texts, dense in what is awkward, are
 * encoded and compared with plain merging of bytes, written down here once more.
 */
#include "format/format.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"
#include "../../harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { N_MERGES = 700, MAX_IDS = 256 + N_MERGES, SAMPLE_BYTES = 24000, N_TEXTS = 1500 };
enum { MAX_AGAIN = 200 };
enum { TRAIN_STEP = 20 };                 /* merges learnt from one count of pairs */

/* A vocabulary in the making: ids below 256 are bytes. */
struct maker {
    struct buf bytes[MAX_IDS];
    uint32_t left[MAX_IDS], right[MAX_IDS];
    unsigned n;
    uint32_t again[MAX_AGAIN][2];         /* other merges that make a token there is */
    unsigned n_again;
    uint32_t *text;                       /* the sample as symbols; WALL between words */
    size_t n_text;
    struct rng rng;
};

#define WALL UINT32_MAX

static struct buf sample;

static void load_sample(void)
{
    struct err err;
    if (!sample.len)
        EXPECTF(file_read(&sample, tree_path("tests/gold/text/sample.txt"), 1 << 20, &err), "%s",
                err.msg);
}

static void maker_init(struct maker *m, bool walls)
{
    load_sample();
    *m = (struct maker){ .n = 256, .rng = { 5, 1, 0 } };
    m->text = calloc(2 * SAMPLE_BYTES, sizeof *m->text);
    EXPECT(m->text != NULL);
    for (unsigned i = 0; i < 256; i++)
        buf_put(&m->bytes[i], &(uint8_t){ (uint8_t)i }, 1);
    for (size_t i = 0; i < SAMPLE_BYTES; i++) {
        uint8_t c = (uint8_t)sample.at[(i / 1000 * 5000 + i % 1000) % sample.len];
        if (walls && (c == ' ' || c == '\n'))
            m->text[m->n_text++] = WALL;
        m->text[m->n_text++] = c;
    }
}

static void maker_release(struct maker *m)
{
    for (unsigned i = 0; i < m->n; i++)
        buf_release(&m->bytes[i]);
    free(m->text);
}

/* The id of left + right, or a new one.  An old one keeps its first merge. */
static void add_merge(struct maker *m, uint32_t left, uint32_t right)
{
    if (m->n == MAX_IDS)
        return;
    struct buf b = { 0 };
    buf_put(&b, m->bytes[left].at, m->bytes[left].len);
    buf_put(&b, m->bytes[right].at, m->bytes[right].len);
    bool known = false;
    for (unsigned i = 0; i < m->n && !known; i++)
        known = m->bytes[i].len == b.len && !memcmp(m->bytes[i].at, b.at, b.len);
    if (known || b.len > 40) {
        buf_release(&b);
        return;
    }
    m->left[m->n] = left;
    m->right[m->n] = right;
    m->bytes[m->n++] = b;
}

static int64_t find_token(const struct maker *m, const char *at, size_t len)
{
    for (unsigned i = 0; i < m->n; i++)
        if (m->bytes[i].len == len && !memcmp(m->bytes[i].at, at, len))
            return i;
    return NO_TOKEN;
}

/* Lists merges that make a token from two others than its own merge does. */
static void find_again(struct maker *m)
{
    for (uint32_t id = 256; id < m->n; id++)
        for (size_t k = 1; k < m->bytes[id].len && m->n_again < MAX_AGAIN; k++) {
            int64_t left = find_token(m, m->bytes[id].at, k);
            int64_t right = find_token(m, m->bytes[id].at + k, m->bytes[id].len - k);
            if (left == NO_TOKEN || right == NO_TOKEN || left == m->left[id])
                continue;
            m->again[m->n_again][0] = (uint32_t)left;
            m->again[m->n_again++][1] = (uint32_t)right;
        }
}

static void apply_merge(struct maker *m, uint32_t id)
{
    size_t to = 0;
    for (size_t i = 0; i < m->n_text; i++) {
        bool here = i + 1 < m->n_text && m->text[i] == m->left[id] &&
                    m->text[i + 1] == m->right[id];
        m->text[to++] = here ? id : m->text[i];
        i += here;
    }
    m->n_text = to;
}

/* Learns the pairs met most often, until there are n_ids. */
static void learn(struct maker *m, unsigned n_ids)
{
    static uint16_t count[MAX_IDS * MAX_IDS];
    for (int round = 0; m->n < n_ids && round < 200; round++) {
        memset(count, 0, sizeof count);
        for (size_t i = 0; i + 1 < m->n_text; i++)
            if (m->text[i] != WALL && m->text[i + 1] != WALL)
                count[m->text[i] * MAX_IDS + m->text[i + 1]]++;
        unsigned best = 0, from = m->n;
        for (size_t i = 0; i < sizeof count / sizeof *count; i++)
            best = count[i] > best ? count[i] : best;
        for (unsigned i = 0; i < from * MAX_IDS && m->n < from + TRAIN_STEP; i++)
            if (count[i] && count[i] >= best - best / 8)
                add_merge(m, i / MAX_IDS, i % MAX_IDS);
        for (unsigned id = from; id < m->n; id++)
            apply_merge(m, id);
    }
}

/* Merges of neighbours at random places, in random order. */
static void invent(struct maker *m, unsigned n_ids)
{
    for (int tries = 0; m->n < n_ids && tries < 100000; tries++) {
        size_t at = rng_u64(&m->rng) % (m->n_text - 1);
        unsigned from = m->n;
        if (m->text[at] == WALL || m->text[at + 1] == WALL)
            continue;
        add_merge(m, m->text[at], m->text[at + 1]);
        if (m->n > from && rng_u64(&m->rng) % 4)
            apply_merge(m, from);
    }
}

/* ---- as tokenizer.json ---------------------------------------------------------------- */

static json_t *spelled(const struct buf *bytes)
{
    struct buf b = { 0 };
    for (size_t i = 0; i < bytes->len; i++) {
        uint8_t byte = (uint8_t)bytes->at[i], text[4];
        uint32_t cp = 256;
        bool plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
        for (unsigned c = 0; c < byte; c++)
            cp += !((c >= 33 && c <= 126) || (c >= 161 && c != 173));
        buf_put(&b, text, utf8_encode(plain ? byte : cp, text));
    }
    json_t *s = json_stringn(b.at, b.len);
    buf_release(&b);
    return s;
}

enum { SHUFFLE = 1, AGAIN = 2, NO_WRONG_BYTES = 4 };

static json_t *pair_of(const struct maker *m, uint32_t left, uint32_t right)
{
    return json_pack("[o, o]", spelled(&m->bytes[left]), spelled(&m->bytes[right]));
}

/* how: SHUFFLE: merges in any order; AGAIN: with those that make a token again; NO_WRONG_BYTES:
 * without tokens for two bytes that no text in UTF-8 has. */
static struct tokenizer *tokenizer_of(const struct maker *m, const char *pre_name, int how)
{
    struct err err;
    char path[] = "/tmp/kexa-bpe-XXXXXX.json";
    json_t *vocab = json_object(), *merges = json_array();
    for (unsigned id = 0; id < m->n; id++) {
        json_t *text = spelled(&m->bytes[id]);
        if (!(how & NO_WRONG_BYTES) || (id != 0xC0 && id != 0xFF))
            json_object_set_new(vocab, json_string_value(text), json_integer(id));
        json_decref(text);
    }
    for (unsigned id = 256; id < m->n; id++) {
        size_t n = json_array_size(merges), at = how & SHUFFLE ? id * 7919u % (n + 1) : n;
        json_array_insert_new(merges, at, pair_of(m, m->left[id], m->right[id]));
    }
    for (unsigned i = 0; i < m->n_again && how & AGAIN; i++)
        json_array_insert_new(merges, json_array_size(merges) * (i % 8) / 8,
                              pair_of(m, m->again[i][0], m->again[i][1]));
    json_t *root = json_pack("{s: n, s: o, s: [], s: {s: s, s: o, s: o}}", "normalizer",
                             "pre_tokenizer", pretok_to_json(pretok_find(bytes_of(pre_name))),
                             "added_tokens", "model", "type", "BPE", "vocab", vocab, "merges",
                             merges);
    int fd = mkstemps(path, 5);
    EXPECT(fd >= 0 && root && !json_dumpfd(root, fd, 0));
    close(fd);
    struct tokenizer *t = tokenizer_open_hf(path, &err);
    EXPECTF(t != NULL, "%s", err.msg);
    unlink(path);
    json_decref(root);
    return t;
}

/* ---- the definition ------------------------------------------------------------------- */

static void merge_plain(const struct bpe *b, struct bytes piece, struct ids *out)
{
    size_t from = out->n;
    for (size_t i = 0; i < piece.len; i++)
        if (b->vocab->byte_id[piece.at[i]] != NO_TOKEN)
            ids_put(out, (uint32_t)b->vocab->byte_id[piece.at[i]]);
    for (;;) {
        const struct pair_slot *best = NULL;
        size_t at = 0;
        for (size_t i = from; i + 1 < out->n; i++) {
            const struct pair_slot *s = pair_map_find(&b->merges, out->at[i], out->at[i + 1]);
            if (s && (!best || s->a < best->a)) {
                best = s;
                at = i;
            }
        }
        if (!best)
            return;
        out->at[at] = best->b;
        out->n--;
        memmove(out->at + at + 1, out->at + at + 2, (out->n - at - 1) * sizeof *out->at);
    }
}

static void encode_by_definition(const struct tokenizer *t, struct bytes text, struct ids *out)
{
    const uint8_t *at = text.at, *end = at + text.len;
    for (size_t n; at < end; at += n) {
        n = t->pre->next(at, end);
        merge_plain(&t->bpe, (struct bytes){ at, n }, out);
    }
}

/* ---- texts ---------------------------------------------------------------------------- */

static const char *const parts[] = {
    " ", " ", " ", "  ", "\n", " \n", "\t ", "a", "e", "s", " the", " of the", "ing ", "\u00e9",
    "e\u0301", "\ud55c\uad6d\uc5b4", " \uac01", "\u3131", "\u1112\u1161\u11ab", "\u65e5\u672c",
    "\u30ac", "\u304c", "\u306e", "\u0e01\u0e33", "\u093f", "\u0301", "7", "42", "\u2167", "'s",
    "'\u017f", "!", "...", "/", "\u201c", "\U0001F600", "\xFF", "\xEA", "\xEA\xB0", "\x80\x80",
    "\xED\xA0\x80", "\xC0\xAF", "\xF0\x9F\x98", "\xE0\x80\x80", "\x01 ", "_ x", "\u3000\u3042",
    "\xE0\x83\xA9", "\xE0\x83\xA1", "\xE0\x83\xBC",            /* letters with a byte too many */
};

/* A space and a piece of the sample without spaces: long words. */
static void put_long_word(struct rng *r, struct buf *out)
{
    size_t at = rng_u64(r) % sample.len, n = rng_u64(r) % 150;
    buf_text(out, " ");
    for (size_t i = at; i < sample.len && i < at + n; i++)
        if ((uint8_t)sample.at[i] > ' ')
            buf_put(out, sample.at + i, 1);
}

static void make_text(struct rng *r, struct buf *out)
{
    size_t n_parts = rng_u64(r) % 24;
    buf_clear(out);
    for (size_t i = 0; i < n_parts; i++) {
        size_t at = rng_u64(r) % sample.len, n = rng_u64(r) % 60;
        unsigned kind = rng_u64(r) % 9;
        const char *part = parts[rng_u64(r) % (sizeof parts / sizeof *parts)];
        if (kind < 3)
            buf_put(out, sample.at + at, n < sample.len - at ? n : sample.len - at);
        for (size_t k = 0; kind == 3 && k < 3 * n; k++)
            buf_text(out, part);          /* a long run of one thing */
        if (kind > 3 && kind < 8)
            buf_text(out, part);
        if (kind == 8)
            put_long_word(r, out);
    }
}

static void compare(const struct tokenizer *t, const char *what)
{
    struct rng r = { 11, 2, 0 };
    struct buf text = { 0 };
    struct ids want = { 0 }, got = { 0 };
    struct err err;
    unsigned n_wrong = 0;
    for (int i = 0; i < N_TEXTS; i++) {
        make_text(&r, &text);
        struct bytes b = { (const uint8_t *)text.at, text.len };
        want.n = got.n = 0;
        EXPECT(tokenizer_encode(t, b, (struct encode_options){ 0 }, &got, &err));
        encode_by_definition(t, b, &want);
        bool same = got.n == want.n && !memcmp(got.at, want.at, got.n * sizeof *got.at);
        n_wrong += !same;
        if (!same && n_wrong == 1)
            printf("%s: text %d, \"%s\"\n", what, i, SHOW(b));
    }
    EXPECTF(!n_wrong, "%s: %u of %d texts differ", what, n_wrong, N_TEXTS);
    buf_release(&text);
    ids_release(&want);
    ids_release(&got);
}

static void test_words(void)
{
    static const char *const names[] = { "exaone-moe", "gpt2", "smollm", "llama3" };
    struct maker m;
    maker_init(&m, true);
    learn(&m, MAX_IDS);
    for (int i = 0; i < 4; i++) {
        struct tokenizer *t = tokenizer_of(&m, names[i], 0);
        EXPECT(t && t->bpe.by_word && !t->bpe.later.slot && t->bpe.ranks.slot);
        EXPECT(t && !t->bpe.ranks.made);
        compare(t, names[i]);
        tokenizer_close(t);
    }
    maker_release(&m);
}

/* How many symbols a space, where wanted, and a character start from. */
static size_t n_starts(const struct bpe *b, bool space, uint32_t cp)
{
    uint8_t text[5] = " ";
    uint32_t number[5];
    size_t n = space + utf8_encode(cp, text + space);
    return bpe_put_start(b, (struct bytes){ text, n }, number);
}

/* Characters, some with a space, and pairs of letters start as one symbol. */
static void test_starts(void)
{
    struct maker m;
    maker_init(&m, true);
    learn(&m, MAX_IDS);
    struct tokenizer *t = tokenizer_of(&m, "exaone-moe", 0);
    const struct bpe_starts *s = t ? t->bpe.start : NULL;
    unsigned whole = 0, spaced = 0, pairs = 0;
    for (uint32_t cp = 0; s && cp < BPE_N_START; cp++) {
        whole += s->of[cp].number != BPE_NO_START && n_starts(&t->bpe, false, cp) == 1;
        spaced += s->spaced[cp].number != BPE_NO_START && n_starts(&t->bpe, true, cp) == 1;
    }
    for (unsigned i = 0; s && i < 1 << 14; i++) {
        uint8_t two[2] = { (uint8_t)(i >> 7), i & 127 };
        uint32_t number[2];
        pairs += bpe_put_start(&t->bpe, (struct bytes){ two, 2 }, number) == 1;
    }
    EXPECTF(whole == 100 && spaced == 6 && pairs == 162, "%u, %u, %u", whole, spaced, pairs);
    tokenizer_close(t);
    maker_release(&m);
}

/* The same token from two merges, and bytes without a token. */
static void test_again_and_missing(void)
{
    struct maker m;
    maker_init(&m, true);
    learn(&m, MAX_IDS);
    find_again(&m);
    EXPECTF(m.n_again > 20, "%u merges make a token again", m.n_again);
    for (int how = 0; how < 8; how++) {
        struct tokenizer *t = tokenizer_of(&m, how & 1 ? "exaone-moe" : "smollm", how);
        bool missing = how & NO_WRONG_BYTES;
        EXPECTF(t && t->bpe.ranks.slot && !t->bpe.by_word == missing, "as %d", how);
        EXPECTF(t && !t->bpe.ranks.made == !(how & AGAIN), "as %d", how);
        compare(t, "again and missing");
        tokenizer_close(t);
    }
    maker_release(&m);
}

/* Words first, then across them: both stages, and late merges inside words too. */
static void test_two_stages(void)
{
    struct maker m;
    maker_init(&m, true);
    learn(&m, 256 + N_MERGES / 2);
    size_t to = 0;
    for (size_t i = 0; i < m.n_text; i++)
        if (m.text[i] != WALL)
            m.text[to++] = m.text[i];
    m.n_text = to;
    learn(&m, MAX_IDS);
    struct tokenizer *t = tokenizer_of(&m, "exaone-moe", 0);
    EXPECT(t && t->bpe.by_word && t->bpe.later.slot && t->bpe.later_inside);
    compare(t, "two stages");
    tokenizer_close(t);
    maker_release(&m);
}

/* Across words from the start: no two stages. */
static void test_across(void)
{
    struct maker m;
    maker_init(&m, false);
    learn(&m, MAX_IDS);
    struct tokenizer *t = tokenizer_of(&m, "exaone-moe", 0);
    EXPECT(t && !t->bpe.by_word);
    compare(t, "across words");
    tokenizer_close(t);
    maker_release(&m);
}

/* Ranks that no training gives: what was learnt late may rank first. */
static void test_any_order(void)
{
    for (int i = 0; i < 4; i++) {
        struct maker m;
        maker_init(&m, i % 2);
        m.rng.stream = (uint64_t)i;
        if (i < 2)
            learn(&m, MAX_IDS);
        else
            invent(&m, MAX_IDS);
        struct tokenizer *t = tokenizer_of(&m, "exaone-moe", SHUFFLE);
        if (t)
            compare(t, "any order");
        tokenizer_close(t);
        maker_release(&m);
    }
}

/* Runs of one letter that are short enough for a table, by the definition. */
static void compare_runs(const struct tokenizer *t)
{
    struct ids want = { 0 }, got = { 0 };
    struct err err;
    uint8_t a[100];
    memset(a, 'a', sizeof a);
    for (size_t n = 1; n <= sizeof a; n++) {
        want.n = got.n = 0;
        struct bytes run = { a, n };
        EXPECT(tokenizer_encode(t, run, (struct encode_options){ 0 }, &got, &err));
        encode_by_definition(t, run, &want);
        EXPECTF(got.n == want.n && !memcmp(got.at, want.at, got.n * sizeof *got.at), "%zu", n);
    }
    ids_release(&want);
    ids_release(&got);
}

/* A letter a million times: each merge halves the rest or the heap does it in n log n. */
static void test_long_word(void)
{
    enum { N = 1 << 20 };
    struct maker m;
    struct err err;
    struct ids out = { 0 };
    struct buf b = { 0 };
    maker_init(&m, true);
    for (uint32_t id = 'a', k = 0; k < 5; k++, id = m.n - 1)
        add_merge(&m, id, id);
    struct tokenizer *t = tokenizer_of(&m, "exaone-moe", 0);
    if (t)
        compare_runs(t);
    for (size_t i = 0; i < N / 64; i++)
        buf_text(&b, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    uint64_t start = now_ns();
    EXPECT(t && tokenizer_encode(t, (struct bytes){ (const uint8_t *)b.at, b.len },
                                 (struct encode_options){ 0 }, &out, &err));
    EXPECTF(out.n == N / 32, "%zu tokens", out.n);
    EXPECTF(now_ns() - start < 30000000000u, "%g s", (double)(now_ns() - start) * 1e-9);
    tokenizer_close(t);
    ids_release(&out);
    buf_release(&b);
    maker_release(&m);
}

const struct test tests[] = {
    { "words", test_words },
    { "starts", test_starts },
    { "again_and_missing", test_again_and_missing },
    { "two_stages", test_two_stages },
    { "across", test_across },
    { "any_order", test_any_order },
    { "long_word", test_long_word },
    { 0 }
};
