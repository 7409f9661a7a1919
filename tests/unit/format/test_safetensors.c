/* safetensors: files, folders and indexes read back; lies, truncations, no memory. */
#include "../../fuzz/walk.h"
#include "../../harness.h"
#include "scratch.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static struct err err;

/* Length, header, n_bytes of data (0, 1, 2, ...). */
static struct buf build(const char *header, size_t n_bytes)
{
    struct buf file = { 0 };
    uint64_t n = strlen(header);
    buf_put(&file, &n, 8);
    buf_text(&file, header);
    for (size_t i = 0; i < n_bytes; i++)
        buf_put(&file, &(uint8_t){ (uint8_t)i }, 1);
    return file;
}

#define ONE(dtype, shape, offsets) \
    "{\"w\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static const char sample[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"a.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
    "\"empty\":{\"dtype\":\"F16\",\"shape\":[4,0],\"data_offsets\":[24,24]},"
    "\"scalar\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[34,36]},"
    "\"ids\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[24,32]},"
    "\"f8\":{\"data_offsets\":[32,34],\"shape\":[1,1,2,1],\"dtype\":\"F8_E4M3\"},"
    "\"new\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[36,38]}}   ";

static bool open_exactly(const void *at, size_t len)
{
    struct safetensors s;
    struct bytes copy = exact_copy(at, len);
    bool ok = safetensors_open_bytes(&s, copy, "t.safetensors", &err);
    if (ok) {
        walk_tensors(&s.tensors);
        safetensors_close(&s);
    }
    exact_give(copy);
    return ok;
}

static void expect_refused(const void *at, size_t len, int line, enum err_code code,
                           const char *const *words)
{
    long live = mem_live;
    keep_lie(at, len);
    EXPECTF(!open_exactly(at, len) && err_says(&err, code, words), "case of line %d", line);
    EXPECT(mem_live == live && strstr(err.msg, "t.safetensors"));
}

static void header_refused(const char *header, size_t n_bytes, int line, enum err_code code,
                           const char *const *words)
{
    struct buf file = build(header, n_bytes);
    expect_refused(file.at, file.len, line, code, words);
    buf_release(&file);
}
#define WORDS(...) (const char *const[]){ __VA_ARGS__, NULL }
#define REFUSED(header, n_bytes, code, ...) \
    header_refused(header, n_bytes, __LINE__, code, WORDS(__VA_ARGS__))
#define REFUSED_TEXT(text, code, ...) \
    expect_refused(text, sizeof text - 1, __LINE__, code, WORDS(__VA_ARGS__))

static void expect_sample(const struct tensors *t)
{
    const struct tensor *a = tensors_find(t, "a.weight"), *e = tensors_find(t, "empty"),
                        *x = tensors_find(t, "scalar"), *i = tensors_find(t, "ids"),
                        *f = tensors_find(t, "f8"), *n = tensors_find(t, "new");
    EXPECT(t->n == 6 && a && e && x && i && f && n && !tensors_find(t, "__metadata__"));
    EXPECT(a->qtype->id == QT_F32 && a->n_dims == 2 && a->ne[0] == 3 && a->ne[1] == 2);
    EXPECT(a->n_bytes == 24 && a->data[0] == 0 && a->data[23] == 23 && a->ne[2] == 1);
    EXPECT(e->n_bytes == 0 && e->ne[0] == 0 && e->ne[1] == 4 && e->qtype->id == QT_F16);
    EXPECT(x->n_dims == 0 && x->ne[0] == 1 && x->data[0] == 34 && x->qtype->id == QT_BF16);
    EXPECT(!i->qtype && i->ggml_type == 27 && i->data[0] == 24);
    EXPECT(!f->qtype && f->ggml_type == UINT32_MAX && !strcmp(f->type_name, "F8_E4M3"));
    EXPECT(f->n_dims == 4 && f->ne[0] == 1 && f->ne[1] == 2);
    EXPECT(!n->qtype && !strcmp(n->type_name, "F4") && n->n_bytes == 2);
}

