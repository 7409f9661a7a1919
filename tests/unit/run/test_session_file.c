/*
 * Sessions on disk: anything that is not exactly what this session would have written is
 * refused with a sentence, and the session stays as it was.  (That a loaded session goes on
 * to the bit: tests/gold/test_sessions.c.)
 */
#include "../../fuzz/session_rig.h"
#include "../../harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct rig {
    struct session *s;
    struct buf file, before;              /* four tokens saved; what s holds now */
};

static void rig_open(struct rig *r)
{
    const uint32_t ids[] = { 9, 8, 7, 6, 5, 4 };
    struct sampler_options o;
    struct err err;
    *r = (struct rig){ .s = session_rig_open() };
    sampler_options_init(&o);
    o.temperature = 0.7;
    o.n_bias = 1;
    o.bias[0] = (struct sampler_bias){ 50, 2 };
    EXPECT(session_sampling(r->s, &o, &err) && session_add(r->s, ids, 4, &err));
    r->file = session_rig_save(r->s);
    EXPECT(session_add(r->s, ids + 4, 2, &err));
    r->before = session_rig_save(r->s);
}

static void rig_close(struct rig *r)
{
    session_rig_close(r->s);
    buf_release(&r->file);
    buf_release(&r->before);
}

/* Loads a copy of exactly len bytes; when it is refused nothing of the session has moved. */
static bool load(struct rig *r, const void *at, size_t len, struct err *err)
{
    uint8_t *copy = malloc(len ? len : 1);
    memcpy(copy, at, len);
    *err = (struct err){ 0 };
    bool ok = session_read(r->s, (struct bytes){ copy, len }, "x.session", err);
    free(copy);
    if (!ok)
        EXPECTF(strstr(err->msg, "x.session") && err->code, "\"%s\"", err->msg);
    return ok;
}

static bool untouched(struct rig *r)
{
    struct buf now = session_rig_save(r->s);
    bool same = now.len == r->before.len && !memcmp(now.at, r->before.at, now.len);
    buf_release(&now);
    return same;
}

static void test_damage(void)
{
    struct rig r;
    struct err err;
    rig_open(&r);
    for (size_t len = 0; len < r.file.len; len += len < 200 ? 1 : 37)
        EXPECTF(!load(&r, r.file.at, len, &err), "cut to %zu bytes", len);
    for (size_t i = 0; i < r.file.len; i += i < 200 ? 1 : 37) {
        r.file.at[i] ^= 4;
        EXPECTF(!load(&r, r.file.at, r.file.len, &err), "byte %zu", i);
        r.file.at[i] ^= 4;
    }
    EXPECT(untouched(&r));
    EXPECT(load(&r, r.file.at, r.file.len, &err) && r.s->n == 4);
    rig_close(&r);
}

/* Each number of the table changed, with a right checksum. */
static void test_other_numbers(void)
{
    static const struct { size_t at; uint32_t value; const char *word; } lies[] = {
        { 0, 1, "KEXASESS" },       { 8, 2, "version 2" },      { 12, 1, "numerics" },
        { 16, 7, "another model" }, { 24, 2, "bf16" },          { 24, 9, "unknown type" },
        { 28, 63, "context" },      { 32, 4, "steps" },         { 36, 0, "multi-token" },
        { 40, 3, "tokens" },        { 40, 65, "tokens" },       { 44, 8, "layers" },
        { 48, 100, "vocabulary" },  { 52, 41, "hidden" },       { 56, 5, "keys and values" },
        { 68, 0xbff00000, "temperature" }, { 76, 0x40000000, "top_p" }, { 84, 0x7ff80000, "min_p" },
        { 152, 2, "tokens" },       { 152, 301, "biases" },     { 156, 1, "sense" },
        { 160, 101, "bias" },       { 168, 101, "vocabulary" },
    };
    struct rig r;
    struct err err;
    rig_open(&r);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct buf lie = { 0 };
        buf_put(&lie, r.file.at, r.file.len);
        memcpy(lie.at + lies[i].at, &lies[i].value, 4);
        session_rig_sum((uint8_t *)lie.at, lie.len);
        EXPECTF(!load(&r, lie.at, lie.len, &err), "%u at %zu", lies[i].value, lies[i].at);
        EXPECTF(strstr(err.msg, lies[i].word), "%u at %zu: %s", lies[i].value, lies[i].at, err.msg);
        buf_release(&lie);
    }
    EXPECT(untouched(&r));
    rig_close(&r);
}

/* One bit of one weight, one number of the metadata: another hash; the same file: the same. */
static void test_model_hash(void)
{
    struct buf file = { 0 };
    struct model m;
    struct err err = { 0 };
    char path[64];
    uint64_t first = 0, hash = 0;
    snprintf(path, sizeof path, "/tmp/kexa-hash-%ld.gguf", (long)getpid());
    EXPECT(file_read(&file, tree_path("tests/gold/exaone_moe/lllg/model.gguf"), 1 << 24, &err));
    char *key = memmem(file.at, file.len, "layer_norm_rms_epsilon", 22);
    const size_t change[] = { 0, file.len / 3, file.len / 2, (size_t)(key - file.at) + 26 };
    for (size_t i = 0; i < 4; i++) {
        file.at[change[i]] ^= i ? 1 : 0;
        EXPECT(file_write(path, file.at, file.len, &err));
        bool ok = model_open_plan(&m, path, &err) && model_hash(&m, i ? &hash : &first, &err);
        EXPECTF(ok && hash != first, "change %zu: %s", i, err.msg);
        file.at[change[i]] ^= i ? 1 : 0;
        model_close(&m);
    }
    EXPECT(file_write(path, file.at, file.len, &err) && model_open_plan(&m, path, &err));
    EXPECT(model_hash(&m, &hash, &err) && hash == first);
    model_close(&m);
    unlink(path);
    buf_release(&file);
}

static void test_places_that_cannot_be_written(void)
{
    struct rig r;
    struct err err = { 0 };
    rig_open(&r);
    EXPECT(!session_save(r.s, "/nowhere/x.session", &err) && err.code == ERR_IO);
    EXPECT(!session_save(r.s, "/tmp", &err));
    EXPECT(!session_load(r.s, "/nowhere/x.session", &err) && err.code == ERR_IO);
    if (!access("/dev/full", W_OK))
        EXPECT(!session_save(r.s, "/dev/full", &err));
    EXPECT(untouched(&r));
    rig_close(&r);
}

static void test_without_memory(void)
{
    struct rig r;
    struct err err = { 0 };
    char path[64];
    snprintf(path, sizeof path, "/tmp/kexa-save-%ld", (long)getpid());
    rig_open(&r);
    bool ok = false;
    for (long nth = 0; !ok && nth < 100; nth++) {
        long live = mem_live;
        mem_fail_after = nth;
        ok = session_save(r.s, path, &err) && session_load(r.s, path, &err);
        mem_fail_after = -1;
        EXPECTF(mem_live == live && (ok || err.code == ERR_MEMORY), "allocation %ld", nth);
    }
    EXPECT(ok && untouched(&r));
    unlink(path);
    rig_close(&r);
}

const struct test tests[] = {
    { "damage of any byte", test_damage },
    { "every other number", test_other_numbers },
    { "the model's hash", test_model_hash },
    { "places that cannot be written", test_places_that_cannot_be_written },
    { "every allocation fails once", test_without_memory },
    { 0 }
};
