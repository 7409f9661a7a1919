/*
 * tokenizer: byte-level BPE from a Hugging Face tokenizer.json or from GGUF keys.
 *
 * Encoding: special tokens are split out of the raw text (if asked), text is
 * normalised to NFC where the file says so, cut into pieces by the pre-tokenizer,
 * and each piece is merged by rank, O(n log n) in the piece's length.
 * Any bytes are accepted: broken UTF-8 goes through byte by byte.
 * A tokenizer may be used by many threads.  It keeps the words it met for the next calls, 20 MB
 * (and 3 MB after long pieces) for each of up to 8 that ran at once; ids never depend on that.
 */
#ifndef KEXA_TEXT_TOKENIZER_H
#define KEXA_TEXT_TOKENIZER_H

#include "base/base.h"

#include <jansson.h>

struct gguf;
struct gguf_writer;
struct tokenizer;

enum token_kind { TOKEN_NORMAL, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED };
enum { NO_TOKEN = -1 };

/* path: tokenizer.json itself, or the Hugging Face folder that holds it. */
struct tokenizer *tokenizer_open_hf(const char *path, struct err *err);
/* name: the file's path, for messages. */
struct tokenizer *tokenizer_open_gguf(const struct gguf *g, const char *name, struct err *err);
void tokenizer_close(struct tokenizer *t);   /* NULL is fine */

struct encode_options {
    bool parse_special;                   /* control tokens in the text become their ids;
                                             user-defined ones always do */
    bool add_special;                     /* BOS/EOS where the file asks for them */
};

/* Appends to *out. */
bool tokenizer_encode(const struct tokenizer *t, struct bytes text, struct encode_options o,
                      struct ids *out, struct err *err);

/* The bytes a token stands for (control tokens: their text).  Empty for an unknown id.
 * Borrowed from the tokenizer. */
struct bytes tokenizer_token_bytes(const struct tokenizer *t, uint32_t id);
enum token_kind tokenizer_token_kind(const struct tokenizer *t, uint32_t id);
uint32_t tokenizer_size(const struct tokenizer *t);          /* ids are below this */
int64_t tokenizer_find(const struct tokenizer *t, const char *text); /* whole token; NO_TOKEN */

struct tokenizer_info {
    const char *pre;                      /* "smollm", "gpt2", ...; "spm": none, SentencePiece */
    bool nfc;
    int64_t bos, eos, eot, pad, unk;      /* NO_TOKEN where absent */
    bool add_bos, add_eos;
    const char *chat_template;            /* NULL if the file has none */
    uint32_t n_merges;
};
struct tokenizer_info tokenizer_info(const struct tokenizer *t);

/* Names all that decides which ids a text gets, and what they stand for: vocabulary, merges or
 * scores, added tokens, normaliser, pre-tokenizer.  XXH3-64; the same on every machine.  GGUF
 * has no key for some of it (NFC), so a folder and the file made from it may differ. */
uint64_t tokenizer_hash(const struct tokenizer *t);

/* End-of-turn ids from every source the tokenizer's files have: eos, eot, the eos list of
 * generation_config.json and config.json, and control tokens whose text is a known
 * end-of-turn marker.  Sorted, unique; borrowed. */
const uint32_t *tokenizer_end_ids(const struct tokenizer *t, size_t *n);

/*
 * Writing.  Byte-level BPE has a place in both kinds of files; ids stay what they were.
 * What GGUF has no keys for (NFC, spaces stripped around added tokens) is not written there;
 * a template with more than one token before or after a text is refused.
 */

/* tokenizer.ggml.* and tokenizer.chat_template; ids without a token up to n_vocab are padded
 * with unused tokens, because GGUF readers count tokens to size the embedding. */
bool tokenizer_put_gguf(const struct tokenizer *t, uint32_t n_vocab, struct gguf_writer *w,
                        struct err *err);

/* tokenizer.json, tokenizer_config.json, generation_config.json in a folder. */
bool tokenizer_save_hf(const struct tokenizer *t, const char *folder, struct err *err);

/* bos_token_id, eos_token_id (all that end an answer) and pad_token_id. */
bool tokenizer_put_ids(const struct tokenizer *t, json_t *object, struct err *err);

#endif
