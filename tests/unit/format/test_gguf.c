/* gguf: every type read back, typed reads, printing, split sets, the real model. */
#include "../../fuzz/walk.h"
#include "../../harness.h"
#include "gguf_build.h"
#include "scratch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct err err;

static bool open_buf(struct gguf *g, const struct buf *file)
{
    return gguf_open_bytes(g, (struct bytes){ (const uint8_t *)file->at, file->len }, "t.gguf",
                           &err);
}

static void test_values(void)
{
    static const struct { const char *key; double value; bool counts; } numbers[] = {
        { "a.u8", 250, true }, { "a.i8", -3, false }, { "a.u16", 65000, true },
        { "a.i16", -30000, false }, { "a.u32", 4000000000.0, true },
        { "a.i32", -2000000000.0, false }, { "a.f32", (double)0.1f, false },
        { "a.u64", 0x1p63, true }, { "a.i64", -0x1p63, false }, { "a.f64", 1e-300, false },
    };
    struct buf file = gguf_build_sample();
    struct gguf g;
    struct bytes text;
    bool found, yes = false;
    EXPECTF(open_buf(&g, &file), "%s", err.msg);
    EXPECT(g.version == 3 && g.alignment == 64 && g.n_files == 1 && g.n_kv == 19);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double f = 0;
        uint64_t u = 0;
        EXPECT(gguf_f64(&g, numbers[i].key, &f, &found, &err) && found);
        EXPECTF(f == numbers[i].value, "%s: %g", numbers[i].key, f);
        EXPECT(gguf_u64(&g, numbers[i].key, &u, &found, &err) == numbers[i].counts && found);
        EXPECT(numbers[i].counts ? (double)u == numbers[i].value
                                 : SAYS(&err, ERR_FORMAT, "t.gguf", numbers[i].key, "integer"));
    }
    EXPECT(gguf_bool(&g, "a.bool", &yes, &found, &err) && found && yes);
    EXPECT(gguf_string(&g, "a.string", &text, &found, &err) && found);
    EXPECT(bytes_eq(text, bytes_of("\xea\xb0\x80 b\x1b[31m\n")));
    gguf_close(&g);
    buf_release(&file);
    EXPECT(mem_live == 0);
}

static void test_wrong_kinds(void)
{
    struct buf file = gguf_build_sample();
    struct gguf g;
    struct bytes text = { 0 };
    uint64_t u = 7;
    double f = 7;
    bool yes = true, found = true;
    EXPECT(open_buf(&g, &file));
    EXPECT(!gguf_bool(&g, "a.u8", &yes, &found, &err) &&
           SAYS(&err, ERR_FORMAT, "'a.u8' is a u8", "expected a bool"));
    EXPECT(!gguf_string(&g, "b.string", &text, &found, &err) &&
           SAYS(&err, ERR_FORMAT, "an array of string", "expected a string"));
    EXPECT(!gguf_u64(&g, "a.bool", &u, &found, &err) && SAYS(&err, ERR_FORMAT, "a bool"));
    EXPECT(!gguf_f64(&g, "b.i16", &f, &found, &err) && SAYS(&err, ERR_FORMAT, "array of i16"));
    EXPECT(!gguf_f64(&g, "a.string", &f, &found, &err) && SAYS(&err, ERR_FORMAT, "a string"));
    EXPECT(gguf_u64(&g, "not.there", &u, &found, &err) && !found && u == 7);
    EXPECT(gguf_f64(&g, "", &f, &found, &err) && !found && f == 7);
    EXPECT(gguf_bool(&g, "a", &yes, &found, &err) && !found && yes);
    EXPECT(gguf_string(&g, "a.strin", &text, &found, &err) && !found && !text.at);
    gguf_close(&g);
    buf_release(&file);
}

