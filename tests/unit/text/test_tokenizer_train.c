/* Training a tokenizer, from files to a tokenizer that encodes. */
#include "format/format.h"
#include "text/span_table.h"
#include "text/special_tokens.h"
#include "text/text.h"
#include "text/tokenizer_parts.h"
#include "text/word_table.h"
#include "../../harness.h"
#include "../format/scratch.h"

#include <stdio.h>
#include <stdlib.h>

/* Every fifth document of the sample of the corpus. */
static const char *sample(void)
{
    static char path[4096];
    struct bytes all;
    struct buf some = { 0 };
    if (*path || !file_map_open(&all, tree_path("tests/gold/corpus/sample.jsonl"), NULL))
        return path;
    const char *at = (const char *)all.at, *end = at + all.len;
    for (size_t i = 0, n; at < end; i++, at += n) {
        n = (size_t)((const char *)memchr(at, '\n', (size_t)(end - at)) + 1 - at);
        if (i % 5 == 0)
            buf_put(&some, at, n);
    }
    snprintf(path, sizeof path, "%s", scratch_text("sample.jsonl", some.at));
    buf_release(&some);
    file_map_close(&all);
    return path;
}

static struct train_options options_of(const char *const *path, uint32_t n_ids, double superwords)
{
    return (struct train_options){
        .source = { .paths = path, .n_paths = 1 }, .n_ids = n_ids, .superwords = superwords,
        .max_words = 4, .least = 2, .max_bytes = (size_t)1 << 30, .n_threads = 1 };
}

static struct tokenizer *train_on(const char *path, uint32_t n_ids, double superwords)
{
    struct train_options o = options_of(&path, n_ids, superwords);
    struct train_report report;
    struct err err = { 0 };
    struct tokenizer *t = tokenizer_train(&o, &report, &err);
    EXPECTF(t, "%s", err.msg);
    EXPECT(!t || (report.n_ids == n_ids && tokenizer_size(t) == n_ids));
    return t;
}

/* The merges as text, one a line; and all tokens. */
static void put_all(const struct tokenizer *t, struct buf *out)
{
    struct pair_slot *m = bpe_take_merges(&t->bpe);
    for (uint32_t i = 0; m && i < t->bpe.n_merges; i++)
        buf_printf(out, "%llx\n", (unsigned long long)m[i].key);
    mem_give(m);
    for (uint32_t i = 0; i < t->vocab.n; i++) {
        struct bytes b = tokenizer_token_bytes(t, i);
        buf_put(out, b.at, b.len);
        buf_text(out, "\n");
    }
}

static bool same_tokenizer(const struct tokenizer *a, const struct tokenizer *b)
{
    struct buf x = { 0 }, y = { 0 };
    if (!a || !b)
        return false;
    put_all(a, &x);
    put_all(b, &y);
    bool same = x.len == y.len && !memcmp(x.at, y.at, x.len);
    buf_release(&x);
    buf_release(&y);
    return same;
}

/* "ab" 5 times, "abc" 3 times: (a,b) 8, then (ab,c) 3; then (" ",..) as the text has it. */
static void merges_known_by_hand(void)
{
    const char *path = scratch_text("hand.txt", "ab\nab\nab\nab\nab\nabc\nabc\nabc\n");
    struct tokenizer *t = train_on(path, N_SPECIAL + 256 + 2, 0);
    if (!t)
        return;
    EXPECT(bytes_eq(tokenizer_token_bytes(t, N_SPECIAL + 256), bytes_of("ab")));
    EXPECT(bytes_eq(tokenizer_token_bytes(t, N_SPECIAL + 257), bytes_of("abc")));
    EXPECT(tokenizer_find(t, "[PAD]") == 0 && tokenizer_find(t, "[BOS]") == 1);
    EXPECT(tokenizer_token_kind(t, SPECIAL_END_OF_TURN) == TOKEN_CONTROL);
    EXPECT(tokenizer_find(t, "!") == N_SPECIAL);
    struct tokenizer_info info = tokenizer_info(t);
    EXPECT(info.bos == 1 && info.pad == 0 && info.eos == 2 && info.nfc && !info.add_bos);
    EXPECT(chat_format_recognise(info.chat_template) == &chat_k_exaone);
    tokenizer_close(t);
}

