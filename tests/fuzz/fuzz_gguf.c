/*
 * Any bytes as a GGUF file: refused, or every value and tensor can be read, and what was
 * read comes back the same from a file written anew.
 */
#include "fuzz.h"
#include "gguf_copy.h"
#include "walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

uint64_t fuzz_accepted, fuzz_sum;

static void fail_copy(const char *what, const struct err *err)
{
    fprintf(stderr, "the copy %s: %s\n", what, err->msg);
    abort();
}

static void check_copy(const struct gguf *g)
{
    struct err err = { 0 };
    struct gguf back;
    char path[80];
    snprintf(path, sizeof path, "/tmp/kexa-fuzz-%ld.gguf", (long)getpid());
    unlink(path);
    if (!gguf_copy(g, path, 0, 0, &err))
        fail_copy("cannot be written", &err);
    if (!gguf_open(&back, path, &err))
        fail_copy("cannot be read", &err);
    if (!gguf_same(g, &back))
        fail_copy("differs", &err);
    gguf_close(&back);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf g;
    struct err err;
    if (gguf_open_bytes(&g, (struct bytes){ data, size }, "fuzz.gguf", &err)) {
        fuzz_accepted++;
        fuzz_sum += walk_gguf(&g);
        check_copy(&g);
        gguf_close(&g);
    }
    return 0;
}