static void test_arrays(void)
{
    struct buf file = gguf_build_sample();
    struct gguf g;
    uint64_t u;
    double f;
    EXPECT(open_buf(&g, &file));
    const struct gguf_kv *kv = gguf_find(&g, "b.i16");
    EXPECT(kv->type == GGUF_ARRAY && kv->elem == GGUF_I16 && kv->n == 9 && kv->raw.len == 18);
    EXPECT(!gguf_elem_u64(kv, 0, &u) && gguf_elem_u64(kv, 8, &u) && u == 7);
    EXPECT(gguf_elem_f64(kv, 0, &f) && f == -1);
    kv = gguf_find(&g, "b.bool");
    EXPECT(kv->n == 3 && gguf_elem_u64(kv, 1, &u) && u == 0 && gguf_elem_u64(kv, 2, &u) && u == 1);
    kv = gguf_find(&g, "b.string");
    struct bytes at = kv->raw, text;
    EXPECT(kv->n == 3 && !gguf_elem_f64(kv, 0, &f));
    EXPECT(gguf_next_string(&at, &text) && bytes_eq(text, bytes_of("one")));
    EXPECT(gguf_next_string(&at, &text) && text.len == 0);
    EXPECT(gguf_next_string(&at, &text) && bytes_eq(text, bytes_of("three")));
    EXPECT(!gguf_next_string(&at, &text));
    kv = gguf_find(&g, "b.none");
    EXPECT(kv->n == 0 && kv->raw.len == 0);
    kv = gguf_find(&g, "b.array");
    EXPECT(kv->elem == GGUF_ARRAY && kv->n == 1 && kv->raw.len == 14);
    gguf_close(&g);
    buf_release(&file);
}

static void test_print(void)
{
    static const struct { const char *key, *text; } cases[] = {
        { "a.i8", "-3" }, { "a.u64", "9223372036854775808" }, { "a.f32", "0.100000001" },
        { "a.bool", "true" }, { "a.string", "\xea\xb0\x80 b\\x1b[31m\n" },
        { "b.i16", "9 x i16 [-1, 0, 1, 2, 3, 4, ...]" },
        { "b.bool", "3 x bool [true, false, true]" },
        { "b.string", "3 x string [\"one\", \"\", \"three\"]" }, { "b.none", "0 x u32 []" },
        { "b.array", "1 x array [...]" },
    };
    struct buf file = gguf_build_sample(), text = { 0 };
    struct gguf g;
    EXPECT(open_buf(&g, &file));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&text);
        gguf_print(&text, gguf_find(&g, cases[i].key));
        EXPECTF(!strcmp(text.at, cases[i].text), "%s: %s", cases[i].key, text.at);
    }
    buf_release(&text);
    gguf_close(&g);
    buf_release(&file);
}

static void test_tensors(void)
{
    struct buf file = gguf_build_sample();
    struct gguf g;
    EXPECT(open_buf(&g, &file));
    EXPECT(g.tensors.n == 3 && !tensors_find(&g.tensors, "x.weigh"));
    const struct tensor *x = tensors_find(&g.tensors, "x.weight");
    EXPECT(x->qtype && x->qtype->id == QT_F32 && x->n_dims == 2 && x->n_bytes == 24);
    EXPECT(x->ne[0] == 3 && x->ne[1] == 2 && x->ne[2] == 1 && x->ne[3] == 1);
    EXPECT(x->data[0] == 24 && x->data[23] == (uint8_t)(23 * 7 + 24));
    EXPECT(!strcmp(x->file, "t.gguf") && !strcmp(x->type_name, "F32"));
    const struct tensor *y = tensors_find(&g.tensors, "y.weight");
    EXPECT(y->n_bytes == 68 && y->data == x->data + 64 && y->n_dims == 1 && y->ne[1] == 1);
    const struct tensor *z = tensors_find(&g.tensors, "z.foreign");
    EXPECT(!z->qtype && !strcmp(z->type_name, "IQ2_XXS") && z->n_bytes == 66 && z->data[0] == 66);
    gguf_close(&g);
    buf_release(&file);
}

