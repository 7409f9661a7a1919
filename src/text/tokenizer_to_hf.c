/*
 * Writes a tokenizer as tokenizer.json, tokenizer_config.json and generation_config.json;
 * tokenizer_hf.c and tokenizer_folder.c read them.
 */
#include "text/tokenizer_parts.h"

#include "format/format.h"

static bool no_memory(struct err *err)
{
    return fail(err, ERR_MEMORY, "no memory for tokenizer.json");
}

static json_t *made(json_t *v, struct err *err)
{
    if (!v)
        no_memory(err);
    return v;
}

/* A token's text for JSON, which has only Unicode. */
static json_t *text_json(const struct tokenizer *t, uint32_t id, struct err *err)
{
    struct bytes text = vocab_text(&t->vocab, id);
    json_t *s = text.len && memchr(text.at, 0, text.len)
                ? NULL : json_stringn((const char *)text.at, text.len);
    if (!s)
        fail(err, ERR_UNSUPPORTED, "token %u is \"%s\", which is no Unicode text; JSON cannot hold "
             "it", id, SHOW(text));
    return s;
}

static bool is_written(const struct tokenizer *t, uint32_t id)
{
    return t->vocab.tok[id].used && t->vocab.tok[id].kind != TOKEN_UNUSED;
}

/* All tokens, added ones too, so that their ids are fixed. */
static bool put_vocab(const struct tokenizer *t, json_t *model, struct err *err)
{
    json_t *vocab = json_object();
    bool ok = vocab || no_memory(err);
    for (uint32_t id = 0; ok && id < t->vocab.n; id++) {
        if (!is_written(t, id))
            continue;
        json_t *text = text_json(t, id, err);
        ok = text && (!json_object_set_new(vocab, json_string_value(text), json_integer(id))
                      || no_memory(err));
        json_decref(text);
    }
    if (json_object_set_new(model, "vocab", vocab) != 0 && ok)
        ok = no_memory(err);
    return ok;
}

static bool put_merges(const struct tokenizer *t, json_t *model, struct err *err)
{
    json_t *list = json_array();
    struct pair_slot *merge = bpe_take_merges(&t->bpe);
    bool ok = (list && merge) || no_memory(err);
    for (uint32_t i = 0; ok && i < t->bpe.n_merges; i++) {
        if (merge[i].key == PAIR_EMPTY)
            continue;
        json_t *left = text_json(t, (uint32_t)(merge[i].key >> 32), err);
        json_t *right = left ? text_json(t, (uint32_t)merge[i].key, err) : NULL;
        if (left && right)
            ok = !json_array_append_new(list, json_pack("[O, O]", left, right)) || no_memory(err);
        else
            ok = false;
        json_decref(left);
        json_decref(right);
    }
    mem_give(merge);
    if (json_object_set_new(model, "merges", list) != 0 && ok)
        ok = no_memory(err);
    return ok;
}

static json_t *model_json(const struct tokenizer *t, struct err *err)
{
    json_t *m = json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b}", "type", "BPE", "dropout",
                          "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                          "fuse_unk", 0, "byte_fallback", 0, "ignore_merges",
                          t->bpe.ignore_merges);
    if (!m)
        no_memory(err);
    else if (put_vocab(t, m, err) && put_merges(t, m, err))
        return m;
    json_decref(m);
    return NULL;
}

static json_t *added_json(const struct tokenizer *t, struct err *err)
{
    json_t *list = json_array();
    bool ok = list || no_memory(err);
    for (uint32_t id = 0; ok && id < t->vocab.n; id++) {
        enum token_kind kind = tokenizer_token_kind(t, id);
        if (kind != TOKEN_CONTROL && kind != TOKEN_USER)
            continue;
        json_t *text = text_json(t, id, err);
        ok = text && (!json_array_append_new(list, json_pack(
                 "{s:i, s:O, s:b, s:b, s:b, s:b, s:b}", "id", (int)id, "content", text,
                 "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special",
                 kind == TOKEN_CONTROL)) || no_memory(err));
        json_decref(text);
    }
    if (ok)
        return list;
    json_decref(list);
    return NULL;
}

/* Appends special tokens to a template and to its table. */
static bool put_specials(const struct tokenizer *t, const struct ids *ids, json_t *single,
                         json_t *table, struct err *err)
{
    for (size_t i = 0; i < ids->n; i++) {
        json_t *text = text_json(t, ids->at[i], err);
        if (!text)
            return false;
        json_t *part = json_pack("{s:{s:O, s:i}}", "SpecialToken", "id", text, "type_id", 0);
        json_t *entry = json_pack("{s:O, s:[i], s:[O]}", "id", text, "ids", (int)ids->at[i],
                                  "tokens", text);
        bool failed = json_array_append_new(single, part) != 0;
        failed |= json_object_set_new(table, json_string_value(text), entry) != 0;
        json_decref(text);
        if (failed)
            return no_memory(err);
    }
    return true;
}

