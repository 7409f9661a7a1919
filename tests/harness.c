#include "harness.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int n_failures;                    /* in the running test */
static const char *skipped;

void test_fail(const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    if (++n_failures <= 10) {
        va_start(ap, fmt);
        fprintf(stderr, "%s:%d: ", file, line);
        vfprintf(stderr, fmt, ap);
        fputc('\n', stderr);
        va_end(ap);
    }
}

void test_skip(const char *why)
{
    skipped = why;
}

const char *tree_path(const char *relative)
{
    static char path[4][1024];
    static int at;
    const char *root = getenv("KEXA_TREE");
    char *p = path[at++ & 3];
    snprintf(p, sizeof path[0], "%s/%s", root ? root : ".", relative);
    return p;
}

int main(int argc, char **argv)
{
    int passed = 0, failed = 0, n_skipped = 0;
    for (const struct test *t = tests; t->run; t++) {
        if (argc > 1 && !strstr(t->name, argv[1]))
            continue;
        n_failures = 0;
        skipped = NULL;
        t->run();
        if (n_failures) {
            failed++;
            printf("FAIL %s (%d)\n", t->name, n_failures);
        } else if (skipped) {
            n_skipped++;
            printf("skip %s: %s\n", t->name, skipped);
        } else {
            passed++;
        }
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, n_skipped);
    return failed != 0;
}
