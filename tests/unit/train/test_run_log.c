/* The run's log: whole lines, cut where a run goes on, whatever was in the way. */
#include "../../harness.h"
#include "train/train.h"
#include "../format/scratch.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LAYERS = 2, EXPERTS = 3 };

static const double load_max[LAYERS] = { 1.5, NAN }, entropy[LAYERS] = { 0.1, 1.0 / 3 };
static const uint64_t load[LAYERS * EXPERTS] = { 1, 2, 3, 4, 5, 6 };
static const struct run_facts facts = { "0.1.0", "tiny.toml", "lr = \"1\"\n", 2, 7, 100, 50, 9,
                                        NAN };

static struct step_stats step_at(uint64_t step)
{
    return (struct step_stats){ .step = step, .n_tokens = 64, .loss = 1.0 / (double)step,
                                .heldout_bits_per_byte = NAN, .grad_norm = INFINITY,
                                .skipped = step == 3, .n_sparse = LAYERS, .n_experts = EXPERTS,
                                .load_max = load_max, .entropy = entropy, .load = load,
                                .seconds = 0.5 };
}

static void log_steps(const char *out, uint64_t from, uint64_t to)
{
    struct run_log l;
    struct err err = { 0 };
    EXPECTF(run_log_open(&l, out, from, &err), "%s", err.msg);
    EXPECT(run_log_begin(&l, from, &facts, &err));
    for (uint64_t i = from + 1; i <= to; i++) {
        struct step_stats s = step_at(i);
        EXPECT(run_log_step(&l, &s, &err));
        if (i % 2 == 0)
            EXPECT(run_log_sample(&l, i, bytes_of("a"), bytes_of("b\"\\\n\x01\xff\x7f"), &err));
    }
    EXPECT(run_log_sync(&l, &err));
    run_log_close(&l);
}

/* Steps and samples without their times, the other lines left out. */
static struct buf figures(const char *out)
{
    char path[600];
    struct buf all = { 0 }, kept = { 0 };
    struct err err = { 0 };
    snprintf(path, sizeof path, "%s/log.jsonl", out);
    EXPECTF(file_read(&all, path, 1 << 24, &err), "%s", err.msg);
    for (size_t at = 0; at < all.len; ) {
        char *begin = all.at + at, *end = memchr(begin, '\n', all.len - at);
        EXPECTF(end != NULL, "%s: a line without an end", path);
        if (!end)
            break;
        *end = 0;
        if (!strncmp(begin, "{\"event\":\"s", 11) && strncmp(begin + 10, "start", 5)) {
            json_t *line = json_loads(begin, 0, NULL);
            EXPECT(line && json_object_del(line, "time") == 0);
            char *text = json_dumps(line, JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
            buf_printf(&kept, "%s\n", text);
            free(text);
            json_decref(line);
        }
        at = (size_t)(end - all.at) + 1;
    }
    buf_release(&all);
    return kept;
}

static bool same_figures(const char *a, const char *b)
{
    struct buf x = figures(a), y = figures(b);
    bool same = x.len > 0 && x.len == y.len && !memcmp(x.at, y.at, x.len);
    buf_release(&x);
    buf_release(&y);
    return same;
}

static const char *log_of(const char *out)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/log.jsonl", out);
    return path;
}