static void test_sample(void)
{
    struct buf file = build(sample, 38);
    struct safetensors s;
    EXPECTF(safetensors_open(&s, scratch_write("s.safetensors", file.at, file.len), &err), "%s",
            err.msg);
    expect_sample(&s.tensors);
    safetensors_close(&s);
    scratch_folder("single");
    scratch_write("single/model.safetensors", file.at, file.len);
    EXPECT(safetensors_open(&s, scratch_path("single"), &err));
    expect_sample(&s.tensors);
    EXPECT(strstr(s.tensors.at[0].file, "single/model.safetensors"));
    safetensors_close(&s);
    buf_release(&file);
    file = build("{}", 0);
    EXPECT(open_exactly(file.at, file.len));
    buf_release(&file);
    EXPECT(mem_live == 0);
}

static void test_other_files(void)
{
    REFUSED_TEXT("", ERR_FORMAT, "an empty file");
    REFUSED_TEXT("abc", ERR_FORMAT, "3 bytes are too few");
    REFUSED_TEXT("GGUF\3\0\0\0", ERR_FORMAT, "a GGUF file");
    REFUSED_TEXT("version https://git-lfs.github.com/spec/v1", ERR_FORMAT, "git lfs pull");
    REFUSED_TEXT("<html>..", ERR_FORMAT, "a web page");
    REFUSED_TEXT("{\"a\": 1}", ERR_FORMAT, "a JSON text");
    REFUSED_TEXT("\0\0\0\0\1\0\0\0{}", ERR_LIMIT, "4294967296 bytes", "at most 100000000");
    REFUSED_TEXT("\3\0\0\0\0\0\0\0{}", ERR_FORMAT, "header of 3 bytes", "has only 10");
    REFUSED_TEXT("\2\0\0\0\0\0\0\0[]", ERR_FORMAT, "does not begin with '{'");
    REFUSED_TEXT("\1\0\0\0\0\0\0\0{}", ERR_FORMAT, "header (1 bytes)");
}

static void test_header_lies(void)
{
    REFUSED("{\"a\":1,\"a\":2}", 0, ERR_FORMAT, "duplicate object key");
    REFUSED("{\"a\":\n\"\x1b\"}", 0, ERR_FORMAT, "line 2", "0x1b");
    REFUSED("{\"a\":{}} x", 0, ERR_FORMAT, "line 1, column 10");
    REFUSED("{\"a\":1}", 0, ERR_FORMAT, "tensor 'a'", "no list \"shape\"");
    REFUSED("{\"a\\u001b\":1}", 0, ERR_FORMAT, "'a\\x1b'", "printable");
    REFUSED("{\"a\\u0000\":1}", 0, ERR_FORMAT, "\\u0000");
    REFUSED("{\"\":1}", 0, ERR_FORMAT, "the name ''");
    REFUSED("{\"w\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, ERR_FORMAT, "no \"dtype\"");
    REFUSED(ONE("\"F\\u001b\"", "[1]", "[0,4]"), 4, ERR_FORMAT, "'F\\x1b' is no dtype");
    REFUSED(ONE("\"F3\"", "[2]", "[0,4]"), 8, ERR_FORMAT, "end at byte 4", "has 8");
}

static void test_shape_lies(void)
{
    REFUSED(ONE("\"F32\"", "[1,1,1,1,1]", "[0,4]"), 4, ERR_UNSUPPORTED, "tensor 'w'",
            "5 dimensions", "at most 4");
    REFUSED(ONE("\"F32\"", "[-1]", "[0,4]"), 4, ERR_FORMAT, "'w'", "entry 0 of its shape");
    REFUSED(ONE("\"F32\"", "[1,1.0]", "[0,4]"), 4, ERR_FORMAT, "'w'", "entry 1 of its shape");
    REFUSED(ONE("\"F32\"", "[\"1\"]", "[0,4]"), 4, ERR_FORMAT, "entry 0");
    REFUSED(ONE("\"F32\"", "[4294967296,4294967296]", "[0,4]"), 4, ERR_FORMAT, "'w'", "2^63");
    REFUSED(ONE("\"F32\"", "[0,9223372036854775807,3]", "[0,0]"), 0, ERR_FORMAT, "2^63");
    REFUSED(ONE("\"F64\"", "[9223372036854775807]", "[0,4]"), 4, ERR_FORMAT, "64 bits");
    REFUSED(ONE("\"F32\"", "[9223372036854775808]", "[0,4]"), 4, ERR_FORMAT, "too big integer");
    REFUSED(ONE("\"F32\"", "[2]", "[0,4]"), 4, ERR_FORMAT, "'w'", "F32 make 8 bytes",
            "data_offsets 4");
}