static unsigned most_words(const struct tokenizer *t, unsigned *n_over_one)
{
    unsigned most = 0;
    *n_over_one = 0;
    for (uint32_t i = N_SPECIAL; i < tokenizer_size(t); i++) {
        struct bytes b = tokenizer_token_bytes(t, i);
        unsigned n = 0;
        for (const uint8_t *at = b.at; at < b.at + b.len; n++)
            at = word_end(at, b.at + b.len);
        most = n > most ? n : most;
        *n_over_one += n > 1;
    }
    return most;
}

static void a_superword_has_at_most_so_many_words(void)
{
    const char *path = sample();
    for (unsigned cap = 2; cap <= 4; cap++) {
        struct train_options o = options_of(&path, 3000, 0.45);
        struct train_report report;
        struct err err = { 0 };
        unsigned n;
        o.max_words = cap;
        struct tokenizer *t = tokenizer_train(&o, &report, &err);
        EXPECTF(t, "%s", err.msg);
        if (!t)
            return;
        EXPECTF(most_words(t, &n) == cap, "%u", most_words(t, &n));
        EXPECT(n > 20 && n == report.n_superwords);
        EXPECT(t->bpe.by_word && t->bpe.later.slot); /* the encoder sees two stages too */
        tokenizer_close(t);
    }
    unsigned n;
    struct tokenizer *t = train_on(path, 3000, 0);
    EXPECT(t && most_words(t, &n) == 1 && n == 0);
    tokenizer_close(t);
}

static void threads_change_nothing(void)
{
    struct tokenizer *first = train_on(sample(), 3000, 0.3);
    for (int n = 2; n <= 5; n += 3) {
        const char *path = sample();
        struct train_options o = options_of(&path, 3000, 0.3);
        struct train_report report;
        o.n_threads = n;
        struct tokenizer *t = tokenizer_train(&o, &report, NULL);
        EXPECT(same_tokenizer(first, t));
        tokenizer_close(t);
    }
    tokenizer_close(first);
}

static void little_memory_trains_on_a_part(void)
{
    const char *path = sample();
    struct train_options o = options_of(&path, 1000, 0.2);
    struct train_report r[2];
    struct err err = { 0 };
    o.max_bytes = 5 << 20;
    struct tokenizer *a = tokenizer_train(&o, &r[0], &err);
    EXPECTF(a, "%s", err.msg);
    o.n_threads = 3;
    struct tokenizer *b = tokenizer_train(&o, &r[1], &err);
    EXPECT(same_tokenizer(a, b));
    EXPECTF(r[0].words_share < 1 && r[0].words_share > 0.05, "%g", r[0].words_share);
    EXPECT(r[0].words_share == r[1].words_share && r[0].spans_share <= r[0].words_share);
    EXPECT(r[0].words.n_documents > 20);
    tokenizer_close(a);
    tokenizer_close(b);
    o.max_bytes = 4096;
    EXPECT(!tokenizer_train(&o, &r[0], &err) && err.code == ERR_MEMORY);
}

/* One file over the memory: parts of it are used, like documents. */
static void one_large_file_is_used_in_part(void)
{
    struct buf text = { 0 };
    struct rng rng = { .seed = 5 };
    for (int i = 0; i < 400000; i++) {
        for (int k = 0; k < 8; k++)
            buf_put(&text, &"abcdefghijklmnop"[rng_u64(&rng) >> 60], 1);
        buf_text(&text, i % 9 ? " " : "\n");
    }
    const char *path = scratch_text("large.txt", text.at);
    struct train_options o = options_of(&path, 1000, 0.2);
    struct train_report r;
    struct err err = { 0 };
    o.max_bytes = 32 << 20;
    struct tokenizer *t = tokenizer_train(&o, &r, &err);
    EXPECTF(t && tokenizer_size(t) == 1000, "%s", err.msg);
    EXPECTF(r.words_share < 1 && r.words.n_documents == 1, "%g", r.words_share);
    EXPECTF(r.words.n_text_bytes > 0 && r.words.n_text_bytes < text.len, "%llu bytes",
            (unsigned long long)r.words.n_text_bytes);
    tokenizer_close(t);
    buf_release(&text);
}

