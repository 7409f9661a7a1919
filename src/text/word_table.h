/*
 * word_table: the distinct words of a corpus with their counts, and later where their tokens
 * are.  Sixteen shards by hash, so that threads can fill it without locks.
 */
#ifndef KEXA_TEXT_WORD_TABLE_H
#define KEXA_TEXT_WORD_TABLE_H

#include "text/count_slots.h"
#include "text/piece_count.h"

struct word_shard {
    struct count_slots table;
    struct buf keys;                      /* each: u32 length, bytes */
    bool full;                            /* out of memory, or of 32-bit places */
};

struct word_table {
    struct word_shard shard[COUNT_SHARDS];
};

/* Adds the words of one shard of a chunk.  Failure is kept in `full`. */
void word_table_add(struct word_table *t, unsigned shard, const struct piece_count *chunk);

bool word_table_full(const struct word_table *t);
size_t word_table_words(const struct word_table *t);
size_t word_table_key_bytes(const struct word_table *t);      /* with 4 for each word */
size_t word_table_memory(const struct word_table *t);
void word_table_release(struct word_table *t);

/* All words as sequences of byte tokens, those of high count first.  Afterwards, a word's
 * slot counts which it is among them. */
bool word_table_spans(struct word_table *t, const struct learnt *l, struct spans *out,
                      struct err *err);

/* After learning: slots now say where a word's tokens are in the sequences. */
bool word_table_place(struct word_table *t, const struct spans *s, struct err *err);

/* The tokens of a word, up to SPAN_END; NULL if it was not counted. */
const uint32_t *word_table_tokens(const struct word_table *t, const struct spans *s,
                                  struct bytes word);

#endif
