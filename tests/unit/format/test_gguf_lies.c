/* gguf: files that lie, each way with its message; truncated, flipped; no memory. */
#include "../../fuzz/walk.h"
#include "../../harness.h"
#include "gguf_build.h"
#include "scratch.h"

#include <stdio.h>

static struct err err;

static bool open_exactly(const void *at, size_t len)
{
    struct gguf g;
    struct bytes copy = exact_copy(at, len);
    bool ok = gguf_open_bytes(&g, copy, "t.gguf", &err);
    if (ok) {
        walk_gguf(&g);
        gguf_close(&g);
    }
    exact_give(copy);
    EXPECT(mem_live == 0);
    return ok;
}

static void expect_refused(const void *at, size_t len, int line, enum err_code code,
                           const char *const *words)
{
    long live = mem_live;
    keep_lie(at, len);
    mem_live = 0;
    EXPECTF(!open_exactly(at, len) && err_says(&err, code, words), "case of line %d", line);
    EXPECT(strstr(err.msg, "t.gguf"));
    mem_live = live;
}

/* The file under construction must be refused with these words. */
static void end_refused(struct gguf_build *b, int line, enum err_code code,
                        const char *const *words)
{
    struct buf file = gguf_build_end(b);
    expect_refused(file.at, file.len, line, code, words);
    buf_release(&file);
}
#define WORDS(...) (const char *const[]){ __VA_ARGS__, NULL }
#define REFUSED(b, code, ...) end_refused(b, __LINE__, code, WORDS(__VA_ARGS__))
#define REFUSED_TEXT(text, code, ...) \
    expect_refused(text, sizeof text - 1, __LINE__, code, WORDS(__VA_ARGS__))

static void test_other_files(void)
{
    REFUSED_TEXT("", ERR_FORMAT, "an empty file");
    REFUSED_TEXT("G", ERR_FORMAT, "begins with 'G'");
    REFUSED_TEXT("\x1b[31m", ERR_FORMAT, "begins with '\\x1b[31'");
    REFUSED_TEXT("version https://git-lfs.github.com/spec/v1\n", ERR_FORMAT, "git lfs pull");
    REFUSED_TEXT("<!DOCTYPE html>", ERR_FORMAT, "a web page");
    REFUSED_TEXT("\x10\0\0\0\0\0\0\0{\"a\":{}        }", ERR_FORMAT, "a safetensors file");
    REFUSED_TEXT("PK\3\4....", ERR_FORMAT, "a zip archive");
    REFUSED_TEXT("tjgg....", ERR_FORMAT, "before GGUF");
    REFUSED_TEXT("GGUF", ERR_FORMAT, "the version", "4 bytes");
    REFUSED_TEXT("GGUF\1\0\0\0", ERR_UNSUPPORTED, "version 1");
    REFUSED_TEXT("GGUF\0\0\0\3", ERR_UNSUPPORTED, "big-endian");
    REFUSED_TEXT("GGUF\4\0\0\0", ERR_UNSUPPORTED, "version 4");
    REFUSED_TEXT("GGUF\0\0\0\0", ERR_UNSUPPORTED, "version 0");
    REFUSED_TEXT("GGUF\3\0\0\0", ERR_FORMAT, "tensor and key counts");
}

static void test_counts(void)
{
    struct gguf_build b;
    gguf_build_begin(&b);
    b.n_tensors = 1ull << 40;
    REFUSED(&b, ERR_LIMIT, "1099511627776 tensors", "at most 1048576");
    gguf_build_begin(&b);
    b.n_keys = 1ull << 63;
    REFUSED(&b, ERR_LIMIT, "9223372036854775808 metadata keys");
    gguf_build_begin(&b);
    b.n_tensors = 1000;
    REFUSED(&b, ERR_FORMAT, "1000 tensors", "cannot fit in the file's 32 bytes");
    gguf_build_begin(&b);
    gguf_build_number(&b, "k", GGUF_U64, 1);
    b.n_keys = 2;
    b.alignment = 1;                      /* no padding */
    REFUSED(&b, ERR_FORMAT, "cannot fit");
    gguf_build_begin(&b);
    gguf_build_info(&b, "a", 4, (uint64_t[]){ 1, 1, 1, 1 }, QT_F32, 0);
    b.n_tensors = 2;
    b.alignment = 1;
    REFUSED(&b, ERR_FORMAT, "inside the name of tensor 1");
}