static struct tokenizer *extend(const struct tokenizer *base, uint32_t keep, uint32_t n_ids,
                                double superwords, struct err *err)
{
    const char *path = sample();
    struct train_options o = options_of(&path, n_ids, superwords);
    struct train_report report;
    o.extend = base;
    o.n_keep = keep;
    return tokenizer_train(&o, &report, err);
}

/* Stage two over lines goes on from stage one's merges, whether just learnt or kept. */
static void lines_go_on_from_stage_one(void)
{
    const char *path = sample();
    struct tokenizer *half = train_on(path, 1500, 0), *made[2];
    struct train_options o = options_of(&path, 3000, 0.5);
    struct train_report report;
    struct err err = { 0 };
    o.lines = true;
    made[0] = tokenizer_train(&o, &report, &err);
    EXPECTF(made[0] && report.n_superwords > 100, "%s", err.msg);
    o.extend = half;
    o.n_keep = tokenizer_info(half).n_merges;
    o.n_threads = 3;
    made[1] = tokenizer_train(&o, &report, &err);
    EXPECTF(same_tokenizer(made[0], made[1]), "%s", err.msg);
    tokenizer_close(made[0]);
    tokenizer_close(made[1]);
    tokenizer_close(half);
}

static void extending_goes_on_where_training_stopped(void)
{
    struct err err = { 0 };
    struct tokenizer *whole = train_on(sample(), 3000, 0), *half = train_on(sample(), 1500, 0);
    struct tokenizer *super = train_on(sample(), 3000, 0.4), *t;
    if (!whole || !half || !super)
        return;
    t = extend(whole, 1000, 3000, 0, &err);
    EXPECTF(same_tokenizer(t, whole), "%s", err.msg);
    tokenizer_close(t);
    t = extend(half, tokenizer_info(half).n_merges, 3000, 0.4, &err);
    EXPECTF(same_tokenizer(t, super), "%s", err.msg);
    tokenizer_close(t);
    t = extend(super, tokenizer_info(super).n_merges - 200, 3000, 0.1, &err);
    EXPECTF(same_tokenizer(t, super), "%s", err.msg);
    tokenizer_close(t);
    EXPECT(!extend(super, 2700, 3000, 0, &err));
    EXPECT(SAYS(&err, ERR_USAGE, "superwords"));
    EXPECT(!extend(half, 5000, 6000, 0, &err) && SAYS(&err, ERR_USAGE, "merges"));
    EXPECT(!extend(half, 1200, 1000, 0, &err) && SAYS(&err, ERR_USAGE, "--vocab"));
    tokenizer_close(whole);
    tokenizer_close(half);
    tokenizer_close(super);
}

static struct err failure_on(const char *path, uint32_t n_ids, double superwords)
{
    struct train_options o = options_of(&path, n_ids, superwords);
    struct train_report report;
    struct err err = { 0 };
    struct tokenizer *t = tokenizer_train(&o, &report, &err);
    EXPECT(!t);
    tokenizer_close(t);
    return err;
}

