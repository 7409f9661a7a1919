/* Reads a tokenizer from the tokenizer.* keys of a GGUF file. */
#include "text/tokenizer_parts.h"

#include "format/format.h"

/* Values of tokenizer.ggml.token_type. */
enum { GGUF_NORMAL = 1, GGUF_UNKNOWN, GGUF_CONTROL, GGUF_USER, GGUF_UNUSED, GGUF_BYTE };

#define KEY "tokenizer.ggml."

static const struct gguf_kv *strings(const struct gguf *g, const char *key, struct err *err)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv || kv->type != GGUF_ARRAY || kv->elem != GGUF_STRING) {
        fail(err, ERR_FORMAT, "key %s: %s; it must be an array of strings", key,
             kv ? "found another kind of value" : "not there");
        return NULL;
    }
    if (kv->n > MAX_VOCAB) {
        fail(err, ERR_LIMIT, "key %s: %llu strings; the most is %d", key,
             (unsigned long long)kv->n, MAX_VOCAB);
        return NULL;
    }
    return kv;
}

static bool read_model(struct tokenizer *t, const struct gguf *g, struct err *err)
{
    struct bytes model = { 0 }, pre = { 0 };
    bool found;
    if (!gguf_string(g, KEY "model", &model, &found, err))
        return false;
    if (bytes_eq(model, bytes_of("llama"))) {
        t->vocab.chars = true;
        t->pre = &pretok_spm;
        return true;
    }
    if (!bytes_eq(model, bytes_of("gpt2")))
        return fail(err, ERR_UNSUPPORTED, "key " KEY "model is \"%s\"; this build reads \"gpt2\" "
                    "(byte-level BPE) and \"llama\" (SentencePiece with scores)", SHOW(model));
    if (!gguf_string(g, KEY "pre", &pre, &found, err))
        return false;
    t->pre = pretok_find(pre);
    if (t->pre)
        return true;
    struct buf known = { 0 };
    pretok_list(&known);
    fail(err, ERR_UNSUPPORTED, "key " KEY "pre is %s%s%s; the known pre-tokenizers are %s",
         found ? "\"" : "not there", SHOW(pre), found ? "\"" : "", known.at ? known.at : "?");
    buf_release(&known);
    return false;
}

/* Type and kind of token i; types is NULL where the file gives none. */
static bool kind_of(const struct gguf_kv *types, uint64_t i, uint64_t *given,
                    enum token_kind *kind, struct err *err)
{
    uint64_t type = *given = GGUF_NORMAL;
    *kind = TOKEN_NORMAL;
    if (types && (!gguf_elem_u64(types, i, &type) || type > GGUF_BYTE))
        return fail(err, ERR_FORMAT, "key " KEY "token_type: element %llu is no type from 0 to %d",
                    (unsigned long long)i, GGUF_BYTE);
    *given = type;
    if (type == GGUF_CONTROL || type == GGUF_UNKNOWN)
        *kind = TOKEN_CONTROL;
    else if (type == GGUF_USER)
        *kind = TOKEN_USER;
    else if (type == GGUF_UNUSED)
        *kind = TOKEN_UNUSED;
    return true;
}

/*
 * User-defined tokens of SentencePiece are found after U+2581 has become a space, others
 * in the raw text.
 */
static bool put_token(struct tokenizer *t, uint64_t i, struct bytes text, uint64_t type,
                      enum token_kind kind, struct err *err)
{
    bool added = kind == TOKEN_CONTROL || kind == TOKEN_USER, chars = t->vocab.chars;
    struct added_token a = { (uint32_t)i, kind == TOKEN_CONTROL ? ADDED_CONTROL : 0 };
    if (!vocab_put(&t->vocab, i, text, kind, chars ? kind != TOKEN_CONTROL : !added, err))
        return false;
    if (chars && type == GGUF_BYTE && !vocab_make_byte(&t->vocab, (uint32_t)i))
        return fail(err, ERR_FORMAT, "key " KEY "tokens: element %llu is \"%s\", but its type is "
                    "byte; it must be spelled <0x00> to <0xFF>", (unsigned long long)i,
                    SHOW(text));
    if (chars && kind == TOKEN_USER) {
        struct buf spaced = { 0 };
        vocab_put_spaces(&spaced, text);
        bool ok = buf_ok(&spaced, err) && added_put(
            &t->normal, (struct bytes){ (const uint8_t *)spaced.at, spaced.len }, a, err);
        buf_release(&spaced);
        return ok;
    }
    return !added || added_put(&t->raw, text, a, err);
}