static void test_keys(void)
{
    struct gguf_build b;
    struct buf raw = { 0 };
    gguf_build_begin(&b);
    gguf_build_number(&b, "twice", GGUF_U8, 1);
    gguf_build_number(&b, "twice", GGUF_U8, 1);
    REFUSED(&b, ERR_FORMAT, "'twice' appears twice");
    gguf_build_begin(&b);
    gguf_build_number(&b, "a\nb\x7f", GGUF_U8, 1);
    REFUSED(&b, ERR_FORMAT, "'a\\x0ab\\x7f'", "printable");
    gguf_build_begin(&b);
    gguf_build_number(&b, "", GGUF_U8, 1);
    REFUSED(&b, ERR_FORMAT, "metadata key 0 is ''");
    gguf_build_begin(&b);
    gguf_build_number(&b, "type", (enum gguf_type)9, 1);
    b.keys.at[12] = 13;
    REFUSED(&b, ERR_FORMAT, "key 'type' has a value of type 13", "0 to 12");
    gguf_build_begin(&b);
    gguf_build_number(&b, "yes", GGUF_BOOL, 2);
    REFUSED(&b, ERR_FORMAT, "bool in key 'yes' is 2");
    gguf_build_begin(&b);
    put_number(&raw, 0x000301, 3);
    gguf_build_array(&b, "bools", GGUF_BOOL, 3, &raw);
    REFUSED(&b, ERR_FORMAT, "bool in key 'bools' is 3");
    gguf_build_begin(&b);
    gguf_build_string(&b, "s", "text");
    b.keys.at[13] = 100;
    REFUSED(&b, ERR_FORMAT, "string 0 in key 's'", "past the end");
    for (int i = 0; i < 65536; i++)
        buf_text(&raw, "k");
    gguf_build_begin(&b);
    gguf_build_number(&b, raw.at, GGUF_U8, 1);
    REFUSED(&b, ERR_LIMIT, "metadata key 0 has 65536 bytes", "65535");
    buf_release(&raw);
}

static void test_arrays(void)
{
    struct gguf_build b;
    struct buf raw = { 0 };
    gguf_build_begin(&b);
    gguf_build_array(&b, "wrap", GGUF_U64, 1ull << 61, &raw);
    REFUSED(&b, ERR_FORMAT, "'wrap' holds 2305843009213693952 values of type u64");
    gguf_build_begin(&b);
    gguf_build_array(&b, "long", GGUF_U8, 1000, &raw);
    REFUSED(&b, ERR_FORMAT, "'long' holds 1000 values");
    gguf_build_begin(&b);
    gguf_build_array(&b, "words", GGUF_STRING, UINT64_MAX, &raw);
    REFUSED(&b, ERR_FORMAT, "in key 'words'", "past the end");
    gguf_build_begin(&b);
    gguf_build_array(&b, "kind", (enum gguf_type)99, 0, &raw);
    REFUSED(&b, ERR_FORMAT, "'kind' has an array of type 99");
    for (int i = 0; i < 5; i++) {
        put_number(&raw, GGUF_ARRAY, 4);
        put_number(&raw, 1, 8);
    }
    gguf_build_begin(&b);
    gguf_build_array(&b, "deep", GGUF_ARRAY, 1, &raw);
    REFUSED(&b, ERR_LIMIT, "'deep' nests arrays more than 4 deep");
    gguf_build_begin(&b);
    b.alignment = 1;
    gguf_build_array(&b, "cut", GGUF_ARRAY, 1, &raw);
    REFUSED(&b, ERR_FORMAT, "an array in an array", "past the end");
    gguf_build_begin(&b);
    put_number(&raw, 50, 4);
    put_number(&raw, 1, 8);
    gguf_build_array(&b, "inner", GGUF_ARRAY, 1, &raw);
    REFUSED(&b, ERR_FORMAT, "'inner' has an array of type 50");
}

