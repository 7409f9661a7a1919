/* json_file and npy: what is read, what is refused, full disks, no memory. */
#include "../../harness.h"
#include "format/format.h"
#include "scratch.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static struct err err;

static json_t *load(const char *text)
{
    return json_load_bytes(bytes_of(text), "t.json", &err);
}

static void test_json(void)
{
    json_t *j = json_load_path(scratch_text("a.json", "{\"a\": [1, 2.5, \"\\uac00\"]}"), 100, &err);
    EXPECT(j && json_integer_value(json_array_get(json_object_get(j, "a"), 0)) == 1);
    json_decref(j);
    EXPECT(!json_load_path(scratch_path("a.json"), 10, &err) &&
           SAYS(&err, ERR_LIMIT, "a.json", "at most 10"));
    EXPECT(!json_load_path(scratch_path("b.json"), 10, &err) && SAYS(&err, ERR_IO, "b.json"));
    EXPECT(!load("") && SAYS(&err, ERR_FORMAT, "t.json", "line 1"));
    EXPECT(!load("{\n\"a\": 1,\n}") && SAYS(&err, ERR_FORMAT, "line 3", "column 1"));
    EXPECT(!load("{\"a\": 1, \"a\": 2}") && SAYS(&err, ERR_FORMAT, "duplicate"));
    EXPECT(!load("[\"\xff\"]") && SAYS(&err, ERR_FORMAT, "t.json"));
    EXPECT(!load("[99999999999999999999]") && SAYS(&err, ERR_FORMAT, "too big"));
}

static void test_json_depth(void)
{
    char text[200] = "";
    for (int depth = 63; depth <= 66; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = 0;
        json_t *j = load(text);
        EXPECT((j != NULL) == (depth <= JSON_DEPTH_MAX));
        EXPECT(j || SAYS(&err, ERR_LIMIT, "nested", "and 64 are accepted"));
        json_decref(j);
    }
    char quoted[] = "[\"....................................................................\"]";
    memset(quoted + 2, '[', sizeof quoted - 5);
    json_t *j = load(quoted);             /* brackets in a string do not count */
    EXPECT(j != NULL);
    json_decref(j);
}

static void test_json_values(void)
{
    struct buf text = { 0 };
    buf_text(&text, "[\",,,,\"");
    for (int i = 1; i < JSON_VALUES_MAX; i++)
        buf_put(&text, ",1", 2);
    buf_text(&text, "]");
    json_t *j = load(text.at);            /* the list and its elements: one too many */
    EXPECT(!j && SAYS(&err, ERR_LIMIT, "4194305 values", "at most 4194304"));
    memcpy(text.at + text.len - 3, "  ]", 3);
    j = load(text.at);
    EXPECT(json_array_size(j) == JSON_VALUES_MAX - 1);
    json_decref(j);
    buf_release(&text);
}

static bool write_npy(const char *path, const char *dtype, uint32_t n_dims, const void *data,
                      size_t n_bytes)
{
    static const uint64_t shape[] = { 2, 3, 1, 1 };
    struct npy_writer w;
    if (!npy_writer_begin(&w, path, dtype, shape, n_dims, &err))
        return false;
    if (npy_writer_put(&w, data, n_bytes / 2, &err) &&
        npy_writer_put(&w, (const char *)data + n_bytes / 2, n_bytes - n_bytes / 2, &err))
        return npy_writer_end(&w, &err);
    npy_writer_drop(&w);
    return false;
}

static void test_npy_round_trip(void)
{
    static const struct { const char *dtype; size_t size; } kinds[] = {
        { "f4", 4 }, { "f8", 8 }, { "i4", 4 }, { "i8", 8 }, { "u4", 4 }, { "u2", 2 },
    };
    uint8_t data[48];
    struct npy a;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 5);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (uint32_t n_dims = 0; n_dims <= 4; n_dims++) {
            uint64_t n = n_dims == 0 ? 1 : n_dims == 1 ? 2 : 6;
            const char *path = scratch_path("r.npy");
            EXPECTF(write_npy(path, kinds[k].dtype, n_dims, data, n * kinds[k].size), "%s",
                    err.msg);
            EXPECTF(npy_open(&a, path, &err), "%s", err.msg);
            EXPECT(!strcmp(a.dtype, kinds[k].dtype) && a.n_dims == n_dims && a.n_elements == n);
            EXPECT(n_dims < 2 || (a.shape[0] == 2 && a.shape[1] == 3));
            EXPECT((a.data - a.file.at) % 64 == 0 && !memcmp(a.data, data, n * kinds[k].size));
            npy_close(&a);
        }
    }
    EXPECT(mem_live == 0);
}

/* A .npy file with this header text and n_bytes of zeroes. */
static const char *raw_npy(const char *head, size_t n_bytes)
{
    struct buf b = { 0 };
    size_t n = strlen(head);
    buf_put(&b, "\x93NUMPY\1", 8);
    buf_put(&b, &(uint8_t[]){ (uint8_t)n, (uint8_t)(n >> 8) }, 2);
    buf_text(&b, head);
    while (n_bytes--)
        buf_put(&b, "", 1);
    const char *path = scratch_write("x.npy", b.at, b.len);
    buf_release(&b);
    return path;
}