static bool read_tokens(struct tokenizer *t, const struct gguf *g, struct err *err)
{
    const struct gguf_kv *tokens = strings(g, KEY "tokens", err);
    const struct gguf_kv *types = gguf_find(g, KEY "token_type");
    if (!tokens)
        return false;
    if (types && (types->type != GGUF_ARRAY || types->n != tokens->n))
        return fail(err, ERR_FORMAT, "key " KEY "token_type has %llu elements for %llu tokens",
                    (unsigned long long)types->n, (unsigned long long)tokens->n);
    struct bytes at = tokens->raw, text;
    for (uint64_t i = 0; gguf_next_string(&at, &text); i++) {
        enum token_kind kind;
        uint64_t type = 0;
        if (!kind_of(types, i, &type, &kind, err) || !put_token(t, i, text, type, kind, err))
            return false;
    }
    return vocab_index(&t->vocab, err);
}

/* "left right": the only space, as spaces inside the parts are spelled U+0120. */
static bool read_merges(struct tokenizer *t, const struct gguf *g, struct err *err)
{
    const struct gguf_kv *merges = strings(g, KEY "merges", err);
    if (!merges || !bpe_init(&t->bpe, &t->vocab, merges->n, err))
        return false;
    t->bpe.ignore_merges = t->pre->gguf_whole;
    t->add_bos = t->pre->gguf_bos;
    struct bytes at = merges->raw, line;
    for (uint64_t i = 0; gguf_next_string(&at, &line); i++) {
        const uint8_t *space = line.len ? memchr(line.at, ' ', line.len) : NULL;
        size_t n = space ? (size_t)(space - line.at) : 0;
        struct bytes left = { line.at, n };
        struct bytes right = { line.at + n + 1, space ? line.len - n - 1 : 0 };
        char prefix[80];
        snprintf(prefix, sizeof prefix, "key " KEY "merges, element %llu",
                 (unsigned long long)i);
        if (!left.len || !right.len || memchr(right.at, ' ', right.len))
            return fail(err, ERR_FORMAT, "%s: not two parts with one space between", prefix);
        if (!bpe_add_merge(&t->bpe, left, right, err))
            return fail_in(err, prefix);
    }
    return bpe_finish(&t->bpe, err);
}

/* Settings of SentencePiece that this build does not do, which GGUF files of this kind do
 * not have unless the model needs them. */
static bool refuse_normalizer(const struct gguf *g, struct err *err)
{
    const struct gguf_kv *map = gguf_find(g, KEY "precompiled_charsmap");
    bool strips = false, found;
    if (!gguf_bool(g, KEY "remove_extra_whitespaces", &strips, &found, err))
        return false;
    if (strips || (map && map->n))
        return fail(err, ERR_UNSUPPORTED, "key " KEY "%s is set; this build knows SentencePiece "
                    "only without a normaliser",
                    strips ? "remove_extra_whitespaces" : "precompiled_charsmap");
    return true;
}

