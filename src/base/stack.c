#include "base/stack.h"

#include <sys/mman.h>
#include <sys/resource.h>

/* A frame of 2,000,000 bytes or more is another stack to valgrind, and an error. */
enum { STACK_BYTES = 1900 << 10, PAGE_BYTES = 4096 };

static __attribute__((noinline)) void touch(void)
{
    char page[STACK_BYTES];
    for (size_t i = STACK_BYTES; i > 0; i -= PAGE_BYTES)   /* downwards, as a stack grows */
        *(volatile char *)(page + i - 1) = 0;
}

bool stack_reserve(struct err *err)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur < 2 * STACK_BYTES)
        return fail(err, ERR_MEMORY, "the stack is limited to %llu KiB and %d are needed; raise it "
                    "(ulimit -s 8192)", (unsigned long long)limit.rlim_cur / 1024,
                    2 * STACK_BYTES / 1024);
    void *p = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return fail(err, ERR_MEMORY, "no address space left for the stack; is there a limit "
                    "(ulimit -v)?");
    munmap(p, STACK_BYTES);
    touch();
    return true;
}