static void test_alignment(void)
{
    static const uint64_t bad[] = { 0, 1, 4, 12, 33, 131072, 1ull << 31 };
    struct gguf_build b;
    char found[64];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gguf_build_begin(&b);
        gguf_build_number(&b, "general.alignment", GGUF_U32, bad[i]);
        snprintf(found, sizeof found, "is %llu, expected a power of two",
                 (unsigned long long)bad[i]);
        REFUSED(&b, ERR_FORMAT, "general.alignment", found);
    }
    gguf_build_begin(&b);
    gguf_build_string(&b, "general.alignment", "32");
    REFUSED(&b, ERR_FORMAT, "general.alignment has type string");
}

/* One tensor with this description and 64 bytes of data. */
static void begin_tensor(struct gguf_build *b, const char *name, uint32_t n_dims,
                         const uint64_t *ne, uint32_t type, uint64_t offset)
{
    gguf_build_begin(b);
    gguf_build_info(b, name, n_dims, ne, type, offset);
    for (int i = 0; i < 8; i++)
        put_number(&b->data, 0, 8);
}
#define NE(...) (const uint64_t[]){ __VA_ARGS__ }

static void test_tensor_shapes(void)
{
    struct gguf_build b;
    begin_tensor(&b, "w", 5, NE(1, 1, 1, 1, 1), QT_F32, 0);
    REFUSED(&b, ERR_FORMAT, "tensor 'w'", "5 dimensions", "at most 4");
    begin_tensor(&b, "w", 2, NE(0, 4), QT_F32, 0);
    REFUSED(&b, ERR_FORMAT, "tensor 'w'", "dimension 0 is 0");
    begin_tensor(&b, "w", 2, NE(1ull << 32, 1ull << 32), QT_F32, 0);
    REFUSED(&b, ERR_FORMAT, "tensor 'w'", "[4294967296, 4294967296, 1, 1]", "2^63");
    begin_tensor(&b, "w", 1, NE(1ull << 62), QT_F32, 0);
    REFUSED(&b, ERR_FORMAT, "tensor 'w'", "64 bits");
    begin_tensor(&b, "w", 1, NE(UINT64_MAX), QT_F16, 0);
    REFUSED(&b, ERR_FORMAT, "tensor 'w'", "2^63");
    begin_tensor(&b, "w", 2, NE(33, 32), QT_Q4_1, 0);
    REFUSED(&b, ERR_FORMAT, "tensor 'w'", "rows have 33", "32 in a block of Q4_1");
    begin_tensor(&b, "w", 1, NE(128), 10, 0);
    REFUSED(&b, ERR_FORMAT, "rows have 128", "256 in a block of Q2_K");
}

static void test_tensor_places(void)
{
    struct gguf_build b;
    begin_tensor(&b, "w", 1, NE(17), QT_F32, 0);
    REFUSED(&b, ERR_FORMAT, "tensor 'w'", "68 bytes at offset 0", "64 bytes of data");
    begin_tensor(&b, "w", 1, NE(1), QT_F32, 128);
    REFUSED(&b, ERR_FORMAT, "tensor 'w'", "4 bytes at offset 128");
    begin_tensor(&b, "w", 1, NE(1), QT_F32, UINT64_MAX - 31);
    REFUSED(&b, ERR_FORMAT, "tensor 'w'", "at offset 18446744073709551584");
    begin_tensor(&b, "w", 1, NE(1), QT_F32, 4);
    REFUSED(&b, ERR_FORMAT, "tensor 'w'", "offset 4", "alignment 32");
    begin_tensor(&b, "w", 1, NE(16), QT_F32, 0);
    gguf_build_info(&b, "v", 1, NE(1), QT_F32, 32);
    REFUSED(&b, ERR_FORMAT, "'w' and 'v' overlap");
    begin_tensor(&b, "w", 1, NE(8), QT_F32, 32);
    gguf_build_info(&b, "v", 1, NE(1), QT_F32, 32);
    REFUSED(&b, ERR_FORMAT, "'v' and 'w' overlap");
}