static bool read_scores(struct tokenizer *t, const struct gguf *g, float *score, struct err *err)
{
    const struct gguf_kv *kv = gguf_find(g, KEY "scores");
    if (!kv || kv->type != GGUF_ARRAY || kv->n != t->vocab.n)
        return fail(err, ERR_FORMAT, "key " KEY "scores: %s; it must have one number for each of "
                    "the %u tokens", kv ? "found another kind of value or length" : "not there",
                    t->vocab.n);
    for (uint32_t i = 0; i < t->vocab.n; i++) {
        double v;
        if (!gguf_elem_f64(kv, i, &v) || v != v)
            return fail(err, ERR_FORMAT, "key " KEY "scores: element %u is not a number", i);
        score[i] = (float)v;
    }
    return bpe_init(&t->bpe, &t->vocab, 0, err) && bpe_score(&t->bpe, score, err);
}

/* What SentencePiece files leave out means: a space before each text, and BOS. */
static bool read_spm(struct tokenizer *t, const struct gguf *g, struct err *err)
{
    bool found;
    t->space_prefix = t->add_bos = true;
    if (!refuse_normalizer(g, err) ||
        !gguf_bool(g, KEY "add_space_prefix", &t->space_prefix, &found, err))
        return false;
    float *score = mem_take((size_t)t->vocab.n + 1, sizeof *score);
    if (!score)
        return fail(err, ERR_MEMORY, "no memory for %u scores", t->vocab.n);
    bool ok = read_scores(t, g, score, err);
    mem_give(score);
    return ok;
}

/* Token id under a key; a value outside the vocabulary is refused. */
static bool read_id(const struct tokenizer *t, const struct gguf *g, const char *key,
                    int64_t *id, struct err *err)
{
    uint64_t v;
    bool found;
    if (!gguf_u64(g, key, &v, &found, err))
        return false;
    if (found && v == UINT32_MAX)
        return true;                      /* how some writers say "none" */
    if (found && v >= t->vocab.n)
        return fail(err, ERR_FORMAT, "key %s is %llu, but there are only %u tokens", key,
                    (unsigned long long)v, t->vocab.n);
    if (found)
        *id = (int64_t)v;
    return true;
}

static bool read_specials(struct tokenizer *t, const struct gguf *g, struct err *err)
{
    int64_t eom = NO_TOKEN;
    struct bytes template = { 0 };
    bool found;
    if (!read_id(t, g, KEY "bos_token_id", &t->bos, err) ||
        !read_id(t, g, KEY "eos_token_id", &t->eos, err) ||
        !read_id(t, g, KEY "eot_token_id", &t->eot, err) ||
        !read_id(t, g, KEY "eom_token_id", &eom, err) ||
        !read_id(t, g, KEY "unknown_token_id", &t->unk, err) ||
        !read_id(t, g, KEY "padding_token_id", &t->pad, err) ||
        !gguf_bool(g, KEY "add_bos_token", &t->add_bos, &found, err) ||
        !gguf_bool(g, KEY "add_eos_token", &t->add_eos, &found, err) ||
        !gguf_string(g, "tokenizer.chat_template", &template, &found, err))
        return false;
    tokenizer_add_end(t, eom);
    if (t->vocab.chars) {
        t->bpe.unk = t->unk;
        t->bpe.fuse_unk = true;
        bpe_finish_chars(&t->bpe);
    }
    if (t->add_bos && t->bos != NO_TOKEN)
        ids_put(&t->prefix, (uint32_t)t->bos);
    if (t->add_eos && t->eos != NO_TOKEN)
        ids_put(&t->suffix, (uint32_t)t->eos);
    if (!found)
        return true;
    t->chat_template = mem_copy_text((const char *)template.at, template.len);
    return t->chat_template || fail(err, ERR_MEMORY, "no memory for the chat template");
}

struct tokenizer *tokenizer_open_gguf(const struct gguf *g, const char *name, struct err *err)
{
    struct tokenizer *t = tokenizer_new(err);
    if (t && read_model(t, g, err) && read_tokens(t, g, err) &&
        (t->vocab.chars ? read_spm(t, g, err) : read_merges(t, g, err)) &&
        read_specials(t, g, err) && tokenizer_finish(t, err))
        return t;
    fail_in(err, name);
    tokenizer_close(t);
    return NULL;
}
