/* shard: what is written comes back; anything else is refused with a sentence. */
#include "shard_make.h"
#include "../../harness.h"

#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static const uint32_t lengths[] = { 3, 0, 5, 1, 2 };
enum { N_DOCS = 5, N_TOKENS = 11, FILE_BYTES = 72 + 12 * 4 + N_DOCS * 8 };

static void test_round_trip(void)
{
    struct err err;
    struct shard s;
    const char *path = made_path("a.kxs");
    EXPECT(make_shard(path, lengths, N_DOCS, 100, &made_kind, &err));
    EXPECTF(shard_open(&s, path, &made_kind, &err), "%s", err.msg);
    EXPECT(s.n_docs == N_DOCS && s.n_tokens == N_TOKENS && s.n_bytes == 3 * N_TOKENS);
    EXPECT(s.map.len == FILE_BYTES && s.kind.tokenizer == made_kind.tokenizer);
    EXPECT(shard_doc_begin(&s, 2) == 3 && s.end[2] == 8 && s.end[4] == N_TOKENS);
    for (uint32_t i = 0; i < N_TOKENS; i++)
        EXPECT(s.token[i] == 100 + i);
    shard_close(&s);
    EXPECT(make_shard(path, lengths, 0, 0, &made_kind, &err));  /* replaces it */
    EXPECT(shard_open(&s, path, NULL, &err) && s.n_docs == 0 && s.n_tokens == 0);
    shard_close(&s);
}

/* The bytes of the table in shard.h, written by hand. */
static void test_bytes(void)
{
    struct shard_kind kind = { 0x0102030405060708, 300, true };
    const uint32_t one[] = { 1 };
    struct buf file = { 0 };
    struct err err;
    uint8_t want[84 + 4] = "KEXATOKS\1\0\0\0\1\0\0\0\x8\x7\x6\x5\x4\x3\x2\x1\x2c\1\0\0\0\0\0\0"
                           "\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\3";
    const uint8_t body[16] = { 0x2b, 1, 0, 0, 0, 0, 0, 0, 1 };
    uint64_t sum = XXH3_64bits(body, sizeof body);
    memcpy(want + 56, &sum, 8);
    sum = XXH3_64bits(want, 64);
    memcpy(want + 64, &sum, 8);
    memcpy(want + 72, body, sizeof body);
    EXPECT(make_shard(made_path("b.kxs"), one, 1, 299, &kind, &err));
    EXPECT(file_read(&file, made_path("b.kxs"), 1000, &err));
    EXPECT(file.len == sizeof want && !memcmp(file.at, want, sizeof want));
    buf_release(&file);
}

static bool refused(const uint8_t *at, size_t len, const struct shard_kind *want, struct err *err)
{
    struct shard s;
    uint8_t *copy = malloc(len ? len : 1);
    memcpy(copy, at, len);
    *err = (struct err){ 0 };
    bool ok = shard_read(&s, (struct bytes){ copy, len }, "x.kxs", want, err);
    free(copy);
    if (!ok)
        EXPECTF(strstr(err->msg, "x.kxs") && err->code, "\"%s\"", err->msg);
    return !ok;
}

static void test_damage(void)
{
    struct buf f = { 0 };
    struct err err;
    EXPECT(make_shard(made_path("c.kxs"), lengths, N_DOCS, 7, &made_kind, &err));
    EXPECT(file_read(&f, made_path("c.kxs"), 1000, &err) && f.len == FILE_BYTES);
    uint8_t *at = (uint8_t *)f.at;
    for (size_t len = 0; len < f.len; len++)
        EXPECTF(refused(at, len, NULL, &err), "cut to %zu bytes", len);
    for (size_t i = 0; i < f.len; i++) {
        at[i] ^= 16;
        EXPECTF(refused(at, f.len, NULL, &err), "byte %zu", i);
        at[i] ^= 16;
    }
    buf_put(&f, "12345678", 8);
    EXPECT(refused((uint8_t *)f.at, f.len, NULL, &err) && strstr(err.msg, "take 160"));
    struct shard_kind other = made_kind;
    other.tokenizer++;
    EXPECT(refused((uint8_t *)f.at, FILE_BYTES, &other, &err));
    EXPECTF(strstr(err.msg, "another tokenizer") && strstr(err.msg, "1234567890abcdef")
            && strstr(err.msg, "1234567890abcdf0"), "%s", err.msg);
    EXPECT(!refused((uint8_t *)f.at, FILE_BYTES, &made_kind, &err));
    buf_release(&f);
}

/* Wrong contents whose sums are right: only the other checks stand in the way. */
static bool lie_refused(size_t at, uint64_t value, size_t n_bytes, const char *word)
{
    struct buf f = { 0 };
    struct err err;
    EXPECT(file_read(&f, made_path("c.kxs"), 1000, &err));
    memcpy(f.at + at, &value, n_bytes);
    uint64_t sum = XXH3_64bits(f.at + 72, f.len - 72);
    memcpy(f.at + 56, &sum, 8);
    sum = XXH3_64bits(f.at, 64);
    memcpy(f.at + 64, &sum, 8);
    bool ok = refused((uint8_t *)f.at, f.len, NULL, &err) && strstr(err.msg, word);
    if (!ok)
        fprintf(stderr, "%s\n", err.msg);
    buf_release(&f);
    return ok;
}

static void test_lies(void)
{
    struct err err;
    EXPECT(make_shard(made_path("c.kxs"), lengths, N_DOCS, 7, &made_kind, &err));
    EXPECT(lie_refused(8, 2, 4, "version 2"));
    EXPECT(lie_refused(12, 2, 4, "damaged"));
    EXPECT(lie_refused(24, 0, 4, "damaged"));
    EXPECT(lie_refused(24, 17, 4, "token 17"));
    EXPECT(lie_refused(28, 1, 4, "damaged"));
    EXPECT(lie_refused(32, 4, 8, "cut short or damaged"));
    EXPECT(lie_refused(32, (uint64_t)1 << 61, 8, "cut short or damaged"));
    EXPECT(lie_refused(40, UINT64_MAX, 8, "cut short or damaged"));
    EXPECT(lie_refused(40, (uint64_t)1 << 62, 8, "cut short or damaged"));
    EXPECT(lie_refused(40, 10, 8, "cut short or damaged"));
    EXPECT(lie_refused(120, 9, 8, "document 1"));          /* 9, 3: they fall */
    EXPECT(lie_refused(120 + 32, 10, 8, "10 of 11"));      /* the last is not the end */
    EXPECT(lie_refused(120 + 24, 12, 8, "document 3"));
    EXPECT(lie_refused(72, MAKE_VOCAB, 4, "token 60000"));
}

static void test_no_memory(void)
{
    struct err err;
    const char *path = made_path("m.kxs");
    bool ok = false;
    for (long k = 0; !ok && k < 50; k++) {
        long live = mem_live;
        mem_fail_after = k;
        ok = make_shard(path, lengths, N_DOCS, 7, &made_kind, &err);
        mem_fail_after = -1;
        EXPECTF(ok || err.code == ERR_MEMORY, "%ld: %s", k, err.msg);
        EXPECTF(ok == file_exists(path), "%ld", k);
        EXPECTF(mem_live == live, "%ld: %ld blocks", k, mem_live - live);
    }
    EXPECT(ok);
}

const struct test tests[] = {
    { "round_trip", test_round_trip },
    { "bytes", test_bytes },
    { "damage", test_damage },
    { "lies", test_lies },
    { "no_memory", test_no_memory },
    { 0 }
};
