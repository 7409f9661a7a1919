/*
 * harness: the whole of our test framework.  A test program has one TESTS list
 * and this main; a failed EXPECT prints file, line and values, counts, goes on.
 * The last line is "N passed, N failed, N skipped"; the exit status says the same.
 * `program NAME` runs only the tests whose name contains NAME.
 */
#ifndef KEXA_TESTS_HARNESS_H
#define KEXA_TESTS_HARNESS_H

#include <stdbool.h>
#include <stddef.h>

struct test {
    const char *name;
    void (*run)(void);
};

/* Define in the test program: const struct test tests[] = { {"name", fn}, ..., {0} }; */
extern const struct test tests[];

void test_fail(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void test_skip(const char *why);          /* this test could not run here; return after it */

#define EXPECT(x) ((x) ? (void)0 : test_fail(__FILE__, __LINE__, "%s", #x))
#define EXPECTF(x, ...) ((x) ? (void)0 : test_fail(__FILE__, __LINE__, __VA_ARGS__))

/* Path of a file below the source tree's root (tests run from anywhere). */
const char *tree_path(const char *relative);

#endif
