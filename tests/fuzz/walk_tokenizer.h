/*
 * walk_tokenizer: uses a tokenizer that a fuzzed file made: every token, its ids'
 * kinds, and text encoded with it.
 */
#ifndef KEXA_TESTS_WALK_TOKENIZER_H
#define KEXA_TESTS_WALK_TOKENIZER_H

#include "text/text.h"

uint64_t walk_tokenizer(const struct tokenizer *t, struct bytes text);

#endif
