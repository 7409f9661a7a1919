/*
 * learnt_extend: the first merges of a tokenizer as the beginning of a new one.
 */
#ifndef KEXA_TEXT_LEARNT_EXTEND_H
#define KEXA_TEXT_LEARNT_EXTEND_H

#include "text/learnt.h"
#include "text/tokenizer.h"

/* Adds the first n_keep merges of t, a byte-level BPE; its tokens keep their bytes and order,
 * not their ids.  Special tokens are not taken over. */
bool learnt_extend(struct learnt *l, const struct tokenizer *t, uint32_t n_keep, struct err *err);

#endif