static void bad_input_is_refused(void)
{
    struct err e = failure_on(scratch_text("empty.txt", ""), 300, 0);
    EXPECTF(SAYS(&e, ERR_USAGE, "no text"), "%s", e.msg);
    e = failure_on(scratch_path("missing.jsonl"), 300, 0);
    EXPECTF(SAYS(&e, ERR_IO, "missing.jsonl"), "%s", e.msg);
    e = failure_on(scratch_text("small.txt", "one two one two one two"), 2000, 0);
    EXPECTF(SAYS(&e, ERR_USAGE, "--vocab"), "%s", e.msg);
    e = failure_on(scratch_path("small.txt"), 2000, 0.9);
    EXPECTF(SAYS(&e, ERR_USAGE, "--vocab"), "%s", e.msg);
    e = failure_on(scratch_path("small.txt"), 256 + N_SPECIAL, 0);
    EXPECTF(SAYS(&e, ERR_USAGE, "vocabulary"), "%s", e.msg);
    e = failure_on(scratch_text("bad.jsonl", "{\"text\": \"a\"}\n{\"no\": 1}\n"), 300, 0);
    EXPECTF(SAYS(&e, ERR_FORMAT, "line 2"), "%s", e.msg);
}

static void stopping_makes_no_tokenizer(void)
{
    volatile int stop = 1;
    struct err err = { 0 };
    struct train_report report;
    const char *path = sample();
    struct train_options o = options_of(&path, 2000, 0.5);
    o.stop = &stop;
    EXPECT(!tokenizer_train(&o, &report, &err) && SAYS(&err, ERR_CANCELLED, "stopped"));
    EXPECT(report.words.n_documents && !report.n_merges);
}

/* U+0000 and other controls are text; broken UTF-8 is not. */
static void odd_bytes_are_trained_on(void)
{
    const char text[] = "\x01\x02\x7f \x01\x02\x7f \x01\x02\x7f a\0b a\0b a\0b";
    struct tokenizer *t = train_on(scratch_write("odd.txt", text, sizeof text - 1),
                                   N_SPECIAL + 256 + 5, 0);
    struct ids ids = { 0 };
    EXPECT(t && tokenizer_encode(t, (struct bytes){ (const uint8_t *)"\x01\x02\x7f", 3 },
                                 (struct encode_options){ 0 }, &ids, NULL));
    EXPECTF(ids.n == 1, "%zu", ids.n);
    struct err e = failure_on(scratch_text("latin.txt", "caf\xe9 caf\xe9 caf\xe9"), 300, 0);
    EXPECTF(SAYS(&e, ERR_FORMAT, "latin.txt", "no UTF-8", "byte 3", "0xe9"), "%s", e.msg);
    e = failure_on(scratch_text("latin.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\xe9\"}\n"), 300,
                   0);
    EXPECTF(SAYS(&e, ERR_FORMAT, "latin.jsonl, line 2"), "%s", e.msg);
    ids_release(&ids);
    tokenizer_close(t);
}

/* A text in NFD trains the same tokenizer. */
static void text_is_trained_on_in_nfc(void)
{
    const char *nfc = scratch_text("nfc.txt", "\xC3\xA9t\xC3\xA9 \xEA\xB0\x81 \xEA\xB0\x81 "
                                              "\xC3\xA9t\xC3\xA9 \xC3\xA9t\xC3\xA9");
    struct tokenizer *a = train_on(nfc, 280, 0);
    const char *nfd = scratch_text("nfd.txt",
        "e\xCC\x81te\xCC\x81 \xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8 "
        "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8 e\xCC\x81te\xCC\x81 e\xCC\x81te\xCC\x81");
    struct tokenizer *b = train_on(nfd, 280, 0);
    EXPECT(same_tokenizer(a, b));
    tokenizer_close(a);
    tokenizer_close(b);
}

