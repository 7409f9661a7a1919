/*
 * tokenizer: what the comparison with the tokenizers package cannot show: broken UTF-8,
 * refusals and their words, end ids, no memory, and very long pieces.
 */
#include "format/format.h"
#include "text/text.h"
#include "text/unicode.h"
#include "../../harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* The parts of a tokenizer.json; NULL: the usual one. */
struct parts {
    const char *normalizer, *pre, *merges, *added, *post, *extra, *vocab;
};

static const char *const usual_merges = "\"a b\", \"ab c\", [\"b\", \"c\"], \"\\u0120 a\"";

static const char *const usual_added =
    "{\"id\": 300, \"content\": \"<|im_end|>\", \"special\": true, \"normalized\": false},"
    "{\"id\": 301, \"content\": \"<|im_end|><x>\", \"special\": false, \"normalized\": false},"
    "{\"id\": 302, \"content\": \"<l>\", \"special\": false, \"lstrip\": true, \"rstrip\": true},"
    "{\"id\": 303, \"content\": \"word\", \"special\": false, \"single_word\": true}";

/* Every byte's letter has its byte as id; then ab 256, abc 257, bc 258, Ga 259. */
static void put_vocab(struct buf *b)
{
    unsigned next = 256;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t text[4];
        bool plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
        unsigned n = utf8_encode(plain ? byte : next++, text);
        const char *escape = byte == '"' || byte == '\\' ? "\\" : "";
        buf_printf(b, "\"%s%.*s\": %u, ", escape, (int)n, (const char *)text, byte);
    }
    buf_text(b, "\"ab\": 256, \"abc\": 257, \"bc\": 258, \"\\u0120a\": 259");
}

static const char *or_else(const char *text, const char *usual)
{
    return text ? text : usual;
}

#define SPM_FILE "tests/fuzz/corpus/gguf_tokenizer/ok-spm"

static char folder[] = "/tmp/kexa-tokenizer-XXXXXX";
static void remove_folder(void);

