/*
 * pretok_pattern: pre-tokenizers that no scanner knows, by PCRE2.
 *
 * Only from tokenizer.json, whose patterns are Oniguruma's (Ruby's syntax).  What PCRE2
 * would read in another way is refused when the file is opened; \s becomes White_Space.
 * The work on one text is bounded, so that no pattern can hang: a pattern that needs
 * more than its share is an error that says so.
 */
#ifndef KEXA_TEXT_PRETOK_PATTERN_H
#define KEXA_TEXT_PRETOK_PATTERN_H

#include "base/base.h"

#include <jansson.h>

struct pretok_pattern;

/* The value of "pre_tokenizer": Split, Digits, ByteLevel (which must be there), or a
 * Sequence of them.  NULL on failure. */
struct pretok_pattern *pretok_pattern_open(const json_t *v, struct err *err);
void pretok_pattern_close(struct pretok_pattern *p);    /* NULL is fine */

/* The value it was opened from, as a new reference; NULL: out of memory. */
json_t *pretok_pattern_json(const struct pretok_pattern *p);

uint64_t pretok_pattern_hash(const struct pretok_pattern *p); /* names the pattern and its steps */

typedef bool pretok_piece_fn(void *arg, struct bytes piece, struct err *err);

/* Gives the pieces of a text in their order, none empty.  May be called from many threads. */
bool pretok_pattern_split(const struct pretok_pattern *p, struct bytes text,
                          pretok_piece_fn *fn, void *arg, struct err *err);

#endif
