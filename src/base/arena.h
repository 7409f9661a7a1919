/*
 * arena: memory with one lifetime.  Address space is reserved at init and pages
 * are touched as they are taken; nothing is freed singly.
 *
 * arena_take() gives zeroed memory aligned to `align` (a power of two), or NULL
 * when the reserve is used up.
 */
#ifndef KEXA_BASE_ARENA_H
#define KEXA_BASE_ARENA_H

#include "base/err.h"

#include <stdint.h>

struct arena {
    uint8_t *low, *at, *end;
};

bool arena_init(struct arena *a, size_t reserve_bytes, struct err *err);
void arena_release(struct arena *a);
void *arena_take(struct arena *a, size_t n, size_t size, size_t align);
char *arena_text(struct arena *a, const char *text, size_t len); /* NUL-terminated copy */

/* Address space of n bytes, zero when first read, touched as needed; NULL on refusal. */
void *space_take(size_t n_bytes);

/* The same for memory that will be touched all over: the kernel is asked for large pages, because
 * matrices whose rows lie on pages of their own otherwise wait for page tables. */
void *space_take_whole(size_t n_bytes);
void space_give(void *at, size_t n_bytes);

#endif
