#include "base/base.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

long mem_fail_after = -1;
long mem_live;

int mem_fail_now(void)
{
    return __atomic_load_n(&mem_fail_after, __ATOMIC_RELAXED) >= 0
           && __atomic_fetch_sub(&mem_fail_after, 1, __ATOMIC_RELAXED) == 0;
}

static bool refused(size_t n, size_t size)
{
    return (size && n > SIZE_MAX / size) || mem_fail_now();
}

void *mem_take(size_t n, size_t size)
{
    if (refused(n, size))
        return NULL;
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (p)
        __atomic_fetch_add(&mem_live, 1, __ATOMIC_RELAXED);
    return p;
}

void *mem_grow(void *old, size_t n, size_t size)
{
    if (refused(n, size))
        return NULL;
    void *p = realloc(old, n && size ? n * size : 1);
    if (p && !old)
        __atomic_fetch_add(&mem_live, 1, __ATOMIC_RELAXED);
    return p;
}

void mem_give(void *block)
{
    if (block)
        __atomic_fetch_sub(&mem_live, 1, __ATOMIC_RELAXED);
    free(block);
}

char *mem_copy_text(const char *text, size_t len)
{
    char *copy = len == SIZE_MAX ? NULL : mem_take(len + 1, 1);
    if (copy)
        memcpy(copy, text, len);
    return copy;
}