static void weights_and_held_out_documents(void)
{
    const char *path = scratch_text("two.jsonl",
        "{\"lang\": \"a\", \"text\": \"xy xy xy xy\"}\n"
        "{\"lang\": \"b\", \"text\": \"pq pq pq\"}\n");
    struct language_weight w[] = { { "b", 2 }, { "a", 0.5 } };
    struct train_options o = options_of(&path, N_SPECIAL + 257, 0);
    struct train_report report;
    struct err err = { 0 };
    struct tokenizer *t = tokenizer_train(&o, &report, &err);
    EXPECT(t && bytes_eq(tokenizer_token_bytes(t, N_SPECIAL + 256), bytes_of("xy")));
    tokenizer_close(t);
    o.source.weights = w;
    o.source.n_weights = 2;
    t = tokenizer_train(&o, &report, &err);
    EXPECT(t && bytes_eq(tokenizer_token_bytes(t, N_SPECIAL + 256), bytes_of("pq")));
    tokenizer_close(t);
    w[0].weight = w[1].weight = 0;
    EXPECT(!tokenizer_train(&o, &report, &err) && SAYS(&err, ERR_USAGE, "no text"));
    path = sample();
    o = options_of(&path, 1000, 0);
    o.source.held_out = 0.25;
    t = tokenizer_train(&o, &report, &err);
    EXPECT(t && report.words.n_held_out > 80 && report.words.n_held_out < 140);
    EXPECT(report.words.n_held_out + report.words.n_documents == 438);
    tokenizer_close(t);
}

static void special_tokens_are_checked(void)
{
    const char *more[] = { "<mine>", "<|user|>" }, *path = scratch_text("s.txt", "xy xy xy");
    struct train_options o = options_of(&path, N_SPECIAL + 259, 0);
    struct train_report report;
    struct err err = { 0 };
    o.special = more;
    o.n_special = 1;
    struct tokenizer *t = tokenizer_train(&o, &report, &err);
    EXPECTF(t && tokenizer_find(t, "<mine>") == N_SPECIAL, "%s", err.msg);
    tokenizer_close(t);
    o.n_special = 2;
    EXPECT(!tokenizer_train(&o, &report, &err) && SAYS(&err, ERR_USAGE, "<|user|>", "twice"));
    more[1] = "\xC4\xA0";                 /* the space, as a vocabulary spells it */
    EXPECT(!tokenizer_train(&o, &report, &err) && SAYS(&err, ERR_USAGE, "spells a byte"));
    more[1] = "";
    EXPECT(!tokenizer_train(&o, &report, &err) && err.code == ERR_USAGE);
}

/* Whether each special token is found by its spelling, which no other token has. */
static void expect_special(const struct tokenizer *t)
{
    for (uint32_t id = 0; t && id < N_SPECIAL + 2; id++) {
        struct bytes text = vocab_text(&t->vocab, id);
        EXPECTF(vocab_find(&t->vocab, text) == id, "%.*s", (int)text.len, (const char *)text.at);
        for (uint32_t other = N_SPECIAL + 2; other < tokenizer_size(t); other++)
            EXPECTF(!bytes_eq(text, vocab_text(&t->vocab, other)), "%u is %u", other, id);
    }
}

/* What looks like a special token in the text becomes no token of its own: a vocabulary in JSON
 * has one id for a spelling. */
static void no_merge_makes_a_special_token(void)
{
    struct buf text = { 0 };
    struct err err = { 0 };
    struct train_report report;
    const char *more[] = { "the", "abc" };
    static const char *const between[] = { "<think>", "\nthe ", "</think>", "\nabc\n", "[EOS]" };
    struct rng rng = { .seed = 8 };
    for (int i = 0; i < 9000; i++) {
        for (int k = 0; k < 2; k++)
            buf_put(&text, &"abcdefghijklmnop"[rng_u64(&rng) >> 60], 1);
        buf_text(&text, between[i % 5]);
    }
    const char *path = scratch_text("chat.txt", text.at);
    struct train_options o = options_of(&path, 700, 0);
    o.special = more;
    o.n_special = 2;
    for (int lines = 0; lines < 2; lines++) {
        o.lines = lines;
        o.superwords = 0.4 * lines;
        struct tokenizer *t = tokenizer_train(&o, &report, &err);
        EXPECTF(t, "%s", err.msg);
        expect_special(t);
        tokenizer_close(t);
    }
    struct tokenizer *plain = train_on(path, 600, 0);
    o.extend = plain;
    o.n_keep = plain ? tokenizer_info(plain).n_merges : 0;
    EXPECT(!tokenizer_train(&o, &report, &err) && SAYS(&err, ERR_USAGE, "to extend", "--special"));
    tokenizer_close(plain);
    buf_release(&text);
}