static void test_version_2_and_unknown_type(void)
{
    struct gguf_build b;
    struct gguf g;
    gguf_build_begin(&b);
    b.version = 2;
    gguf_build_tensor(&b, "new", 77, 0, 200, 10);
    gguf_build_tensor(&b, "scalar", 1, 0, QT_F32, 4);
    struct buf file = gguf_build_end(&b);
    EXPECTF(open_buf(&g, &file), "%s", err.msg);
    EXPECT(g.version == 2 && g.alignment == 32);
    const struct tensor *x = tensors_find(&g.tensors, "new");
    EXPECT(!x->qtype && x->n_bytes == 0 && !strcmp(x->type_name, "type 200"));
    gguf_close(&g);
    buf_release(&file);
    gguf_build_begin(&b);                 /* nothing but a header */
    file = gguf_build_end(&b);
    file.len = 24;
    EXPECT(open_buf(&g, &file) && g.tensors.n == 0 && g.n_kv == 0);
    gguf_close(&g);
    buf_release(&file);
}

/* Shard no of count, with tensors shard<no>.0 and .1; total 0 leaves the key out. */
static void write_shard(const char *name, unsigned no, unsigned count, unsigned total)
{
    struct gguf_build b;
    char text[32];
    gguf_build_begin(&b);
    gguf_build_number(&b, "split.no", GGUF_U16, no);
    gguf_build_number(&b, "split.count", GGUF_U16, count);
    if (total)
        gguf_build_number(&b, "split.tensors.count", GGUF_I32, total);
    if (no == 0)
        gguf_build_string(&b, "general.name", "whole");
    for (unsigned i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "shard%u.%u", no, i);
        gguf_build_tensor(&b, text, 4 + no, 0, QT_F32, 16 + 4 * no);
    }
    struct buf file = gguf_build_end(&b);
    scratch_write(name, file.at, file.len);
    buf_release(&file);
}

static void test_split_set(void)
{
    struct gguf g;
    write_shard("m-00001-of-00003.gguf", 0, 3, 6);
    write_shard("m-00002-of-00003.gguf", 1, 3, 6);
    write_shard("m-00003-of-00003.gguf", 2, 3, 6);
    for (int i = 1; i <= 3; i++) {        /* whichever is named, the set is read */
        char name[32];
        snprintf(name, sizeof name, "m-%05d-of-00003.gguf", i);
        EXPECTF(gguf_open(&g, scratch_path(name), &err), "%s", err.msg);
        EXPECT(g.n_files == 3 && g.tensors.n == 6 && gguf_find(&g, "general.name"));
        const struct tensor *t = tensors_find(&g.tensors, "shard2.1");
        EXPECT(t && t->ne[0] == 6 && t->data[0] == 24 && strstr(t->file, "00003-of"));
        walk_gguf(&g);
        gguf_close(&g);
    }
    EXPECT(mem_live == 0);
}

static void expect_split_fails(const char *name, enum err_code code, const char *const *words)
{
    struct gguf g;
    EXPECT(!gguf_open(&g, scratch_path(name), &err));
    EXPECT(err_says(&err, code, words));
    EXPECT(mem_live == 0);
}
#define SPLIT_FAILS(name, code, ...) \
    expect_split_fails(name, code, (const char *const[]){ __VA_ARGS__, NULL })