static void test_npy_lies(void)
{
    static const struct { const char *head; size_t n_bytes; enum err_code code; const char *says; }
    cases[] = {
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 4, ERR_FORMAT,
          "2 elements" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 9, ERR_FORMAT, "9 bytes" },
        { "{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", 8, ERR_UNSUPPORTED,
          "C order" },
        { "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8, ERR_UNSUPPORTED, ">f4" },
        { "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", 8, ERR_UNSUPPORTED, "|O" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -1), }", 8, ERR_FORMAT, "shape" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2", 8, ERR_FORMAT, "shape" },
        { "{'descr': '<f4', 'fortran_order': False}", 8, ERR_FORMAT, "shape" },
        { "{'descr': '<f4', 'shape': (2,)}", 8, ERR_UNSUPPORTED, "C order" },
        { "\x1b[31m", 8, ERR_UNSUPPORTED, "\\x1b[31m" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 0,
          ERR_FORMAT, "shape" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952,), }", 0,
          ERR_FORMAT, "2305843009213693952 elements" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 0,
          ERR_FORMAT, "shape" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", 4,
          ERR_FORMAT, "shape" },
    };
    struct npy a;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        EXPECTF(!npy_open(&a, raw_npy(cases[i].head, cases[i].n_bytes), &err) &&
                SAYS(&err, cases[i].code, "x.npy", cases[i].says), "case %zu", i);
    EXPECT(!npy_open(&a, scratch_text("x.npy", "\x93NUMPY\2abcdef"), &err) &&
           SAYS(&err, ERR_UNSUPPORTED, "version 2"));
    EXPECT(!npy_open(&a, scratch_text("x.npy", "GGUF......."), &err) &&
           SAYS(&err, ERR_FORMAT, "a GGUF file"));
    EXPECT(!npy_open(&a, scratch_text("x.npy", "\x93NUMPY\1a\xff\xff..."), &err) &&
           SAYS(&err, ERR_FORMAT, "inside its header"));
    EXPECT(mem_live == 0);
}

static int count_files(const char *folder)
{
    DIR *d = opendir(folder);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* A limit on the size of files stands for a full disk. */
static void test_npy_full_disk(void)
{
    static char data[16384];
    struct rlimit old, small;
    scratch_folder("full");
    struct npy_writer w;
    uint64_t n = sizeof data / 4;
    signal(SIGXFSZ, SIG_IGN);
    EXPECT(getrlimit(RLIMIT_FSIZE, &old) == 0);
    small = (struct rlimit){ 1000, old.rlim_max };
    EXPECT(setrlimit(RLIMIT_FSIZE, &small) == 0);
    bool ok = npy_writer_begin(&w, scratch_path("full/a.npy"), "f4", &n, 1, &err);
    EXPECT(ok);
    EXPECT(!npy_writer_put(&w, data, sizeof data, &err) &&
           SAYS(&err, ERR_IO, "full/a.npy", "cannot write", "beyond 128 bytes"));
    npy_writer_drop(&w);
    EXPECT(npy_writer_begin(&w, scratch_path("full/b.npy"), "f4", &(uint64_t){ 512 }, 1, &err));
    EXPECT(npy_writer_put(&w, data, 2048, &err));        /* still in the stream's buffer */
    EXPECT(!npy_writer_end(&w, &err) && SAYS(&err, ERR_IO, "full/b.npy", "last bytes"));
    EXPECT(setrlimit(RLIMIT_FSIZE, &old) == 0);
    EXPECT(count_files(scratch_path("full")) == 0 && mem_live == 0);
}

static void test_npy_is_atomic(void)
{
    struct npy_writer w;
    float x = 1;
    scratch_folder("atomic");
    EXPECT(write_npy(scratch_path("atomic/a.npy"), "f4", 0, &x, 4));
    EXPECT(npy_writer_begin(&w, scratch_path("atomic/a.npy"), "f8", NULL, 0, &err));
    EXPECT(count_files(scratch_path("atomic")) == 2);
    npy_writer_drop(&w);
    struct npy a;
    EXPECT(npy_open(&a, scratch_path("atomic/a.npy"), &err) && !strcmp(a.dtype, "f4"));
    npy_close(&a);
    EXPECT(count_files(scratch_path("atomic")) == 1);
    EXPECT(!npy_writer_begin(&w, "/dev/null", "f4", NULL, 0, &err) &&
           SAYS(&err, ERR_USAGE, "/dev/null", "no regular file"));
    EXPECT(!npy_writer_begin(&w, scratch_path("none/a.npy"), "f4", NULL, 0, &err) &&
           SAYS(&err, ERR_IO, "none/a.npy", "cannot write there"));
    EXPECT(!npy_writer_begin(&w, scratch_path("a.npy"), "f4", (uint64_t[]){ 1ull << 62, 9 }, 2,
                             &err) &&
           SAYS(&err, ERR_LIMIT, "a.npy", "2^64"));
    EXPECT(mem_live == 0);
}

static void test_every_allocation_fails(void)
{
    float x[6] = { 1, 2, 3, 4, 5, 6 };
    struct npy a;
    for (long nth = 0, hit = 1; hit; nth++) {
        mem_fail_after = nth;
        bool ok = write_npy(scratch_path("m.npy"), "f4", 2, x, sizeof x) &&
                  npy_open(&a, scratch_path("m.npy"), &err);
        hit = mem_fail_after < 0;
        mem_fail_after = -1;
        EXPECTF(ok == !hit && (ok || err.code == ERR_MEMORY), "allocation %ld: %s", nth, err.msg);
        if (ok)
            npy_close(&a);
        EXPECT(mem_live == 0);
    }
}

const struct test tests[] = {
    { "json", test_json },
    { "json depth", test_json_depth },
    { "json values", test_json_values },
    { "npy round trip", test_npy_round_trip },
    { "npy lies", test_npy_lies },
    { "npy full disk", test_npy_full_disk },
    { "npy is atomic", test_npy_is_atomic },
    { "every allocation fails once", test_every_allocation_fails },
    { 0 },
};
