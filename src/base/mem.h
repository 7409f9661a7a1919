/*
 * mem: the only door to malloc.
 *
 * mem_take() gives zeroed memory for n elements of `size` bytes, or NULL when
 * the product wraps or the system refuses.  mem_grow() is realloc with the same
 * checks (new bytes are NOT zeroed); the old block stays valid on NULL.
 * Tests set mem_fail_after to k >= 0: the k-th next call fails, once, whichever
 * thread makes it; and watch mem_live (blocks taken and not given back).
 */
#ifndef KEXA_BASE_MEM_H
#define KEXA_BASE_MEM_H

#include <stddef.h>

void *mem_take(size_t n, size_t size);
void *mem_grow(void *old, size_t n, size_t size);
void mem_give(void *block);               /* NULL is fine */
char *mem_copy_text(const char *text, size_t len); /* NUL-terminated copy, or NULL */

int mem_fail_now(void);                   /* counts one allocation; 1: it must fail */
extern long mem_fail_after;               /* < 0: never; both are kept with atomic adds */
extern long mem_live;

#endif