/* Path of a file in the test's folder, which is made at first need. */
static const char *in_folder(const char *name)
{
    static char path[200];
    static bool made;
    if (!made) {
        made = mkdtemp(folder) != NULL;
        EXPECT(made && !atexit(remove_folder));
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void remove_folder(void)
{
    static const char *const names[] = { "tokenizer.json", "tokenizer_config.json", "config.json",
                                         "generation_config.json", "chat_template.jinja" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_folder(names[i]));
    rmdir(folder);
}

static void write_file(const char *name, const char *text, size_t len)
{
    FILE *f = fopen(in_folder(name), "wb");
    EXPECT(f && fwrite(text, 1, len, f) == len);
    if (f)
        fclose(f);
}

static void write_tokenizer(struct parts p)
{
    struct buf b = { 0 };
    buf_printf(&b, "{\"normalizer\": %s, \"pre_tokenizer\": %s, \"post_processor\": %s, "
               "\"added_tokens\": [%s], \"model\": {\"type\": \"BPE\", \"merges\": [%s], %s "
               "\"vocab\": {", or_else(p.normalizer, "null"),
               or_else(p.pre, "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}"),
               or_else(p.post, "null"), or_else(p.added, usual_added),
               or_else(p.merges, usual_merges), or_else(p.extra, ""));
    if (p.vocab)
        buf_text(&b, p.vocab);
    else
        put_vocab(&b);
    buf_text(&b, "}}}");
    EXPECT(buf_ok(&b, NULL));
    write_file("tokenizer.json", b.at, b.len);
    buf_release(&b);
}

static struct tokenizer *open_usual(struct parts p)
{
    struct err err;
    write_tokenizer(p);
    struct tokenizer *t = tokenizer_open_hf(folder, &err);
    EXPECTF(t != NULL, "%s", err.msg);
    return t;
}

/* The ids of text as one line "1 2 3". */
static const char *ids_text(const struct tokenizer *t, const char *text,
                            struct encode_options o)
{
    static char line[400];
    struct ids out = { 0 };
    size_t n = 0;
    EXPECT(tokenizer_encode(t, bytes_of(text), o, &out, NULL));
    line[0] = 0;
    for (size_t i = 0; i < out.n && n < sizeof line - 12; i++)
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%u", i ? " " : "", out.at[i]);
    ids_release(&out);
    return line;
}

static void expect_ids(const struct tokenizer *t, const char *text, struct encode_options o,
                       const char *want)
{
    const char *got = ids_text(t, text, o);
    EXPECTF(!strcmp(got, want), "\"%s\" gives %s, not %s", text, got, want);
}

static void test_merges_and_added(void)
{
    struct encode_options plain = { 0 }, special = { .parse_special = true };
    struct tokenizer *t = open_usual((struct parts){ 0 });
    expect_ids(t, "", special, "");
    expect_ids(t, "abc bc ab", special, "257 32 258 32 256");
    expect_ids(t, " abc", special, "32 257");       /* "a b" ranks before "Ga" */
    expect_ids(t, " a", special, "259");
    expect_ids(t, "a<|im_end|>b", special, "97 300 98");
    expect_ids(t, "a<|im_end|>", plain, "97 60 124 105 109 95 101 110 100 124 62");
    expect_ids(t, "<|im_end|><x>", special, "301");  /* the longest */
    expect_ids(t, "<|im_end|><x>", plain, "301");    /* user-defined: always */
    expect_ids(t, "a \t<l>\n <l> b", plain, "97 302 302 98");
    expect_ids(t, "word sword word.", plain, "303 32 115 119 111 114 100 32 303 46");
    EXPECT(tokenizer_find(t, "abc") == 257 && tokenizer_find(t, "abcd") == NO_TOKEN);
    EXPECT(tokenizer_size(t) == 304 && tokenizer_token_kind(t, 280) == TOKEN_UNUSED);
    EXPECT(tokenizer_token_kind(t, 300) == TOKEN_CONTROL);
    EXPECT(tokenizer_token_kind(t, 301) == TOKEN_USER);
    EXPECT(bytes_eq(tokenizer_token_bytes(t, 259), bytes_of(" a")));
    EXPECT(!tokenizer_token_bytes(t, 1u << 30).len && !tokenizer_token_bytes(t, 290).len);
    tokenizer_close(t);
}

static void test_nfc_and_template(void)
{
    struct encode_options add = { .add_special = true };
    struct tokenizer *t = open_usual((struct parts){
        .normalizer = "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}]}",
        .post = "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
                "\"B\"}}, {\"Sequence\": {\"id\": \"A\"}}], \"special_tokens\": "
                "{\"B\": {\"id\": \"B\", \"ids\": [300, 303]}}}" });
    expect_ids(t, "e\xCC\x81", add, "300 303 195 169");
    expect_ids(t, "\xFF" "e\xCC\x81\xCC", add, "300 303 255 195 169 204");
    EXPECT(tokenizer_info(t).nfc && tokenizer_info(t).add_bos && !tokenizer_info(t).add_eos);
    EXPECT(!strcmp(tokenizer_info(t).pre, "gpt2"));
    tokenizer_close(t);
}

/* Many threads on one fresh tokenizer: what it finds out at first need is the same for all. */
struct crowd {
    struct tokenizer *t;
    _Atomic int n_wrong;
};

static void encode_again(void *arg, size_t begin, size_t end, int worker)
{
    static const uint32_t want[] = { 257, 32, 256, 32, 259, 32, 258, 10, 259, 32, 257 };
    struct crowd *c = arg;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        struct ids out = { 0 };
        bool ok = tokenizer_encode(c->t, bytes_of("abc ab  a bc\n a abc"),
                                   (struct encode_options){ 0 }, &out, NULL);
        c->n_wrong += !ok || out.n != 11 || memcmp(out.at, want, sizeof want);
        ids_release(&out);
    }
}

static void test_threads(void)
{
    struct crowd c = { .t = open_usual((struct parts){ 0 }) };
    struct pool *p = pool_open(4, NULL);
    EXPECT(p != NULL);
    if (p)
        pool_run(p, 2000, 10, encode_again, &c);
    EXPECT(c.n_wrong == 0);
    pool_close(p);
    tokenizer_close(c.t);
}

static bool round_trips(const struct tokenizer *t, struct bytes text)
{
    struct ids ids = { 0 };
    struct buf back = { 0 };
    bool ok = tokenizer_encode(t, text, (struct encode_options){ 0 }, &ids, NULL);
    for (size_t i = 0; i < ids.n; i++) {
        struct bytes b = tokenizer_token_bytes(t, ids.at[i]);
        buf_put(&back, b.at, b.len);
    }
    ok = ok && bytes_eq(text, (struct bytes){ (const uint8_t *)back.at, back.len });
    ids_release(&ids);
    buf_release(&back);
    return ok;
}

/* Bytes of all kinds, half of them from the letters that the merges use. */
static void test_broken_text_round_trips(void)
{
    static const char *const steps[] = {
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}",
        "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", "
        "\"individual_digits\": true}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false}]}",
    };
    struct rng r = { .seed = 21 };
    uint8_t text[200];
    for (size_t k = 0; k < 2; k++) {
        struct tokenizer *t = open_usual((struct parts){ .pre = steps[k], .added = "" });
        for (int i = 0; i < 20000; i++) {
            size_t len = rng_u64(&r) % sizeof text;
            for (size_t j = 0; j < len; j++) {
                uint64_t x = rng_u64(&r);
                text[j] = x & 1 ? (uint8_t)(x >> 8) : (uint8_t)" abc1\n\xE2\x80"[x >> 8 & 7];
            }
            EXPECT(round_trips(t, (struct bytes){ text, len }));
        }
        tokenizer_close(t);
    }
}

