/*
 * tokenizer_parts: what the readers (tokenizer_hf.c, tokenizer_gguf.c) fill and
 * tokenizer.c uses.  Private to src/text.
 */
#ifndef KEXA_TEXT_TOKENIZER_PARTS_H
#define KEXA_TEXT_TOKENIZER_PARTS_H

#include "text/added.h"
#include "text/bpe.h"
#include "text/pretok.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

struct tokenizer {
    struct vocab vocab;
    struct bpe bpe;
    const struct pretok *pre;
    struct pretok_pattern *pattern;       /* of pretok_general; else NULL */
    bool nfc;
    bool space_prefix;                    /* characters: a space before each text */
    struct added raw, normal;             /* matched before and after the normaliser */
    struct ids prefix, suffix;            /* put around the text with add_special */
    int64_t bos, eos, eot, pad, unk;
    bool add_bos, add_eos;
    char *chat_template;
    struct bpe_pool *pool;                /* what calls keep for the next ones */
    struct ids ends;                      /* sorted and unique after tokenizer_finish() */
};

/* An empty tokenizer, or NULL with err. */
struct tokenizer *tokenizer_new(struct err *err);

/* Adds id to the end-of-turn ids; NO_TOKEN and ids outside the vocabulary are passed over. */
void tokenizer_add_end(struct tokenizer *t, int64_t id);

/* The last step of both readers: end ids by text, sorting, consistency. */
bool tokenizer_finish(struct tokenizer *t, struct err *err);

/* Reads what lies beside tokenizer.json in its folder: names of special tokens, end ids,
 * the chat template.  Files that are not there are passed over. */
bool tokenizer_read_folder(struct tokenizer *t, const char *folder, struct err *err);

#endif
