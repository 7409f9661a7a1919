/* The report: curves thinned without losing a spike, logs of every kind of damage. */
#include "../../harness.h"
#include "train/train.h"
#include "train/report_text.h"
#include "train/run_history.h"
#include "../format/scratch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void test_series(void)
{
    for (uint64_t n = 1; n < 700; n = n * 3 + 1) {
        struct series s = { .most = 20 };
        double sum = 0;
        for (uint64_t i = 1; i <= n; i++) {
            double v = i == n / 2 + 1 ? 1000 : (double)(i % 5);
            EXPECT(series_add(&s, i, v) && series_add(&s, i, NAN) && series_add(&s, i, INFINITY)
                   && series_add(&s, i, 1e31));
            sum += v;
        }
        double all = 0;
        uint64_t values = 0, step = 0;
        for (size_t i = 0; i < s.n; i++) {
            EXPECT(s.at[i].first == step + 1 && s.at[i].last >= s.at[i].first);
            EXPECT(s.at[i].low <= point_mean(&s.at[i]) && point_mean(&s.at[i]) <= s.at[i].high);
            step = s.at[i].last;
            values += s.at[i].n;
            all += s.at[i].sum;
        }
        EXPECTF(s.n <= 20 && values == n && step == n && all == sum, "%d values", (int)n);
        EXPECT(series_high(&s) == 1000 && (n < 8 || series_low(&s) == 0));
        series_release(&s);
    }
}

/* A straight line stays one; one wild value in a flat curve leaves no trace in the median. */
static void test_smooth(void)
{
    struct series line = { .most = 100 }, flat = { .most = 100 };
    double smooth[100];
    for (uint64_t i = 0; i < 100; i++)
        check(series_add(&line, i, (double)i) && series_add(&flat, i, i == 40 ? 1e6 : 2));
    EXPECT(series_smooth(&line, 7, smooth));
    for (size_t i = 0; i < 90; i++)
        EXPECTF(fabs(smooth[i] - (double)i) < 1e-9, "%zu: %g", i, smooth[i]);
    EXPECT(series_smooth(&flat, 7, smooth));
    for (size_t i = 0; i < 100; i++)
        EXPECTF(fabs(smooth[i] - 2) < 1e-12, "%zu: %g", i, smooth[i]);
    series_release(&line);
    series_release(&flat);
}

static void test_heat(void)
{
    struct heat h = { 0 };
    const double load[6] = { 1, 1, 4, 0, 5, 1 };
    for (uint64_t i = 1; i <= 1001; i++)
        EXPECT(heat_add(&h, i, load, 2, 3));
    EXPECT(h.n <= HEAT_MOST && h.first[0] == 1 && h.last[h.n - 1] == 1001);
    for (size_t i = 0; i < h.n; i++)
        EXPECT(heat_value(&h, i, 0, 2) == 2 && heat_value(&h, i, 1, 0) == 0
               && fabs(heat_value(&h, i, 1, 1) - 2.5) < 1e-12);
    heat_release(&h);
}

static bool writes(const char *what, void (*put)(struct buf *, double), double v)
{
    struct buf b = { 0 };
    put(&b, v);
    bool same = b.at && !strcmp(b.at, what);
    if (!same)
        test_fail(__FILE__, __LINE__, "\"%s\", expected \"%s\"", b.at ? b.at : "", what);
    buf_release(&b);
    return same;
}

static void put_flops(struct buf *b, double v)
{
    report_put_si(b, v, "FLOP");
}

static void put_bare(struct buf *b, double v)
{
    report_put_si(b, v, "");
}

static void test_text(void)
{
    struct buf b = { 0 };
    report_put_html(&b, "<a href=\"x\" b='1'>&amp;\x01\x7f\t\n\xea\xb0\x80");
    EXPECT(!strcmp(b.at, "&lt;a href=&quot;x&quot; b=&#39;1&#39;&gt;&amp;amp;\xef\xbf\xbd"
                         "\xef\xbf\xbd\t\n\xea\xb0\x80"));
    buf_clear(&b);
    report_put_base64(&b, (const uint8_t *)"any carnal pleas", 16);
    EXPECT(!strcmp(b.at, "YW55IGNhcm5hbCBwbGVhcw=="));
    buf_clear(&b);
    report_put_count(&b, 1234567);
    report_put_count(&b, 12);
    EXPECT(!strcmp(b.at, "1,234,56712"));
    buf_release(&b);
    EXPECT(writes("3.10 PFLOP", put_flops, 3.1e15) && writes("999 FLOP", put_flops, 999));
    EXPECT(writes("1.00k", put_bare, 999.9) && writes("0", put_bare, 0));
    EXPECT(writes("1 h 1 min", report_put_duration, 3661));
    EXPECT(writes("2 d 3 h", report_put_duration, 184000));
    EXPECT(writes("0.5 s", report_put_duration, 0.5) && writes("?", report_put_date, NAN));
    EXPECT(writes("2026-11-21 23:29 UTC", report_put_date, 1795303778));
    EXPECT(nice_step(10, 5) == 2 && nice_step(10, 10) == 1 && nice_step(0.9, 4) == 0.5);
}

static const char step_line[] =
    "{\"event\":\"step\",\"step\":%d,\"tokens\":64,\"all_tokens\":%d,\"loss\":%g,\"ce\":1,"
    "\"mtp\":1,\"balance\":1,\"lr\":0.1,\"grad_norm\":null,\"clipped\":true,\"skipped\":%s,"
    "\"entropy\":[1,2],\"load_max\":[1,1],\"load_dead\":[0,0],\"load\":[[1,2],[3,0]],"
    "\"time\":{\"unix\":1795303778,\"seconds\":0.5,\"cpu_seconds\":1}}\n";

