#include "text/special_tokens.h"

#include "format/format.h"
#include "text/tokenizer_parts.h"

static const char *const special_tokens[N_SPECIAL] = {
    "[PAD]", "[BOS]", "[EOS]",
    "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|tool_declare|>", "<|endofturn|>",
    "<think>", "</think>", "<tool>", "</tool>", "<tool_call>", "</tool_call>", "<tool_result>",
    "</tool_result>",
};

/* The chat format of chat_k_exaone.c in Jinja. */
static const char chat_template[] =
"{%- set ns = namespace(after_user=0) -%}\n"
"{%- for m in messages -%}{%- if m.role == 'user' -%}\n"
"{%- set ns.after_user = loop.index -%}{%- endif -%}{%- endfor -%}\n"
"{%- if tools -%}{{- '<|tool_declare|>\\n# Tools\\n' -}}\n"
"{%- for t in tools -%}{{- '<tool>' + (t | tojson) + '</tool>\\n' -}}{%- endfor -%}\n"
"{{- '<|endofturn|>\\n' -}}{%- endif -%}\n"
"{%- for m in messages -%}\n"
"{%- if m.role == 'assistant' -%}\n"
"{%- set said = m.content or '' -%}{%- set why = m.reasoning_content or '' -%}\n"
"{%- if '</think>' in said -%}\n"
"{%- set why = why or said.split('</think>')[0].split('<think>')[-1] -%}\n"
"{%- set said = said.split('</think>')[-1] -%}{%- endif -%}\n"
"{%- set said = said.strip() -%}{%- set why = why.strip() -%}\n"
"{{- '<|assistant|>\\n' -}}\n"
"{%- if why and loop.index0 >= ns.after_user -%}{{- '<think>\\n' + why + '\\n</think>\\n\\n' -}}\n"
"{%- else -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}{{- said -}}\n"
"{%- for c in m.tool_calls or [] -%}\n"
"{{- ('\\n' if said or not loop.first else '') + '<tool_call>' -}}\n"
"{{- '{\"name\": ' + (c.function.name | tojson) + ', \"arguments\": ' -}}\n"
"{{- (c.function.arguments if c.function.arguments is string\n"
"     else c.function.arguments | tojson) + '}</tool_call>' -}}\n"
"{%- endfor -%}{{- '<|endofturn|>\\n' -}}\n"
"{%- elif m.role == 'tool' -%}\n"
"{%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}{{- '<|tool|>\\n' -}}\n"
"{%- else -%}{{- '\\n' -}}{%- endif -%}\n"
"{{- '<tool_result>' + m.content + '</tool_result>' -}}\n"
"{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}\n"
"{{- '<|endofturn|>\\n' -}}{%- endif -%}\n"
"{%- else -%}{{- '<|' + m.role + '|>\\n' + m.content + '<|endofturn|>\\n' -}}{%- endif -%}\n"
"{%- endfor -%}\n"
"{%- if add_generation_prompt -%}{{- '<|assistant|>\\n<think>\\n' -}}\n"
"{%- if enable_thinking is defined and not enable_thinking -%}\n"
"{{- '\\n</think>\\n\\n' -}}{%- endif -%}{%- endif -%}\n";

static const char *text_of(const char *const *more, size_t i)
{
    return i < N_SPECIAL ? special_tokens[i] : more[i - N_SPECIAL];
}

/* A text that is one letter of the byte-level alphabet is a byte's. */
static bool check_spelling(const char *text, struct err *err)
{
    struct buf bytes = { 0 };
    bool letter = vocab_unspell(&bytes, bytes_of(text)) && bytes.len == 1;
    bool ok = buf_ok(&bytes, err)
              && (!letter || fail(err, ERR_USAGE, "the special token \"%s\" is how a vocabulary "
                                  "spells a byte; give it more letters", text));
    buf_release(&bytes);
    return ok;
}

