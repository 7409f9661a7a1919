/*
 * stack: the calling thread's stack grows as it is used, and where address space is limited a
 * growth that fails ends the process without a word.  So the main thread takes at the start what
 * its deepest functions need (attention's tiles: a megabyte), while a refusal is still an error.
 */
#ifndef KEXA_BASE_STACK_H
#define KEXA_BASE_STACK_H

#include "base/err.h"

/* Threads of a pool get theirs whole when they are made, as large as the limit of the stack. */
bool stack_reserve(struct err *err);

#endif