/* Of this process: others may have the CPU, and a sanitizer takes its part. */
static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A piece of a million bytes takes the heap; all cuts of it are also short pieces. */
static void test_long_piece(void)
{
    enum { LEN = 1 << 20 };
    struct tokenizer *t = open_usual((struct parts){ 0 });
    struct ids ids = { 0 };
    char *text = mem_take(LEN, 1);
    for (size_t i = 0; i < LEN; i++)
        text[i] = "abcabbcca"[i % 9];
    double start = cpu_seconds();
    EXPECT(tokenizer_encode(t, (struct bytes){ (uint8_t *)text, LEN },
                            (struct encode_options){ 0 }, &ids, NULL));
    double s = cpu_seconds() - start;
    EXPECTF(s < 4.0, "a piece of 1 MiB takes %.2f s of CPU time", s);
    static const uint32_t want[] = { 257, 256, 258, 99, 97 };    /* abc ab bc c a */
    uint32_t wrong = 0;
    for (size_t i = 0; i + 5 <= ids.n; i++)                      /* a + abc: "a a" apart */
        wrong += ids.at[i] != want[i % 5];
    EXPECTF(!wrong, "%u ids differ", wrong);
    mem_give(text);
    ids_release(&ids);
    tokenizer_close(t);
}

static void expect_refusal(struct parts p, enum err_code code, const char *says)
{
    struct err err = { 0 };
    write_tokenizer(p);
    struct tokenizer *t = tokenizer_open_hf(in_folder("tokenizer.json"), &err);
    EXPECTF(!t && err.code == code, "code %d, not %d: %s", err.code, code, err.msg);
    EXPECTF(strstr(err.msg, says) && strstr(err.msg, "tokenizer.json"),
            "\"%s\" does not say \"%s\"", err.msg, says);
    tokenizer_close(t);
}

static void test_refusals(void)
{
    expect_refusal((struct parts){ .merges = "\"a b\", \"a zz\"" }, ERR_FORMAT,
                   "model.merges, element 1: its right part \"zz\" is not in the vocabulary");
    expect_refusal((struct parts){ .merges = "\"a c\"" }, ERR_FORMAT, "its result \"ac\"");
    expect_refusal((struct parts){ .merges = "\"a  b\"" }, ERR_FORMAT, "must be \"left right\"");
    expect_refusal((struct parts){ .merges = "7" }, ERR_FORMAT, "must be \"left right\"");
    expect_refusal((struct parts){ .pre = "{\"type\": \"Whitespace\"}" }, ERR_UNSUPPORTED,
                   "{\"type\":\"Whitespace\"}; the known pre-tokenizers are smollm, gpt2, "
                   "exaone, exaone4");
    expect_refusal((struct parts){ .pre = "{\"type\": \"Split\", \"behavior\": \"Isolated\", "
                   "\"pattern\": {\"Regex\": \"\\\\d+\"}}" }, ERR_UNSUPPORTED, "\\\\d+");
    expect_refusal((struct parts){ .pre = "null" }, ERR_UNSUPPORTED, "null");
    expect_refusal((struct parts){ .normalizer = "{\"type\": \"NFKC\"}" }, ERR_UNSUPPORTED,
                   "normalizer is NFKC");
    expect_refusal((struct parts){ .vocab = "\"a\": -1" }, ERR_FORMAT, "the id of \"a\"");
    expect_refusal((struct parts){ .vocab = "\"a\": 4194304" }, ERR_LIMIT, "4194304");
    expect_refusal((struct parts){ .vocab = "\"a\": 4000000" }, ERR_FORMAT, "only 5 of them");
    expect_refusal((struct parts){ .vocab = "" }, ERR_FORMAT, "model.vocab is not");
    expect_refusal((struct parts){ .added = "{\"id\": 1}" }, ERR_FORMAT, "added_tokens, element 0");
    expect_refusal((struct parts){ .extra = "\"end_of_word_suffix\": \"</w>\"," },
                   ERR_UNSUPPORTED, "end_of_word_suffix");
    expect_refusal((struct parts){ .extra = "\"dropout\": 0.1," }, ERR_UNSUPPORTED, "dropout");
    expect_refusal((struct parts){ .post = "{\"type\": \"BertProcessing\"}" }, ERR_UNSUPPORTED,
                   "post_processor is BertProcessing");
    write_file("tokenizer.json", "{}", 2);
    struct err err = { 0 };
    EXPECT(!tokenizer_open_hf(folder, &err) && strstr(err.msg, "pre-tokenizer"));
    EXPECT(!tokenizer_open_hf("/nonexistent", &err) && err.code == ERR_IO);
}

