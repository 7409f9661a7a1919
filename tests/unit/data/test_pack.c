/*
 * pack: what tests/e2e/test_data.py cannot show: every allocation failing once, and the bytes a
 * loader counts for bits per byte.  text: tokenizer_hash names all that decides the ids.
 */
#include "shard_make.h"
#include "../../harness.h"
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The 256 letters of the byte-level alphabet, in order of their bytes. */
static void put_bytes(struct buf *b)
{
    unsigned next = 256;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
        buf_printf(b, "\"\\u%04x\": %u, ", plain ? byte : next++, byte);
    }
}

static const char usual_merges[] = "\"a b\", \"ab c\"";
static const char usual_added[] =
    "{\"id\": 300, \"content\": \"<|endoftext|>\", \"special\": true, \"normalized\": false}";

static struct tokenizer *open_with(const char *merges, const char *added, const char *normalizer,
                                   const char *tail)
{
    struct buf b = { 0 };
    struct err err = { 0 };
    const char *path = made_path("tokenizer.json");
    buf_text(&b, "{\"model\": {\"type\": \"BPE\", \"vocab\": {");
    put_bytes(&b);
    buf_printf(&b, "\"ab\": 256, \"abc\": 257, \"bc\": 258%s}, \"merges\": [%s]}, \"normalizer\": "
               "%s, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
               "\"use_regex\": true}, \"added_tokens\": [%s]}", tail, merges, normalizer, added);
    EXPECT(!b.failed && file_write(path, b.at, b.len, &err));
    struct tokenizer *t = tokenizer_open_hf(path, &err);
    EXPECTF(t, "%s", err.msg);
    buf_release(&b);
    return t;
}

static struct tokenizer *open_usual(void)
{
    return open_with(usual_merges, usual_added, "null", "");
}

static uint64_t hash_of(struct tokenizer *t)
{
    uint64_t h = t ? tokenizer_hash(t) : 0;
    tokenizer_close(t);
    return h;
}

static void test_hash(void)
{
    uint64_t usual = hash_of(open_usual());
    EXPECT(usual && usual == hash_of(open_usual()));
    uint64_t other[] = {
        hash_of(open_with("\"ab c\", \"a b\"", usual_added, "null", "")),
        hash_of(open_with("\"a b\"", usual_added, "null", "")),
        hash_of(open_with("\"a b\", \"b c\"", usual_added, "null", "")),
        hash_of(open_with(usual_merges, usual_added, "{\"type\": \"NFC\"}", "")),
        hash_of(open_with(usual_merges, usual_added, "null", ", \"cab\": 259")),
        hash_of(open_with(usual_merges, "", "null", "")),
        hash_of(open_with(usual_merges, "{\"id\": 300, \"content\": \"<|endoftext|>\", \"special\":"
                          " false, \"normalized\": false}", "null", "")),
        hash_of(open_with(usual_merges, "{\"id\": 300, \"content\": \"<|endoftext|>\", \"special\":"
                          " true, \"normalized\": false, \"rstrip\": true}", "null", "")),
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        EXPECTF(other[i] && other[i] != usual, "change %zu", i);
        for (size_t k = 0; k < i; k++)
            EXPECTF(other[i] != other[k], "changes %zu and %zu", k, i);
    }
}

/* A model that is trained further has its tokenizer from the folder kexa wrote. */
static void test_hash_saved(void)
{
    struct err err = { 0 };
    struct tokenizer *t = open_with(usual_merges, usual_added, "{\"type\": \"NFC\"}", "");
    const char *folder = made_path("saved");
    uint64_t before = tokenizer_hash(t);
    EXPECT(mkdir(folder, 0777) == 0);
    EXPECTF(tokenizer_save_hf(t, folder, &err), "%s", err.msg);
    tokenizer_close(t);
    EXPECT(hash_of(tokenizer_open_hf(folder, &err)) == before);
}

static const char corpus[] =
    "{\"text\": \"abc abcab\", \"lang\": \"en\", \"license\": \"MIT\"}\n"
    "{\"text\": \"\\u00e9a\"}\n"
    "{\"text\": \"\"}\n"
    "{\"text\": \"xyz\"}\n";

static const char *corpus_path(void)
{
    const char *path = made_path("corpus.jsonl");
    EXPECT(file_write(path, corpus, strlen(corpus), NULL));
    return path;
}

static void clear_folder(const char *out)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", out);
    EXPECT(system(command) == 0);
}

static bool try_pack(const struct tokenizer *t, const char *input, const char *out,
                     struct pack_report *r, struct err *err)
{
    struct pack_options o = {
        .tokenizer = t, .tokenizer_path = "tokenizer.json", .input = &input, .n_inputs = 1,
        .out = out, .held_out = 0, .shard_tokens = 8, .eos = 300, .threads = 2,
    };
    return pack_run(&o, r, err);
}

/* A failed encoding is tried again and may then succeed, so that a run can succeed before the
 * last allocation is reached. */
