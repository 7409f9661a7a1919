/* Writes a tokenizer as tokenizer.* keys of a GGUF file; tokenizer_gguf.c reads them. */
#include "text/tokenizer_parts.h"

#include "format/format.h"

#define KEY "tokenizer.ggml."

/* The name that GGUF files use: the first of those known. */
static bool put_pre(const struct tokenizer *t, struct gguf_writer *w, struct err *err)
{
    const char *names = t->pre->gguf_names ? t->pre->gguf_names : t->pre->name;
    struct bytes first = { (const uint8_t *)names, strcspn(names, " ") };
    if (!pretok_find(first))
        return fail(err, ERR_UNSUPPORTED, "GGUF names pre-tokenizers, and there is no name for "
                    "this one (%s)", t->pre->name);
    if (t->bpe.ignore_merges != t->pre->gguf_whole)
        return fail(err, ERR_UNSUPPORTED, "model.ignore_merges is %s; GGUF says that by the name "
                    "of the pre-tokenizer, and %s means the opposite",
                    t->bpe.ignore_merges ? "true" : "false", t->pre->name);
    gguf_put_string(w, KEY "model", bytes_of("gpt2"));
    gguf_put_string(w, KEY "pre", first);
    return true;
}

static void put_tokens(const struct tokenizer *t, uint32_t n_vocab, struct gguf_writer *w)
{
    static const int32_t types[] = { [TOKEN_NORMAL] = 1, [TOKEN_CONTROL] = 3, [TOKEN_USER] = 4,
                                     [TOKEN_UNUSED] = 5 };
    uint32_t n = n_vocab > t->vocab.n ? n_vocab : t->vocab.n;
    gguf_put_array(w, KEY "tokens", GGUF_STRING, n);
    for (uint32_t id = 0; id < n; id++) {
        char pad[32];
        snprintf(pad, sizeof pad, "[PAD%u]", id);
        bool used = id < t->vocab.n && t->vocab.tok[id].used;
        gguf_put_text(w, used ? vocab_text(&t->vocab, id) : bytes_of(pad));
    }
    gguf_put_array(w, KEY "token_type", GGUF_I32, n);
    for (uint32_t id = 0; id < n; id++)
        gguf_put_elem(w, GGUF_I32, &types[tokenizer_token_kind(t, id)]);
}

static bool put_merges(const struct tokenizer *t, struct gguf_writer *w, struct err *err)
{
    const struct vocab *v = &t->vocab;
    struct buf line = { 0 };
    struct pair_slot *merge = bpe_take_merges(&t->bpe);
    if (!merge)
        return fail(err, ERR_MEMORY, "no memory for %u merges", t->bpe.n_merges);
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->bpe.n_merges; i++)
        n += merge[i].key != PAIR_EMPTY;
    gguf_put_array(w, KEY "merges", GGUF_STRING, n);
    for (uint32_t i = 0; i < t->bpe.n_merges; i++) {
        if (merge[i].key == PAIR_EMPTY)
            continue;
        struct bytes left = vocab_text(v, (uint32_t)(merge[i].key >> 32)),
                     right = vocab_text(v, (uint32_t)merge[i].key);
        buf_clear(&line);
        buf_put(&line, left.at, left.len);
        buf_put(&line, " ", 1);
        buf_put(&line, right.at, right.len);
        if (!line.failed)
            gguf_put_text(w, (struct bytes){ (const uint8_t *)line.at, line.len });
    }
    bool ok = buf_ok(&line, err);
    buf_release(&line);
    mem_give(merge);
    return ok;
}

static void put_id(struct gguf_writer *w, const char *key, int64_t id)
{
    if (id != NO_TOKEN)
        gguf_put_u32(w, key, (uint32_t)id);
}

/* The ends of a turn beside eos: the first two, for which GGUF has keys. */
static void put_ends(const struct tokenizer *t, struct gguf_writer *w)
{
    static const char *const keys[] = { KEY "eot_token_id", KEY "eom_token_id" };
    size_t n = 0;
    if (t->eot != NO_TOKEN)
        put_id(w, keys[n++], t->eot);
    for (size_t i = 0; i < t->ends.n && n < 2; i++)
        if (t->ends.at[i] != t->eos && t->ends.at[i] != t->eot)
            put_id(w, keys[n++], t->ends.at[i]);
}

static bool put_around(const struct tokenizer *t, struct gguf_writer *w, struct err *err)
{
    if (t->prefix.n > 1 || t->suffix.n > 1)
        return fail(err, ERR_UNSUPPORTED, "the tokenizer puts %zu tokens before and %zu after a "
                    "text; GGUF can say one each", t->prefix.n, t->suffix.n);
    put_id(w, KEY "bos_token_id", t->prefix.n ? t->prefix.at[0] : t->bos);
    put_id(w, KEY "eos_token_id", t->suffix.n ? t->suffix.at[0] : t->eos);
    gguf_put_bool(w, KEY "add_bos_token", t->prefix.n > 0);
    gguf_put_bool(w, KEY "add_eos_token", t->suffix.n > 0);
    return true;
}

bool tokenizer_put_gguf(const struct tokenizer *t, uint32_t n_vocab, struct gguf_writer *w,
                        struct err *err)
{
    if (t->vocab.chars)
        return fail(err, ERR_UNSUPPORTED, "the tokenizer is SentencePiece; this build converts "
                    "byte-level BPE only");
    if (!put_pre(t, w, err) || !put_around(t, w, err))
        return false;
    put_tokens(t, n_vocab, w);
    put_ends(t, w);
    put_id(w, KEY "padding_token_id", t->pad);
    put_id(w, KEY "unknown_token_id", t->unk);
    if (t->chat_template)
        gguf_put_string(w, "tokenizer.chat_template", bytes_of(t->chat_template));
    return put_merges(t, w, err);
}
