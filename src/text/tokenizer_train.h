/*
 * tokenizer_train: a byte-level BPE or SuperBPE tokenizer from text.
 *
 * Stage one learns merges inside words: the pieces of K-EXAONE's pre-tokenizer, cut before
 * each space that follows something else.  Stage two goes on over whole pieces, where words
 * are joined by single spaces, with tokens of at most max_words words (SuperBPE: Liu et al.
 * 2025, 2503.13423; K-EXAONE's pattern and its share of superwords: 2601.01739).  Or, with
 * `lines`, over all up to a number or the end of the line (PRETOK_LINES_REGEX), punctuation
 * included; that is then the tokenizer's pattern.  No merge of stage one uses what stage two
 * makes, so encoding by rank gives what was trained.
 *
 * The result depends on the text and the options, not on the number of threads.
 */
#ifndef KEXA_TEXT_TOKENIZER_TRAIN_H
#define KEXA_TEXT_TOKENIZER_TRAIN_H

#include "text/tokenizer.h"
#include "text/train_batch.h"

enum { TRAIN_MAX_WORDS = 16 };

struct train_options {
    struct train_source source;           /* its share is what --memory leaves of it */
    uint32_t n_ids;                       /* of the vocabulary, special tokens included */
    double superwords;                    /* share of the ids that stage two learns; 0: plain BPE */
    bool lines;                           /* stage two goes over punctuation */
    unsigned max_words;                   /* in a token, 2 to TRAIN_MAX_WORDS */
    uint64_t least;                       /* a merge occurs at least so often; >= 1 */
    const char *const *special;           /* besides special_tokens.h's */
    size_t n_special;
    const struct tokenizer *extend;       /* keep its first n_keep merges; NULL: none */
    uint32_t n_keep;
    size_t max_bytes;                     /* of memory, about */
    int n_threads;
    const volatile int *stop;             /* nonzero: give up, with ERR_CANCELLED; or NULL */
};

struct train_report {
    struct train_read words, spans;       /* what each stage read; n_documents 0: no such stage */
    double words_share, spans_share;      /* of the documents; below 1: memory did not allow more */
    uint64_t n_words, n_slots;            /* distinct words; tokens of distinct pieces */
    uint32_t n_ids, n_merges, n_superwords, n_kept;
    uint64_t read_ns[2], learn_ns[2];     /* by the clock, for each stage */
};

/* The caller closes what it gets; NULL on failure. */
struct tokenizer *tokenizer_train(const struct train_options *o, struct train_report *report,
                                  struct err *err);

#endif
