/* Any bytes as a tokenizer.json, which is then used.  The file lies in memory (memfd). */
#include "fuzz.h"
#include "walk_tokenizer.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t fuzz_accepted, fuzz_sum;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err;
    char path[64];
    int fd = memfd_create("tokenizer.json", MFD_CLOEXEC);
    check(fd >= 0 && (!size || write(fd, data, size) == (ssize_t)size));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct tokenizer *t = tokenizer_open_hf(path, &err);
    if (t) {
        fuzz_accepted++;
        fuzz_sum += walk_tokenizer(t, (struct bytes){ data, size });
    }
    tokenizer_close(t);
    close(fd);
    return 0;
}