bool special_tokens_check(const char *const *more, size_t n_more, struct err *err)
{
    if (n_more > MAX_MORE_SPECIAL)
        return fail(err, ERR_LIMIT, "%zu special tokens; at most %d can be added", n_more,
                    MAX_MORE_SPECIAL);
    for (size_t i = N_SPECIAL; i < N_SPECIAL + n_more; i++) {
        size_t len = strlen(text_of(more, i));
        if (!len || len > MAX_ADDED_BYTES)
            return fail(err, ERR_USAGE, "a special token has %zu bytes; it needs 1 to %d", len,
                        MAX_ADDED_BYTES);
        if (bytes_utf8(bytes_of(text_of(more, i))) != len)
            return fail(err, ERR_USAGE, "the special token \"%s\" is no UTF-8, so JSON cannot hold "
                        "it", SHOW(bytes_of(text_of(more, i))));
        if (!check_spelling(text_of(more, i), err))
            return false;
        for (size_t k = 0; k < i; k++)
            if (!strcmp(text_of(more, i), text_of(more, k)))
                return fail(err, ERR_USAGE, "the special token \"%.80s\" is there twice",
                            text_of(more, i));
    }
    return true;
}

bool special_tokens_forbid(struct learnt *l, const char *const *more, size_t n_more,
                           struct err *err)
{
    struct buf bytes = { 0 };
    bool ok = true;
    for (size_t i = 0; ok && i < N_SPECIAL + n_more; i++) {
        buf_clear(&bytes);
        if (vocab_unspell(&bytes, bytes_of(text_of(more, i))))
            ok = buf_ok(&bytes, err)
                 && learnt_forbid(l, (struct bytes){ (const uint8_t *)bytes.at, bytes.len }, err);
    }
    buf_release(&bytes);
    return ok;
}

static bool put_tokens(struct tokenizer *t, const struct learnt *l, const char *const *more,
                       struct err *err)
{
    struct buf spelled = { 0 };
    bool ok = true;
    for (uint32_t i = 0; ok && i < l->n_special; i++) {
        struct bytes text = bytes_of(text_of(more, i));
        ok = vocab_put(&t->vocab, i, text, TOKEN_CONTROL, false, err) &&
             added_put(&t->raw, text, (struct added_token){ i, ADDED_CONTROL }, err);
    }
    for (uint32_t id = l->n_special; ok && id < learnt_ids(l); id++) {
        buf_clear(&spelled);
        vocab_spell(&spelled, learnt_bytes(l, id));
        ok = buf_ok(&spelled, err) &&
             vocab_put(&t->vocab, id, (struct bytes){ (const uint8_t *)spelled.at, spelled.len },
                       TOKEN_NORMAL, true, err);
    }
    buf_release(&spelled);
    return ok && vocab_index(&t->vocab, err);
}

static bool put_merges(struct tokenizer *t, const struct learnt *l, struct err *err)
{
    if (!bpe_init(&t->bpe, &t->vocab, l->n_merges, err))
        return false;
    for (uint32_t i = 0; i < l->n_merges; i++)
        if (!bpe_add_merge(&t->bpe, vocab_text(&t->vocab, l->merge[i].left),
                           vocab_text(&t->vocab, l->merge[i].right), err))
            return false;
    return bpe_finish(&t->bpe, err);
}

static bool fill(struct tokenizer *t, const struct learnt *l, const struct pretok *pre,
                 const char *const *more, struct err *err)
{
    t->pre = pre;
    t->nfc = true;
    t->chat_template = mem_copy_text(chat_template, strlen(chat_template));
    if (!t->chat_template)
        return fail(err, ERR_MEMORY, "no memory for the chat template");
    if (!put_tokens(t, l, more, err) || !put_merges(t, l, err))
        return false;
    t->pad = SPECIAL_PAD;
    t->bos = SPECIAL_BOS;
    t->eos = SPECIAL_EOS;
    t->eot = SPECIAL_END_OF_TURN;
    return tokenizer_finish(t, err);
}

struct tokenizer *tokenizer_of_learnt(const struct learnt *l, const struct pretok *pre,
                                      const char *const *more, size_t n_more, struct err *err)
{
    check(l->n_special <= N_SPECIAL + n_more);
    struct tokenizer *t = tokenizer_new(err);
    if (t && !fill(t, l, pre, more, err)) {
        tokenizer_close(t);
        t = NULL;
    }
    return t;
}
