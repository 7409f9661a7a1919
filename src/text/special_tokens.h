/*
 * special_tokens: the control tokens of a new tokenizer and what they are for.
 *
 * The first ids are these, in this order:
 *   0 [PAD]   1 [BOS]   2 [EOS]: the end of a document, and of an answer like <|endofturn|>
 *   3 to 8    <|system|> <|user|> <|assistant|> <|tool|> <|tool_declare|> <|endofturn|>
 *   9 to 16   <think> </think> <tool> </tool> <tool_call> </tool_call> <tool_result>
 *             </tool_result>
 * and then those the user asks for.  K-EXAONE also has [PAD] as 0 and [BOS] as 1; its own
 * table of the others is not published.
 */
#ifndef KEXA_TEXT_SPECIAL_TOKENS_H
#define KEXA_TEXT_SPECIAL_TOKENS_H

#include "text/learnt.h"
#include "text/pretok.h"
#include "text/tokenizer.h"

enum { SPECIAL_PAD = 0, SPECIAL_BOS = 1, SPECIAL_EOS = 2, SPECIAL_END_OF_TURN = 8,
       N_SPECIAL = 17, MAX_MORE_SPECIAL = 1024 };

/* Refuses texts that are empty, too long, no UTF-8, spelled like a byte, or given twice. */
bool special_tokens_check(const char *const *more, size_t n_more, struct err *err);

/* No merge may make what is spelled like one of them. */
bool special_tokens_forbid(struct learnt *l, const char *const *more, size_t n_more,
                           struct err *err);

/* A tokenizer with these special tokens (and n_more of the user's), the learnt tokens and
 * merges, NFC, this pre-tokenizer, and a chat template.  NULL on failure. */
struct tokenizer *tokenizer_of_learnt(const struct learnt *l, const struct pretok *pre,
                                      const char *const *more, size_t n_more, struct err *err);

#endif
