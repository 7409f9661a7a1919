/*
 * detok: token bytes to text as it streams.  Bytes of an unfinished UTF-8 character
 * are held back until it completes; bytes that can never become valid are given out
 * as U+FFFD, one for each maximal broken part (Unicode chapter 3, table 3-8 practice).
 */
#ifndef KEXA_TEXT_DETOK_H
#define KEXA_TEXT_DETOK_H

#include "base/base.h"

struct detok {
    uint8_t held[4];
    uint32_t n_held;
};

void detok_put(struct detok *d, struct bytes piece, struct buf *out);  /* appends valid UTF-8 */
void detok_end(struct detok *d, struct buf *out);                      /* flushes what is held */

#endif
