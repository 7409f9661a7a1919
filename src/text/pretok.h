/*
 * pretok: cuts text into the pieces inside which BPE merges.
 *
 * The known patterns are hand-written scanners over the Unicode classes L, M, N and
 * White_Space, without backtracking.  Each is checked against the regular expression
 * it stands for (tests/unit/text/test_pretok.c) and against the `tokenizers` package.
 */
#ifndef KEXA_TEXT_PRETOK_H
#define KEXA_TEXT_PRETOK_H

#include "text/piece_words.h"
#include "text/pretok_pattern.h"

/* Length in bytes of the piece that starts at `at`; at least 1 where at < end. */
typedef size_t pretok_next_fn(const uint8_t *at, const uint8_t *end);

/* A text while it is cut into words, or whole pieces. */
struct pretok_cut {
    const uint8_t *at, *end;
    bool by_word;
    const uint8_t *piece_end;             /* of a piece that `at` is inside of; NULL */
};

/* The next words, at most `room`; 0 at the end of the text. */
typedef size_t pretok_cut_fn(struct pretok_cut *c, struct piece_word *w, size_t room);

struct pretok {
    const char *name;
    pretok_next_fn *next;
    pretok_cut_fn *cut;
    const char *gguf_names;               /* of tokenizer.ggml.pre, separated by spaces; NULL */
    const char *json[3];                  /* spellings in tokenizer.json, as pretok_spell() */
    bool gguf_whole;                      /* GGUF: a piece that is a token is that token */
    bool gguf_bos;                        /* GGUF: BOS unless the file says no */
};

extern const struct pretok pretoks[];     /* ends with a NULL name */

/* Two names without a scanner. */
extern const struct pretok pretok_spm;    /* SentencePiece: a text is one piece */
extern const struct pretok pretok_general; /* a struct pretok_pattern says where to cut */

/* By the name that GGUF files use; NULL if unknown. */
const struct pretok *pretok_find(struct bytes gguf_name);

/* All known names, as in "smollm, gpt2", for messages. */
void pretok_list(struct buf *out);

/*
 * The pre_tokenizer value of a tokenizer.json as one line, its steps joined by " + ":
 *   digits           Digits with individual_digits
 *   split:PATTERN    Split that keeps every match as a piece
 *   bytelevel        ByteLevel without a pattern of its own
 *   bytelevel:...    ByteLevel with use_regex, followed by GPT-2's pattern
 * Other steps and settings are refused with a message that names them.
 */
bool pretok_spell(const json_t *v, struct buf *out, struct err *err);

/* No pre_tokenizer, or one that splits at spaces, of which there are none once they are
 * spelled U+2581. */
bool pretok_splits_nothing(const json_t *v);

/* The scanner for a pre_tokenizer value, or pretok_general and *pattern.  One that neither
 * can do is refused with a message that quotes it.  NULL on failure. */
const struct pretok *pretok_of_json(const json_t *v, struct pretok_pattern **pattern,
                                    struct err *err);

/* Fails with what, the JSON of v, and the known names. */
bool pretok_refuse(const char *what, const json_t *v, struct err *err);

/* Appends an Oniguruma pattern as PCRE2 reads it, or refuses what the two read differently. */
bool pretok_to_pcre2(const char *pattern, struct buf *out, struct err *err);

/* A pre_tokenizer value that pretok_of_json() takes for this scanner; NULL out of memory, or
 * when tokenizer.json has no spelling for it. */
json_t *pretok_to_json(const struct pretok *p);

/* The patterns the scanners stand for (alternatives, leftmost-first). */
#define PRETOK_GPT2_REGEX \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define PRETOK_LLAMA3_REGEX \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" \
    PRETOK_QWEN2_TAIL
#define PRETOK_QWEN2_REGEX \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" PRETOK_QWEN2_TAIL
#define PRETOK_QWEN2_TAIL \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define PRETOK_EXAONE_MOE_TAIL \
    "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}" \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"
#define PRETOK_EXAONE_MOE_REGEX \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)" PRETOK_EXAONE_MOE_TAIL
#define PRETOK_EXAONE_MOE_ASCII_REGEX \
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])" PRETOK_EXAONE_MOE_TAIL
/* Of this project: all up to a number or the end of the line, for superwords that hold
 * punctuation.  No other program has a GGUF name for it. */
#define PRETOK_LINES_REGEX \
    "\\p{N}| ?[^\\s\\p{N}][^\\r\\n\\p{N}]*\\r?\\n?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"

#endif