static void test_no_memory(void)
{
    enum { MOST = 90 };
    char out[200];
    struct err err;
    struct pack_report r;
    int n_failed = 0;
    bool ok = false;
    snprintf(out, sizeof out, "%s", made_path("m"));
    for (int k = 0; k < MOST; k++) {
        const char *input = corpus_path();
        long live = mem_live;
        struct tokenizer *t = open_usual();
        mem_fail_after = k;
        ok = try_pack(t, input, out, &r, &err);
        mem_fail_after = -1;
        tokenizer_close(t);               /* with what it cached */
        n_failed += !ok;
        EXPECTF(ok || err.code == ERR_MEMORY, "%d: %s", k, err.msg);
        EXPECTF(mem_live == live, "%d: %ld blocks", k, mem_live - live);
        EXPECTF(ok || !file_exists(out), "%d: something is left", k);
        EXPECTF(!ok || r.train.n_tokens == 13, "%d: tokens were lost", k);
        if (ok)
            clear_folder(out);
    }
    EXPECTF(ok && n_failed > 40, "%d of %d runs failed", n_failed, MOST);
}

/* Targets are all tokens of a document but the first; the end token stands for no text. */
static void test_bytes(void)
{
    char out[200];
    struct err err = { 0 };
    struct pack_report r;
    struct loader *l;
    struct batch b;
    struct tokenizer *t = open_usual();
    snprintf(out, sizeof out, "%s", made_path("b"));
    EXPECTF(try_pack(t, corpus_path(), out, &r, &err), "%s", err.msg);
    /* abc " abcab" -> abc | 0x20 abc ab; e9 a -> 2 bytes, a; x y z; each with the end */
    EXPECT(r.train.n_docs == 3 && r.train.n_tokens == 5 + 4 + 4 && r.n_empty == 1);
    EXPECT(r.train.n_bytes == 9 + 3 + 3 && r.n_shards == 2);
    struct loader_source s = { out, 1, 1 };
    struct loader_config c = { &s, 1, 16, 0, t, false };
    EXPECTF(loader_open(&l, &c, &err), "%s", err.msg);
    EXPECT(loader_next(l, &b, 1, &err) && loader_rows_left(l) == 0);
    EXPECT(b.n_targets == 10 && b.used[0] == 13);
    EXPECTF(b.n_bytes == (9 - 3) + (3 - 1) + (3 - 1), "%d bytes", (int)b.n_bytes);
    loader_close(l);
    struct tokenizer *other = open_with("\"a b\"", usual_added, "null", "");
    c.tokenizer = other;
    EXPECT(!loader_open(&l, &c, &err) && strstr(err.msg, "another tokenizer"));
    tokenizer_close(other);
    tokenizer_close(t);
    clear_folder(out);
}

/* A folder whose manifest is not ours, or names what is not in it. */
static void expect_manifest_refused(const char *text, const char *word)
{
    struct shard_set set;
    struct err err = { 0 };
    char folder[200], path[250];
    snprintf(folder, sizeof folder, "%s", made_path("lies"));
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    mkdir(folder, 0777);
    EXPECT(file_write(path, text, strlen(text), &err));
    EXPECTF(!shard_set_open(&set, folder, false, NULL, &err) && strstr(err.msg, word),
            "\"%s\" is not in \"%s\"", word, err.msg);
}

#define HEAD "{\"format\": \"kexa-shards\", \"version\": 1, \"shards\": "

static void test_manifests(void)
{
    expect_manifest_refused("", "manifest.json");
    expect_manifest_refused("[]", "no manifest of shards");
    expect_manifest_refused("{\"format\": \"kexa-shards\", \"version\": 2, \"shards\": []}",
                            "\"version\" 1");
    expect_manifest_refused(HEAD "5}", "a list");
    expect_manifest_refused(HEAD "[]}", "no documents to train on");
    expect_manifest_refused(HEAD "[7]}", "shards[0]");
    expect_manifest_refused(HEAD "[{\"file\": \"../x\", \"held_out\": false, \"sum\": "
                            "\"0123456789abcdef\"}]}", "without \"/\"");
    expect_manifest_refused(HEAD "[{\"file\": \"x\", \"held_out\": 1, \"sum\": "
                            "\"0123456789abcdef\"}]}", "true or false");
    expect_manifest_refused(HEAD "[{\"file\": \"x\", \"held_out\": true, \"sum\": "
                            "\"0123456789abcdeg\"}]}", "16 hexadecimal");
    expect_manifest_refused(HEAD "[{\"file\": \"x\", \"held_out\": false, \"sum\": "
                            "\"0123456789abcdef\"}]}", "lies/x: cannot open");
}

const struct test tests[] = {
    { "hash", test_hash },
    { "hash_saved", test_hash_saved },
    { "no_memory", test_no_memory },
    { "bytes", test_bytes },
    { "manifests", test_manifests },
    { 0 }
};
