/*
 * piece_words: the words of a piece of text, which is what BPE merges first and keeps in its
 * cache.  A word ends before a space that follows something other than a space or a control
 * character.
 */
#ifndef KEXA_TEXT_PIECE_WORDS_H
#define KEXA_TEXT_PIECE_WORDS_H

#include "base/base.h"

struct piece_word {
    struct bytes text;
    bool ends_piece;
};

/* Whether a word that goes on before `at` ends there. */
static inline bool word_ends_at(const uint8_t *at)
{
    return at[0] == ' ' && at[-1] > ' ';
}

/* Where the word that starts at `at` ends, at the latest at `end`. */
const uint8_t *word_end(const uint8_t *at, const uint8_t *end);

#endif