/* Saved, opened again: the same ids. */
static void what_is_saved_encodes_the_same(void)
{
    struct tokenizer *t = train_on(sample(), 3000, 0.4);
    struct err err = { 0 };
    const char *text = "Le code de la fonction est dans le fichier. \xEC\x9D\xB4 \xEC\x98\x81\xED"
                       "\x99\x94\xEB\x8A\x94 <|user|>\n of the sea and the wind";
    struct ids a = { 0 }, b = { 0 };
    struct encode_options o = { true, true };
    scratch_folder("saved");
    EXPECTF(t && tokenizer_save_hf(t, scratch_path("saved"), &err), "%s", err.msg);
    struct tokenizer *again = tokenizer_open_hf(scratch_path("saved"), &err);
    EXPECTF(again && tokenizer_encode(t, bytes_of(text), o, &a, &err) &&
            tokenizer_encode(again, bytes_of(text), o, &b, &err), "%s", err.msg);
    EXPECT(same_tokenizer(t, again));
    EXPECT(a.n > 10 && a.n == b.n && !memcmp(a.at, b.at, a.n * sizeof *a.at));
    ids_release(&a);
    ids_release(&b);
    tokenizer_close(t);
    tokenizer_close(again);
}

struct stage_one {
    struct word_table words;
    struct spans spans;
    struct tokenizer *base;               /* or NULL: by words */
};

static bool encode_piece(const struct tokenizer *t, struct bytes piece, struct ids *out)
{
    struct bpe_scratch scratch = { 0 };
    bpe_begin(&scratch, NULL);
    bool ok = bpe_encode(&t->bpe, piece, &scratch, out, NULL) &&
              bpe_flush(&t->bpe, &scratch, out, NULL);
    bpe_scratch_release(&scratch);
    return ok;
}

static bool segment(const void *arg, struct bytes piece, struct ids *out)
{
    const struct stage_one *one = arg;
    const uint8_t *at = piece.at, *end = at + piece.len;
    if (one->base)
        return encode_piece(one->base, piece, out);
    for (const uint8_t *stop; at < end; at = stop) {
        stop = word_end(at, end);
        struct bytes word = { at, (size_t)(stop - at) };
        const uint32_t *id = word_table_tokens(&one->words, &one->spans, word);
        for (; *id != SPAN_END; id++)
            ids_put(out, *id);
    }
    return !out->failed;
}

/* Sequences whose bytes the tokenizer cuts otherwise than training left them. */
static size_t differing(const struct tokenizer *t, const struct learnt *l, const struct spans *s,
                        size_t *n_all)
{
    struct ids ids = { 0 };
    struct buf text = { 0 };
    size_t n_bad = 0, n;
    *n_all = 0;
    for (uint32_t p = 1; p < s->n; p += (uint32_t)n + 1, ++*n_all) {
        ids.n = 0;
        buf_clear(&text);
        for (n = 0; s->sym[p + n] != SPAN_END; n++)
            buf_put(&text, learnt_bytes(l, s->sym[p + n]).at, learnt_bytes(l, s->sym[p + n]).len);
        EXPECT(encode_piece(t, (struct bytes){ (const uint8_t *)text.at, text.len }, &ids));
        n_bad += ids.n != n || memcmp(ids.at, s->sym + p, n * sizeof *ids.at) != 0;
    }
    ids_release(&ids);
    buf_release(&text);
    return n_bad;
}