static void put_config(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

static void test_folder(void)
{
    put_config("tokenizer_config.json", "{\"eos_token\": {\"content\": \"abc\"}, "
               "\"bos_token\": \"ab\", \"chat_template\": [{\"name\": \"tool_use\", \"template\": "
               "\"T\"}, {\"name\": \"default\", \"template\": \"D\"}]}");
    put_config("generation_config.json", "{\"eos_token_id\": [258, 257, 99999]}");
    put_config("config.json", "{\"eos_token_id\": 259, \"pad_token_id\": 0}");
    struct tokenizer *t = open_usual((struct parts){ 0 });
    struct tokenizer_info info = tokenizer_info(t);
    size_t n;
    const uint32_t *ends = tokenizer_end_ids(t, &n);
    EXPECTF(n == 4 && ends[0] == 257 && ends[1] == 258 && ends[2] == 259 && ends[3] == 300,
            "%zu end ids", n);
    EXPECT(info.eos == 257 && info.bos == 256 && info.pad == 0 && info.n_merges == 4);
    EXPECT(!strcmp(info.chat_template, "D"));
    tokenizer_close(t);
    put_config("chat_template.jinja", "J");
    t = open_usual((struct parts){ 0 });
    EXPECT(!strcmp(tokenizer_info(t).chat_template, "J"));
    tokenizer_close(t);
    put_config("config.json", "{");
    struct err err = { 0 };
    EXPECT(!tokenizer_open_hf(folder, &err) && strstr(err.msg, "config.json"));
    unlink(in_folder("config.json"));
}

/* Every allocation of opening and of encoding fails once; nothing is left behind. */
static void test_no_memory(void)
{
    struct parts p = { .normalizer = "{\"type\": \"NFC\"}" };
    struct tokenizer *t = NULL;
    struct err err;
    write_tokenizer(p);
    EXPECT(mem_live == 0);
    for (long nth = 0; !t; nth++) {
        mem_fail_after = nth;
        t = tokenizer_open_hf(folder, &err);
        bool reached = mem_fail_after < 0;
        mem_fail_after = -1;
        EXPECTF((t != NULL) == !reached, "allocation %ld", nth);
        EXPECT(t || (err.code == ERR_MEMORY && mem_live == 0));
    }
    long held = mem_live;
    bool ok = false;
    for (long nth = 0; !ok; nth++) {
        struct ids out = { 0 };
        mem_fail_after = nth;
        ok = tokenizer_encode(t, bytes_of("e\xCC\x81 abcabcabcabcabcabcabcabcabcabcabcabcabcabcabc "
                              "<|im_end|> abababababababababababababababababababababababab"),
                              (struct encode_options){ .parse_special = true }, &out, &err);
        mem_fail_after = -1;
        EXPECT(ok || (err.code == ERR_MEMORY && out.n == 0));
        ids_release(&out);
        EXPECT(mem_live == held);
    }
    tokenizer_close(t);
    EXPECT(mem_live == 0);
}

static void open_gguf_without_memory(const char *path, const char *pre)
{
    struct gguf g = { 0 };
    struct err err;
    struct tokenizer *t = NULL;
    EXPECT(gguf_open(&g, tree_path(path), &err));
    long held = mem_live;
    for (long nth = 0; !t && nth < 10000; nth++) {
        mem_fail_after = nth;
        t = tokenizer_open_gguf(&g, "tiny", &err);
        bool reached = mem_fail_after < 0;
        mem_fail_after = -1;
        EXPECTF((t != NULL) == !reached, "allocation %ld", nth);
        EXPECTF(t || (err.code == ERR_MEMORY && mem_live == held), "allocation %ld: %s", nth,
                err.msg);
    }
    EXPECT(t && !strcmp(tokenizer_info(t).pre, pre));
    tokenizer_close(t);
    gguf_close(&g);
    EXPECT(mem_live == 0);
}

static void test_gguf_no_memory(void)
{
    open_gguf_without_memory("tests/fuzz/corpus/gguf_tokenizer/ok-exaone-moe", "exaone-moe");
    open_gguf_without_memory(SPM_FILE, "spm");
}

/*
 * The pieces of ok-spm (tests/fuzz/make_corpus.c): 2 is two spaces, 3 + b the byte b, and
 * from 259 l o h e _ ll he llo _he _hello ga d_he d, in the order of their scores.
 */
static void test_spm(void)
{
    struct gguf g = { 0 };
    struct err err;
    struct encode_options none = { 0 }, add = { .add_special = true, .parse_special = true };
    EXPECT(gguf_open(&g, tree_path(SPM_FILE), &err));
    struct tokenizer *t = tokenizer_open_gguf(&g, "ok-spm", &err);
    EXPECT(t != NULL);
    expect_ids(t, "hello", none, "265 266");          /* llo before lo or ell, then nothing */
    expect_ids(t, " hello", add, "1 268");            /* BOS unless a file says otherwise */
    expect_ids(t, " hello hello", none, "268 268");
    expect_ids(t, "d he", none, "270");               /* a piece across words */
    expect_ids(t, "x\n\xea\xb0\x80", none, "123 13 269");
    expect_ids(t, "\xea\xb0\x81", none, "237 179 132");
    expect_ids(t, "\xea\xb0l", none, "237 179 259");  /* broken UTF-8, byte by byte */
    expect_ids(t, "h  e   l", none, "261 2 262 2 263 259");
    expect_ids(t, "\xe2\x96\x81hello<s>", none, "268 63 118 65");
    expect_ids(t, "<s>h", add, "1 1 261");
    EXPECT(round_trips(t, bytes_of("d he hello  \xff\xea\xb0\x80 <s>\n")));
    EXPECT(bytes_eq(tokenizer_token_bytes(t, 13), bytes_of("\n")));
    EXPECT(bytes_eq(tokenizer_token_bytes(t, 268), bytes_of(" hello")));
    tokenizer_close(t);
    gguf_close(&g);
}

/* Opens ok-spm with one stretch of bytes changed to another as long. */
static void expect_spm_refusal(const char *from, const char *to, const char *says)
{
    struct buf file = { 0 };
    struct gguf g = { 0 };
    struct err err = { 0 };
    EXPECT(file_read(&file, tree_path(SPM_FILE), 1 << 20, &err));
    uint8_t *at = memmem(file.at, file.len, from, strlen(from));
    EXPECT(at != NULL);
    memcpy(at, to, strlen(to));
    EXPECT(gguf_open_bytes(&g, (struct bytes){ (uint8_t *)file.at, file.len }, "lie", &err));
    EXPECT(!tokenizer_open_gguf(&g, "lie", &err));
    EXPECTF(strstr(err.msg, says), "%s", err.msg);
    gguf_close(&g);
    buf_release(&file);
}

static void test_spm_refusals(void)
{
    expect_spm_refusal("ggml.scores", "ggml.stores", "one number for each of the 272 tokens");
    expect_spm_refusal("<0x41>", "<0xg1>", "element 68 is \"<0xg1>\", but its type is byte");
    expect_spm_refusal("llama", "lamas", "\"llama\" (SentencePiece with scores)");
}

const struct test tests[] = {
    { "merges_and_added", test_merges_and_added },
    { "nfc_and_template", test_nfc_and_template },
    { "threads", test_threads },
    { "broken_text_round_trips", test_broken_text_round_trips },
    { "long_piece", test_long_piece },
    { "refusals", test_refusals },
    { "folder", test_folder },
    { "spm", test_spm },
    { "spm_refusals", test_spm_refusals },
    { "no_memory", test_no_memory },
    { "gguf_no_memory", test_gguf_no_memory },
    { 0 }
};