/* null, or what stands around a text. */
static json_t *post_json(const struct tokenizer *t, struct err *err)
{
    json_t *single = json_array(), *table = json_object(), *pair = NULL;
    if (t->prefix.n + t->suffix.n == 0) {
        json_decref(single);
        json_decref(table);
        return json_null();
    }
    bool ok = (single && table) || no_memory(err);
    ok = ok && put_specials(t, &t->prefix, single, table, err);
    if (ok && json_array_append_new(single, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A",
                                                      "type_id", 0)) != 0)
        ok = no_memory(err);
    ok = ok && put_specials(t, &t->suffix, single, table, err);
    pair = ok ? json_copy(single) : NULL;
    if (ok && json_array_append_new(pair, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "B",
                                                    "type_id", 1)) != 0)
        ok = no_memory(err);
    if (ok)
        return made(json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single",
                              single, "pair", pair, "special_tokens", table), err);
    json_decref(single);
    json_decref(table);
    json_decref(pair);
    return NULL;
}

/* Puts v; NULL is a failure whose sentence is in err already. */
static void put(json_t *root, const char *key, json_t *v, bool *ok, struct err *err)
{
    if (*ok && v && json_object_set_new(root, key, v) != 0)
        *ok = no_memory(err);
    else if (*ok && !v)
        *ok = false;
    else if (!*ok)
        json_decref(v);
}

static json_t *normalizer_json(const struct tokenizer *t)
{
    return t->nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
}

static json_t *pre_json(const struct tokenizer *t, struct err *err)
{
    json_t *v = t->pattern ? pretok_pattern_json(t->pattern) : pretok_to_json(t->pre);
    if (!v)
        fail(err, ERR_UNSUPPORTED, "tokenizer.json has no spelling for the pre-tokenizer %s",
             t->pre->name);
    return v;
}

static bool save_tokenizer(const struct tokenizer *t, const char *folder, struct err *err)
{
    json_t *root = json_pack("{s:s, s:n, s:n}", "version", "1.0", "truncation", "padding");
    bool ok = root || no_memory(err);
    if (ok)
        put(root, "added_tokens", added_json(t, err), &ok, err);
    if (ok)
        put(root, "normalizer", made(normalizer_json(t), err), &ok, err);
    if (ok)
        put(root, "pre_tokenizer", pre_json(t, err), &ok, err);
    if (ok)
        put(root, "post_processor", post_json(t, err), &ok, err);
    if (ok)
        put(root, "decoder", made(json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel",
                                            "add_prefix_space", 1, "trim_offsets", 1,
                                            "use_regex", 1), err), &ok, err);
    if (ok)
        put(root, "model", model_json(t, err), &ok, err);
    ok = ok && json_save(root, folder, "tokenizer.json", err);
    json_decref(root);
    return ok;
}

/* "bos_token": TEXT, where there is one. */
static void put_token(const struct tokenizer *t, json_t *root, const char *key, int64_t id,
                      bool *ok, struct err *err)
{
    if (*ok && id != NO_TOKEN)
        put(root, key, text_json(t, (uint32_t)id, err), ok, err);
}

static bool save_config(const struct tokenizer *t, const char *folder, struct err *err)
{
    json_t *root = json_pack("{s:s, s:b, s:b, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                             "clean_up_tokenization_spaces", 0, "add_bos_token",
                             t->prefix.n > 0, "add_eos_token", t->suffix.n > 0);
    bool ok = root || no_memory(err);
    put_token(t, root, "bos_token", t->bos, &ok, err);
    put_token(t, root, "eos_token", t->eos, &ok, err);
    put_token(t, root, "pad_token", t->pad, &ok, err);
    put_token(t, root, "unk_token", t->unk, &ok, err);
    if (ok && t->chat_template) {
        json_t *template = json_string(t->chat_template);
        if (!template)
            ok = fail(err, ERR_UNSUPPORTED, "the chat template is no Unicode text");
        put(root, "chat_template", template, &ok, err);
    }
    ok = ok && json_save(root, folder, "tokenizer_config.json", err);
    json_decref(root);
    return ok;
}

bool tokenizer_put_ids(const struct tokenizer *t, json_t *object, struct err *err)
{
    json_t *ends = json_array();
    bool ok = ends || no_memory(err);
    for (size_t i = 0; ok && i < t->ends.n; i++)
        if (json_array_append_new(ends, json_integer(t->ends.at[i])) != 0)
            ok = no_memory(err);
    if (ok && t->bos != NO_TOKEN)
        put(object, "bos_token_id", made(json_integer(t->bos), err), &ok, err);
    if (ok && t->ends.n)
        put(object, "eos_token_id", made(t->ends.n > 1 ? json_incref(ends)
                                         : json_integer(t->ends.at[0]), err), &ok, err);
    if (ok && t->pad != NO_TOKEN)
        put(object, "pad_token_id", made(json_integer(t->pad), err), &ok, err);
    json_decref(ends);
    return ok;
}

bool tokenizer_save_hf(const struct tokenizer *t, const char *folder, struct err *err)
{
    if (t->vocab.chars)
        return fail(err, ERR_UNSUPPORTED, "the tokenizer is SentencePiece; this build converts "
                    "byte-level BPE only");
    json_t *ids = json_object();
    bool ok = ids ? tokenizer_put_ids(t, ids, err) : no_memory(err);
    ok = ok && json_save(ids, folder, "generation_config.json", err);
    json_decref(ids);
    return ok && save_tokenizer(t, folder, err) && save_config(t, folder, err);
}