static void test_range_lies(void)
{
    REFUSED(ONE("\"F32\"", "[1]", "[0]"), 4, ERR_FORMAT, "'w'", "two counts");
    REFUSED(ONE("\"F32\"", "[1]", "[0,4,8]"), 4, ERR_FORMAT, "two counts");
    REFUSED(ONE("\"F32\"", "[1]", "{}"), 4, ERR_FORMAT, "two counts");
    REFUSED(ONE("\"F32\"", "[1]", "[-4,0]"), 4, ERR_FORMAT, "two counts");
    REFUSED(ONE("\"F32\"", "[1]", "[4,0]"), 4, ERR_FORMAT, "'w'", "[4, 0)");
    REFUSED(ONE("\"F32\"", "[2]", "[0,8]"), 4, ERR_FORMAT, "'w'", "[0, 8)", "4 bytes of data");
    REFUSED(ONE("\"F32\"", "[1]", "[9223372036854775803,9223372036854775807]"), 4, ERR_FORMAT,
            "9223372036854775807)");
    REFUSED(ONE("\"F32\"", "[1]", "[4,8]"), 8, ERR_FORMAT, "'w' begins at byte 4", "hole");
    REFUSED(ONE("\"F32\"", "[1]", "[0,4]"), 8, ERR_FORMAT, "end at byte 4", "has 8");
    REFUSED("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
            "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6, ERR_FORMAT,
            "'b' begins at byte 2", "expected 4", "overlap");
    REFUSED("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
            "\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]}}", 4, ERR_FORMAT,
            "begins at byte 2");
}

static void test_deep_header(void)
{
    char deep[300] = "{\"a\":";
    memset(deep + 5, '[', 200);
    memset(deep + 80, ']', 75);
    REFUSED(deep, 0, ERR_LIMIT, "nested", "and 64 are accepted");
}

static void test_every_truncation_and_flip(void)
{
    static const uint8_t masks[] = { 1, 2, 4, 8, 16, 32, 64, 128, 255 };
    struct buf file = build(sample, 38);
    size_t refused = 0;
    for (size_t len = 0; len < file.len; len++)
        EXPECTF(!open_exactly(file.at, len), "%zu of %zu bytes are accepted", len, file.len);
    for (size_t i = 0; i < file.len; i++) {
        for (size_t k = 0; k < sizeof masks; k++) {
            file.at[i] = (char)(file.at[i] ^ masks[k]);
            refused += !open_exactly(file.at, file.len);
            file.at[i] = (char)(file.at[i] ^ masks[k]);
        }
    }
    EXPECTF(refused > 2000, "only %zu flips are refused", refused);
    buf_release(&file);
    EXPECT(mem_live == 0);
}

/* A folder with an index and its shards. */
static void write_shard(const char *name, const char *tensor, size_t n_bytes)
{
    char header[200];
    snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"U8\",\"shape\":[%zu],"
             "\"data_offsets\":[0,%zu]}}", tensor, n_bytes, n_bytes);
    struct buf file = build(header, n_bytes);
    scratch_write(name, file.at, file.len);
    buf_release(&file);
}

static void test_index(void)
{
    struct safetensors s;
    scratch_folder("set");
    scratch_text("set/model.safetensors.index.json", "{\"metadata\":{\"total_size\":12},"
                 "\"weight_map\":{\"a\":\"x-1.safetensors\",\"b\":\"x-2.safetensors\"}}");
    write_shard("set/x-1.safetensors", "a", 5);
    write_shard("set/x-2.safetensors", "b", 7);
    EXPECTF(safetensors_open(&s, scratch_path("set"), &err), "%s", err.msg);
    EXPECT(s.n_files == 2 && s.tensors.n == 2);
    const struct tensor *b = tensors_find(&s.tensors, "b");
    EXPECT(b->n_bytes == 7 && b->data[6] == 6 && strstr(b->file, "set/x-2.safetensors"));
    walk_tensors(&s.tensors);
    safetensors_close(&s);
    EXPECT(mem_live == 0);
}

static void expect_folder_fails(const char *name, int line, enum err_code code,
                                const char *const *words)
{
    struct safetensors s;
    EXPECTF(!safetensors_open(&s, scratch_path(name), &err) && err_says(&err, code, words),
            "case of line %d", line);
    EXPECT(mem_live == 0);
}
#define FOLDER_FAILS(name, code, ...) \
    expect_folder_fails(name, __LINE__, code, WORDS(__VA_ARGS__))
