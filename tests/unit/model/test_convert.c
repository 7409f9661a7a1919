/* Conversion when memory runs out and when it is stopped: nothing leaks, nothing stays.  What
 * it writes is checked by tests/e2e/test_convert.py. */
#include "../../harness.h"
#include "model/model.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct err err;
static char scratch[32];

/* Entries of the scratch folder; with `remove` they are taken away, one level deep. */
static size_t entries(const char *folder, bool remove_them)
{
    char path[1200];
    size_t n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        n++;
        snprintf(path, sizeof path, "%.900s/%.255s", folder, e->d_name);
        if (remove_them && unlink(path) != 0) {
            entries(path, true);
            rmdir(path);
        }
    }
    if (d)
        closedir(d);
    return n;
}

static bool stop_at_once(void)
{
    return true;
}

static bool convert(struct model *m, bool (*stopped)(void), uint64_t max_bytes)
{
    char path[80];
    struct convert_report report;
    struct convert_options o = { .float_type = qtype_find(QT_F32), .max_bytes = max_bytes,
                                 .stopped = stopped };
    snprintf(path, sizeof path, "%s/x%s", scratch, m->gguf.n_files ? "" : ".gguf");
    return m->gguf.n_files ? model_to_folder(m, path, &o, &report, &err)
                           : model_to_gguf(m, path, &o, &report, &err);
}

static void open_model(struct model *m, const char *path)
{
    bool ok = model_open_plan(m, path, &err) && model_bind(m, 1, NUMERICS_NATIVE, &err);
    EXPECTF(ok, "%s", err.msg);
}

static void fail_each(const char *path, uint64_t max_bytes)
{
    struct model m;
    open_model(&m, path);
    long nth = 0, live = mem_live;
    for (long hit = 1; hit; nth++) {
        mem_fail_after = nth;
        bool ok = convert(&m, NULL, max_bytes);
        hit = mem_fail_after < 0;
        mem_fail_after = -1;
        EXPECTF(ok == !hit && (ok || err.code == ERR_MEMORY), "%s, allocation %ld: %s", path, nth,
                err.msg);
        EXPECTF(mem_live == live, "%s, allocation %ld: %ld blocks left", path, nth,
                mem_live - live);
        size_t left = entries(scratch, true);
        EXPECTF(left == 0 || ok, "%s, allocation %ld leaves %zu files", path, nth, left);
    }
    EXPECTF(nth > 20, "only %ld allocations", nth);
    model_close(&m);
}

static void take_scratch(void)
{
    EXPECT(mkdtemp(strcpy(scratch, "/tmp/kexa-convert-XXXXXX")) != NULL);
}

static void test_allocations(void)
{
    take_scratch();
    fail_each(tree_path("tests/gold/llama/tied"), 0);
    fail_each(tree_path("tests/gold/llama/tied"), 100000);
    fail_each(tree_path("tests/gold/llama/tied/model.gguf"), 0);
    fail_each(tree_path("tests/gold/llama/tied/model.gguf"), 100000);
    rmdir(scratch);
}

static void test_stopped(void)
{
    static const char *const sources[] = { "tests/gold/exaone_moe/lllg",
                                           "tests/gold/exaone_moe/lllg/model.gguf" };
    struct model m;
    take_scratch();
    for (int i = 0; i < 2; i++) {
        open_model(&m, tree_path(sources[i]));
        EXPECT(!convert(&m, stop_at_once, 0) && err.code == ERR_CANCELLED);
        EXPECT(entries(scratch, true) == 0);
        model_close(&m);
    }
    rmdir(scratch);
}

/* Llama 3's four numbers are found again from the divisors of a file. */
static void test_report(void)
{
    char file[80], folder[80];
    struct model m;
    struct convert_report report;
    struct convert_options o = { .float_type = qtype_find(QT_F32) };
    take_scratch();
    snprintf(file, sizeof file, "%s/y.gguf", scratch);
    snprintf(folder, sizeof folder, "%s/y", scratch);
    open_model(&m, tree_path("tests/gold/llama/tied"));
    EXPECTF(model_to_gguf(&m, file, &o, &report, &err), "%s", err.msg);
    EXPECT(report.n_tensors == 21 && !report.tokenizer && report.n_left_out == 0);
    model_close(&m);
    open_model(&m, file);
    EXPECTF(model_to_folder(&m, folder, &o, &report, &err), "%s", err.msg);
    EXPECT(report.n_tensors == 20);
    model_close(&m);
    open_model(&m, folder);
    const struct rope_plan *r = &m.plan.rope[0];
    EXPECTF(r->scaling == ROPE_LLAMA3 && r->factor == 8 && r->low == 1 && r->high == 4 &&
            r->original_context == 64, "factor %g, original context %g", r->factor,
            r->original_context);
    model_close(&m);
    entries(scratch, true);
    rmdir(scratch);
}

const struct test tests[] = {
    { "every allocation fails", test_allocations },
    { "stopped", test_stopped },
    { "report and RoPE", test_report },
    { 0 }
};