static void test_split_lies(void)
{
    write_shard("n-00001-of-00002.gguf", 0, 2, 4);
    SPLIT_FAILS("n-00001-of-00002.gguf", ERR_IO, "n-00002-of-00002.gguf", "file 2 of the 2");
    write_shard("n-00002-of-00002.gguf", 0, 2, 4);
    SPLIT_FAILS("n-00001-of-00002.gguf", ERR_FORMAT, "n-00002-of-00002.gguf", "split.no is 0",
                "expected 1 and 2");
    write_shard("n-00002-of-00002.gguf", 1, 3, 4);
    SPLIT_FAILS("n-00002-of-00002.gguf", ERR_FORMAT, "one of 3 files", "MODEL-00001-of-00003");
    SPLIT_FAILS("n-00001-of-00002.gguf", ERR_FORMAT, "n-00002-of", "split.count 3");
    write_shard("n-00002-of-00002.gguf", 1, 2, 4);
    write_shard("n-00001-of-00002.gguf", 0, 2, 5);
    SPLIT_FAILS("n-00001-of-00002.gguf", ERR_FORMAT, "split.tensors.count is 5", "4 tensors");
    write_shard("renamed.gguf", 0, 2, 4);
    SPLIT_FAILS("renamed.gguf", ERR_FORMAT, "renamed.gguf", "one of 2 files");
    write_shard("o-00001-of-60000.gguf", 0, 60000, 4);
    SPLIT_FAILS("o-00001-of-60000.gguf", ERR_IO, "o-00002-of-60000.gguf", "missing");
    write_shard("single.gguf", 0, 1, 2);
    struct gguf g;
    EXPECTF(gguf_open(&g, scratch_path("single.gguf"), &err), "%s", err.msg);
    gguf_close(&g);
}

static void test_split_without_memory(void)
{
    struct gguf g;
    long nth = 0;
    for (bool hit = true; hit; nth++) {
        mem_fail_after = nth;
        bool ok = gguf_open(&g, scratch_path("m-00002-of-00003.gguf"), &err);
        hit = mem_fail_after < 0;
        mem_fail_after = -1;
        EXPECTF(ok != hit && (ok || err.code == ERR_MEMORY), "allocation %ld: %s", nth, err.msg);
        if (ok)
            gguf_close(&g);
        EXPECT(mem_live == 0);
    }
    EXPECT(nth > 20);
}

static void test_same_name_in_two_shards(void)
{
    struct gguf_build b;
    for (unsigned i = 0; i < 2; i++) {
        gguf_build_begin(&b);
        gguf_build_number(&b, "split.no", GGUF_U16, i);
        gguf_build_number(&b, "split.count", GGUF_U16, 2);
        gguf_build_tensor(&b, "same", 4, 0, QT_F32, 16);
        struct buf file = gguf_build_end(&b);
        scratch_write(i ? "p-00002-of-00002.gguf" : "p-00001-of-00002.gguf", file.at, file.len);
        buf_release(&file);
    }
    SPLIT_FAILS("p-00001-of-00002.gguf", ERR_FORMAT, "00002.gguf", "'same' appears twice",
                "p-00001-of");
}

static void test_real_model(void)
{
    const char *path = getenv("KEXA_MODEL");
    struct gguf g;
    struct bytes text;
    uint64_t n = 0, tokens = 0;
    bool found;
    if (!path || !*path || !file_exists(path)) {
        test_skip("KEXA_MODEL names no file");
        return;
    }
    EXPECTF(gguf_open(&g, path, &err), "%s", err.msg);
    EXPECT(gguf_u64(&g, "llama.block_count", &n, &found, &err) && n == 30);
    EXPECT(g.tensors.n == 272 && tensors_find(&g.tensors, "blk.29.ffn_up.weight"));
    const struct gguf_kv *kv = gguf_find(&g, "tokenizer.ggml.tokens");
    for (struct bytes at = kv->raw; gguf_next_string(&at, &text);)
        tokens++;
    EXPECT(tokens == 49152 && kv->n == 49152);
    gguf_close(&g);
    EXPECT(mem_live == 0);
}

const struct test tests[] = {
    { "every type of value", test_values },
    { "wrong kinds are named", test_wrong_kinds },
    { "arrays", test_arrays },
    { "printing", test_print },
    { "tensors", test_tensors },
    { "version 2, unknown type, bare header", test_version_2_and_unknown_type },
    { "split set", test_split_set },
    { "split sets that lie", test_split_lies },
    { "split set, every allocation fails once", test_split_without_memory },
    { "one name in two shards", test_same_name_in_two_shards },
    { "real model", test_real_model },
    { 0 },
};