static void put_steps(struct buf *b, int from, int to)
{
    for (int i = from; i <= to; i++)
        buf_printf(b, step_line, i, i * 64, 1.0 / i, i % 7 ? "false" : "true");
}

/* The page of a log of these bytes, or nothing with err filled. */
static struct buf page_of(const void *log, size_t len, struct err *err)
{
    static int n;
    char out[40], name[60];
    struct buf page = { 0 };
    snprintf(out, sizeof out, "run-%d", n++);
    snprintf(name, sizeof name, "%s/log.jsonl", out);
    scratch_folder(out);
    scratch_write(name, log, len);
    snprintf(name, sizeof name, "%s/report.html", out);
    if (run_report_write(scratch_path(out), NULL, err))
        check(file_read(&page, scratch_path(name), 1 << 26, NULL));
    return page;
}

static void test_bad_logs(void)
{
    struct err err = { 0 };
    struct buf page = page_of("", 0, &err);
    EXPECT(!page.len && SAYS(&err, ERR_FORMAT, "log.jsonl", "no step"));
    page = page_of("not a log\n{}\n\n", 14, &err);
    EXPECT(!page.len && SAYS(&err, ERR_FORMAT, "no step", "3 lines"));
    EXPECT(!run_report_write(scratch_path("nowhere"), NULL, &err)
           && SAYS(&err, ERR_IO, "nowhere/log.jsonl"));
    EXPECT(!run_report_write(scratch_path("run-0"), scratch_path("no/folder/x.html"), &err));
}

/* Cut anywhere: a report of what is whole, which says that a line is not. */
static void test_torn_logs(void)
{
    struct buf log = { 0 };
    put_steps(&log, 1, 2);
    size_t two = log.len;
    put_steps(&log, 3, 3);
    for (size_t n = two; n < log.len; n += 17) {
        struct err err = { 0 };
        struct buf page = page_of(log.at, n, &err);
        bool torn = page.at && strstr(page.at, "1 line of the log could not be used, the first is "
                                               "line 3");
        EXPECTF(page.len && torn == (n > two), "%zu of %zu: %s", n, log.len, err.msg);
        buf_release(&page);
    }
    put_steps(&log, 2, 2);                /* goes back */
    struct buf page = page_of(log.at, log.len, NULL);
    EXPECT(page.at && strstr(page.at, "1 line of the log could not be used, the first is line 4"));
    buf_release(&page);
    buf_release(&log);
}

static void test_strange_values(void)
{
    static const char *const lines[] = {
        "{\"event\":\"step\",\"step\":1}",
        "{\"event\":\"step\",\"step\":2,\"loss\":\"x\",\"load\":7,\"entropy\":{},\"time\":[]}",
        "{\"event\":\"step\",\"step\":3,\"loss\":1e308,\"load\":[[1e308,1e308],[]],\"lr\":-1}",
        "{\"event\":\"step\",\"step\":4,\"loss\":-5,\"load\":[[-1,0],[0,0]],\"grad_norm\":-1}",
        "{\"event\":\"step\",\"step\":5,\"skipped\":true,\"entropy\":[null,1e300]}",
        "{\"event\":\"step\",\"step\":6,\"loss\":0,\"load\":[[1],[2],[3]],\"load_dead\":[1,2,3,4]}",
        "{\"event\":\"start\",\"step\":9007199254740991,\"threads\":-4,\"recipe\":5}",
        "{\"event\":\"step\",\"step\":18446744073709551615,\"loss\":1}",
        "{\"event\":\"step\",\"step\":99999999999999999999999,\"loss\":1}",
        "{\"event\":\"new\",\"step\":9007199254740991}",
    };
    struct buf log = { 0 };
    struct err err = { 0 };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        buf_printf(&log, "%s\n", lines[i]);
    struct buf page = page_of(log.at, log.len, &err);
    EXPECTF(page.at && strstr(page.at, "2 lines of the log"), "%s", err.msg);
    EXPECT(page.at && !strstr(page.at, "nan") && !strstr(page.at, "inf\"") && !strstr(page.at,
                                                                                    "inf "));
    buf_release(&page);
    buf_release(&log);
}

static void test_allocations(void)
{
    struct buf log = { 0 };
    struct err err = { 0 };
    buf_text(&log, "{\"event\":\"start\",\"step\":0,\"version\":\"v\",\"recipe\":\"r\"}\n");
    put_steps(&log, 1, 40);
    buf_text(&log, "{\"event\":\"sample\",\"step\":40,\"prompt\":\"p\",\"text\":\"t\"}\n"
             "{\"event\":\"checkpoint\",\"step\":40,\"file\":\"f\",\"bytes\":1}\n"
             "{\"event\":\"end\",\"step\":40,\"why\":\"done\"}\n");
    scratch_folder("alloc");
    scratch_write("alloc/log.jsonl", log.at, log.len);
    buf_release(&log);
    long live = mem_live, n = 0;
    for (bool all = false; !all; n++) {
        mem_fail_after = n;
        bool ok = run_report_write(scratch_path("alloc"), NULL, &err);
        all = mem_fail_after >= 0;
        mem_fail_after = -1;
        EXPECTF(all ? ok : !ok && err.code == ERR_MEMORY, "allocation %ld: %s", n, err.msg);
        EXPECT(mem_live == live);
    }
    EXPECT(n > 100);
}

const struct test tests[] = {
    { "a long curve keeps its spikes", test_series },
    { "running median", test_smooth },
    { "loads over time", test_heat },
    { "text and numbers", test_text },
    { "no log, no step", test_bad_logs },
    { "torn logs", test_torn_logs },
    { "strange values", test_strange_values },
    { "every allocation failing once", test_allocations },
    { 0 }
};
