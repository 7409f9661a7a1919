/* nearest: what a mistyped word was meant to be. */
#ifndef KEXA_BASE_NEAREST_H
#define KEXA_BASE_NEAREST_H

#include <stddef.h>

/* Of the words next(0, arg), next(1, arg), ... until NULL the nearest to `typed` by edit
 * distance, or one that begins with it; NULL when none is near. */
const char *nearest_word(const char *typed, const char *(*next)(size_t i, const void *arg),
                         const void *arg);

#endif
