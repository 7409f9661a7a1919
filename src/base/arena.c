#include "base/base.h"

#include <sys/mman.h>

void *space_take(size_t n_bytes)
{
    if (!n_bytes || mem_fail_now())
        return NULL;
    void *p = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void *space_take_whole(size_t n_bytes)
{
    void *p = space_take(n_bytes);
    if (p)
        madvise(p, n_bytes, MADV_HUGEPAGE);   /* a wish: without it all works the same */
    return p;
}

void space_give(void *at, size_t n_bytes)
{
    if (at)
        munmap(at, n_bytes);
}

bool arena_init(struct arena *a, size_t reserve_bytes, struct err *err)
{
    void *p = space_take(reserve_bytes);
    if (!p)
        return fail(err, ERR_MEMORY, "cannot reserve %zu bytes of address space; "
                    "is there a limit (ulimit -v)?", reserve_bytes);
    *a = (struct arena){ .low = p, .at = p, .end = (uint8_t *)p + reserve_bytes };
    return true;
}

void arena_release(struct arena *a)
{
    space_give(a->low, (size_t)(a->end - a->low));
    *a = (struct arena){ 0 };
}

void *arena_take(struct arena *a, size_t n, size_t size, size_t align)
{
    size_t pad = -(uintptr_t)a->at & (align - 1);
    size_t left = (size_t)(a->end - a->at);
    check(size > 0 && align > 0 && (align & (align - 1)) == 0);
    if (left < pad || n > (left - pad) / size)     /* division: n * size may wrap */
        return NULL;
    void *p = a->at + pad;
    a->at += pad + n * size;
    return p;
}

char *arena_text(struct arena *a, const char *text, size_t len)
{
    char *copy = len == SIZE_MAX ? NULL : arena_take(a, len + 1, 1, 1);
    if (copy && len)
        memcpy(copy, text, len);
    return copy;
}