#define INDEX(text) scratch_text("bad/model.safetensors.index.json", text)

static void test_index_lies(void)
{
    scratch_folder("bad");
    FOLDER_FAILS("bad", ERR_IO, "/bad", "neither model.safetensors nor");
    FOLDER_FAILS("nowhere.safetensors", ERR_IO, "nowhere.safetensors", "cannot open");
    INDEX("{}");
    FOLDER_FAILS("bad", ERR_FORMAT, "index.json", "no \"weight_map\"");
    INDEX("{\"weight_map\":{\"a\":\"gone.safetensors\"}}");
    FOLDER_FAILS("bad", ERR_IO, "bad/gone.safetensors", "missing", "tensor 'a'");
    INDEX("{\"weight_map\":{\"a\":\"../set/x-1.safetensors\"}}");
    FOLDER_FAILS("bad", ERR_FORMAT, "index.json", "'../set/x-1.safetensors'", "plain name");
    INDEX("{\"weight_map\":{\"a\":\"/etc/passwd\"}}");
    FOLDER_FAILS("bad", ERR_FORMAT, "'/etc/passwd'", "plain name");
    INDEX("{\"weight_map\":{\"a\":\"..\"}}");
    FOLDER_FAILS("bad", ERR_FORMAT, "'..'", "plain name");
    INDEX("{\"weight_map\":{\"a\":\"\"}}");
    FOLDER_FAILS("bad", ERR_FORMAT, "tensor 'a'", "plain name");
    INDEX("{\"weight_map\":{\"a\":7}}");
    FOLDER_FAILS("bad", ERR_FORMAT, "tensor 'a'", "plain name");
    INDEX("{\"weight_map\":[");
    FOLDER_FAILS("bad", ERR_FORMAT, "index.json", "line 1");
    write_shard("bad/x.safetensors", "a", 5);
    write_shard("bad/y.safetensors", "b", 5);
    INDEX("{\"weight_map\":{\"a\":\"x.safetensors\",\"c\":\"x.safetensors\"}}");
    FOLDER_FAILS("bad", ERR_FORMAT, "tensor 'c' should be in x.safetensors", "not there");
    INDEX("{\"weight_map\":{\"a\":\"y.safetensors\",\"b\":\"x.safetensors\"}}");
    FOLDER_FAILS("bad", ERR_FORMAT, "should be in", "in another file");
    write_shard("bad/y.safetensors", "a", 5);
    INDEX("{\"weight_map\":{\"a\":\"x.safetensors\",\"b\":\"y.safetensors\"}}");
    FOLDER_FAILS("bad", ERR_FORMAT, "y.safetensors", "'a' appears twice", "x.safetensors");
}

/* jansson's memory through mem_take() too, so that its failures are among those tried. */
static void *json_take(size_t n)
{
    return mem_take(n, 1);
}

static void test_every_allocation_fails(void)
{
    struct safetensors s;
    long nth = 0;
    json_set_alloc_funcs(json_take, mem_give);
    for (bool hit = true; hit; nth++) {
        long live = mem_live;
        mem_fail_after = nth;
        bool ok = safetensors_open(&s, scratch_path("set"), &err);
        hit = mem_fail_after < 0;
        mem_fail_after = -1;
        /* Only that it fails, not as what: for want of memory jansson 2.14 may report a
         * syntax error or drop a character of a string. */
        EXPECTF(ok != hit, "allocation %ld: %s", nth, err.msg);
        if (ok)
            safetensors_close(&s);
        EXPECTF(mem_live == live, "allocation %ld: %ld blocks left", nth, mem_live - live);
    }
    EXPECT(nth > 50);
    json_set_alloc_funcs(malloc, free);
}

const struct test tests[] = {
    { "sample, folder, empty", test_sample },
    { "other files are named", test_other_files },
    { "header lies", test_header_lies },
    { "shape lies", test_shape_lies },
    { "range lies", test_range_lies },
    { "deep header", test_deep_header },
    { "every truncation and flip", test_every_truncation_and_flip },
    { "index", test_index },
    { "index lies", test_index_lies },
    { "every allocation fails once", test_every_allocation_fails },
    { 0 },
};
