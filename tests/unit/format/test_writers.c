/* GGUF and safetensors written and read back, split, refused, cut off, out of memory. */
#include "gguf_build.h"
#include "../../fuzz/gguf_copy.h"
#include "../../harness.h"
#include "scratch.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct err err;

static size_t entries(const char *folder)
{
    DIR *d = opendir(scratch_path(folder));
    size_t n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

/* Writes g, reads it back, compares; the set's files have the names of a split set. */
static void check_copy(const struct gguf *g, uint64_t alignment, uint64_t max_bytes, size_t n)
{
    struct gguf back;
    char name[80];
    mkdir(scratch_path("copy"), 0777);    /* from the second copy on it is there */
    EXPECTF(gguf_copy(g, scratch_path("copy/m.gguf"), alignment, max_bytes, &err), "%s", err.msg);
    EXPECTF(entries("copy") == n, "%zu files, expected %zu", entries("copy"), n);
    snprintf(name, sizeof name, n == 1 ? "copy/m.gguf" : "copy/m-%05zu-of-%05zu.gguf", n, n);
    bool ok = gguf_open(&back, scratch_path(name), &err);
    EXPECTF(ok, "%s", err.msg);
    if (ok) {
        EXPECT(gguf_same(g, &back) && back.n_files == n && back.version == 3);
        EXPECT(back.alignment == (alignment ? alignment : 32));
        gguf_close(&back);
    }
    for (size_t i = 1; i <= n; i++) {
        snprintf(name, sizeof name, n == 1 ? "copy/m.gguf" : "copy/m-%05zu-of-%05zu.gguf", i, n);
        EXPECT(remove(scratch_path(name)) == 0);
    }
}

static void test_gguf_round_trip(void)
{
    struct gguf g;
    struct buf file = gguf_build_sample();
    EXPECT(gguf_open_bytes(&g, (struct bytes){ (uint8_t *)file.at, file.len }, "sample", &err));
    check_copy(&g, 0, 0, 1);
    check_copy(&g, 8, 0, 1);
    check_copy(&g, 4096, 0, 1);
    check_copy(&g, 0, 1, gguf_writable(&g));
    check_copy(&g, 64, 1, gguf_writable(&g));
    check_copy(&g, 0, 1 << 20, 1);
    gguf_close(&g);
    buf_release(&file);
}

/* Every file of the fuzz corpus that opens, but for tensors of types we cannot write. */
static void test_gguf_corpus(void)
{
    const char *folder = tree_path("tests/fuzz/corpus/gguf");
    char path[4300];
    size_t n = 0;
    DIR *d = opendir(folder);
    EXPECT(d != NULL);
    snprintf(path, sizeof path, "%s", folder);
    size_t stem = strlen(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct gguf g;
        snprintf(path + stem, sizeof path - stem, "/%s", e->d_name);
        if (e->d_name[0] == '.' || !gguf_open(&g, path, &err))
            continue;
        check_copy(&g, 0, 0, 1);
        n++;
        gguf_close(&g);
    }
    if (d)
        closedir(d);
    EXPECTF(n >= 2, "%zu files of the corpus could be copied", n);
}

static const uint64_t ne_a[] = { 5, 3 }, ne_b[] = { 4, 3, 2 }, ne_c[] = { 7 };
static const float values[24] = { 1, -2, 3.5f, 0, 1e30f };

static bool write_safetensors(const char *folder, uint64_t max_bytes)
{
    struct safetensors_writer w = { 0 };
    const struct qtype *f32 = qtype_find(QT_F32), *bf16 = qtype_find(QT_BF16);
    bool ok = safetensors_writer_add(&w, "a \"quoted\"", f32, 2, ne_a, &err) &&
              safetensors_writer_add(&w, "b", f32, 3, ne_b, &err) &&
              safetensors_writer_add(&w, "c", bf16, 1, ne_c, &err) &&
              safetensors_writer_add(&w, "one", f32, 0, NULL, &err) &&
              safetensors_writer_begin(&w, folder, max_bytes, &err) &&
              safetensors_writer_put(&w, values, 20, &err) &&
              safetensors_writer_put(&w, values + 5, 40, &err) &&
              safetensors_writer_put(&w, values, 96, &err) &&
              safetensors_writer_put(&w, values, 14, &err) &&
              safetensors_writer_put(&w, values + 2, 4, &err) && safetensors_writer_end(&w, &err);
    safetensors_writer_release(&w);
    return ok;
}

static void check_safetensors(const char *folder, size_t n_files)
{
    struct safetensors s;
    bool ok = safetensors_open(&s, scratch_path(folder), &err);
    EXPECTF(ok, "%s", err.msg);
    if (!ok)
        return;
    const struct tensor *a = tensors_find(&s.tensors, "a \"quoted\""),
                        *b = tensors_find(&s.tensors, "b"), *c = tensors_find(&s.tensors, "c"),
                        *one = tensors_find(&s.tensors, "one");
    EXPECT(s.n_files == n_files && s.tensors.n == 4);
    EXPECT(a && a->ne[0] == 5 && a->ne[1] == 3 && !memcmp(a->data, values, 60));
    EXPECT(b && b->ne[0] == 4 && b->ne[2] == 2 && !memcmp(b->data, values, 96));
    EXPECT(c && c->ggml_type == QT_BF16 && !memcmp(c->data, values, 14));
    EXPECT(one && one->n_dims == 0 && !memcmp(one->data, values + 2, 4));
    safetensors_close(&s);
}

static void test_safetensors_round_trip(void)
{
    scratch_folder("st1");
    EXPECTF(write_safetensors(scratch_path("st1"), 0), "%s", err.msg);
    EXPECT(entries("st1") == 1);
    check_safetensors("st1", 1);
    scratch_folder("st3");
    EXPECTF(write_safetensors(scratch_path("st3"), 100), "%s", err.msg);
    EXPECTF(entries("st3") == 4, "%zu files", entries("st3"));
    check_safetensors("st3", 3);
}

static bool copy_safetensors(const struct safetensors *s, const char *folder)
{
    struct safetensors_writer w = { 0 };
    bool ok = true;
    for (size_t i = 0; ok && i < s->tensors.n; i++) {
        const struct tensor *t = &s->tensors.at[i];
        ok = !t->qtype || safetensors_writer_add(&w, t->name, t->qtype, t->n_dims, t->ne, &err);
    }
    ok = ok && safetensors_writer_begin(&w, folder, 0, &err);
    for (size_t i = 0; ok && i < s->tensors.n; i++) {
        const struct tensor *t = &s->tensors.at[i];
        ok = !t->qtype || safetensors_writer_put(&w, t->data, t->n_bytes, &err);
    }
    ok = ok && safetensors_writer_end(&w, &err);
    safetensors_writer_release(&w);
    return ok;
}

static void check_safetensors_copy(const struct safetensors *s)
{
    struct safetensors back;
    bool ok = copy_safetensors(s, scratch_path("corpus"));
    EXPECTF(ok, "%s", err.msg);
    ok = ok && safetensors_open(&back, scratch_path("corpus"), &err);
    EXPECTF(ok, "%s", err.msg);
    for (size_t i = 0; ok && i < s->tensors.n; i++) {
        const struct tensor *t = &s->tensors.at[i];
        EXPECT(!t->qtype || tensor_same(t, tensors_find(&back.tensors, t->name)));
    }
    if (ok)
        safetensors_close(&back);
    remove(scratch_path("corpus/model.safetensors"));
}

static void test_safetensors_corpus(void)
{
    const char *folder = tree_path("tests/fuzz/corpus/safetensors");
    char path[4300];
    size_t n = 0;
    DIR *d = opendir(folder);
    EXPECT(d != NULL);
    int stem = snprintf(path, sizeof path, "%s", folder);
    scratch_folder("corpus");
    for (struct dirent *e; d && (e = readdir(d));) {
        struct safetensors s;
        snprintf(path + stem, sizeof path - (size_t)stem, "/%s", e->d_name);
        if (e->d_name[0] == '.' || !safetensors_open(&s, path, &err))
            continue;
        check_safetensors_copy(&s);
        n++;
        safetensors_close(&s);
    }
    if (d)
        closedir(d);
    EXPECTF(n >= 3, "%zu files of the corpus could be copied", n);
}

static void test_refused(void)
{
    const struct qtype *q = qtype_find(QT_Q8_0), *f = qtype_find(QT_F32);
    struct gguf_writer w = { 0 };
    struct safetensors_writer s = { 0 };
    uint64_t bad[] = { 33, 2 }, huge[] = { 1ull << 40, 1ull << 40 };
    EXPECT(!gguf_writer_add(&w, "x", q, 2, bad, &err) &&
           SAYS(&err, ERR_FORMAT, "tensor x", "33", "blocks of 32"));
    EXPECT(!gguf_writer_add(&w, "x", f, 2, huge, &err) && SAYS(&err, ERR_LIMIT, "tensor x"));
    EXPECT(gguf_writer_add(&w, "x", f, 1, ne_c, &err));
    EXPECT(!gguf_writer_add(&w, "x", f, 1, ne_c, &err) && SAYS(&err, ERR_FORMAT, "given twice"));
    EXPECT(!gguf_writer_begin(&w, scratch_text("there.gguf", "mine"), 0, &err) &&
           SAYS(&err, ERR_USAGE, "there.gguf", "exists already"));
    gguf_writer_release(&w);
    struct buf still = { 0 };
    EXPECT(file_read(&still, scratch_path("there.gguf"), 100, &err) && !strcmp(still.at, "mine"));
    buf_release(&still);
    EXPECT(!safetensors_writer_add(&s, "x", q, 1, ne_c, &err) &&
           SAYS(&err, ERR_UNSUPPORTED, "Q8_0"));
    safetensors_writer_release(&s);
}

/* A disk that is full in the middle of the second file of a set. */
static void test_full_disk(void)
{
    struct rlimit old, small;
    struct gguf_writer w = { 0 };
    uint64_t big[] = { 40000 }, one[] = { 1 };
    float *x = mem_take(big[0], sizeof *x);
    scratch_folder("full");
    signal(SIGXFSZ, SIG_IGN);
    EXPECT(getrlimit(RLIMIT_FSIZE, &old) == 0);
    small = (struct rlimit){ 100000, old.rlim_max };
    EXPECT(x && gguf_writer_add(&w, "first", qtype_find(QT_F32), 1, one, &err) &&
           gguf_writer_add(&w, "second", qtype_find(QT_F32), 1, big, &err) &&
           setrlimit(RLIMIT_FSIZE, &small) == 0);
    EXPECT(gguf_writer_begin(&w, scratch_path("full/m.gguf"), 32, &err));
    EXPECT(gguf_writer_put(&w, x, 4, &err));
    EXPECT(entries("full") == 2);
    EXPECT(!gguf_writer_put(&w, x, 160000, &err) &&
           SAYS(&err, ERR_IO, "m-00002-of-00002.gguf", "cannot write"));
    EXPECT(setrlimit(RLIMIT_FSIZE, &old) == 0);
    gguf_writer_release(&w);
    EXPECT(entries("full") == 0);
    mem_give(x);
}

/* The last name of a set cannot be had: a folder took it meanwhile. */
static void test_nothing_stays(void)
{
    struct gguf_writer w = { 0 };
    uint64_t one[] = { 8 };
    scratch_folder("stays");
    EXPECT(gguf_writer_add(&w, "a", qtype_find(QT_F32), 1, one, &err) &&
           gguf_writer_add(&w, "b", qtype_find(QT_F32), 1, one, &err) &&
           gguf_writer_begin(&w, scratch_path("stays/m.gguf"), 32, &err) &&
           gguf_writer_put(&w, values, 32, &err) && gguf_writer_put(&w, values, 32, &err));
    EXPECT(mkdir(scratch_path("stays/m-00002-of-00002.gguf"), 0777) == 0);
    EXPECT(!gguf_writer_end(&w, &err) && SAYS(&err, ERR_IO, "m-00002", "its name"));
    gguf_writer_release(&w);
    EXPECTF(entries("stays") == 1, "%zu entries", entries("stays"));
    EXPECT(remove(scratch_path("stays/m-00002-of-00002.gguf")) == 0);
}

static void test_every_allocation_fails(void)
{
    struct gguf g;
    struct buf file = gguf_build_sample();
    size_t n = 0;
    scratch_folder("mem");
    for (long nth = 0, hit = 1; hit; nth++) {
        EXPECT(gguf_open_bytes(&g, (struct bytes){ (uint8_t *)file.at, file.len }, "s", &err));
        long live = mem_live;
        n = gguf_writable(&g);
        mem_fail_after = nth;
        bool ok = gguf_copy(&g, scratch_path("mem/m.gguf"), 0, 1, &err) &&
                  write_safetensors(scratch_path("mem"), 100);
        hit = mem_fail_after < 0;
        mem_fail_after = -1;
        EXPECTF(ok == !hit && (ok || err.code == ERR_MEMORY), "allocation %ld: %s", nth, err.msg);
        EXPECTF(mem_live == live, "allocation %ld: %ld blocks left", nth, mem_live - live);
        gguf_close(&g);
        for (int i = 1; i <= 4; i++) {
            char name[60];
            snprintf(name, sizeof name, "mem/m-%05d-of-%05zu.gguf", i, n);
            remove(scratch_path(name));
            snprintf(name, sizeof name, "mem/model-%05d-of-00003.safetensors", i);
            remove(scratch_path(name));
        }
        remove(scratch_path("mem/model.safetensors.index.json"));
        EXPECTF(entries("mem") == 0, "allocation %ld leaves %zu files", nth, entries("mem"));
    }
    buf_release(&file);
}

const struct test tests[] = {
    { "gguf round trip", test_gguf_round_trip },
    { "gguf corpus", test_gguf_corpus },
    { "safetensors round trip", test_safetensors_round_trip },
    { "safetensors corpus", test_safetensors_corpus },
    { "refused", test_refused },
    { "full disk", test_full_disk },
    { "nothing stays", test_nothing_stays },
    { "every allocation fails", test_every_allocation_fails },
    { 0 }
};