static void append(const char *out, const char *text)
{
    FILE *f = fopen(log_of(out), "ab");
    check(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void test_line(void)
{
    const char *out = scratch_path("line");
    log_steps(out, 0, 3);
    struct buf all = { 0 };
    check(file_read(&all, log_of(out), 1 << 20, NULL));
    char *third = strstr(all.at, "{\"event\":\"step\",\"step\":3,");
    EXPECT(third != NULL);
    json_t *j = third ? json_loadb(third, strcspn(third, "\n"), 0, NULL) : NULL;
    EXPECT(json_real_value(json_object_get(j, "loss")) == 1.0 / 3);
    EXPECT(json_is_null(json_object_get(j, "grad_norm")));
    EXPECT(json_is_null(json_object_get(j, "heldout_bits_per_byte")));
    EXPECT(json_is_true(json_object_get(j, "skipped")));
    EXPECT(json_is_null(json_array_get(json_object_get(j, "load_max"), 1)));
    EXPECT(json_real_value(json_array_get(json_object_get(j, "entropy"), 1)) == 1.0 / 3);
    json_t *row = json_array_get(json_object_get(j, "load"), 1);
    EXPECT(json_array_size(row) == EXPERTS && json_integer_value(json_array_get(row, 2)) == 6);
    json_decref(j);
    char *sample = strstr(all.at, "{\"event\":\"sample\"");
    j = sample ? json_loadb(sample, strcspn(sample, "\n"), 0, NULL) : NULL;
    EXPECT(!strcmp(json_string_value(json_object_get(j, "text")), "b\"\\\n\x01\xef\xbf\xbd\x7f"));
    json_decref(j);
    buf_release(&all);
}

/* However many steps were done after the one that was saved, and however the last line ends. */
static void test_going_on(void)
{
    const char *whole = scratch_path("whole"), *out = scratch_path("parts");
    log_steps(whole, 0, 20);
    log_steps(out, 0, 7);
    append(out, "{\"event\":\"step\",\"step\":8,\"tok");
    log_steps(out, 4, 9);
    append(out, "{\"event\":\"step\",\"step\":10,\"tokens\":1}\nnonsense\n\n");
    log_steps(out, 9, 13);
    append(out, "{\"event\":\"end\",\"step\":13,\"why\":\"stopped\"}\n");
    log_steps(out, 13, 20);
    EXPECT(same_figures(whole, out));
    struct buf all = { 0 };
    check(file_read(&all, log_of(out), 1 << 20, NULL));
    EXPECT(!strstr(all.at, "\"end\"") && strstr(all.at, "\"resume\",\"step\":13"));
    buf_release(&all);
    log_steps(out, 0, 20);                /* afresh */
    EXPECT(same_figures(whole, out));
}

static void test_one_writer(void)
{
    const char *out = scratch_path("lock");
    struct run_log a, b;
    struct err err = { 0 };
    EXPECT(run_log_open(&a, out, 0, &err) && run_log_begin(&a, 0, &facts, &err));
    EXPECT(!run_log_open(&b, out, 0, &err) && SAYS(&err, ERR_USAGE, "log.jsonl", "another run"));
    run_log_close(&b);
    struct stat st;
    EXPECT(stat(log_of(out), &st) == 0 && st.st_size > 0);
    run_log_close(&a);
    EXPECT(run_log_open(&b, out, 0, &err));
    run_log_close(&b);
}

static void test_disk_full(void)
{
    const char *out = scratch_path("full");
    for (rlim_t limit = 700; limit < 2000; limit += 61) {
        pid_t child = fork();
        if (child == 0) {
            struct rlimit r = { limit, limit };
            struct run_log l;
            struct err err = { 0 };
            signal(SIGXFSZ, SIG_IGN);
            check(setrlimit(RLIMIT_FSIZE, &r) == 0);
            bool ok = run_log_open(&l, out, 0, &err) && run_log_begin(&l, 0, &facts, &err);
            for (uint64_t i = 1; ok && i < 100; i++) {
                struct step_stats s = step_at(i);
                ok = run_log_step(&l, &s, &err);
            }
            _exit(ok || !SAYS(&err, ERR_IO, "log.jsonl", "File too large"));
        }
        int status = -1;
        waitpid(child, &status, 0);
        EXPECTF(status == 0, "limit %ld", (long)limit);
        struct buf all = { 0 };
        check(file_read(&all, log_of(out), 1 << 20, NULL));
        EXPECTF(all.len > 0 && all.at[all.len - 1] == '\n', "limit %ld", (long)limit);
        buf_release(&all);
    }
}

/* One run's worth of calls, for the failing allocations. */
static bool everything(const char *out, struct err *err)
{
    struct run_log l = { .fd = -1 };
    struct tensorboard t = { 0 };
    struct step_stats s = step_at(1);
    bool ok = run_log_open(&l, out, 0, err) && run_log_begin(&l, 0, &facts, err)
              && run_log_step(&l, &s, err)
              && run_log_sample(&l, 1, bytes_of("p"), bytes_of("\xff"), err)
              && run_log_checkpoint(&l, 1, "x", 5, 0.1, err) && run_log_end(&l, 1, "done", err)
              && tensorboard_open(&t, out, 5, err) && tensorboard_step(&t, &s, err)
              && tensorboard_sample(&t, 1, bytes_of("a "), bytes_of("text\xff"), err);
    run_log_close(&l);
    tensorboard_close(&t);
    return ok;
}

static void test_allocations(void)
{
    const char *out = scratch_path("alloc");
    long live = mem_live, n = 0;
    for (bool all = false; !all; n++) {
        struct err err = { 0 };
        mem_fail_after = n;
        bool ok = everything(out, &err);
        all = mem_fail_after >= 0;
        mem_fail_after = -1;
        EXPECTF(all ? ok : !ok && err.code == ERR_MEMORY, "allocation %ld: %s", n, err.msg);
        EXPECT(mem_live == live);
    }
    EXPECT(n > 10);
}

static void test_crc(void)
{
    /* RFC 3720, B.4 */
    uint8_t zeros[32] = { 0 }, ones[32];
    memset(ones, 0xff, sizeof ones);
    EXPECT(crc32c("123456789", 9) == 0xe3069283);
    EXPECT(crc32c(zeros, 32) == 0x8a9136aa && crc32c(ones, 32) == 0x62a8ab43);
    EXPECT(crc32c("", 0) == 0);
}

const struct test tests[] = {
    { "what a line holds", test_line },
    { "a run that went on has the same log", test_going_on },
    { "one writer", test_one_writer },
    { "disk full", test_disk_full },
    { "every allocation failing once", test_allocations },
    { "crc32c", test_crc },
    { 0 }
};