static void test_tensor_names(void)
{
    struct gguf_build b;
    char name[600];
    begin_tensor(&b, "w", 1, NE(1), QT_F32, 0);
    gguf_build_info(&b, "w", 1, NE(1), QT_F32, 32);
    REFUSED(&b, ERR_FORMAT, "'w' appears twice");
    begin_tensor(&b, "", 1, NE(1), QT_F32, 0);
    REFUSED(&b, ERR_FORMAT, "tensor 0 has the name ''");
    begin_tensor(&b, "a\x1b]0;x\a", 1, NE(1), QT_F32, 0);
    REFUSED(&b, ERR_FORMAT, "'a\\x1b]0;x\\x07'");
    begin_tensor(&b, "\xff", 1, NE(1), QT_F32, 0);
    REFUSED(&b, ERR_FORMAT, "'\\xff'");
    begin_tensor(&b, "a\xe2\x80\xae", 1, NE(1), QT_F32, 0);   /* right-to-left override */
    REFUSED(&b, ERR_FORMAT, "'a\\xe2\\x80\\xae'");
    begin_tensor(&b, "abc", 1, NE(1), QT_F32, 0);
    b.infos.at[9] = 0;
    REFUSED(&b, ERR_FORMAT, "'a\\x00c'");
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    begin_tensor(&b, name, 1, NE(1), QT_F32, 0);
    REFUSED(&b, ERR_LIMIT, "name of 599 bytes", "at most 512");
    EXPECT(strlen(err.msg) < 200);
}

/* No prefix of the sample can be taken for a whole file. */
static void test_every_truncation(void)
{
    struct buf file = gguf_build_sample();
    long live = mem_live;
    mem_live = 0;
    for (size_t len = 0; len < file.len; len++)
        EXPECTF(!open_exactly(file.at, len), "%zu of %zu bytes are accepted", len, file.len);
    EXPECT(open_exactly(file.at, file.len));
    mem_live = live;
    buf_release(&file);
}

static void test_every_flip(void)
{
    static const uint8_t masks[] = { 1, 2, 4, 8, 16, 32, 64, 128, 255 };
    struct buf file = gguf_build_sample();
    long live = mem_live;
    size_t refused = 0;
    mem_live = 0;
    for (size_t i = 0; i < file.len; i++) {
        for (size_t k = 0; k < sizeof masks; k++) {
            file.at[i] = (char)(file.at[i] ^ masks[k]);
            err.msg[0] = 0;
            if (!open_exactly(file.at, file.len)) {
                refused++;
                EXPECT(strstr(err.msg, "t.gguf"));
            }
            file.at[i] = (char)(file.at[i] ^ masks[k]);
        }
    }
    EXPECTF(refused > 2000, "only %zu flips are refused", refused);
    mem_live = live;
    buf_release(&file);
}

static void test_every_allocation_fails(void)
{
    struct buf file = gguf_build_sample();
    const char *path = scratch_write("t.gguf", file.at, file.len);
    struct gguf g;
    long live = mem_live, nth = 0;
    for (bool hit = true; hit; nth++) {
        mem_fail_after = nth;
        bool ok = gguf_open(&g, path, &err);
        hit = mem_fail_after < 0;
        mem_fail_after = -1;
        EXPECTF(ok != hit && (ok || err.code == ERR_MEMORY), "allocation %ld: %s", nth, err.msg);
        if (ok)
            gguf_close(&g);
        EXPECT(mem_live == live);
    }
    EXPECT(nth > 6);
    buf_release(&file);
}

const struct test tests[] = {
    { "other files are named", test_other_files },
    { "counts", test_counts },
    { "keys", test_keys },
    { "arrays", test_arrays },
    { "alignment", test_alignment },
    { "tensor shapes", test_tensor_shapes },
    { "tensor places", test_tensor_places },
    { "tensor names", test_tensor_names },
    { "every truncation", test_every_truncation },
    { "every flip", test_every_flip },
    { "every allocation fails once", test_every_allocation_fails },
    { 0 },
};
