/*
 * vocab: the tokens of a tokenizer, and the byte-level alphabet.
 *
 * Byte-level BPE writes each byte as one printable code point: bytes 33..126, 161..172
 * and 174..255 as themselves, the other 68 in increasing order as U+0100, U+0101, ...
 * So a space is U+0120 and a newline U+010A.  A token has its text as the file spells it
 * and the bytes it stands for; for control and user-defined tokens these are the same.
 *
 * Where characters are the symbols instead (SentencePiece), a token is spelled with
 * U+2581 for each space, and byte tokens, spelled <0x00> to <0xFF>, stand for one byte.
 */
#ifndef KEXA_TEXT_VOCAB_H
#define KEXA_TEXT_VOCAB_H

#include "text/tokenizer.h"

enum {
    MAX_VOCAB = 1 << 22,                  /* ids are below this */
    MAX_TOKEN_BYTES = 1 << 16,
    MAX_VOCAB_BYTES = 1 << 30             /* of all texts and bytes together */
};

struct token {
    uint32_t text_at, bytes_at;           /* in vocab.blob */
    uint32_t text_len, bytes_len;
    uint8_t kind;                         /* enum token_kind */
    bool used;                            /* false: a hole in the numbering */
    bool added;                           /* control or user-defined: found by matching */
    bool byte;                            /* spelled <0xNN>, and stands for that byte */
};

struct vocab {
    bool chars;                           /* symbols are characters; set before vocab_put() */
    struct token *tok;
    uint32_t n, cap;                      /* ids are below n */
    uint32_t n_used;
    struct buf blob;
    struct map by_text;                   /* after vocab_index() */
    int32_t byte_id[256];                 /* the token of one byte; NO_TOKEN */
};

#define SPM_SPACE "\xE2\x96\x81"          /* U+2581, how SentencePiece writes a space */

/* Sets token `id`; the last text given to an id stays.  `spelled`: in the byte-level
 * alphabet, or, of a vocabulary of characters, with U+2581 for spaces.  Text outside the
 * byte-level alphabet stands for itself. */
bool vocab_put(struct vocab *v, uint64_t id, struct bytes text, enum token_kind kind,
               bool spelled, struct err *err);

/* Makes token `id` stand for one byte; false, and no change, if it is not spelled <0xNN>. */
bool vocab_make_byte(struct vocab *v, uint32_t id);

/* Builds by_text and byte_id; refuses numbering with too many holes.  No vocab_put after. */
bool vocab_index(struct vocab *v, struct err *err);
void vocab_release(struct vocab *v);

/* Appends bytes in the byte-level alphabet. */
void vocab_spell(struct buf *out, struct bytes b);

/* Appends the bytes that a text in the byte-level alphabet spells; false, and nothing, if it is not
 * all of that alphabet. */
bool vocab_unspell(struct buf *out, struct bytes text);

/* Bytes by the code point that spells them, smallest first. */
void vocab_alphabet(uint8_t out[256]);

/* Appends text with a space for each U+2581. */
void vocab_put_spaces(struct buf *out, struct bytes text);

struct bytes vocab_text(const struct vocab *v, uint32_t id);
struct bytes vocab_bytes(const struct vocab *v, uint32_t id);
int64_t vocab_find(const struct vocab *v, struct bytes text); /* NO_TOKEN if absent */

#endif