/* Encoding a piece by rank gives the tokens that both stages of training left it with. */
static void compare_encoding(const struct pretok *across, bool lines)
{
    struct stage_one one = { 0 };
    struct span_table table = { 0 };
    struct spans spans = { 0 };
    struct piece_count count = { 0 };
    struct learnt l;
    struct err err = { 0 };
    struct text_chunk chunk = { 0 };
    struct chunk_text part = { .weight = 1 };
    const struct pretok *pre = pretok_find(bytes_of("exaone-moe"));
    struct merge_rules rules = { .n_ids = 2000, .least = 2, .max_words = 1, .max_bytes = 1 << 24 };
    EXPECT(learnt_init(&l, N_SPECIAL, &err) &&
           file_read(&chunk.text, tree_path("tests/gold/text/sample.txt"), 1 << 20, &err));
    part.len = chunk.text.len;
    chunk.part = &part;
    chunk.n = 1;
    EXPECT(piece_count_chunk(&count, &chunk, pre, PIECE_WORD));
    for (unsigned i = 0; i < COUNT_SHARDS; i++)
        word_table_add(&one.words, i, &count);
    EXPECT(word_table_spans(&one.words, &l, &one.spans, &err) &&
           merge_learn(&one.spans, &l, rules, NULL, NULL, &err) &&
           word_table_place(&one.words, &one.spans, &err));
    if (lines)
        one.base = tokenizer_of_learnt(&l, across, NULL, 0, &err);
    EXPECT(piece_count_chunk(&count, &chunk, across, PIECE_WHOLE));
    for (unsigned i = 0; i < COUNT_SHARDS; i++)
        span_table_add(&table, i, &count, &l, segment, &one);
    rules.n_ids = 3000;
    rules.max_words = 4;
    EXPECT(span_table_take(&table, &spans, &err) &&
           merge_learn(&spans, &l, rules, NULL, NULL, &err));
    struct tokenizer *t = tokenizer_of_learnt(&l, across, NULL, 0, &err);
    size_t n_all = 0, n_bad = t ? differing(t, &l, &spans, &n_all) : 1;
    EXPECTF(!n_bad && n_all > (lines ? 400 : 2000) && l.n_superwords > 100, "%zu of %zu",
            n_bad, n_all);
    tokenizer_close(t);
    tokenizer_close(one.base);
    word_table_release(&one.words);
    spans_release(&one.spans);
    spans_release(&spans);
    piece_count_release(&count);
    buf_release(&chunk.text);
    learnt_release(&l);
}

static void encoding_gives_what_was_trained(void)
{
    compare_encoding(pretok_find(bytes_of("exaone-moe")), false);
    compare_encoding(pretok_find(bytes_of("kexa-lines")), true);
}

static void refuse_allocations(bool lines)
{
    const char *path = scratch_text("oom.txt", "one two one two one two one two one two");
    struct train_options o = options_of(&path, N_SPECIAL + 262, 0.005);
    long live = mem_live, k = 0;
    o.lines = lines;
    for (bool done = false; !done && k < 2000; k++) {
        struct train_report report;
        struct err err = { 0 };
        mem_fail_after = k;
        struct tokenizer *t = tokenizer_train(&o, &report, &err);
        done = mem_fail_after >= 0;
        mem_fail_after = -1;
        EXPECTF(t || err.code == ERR_MEMORY, "%ld: %s", k, err.msg);
        tokenizer_close(t);
        EXPECT(mem_live == live);
    }
    EXPECT(k > 50 && k < 2000);
}

static void every_refused_allocation_is_survived(void)
{
    refuse_allocations(false);
    refuse_allocations(true);
}

const struct test tests[] = {
    { "merges known by hand", merges_known_by_hand },
    { "word cap", a_superword_has_at_most_so_many_words },
    { "threads", threads_change_nothing },
    { "little memory", little_memory_trains_on_a_part },
    { "large file", one_large_file_is_used_in_part },
    { "extend", extending_goes_on_where_training_stopped },
    { "lines", lines_go_on_from_stage_one },
    { "bad input", bad_input_is_refused },
    { "stopping", stopping_makes_no_tokenizer },
    { "odd bytes", odd_bytes_are_trained_on },
    { "NFC", text_is_trained_on_in_nfc },
    { "weights and held-out documents", weights_and_held_out_documents },
    { "special tokens", special_tokens_are_checked },
    { "spelled like special", no_merge_makes_a_special_token },
    { "encoding", encoding_gives_what_was_trained },
    { "saved", what_is_saved_encodes_the_same },
    { "no memory", every_refused_allocation_is_survived },
    { 0 }
};
