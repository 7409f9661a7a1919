/* Reads tokenizer.json, the file of Hugging Face's tokenizers. */
#include "text/tokenizer_parts.h"

#include "format/format.h"
#include "text/unicode.h"

enum { MAX_TOKENIZER_JSON = 1 << 28, MAX_SPECIALS_AROUND = 64 };

static const char *text_or(const json_t *object, const char *key, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : otherwise;
}

static bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static struct bytes bytes_of_json(const json_t *string)
{
    return (struct bytes){ (const uint8_t *)json_string_value(string),
                           json_string_length(string) };
}

/* {"type": "Replace", "pattern": {"String": " "}, "content": U+2581} */
static bool spells_spaces(const json_t *v)
{
    const char *from = text_or(json_object_get(v, "pattern"), "String", "");
    return !strcmp(from, " ") && !strcmp(text_or(v, "content", ""), SPM_SPACE);
}

/* NFC and how SentencePiece writes spaces, or nothing, in any nesting of sequences. */
static bool read_normalizer(struct tokenizer *t, const json_t *v, int depth, struct err *err)
{
    const char *type = text_or(v, "type", "?");
    const json_t *parts = json_object_get(v, "normalizers"), *part;
    size_t i;
    if (!v || json_is_null(v))
        return true;
    if (!strcmp(type, "NFC")) {
        t->nfc = true;
        return true;
    }
    if (!strcmp(type, "Replace") && spells_spaces(v)) {
        t->vocab.chars = true;
        return true;
    }
    if (!strcmp(type, "Prepend") && !strcmp(text_or(v, "prepend", ""), SPM_SPACE)) {
        t->space_prefix = true;
        return true;
    }
    if (strcmp(type, "Sequence") || depth > 4)
        return fail(err, ERR_UNSUPPORTED, "its normalizer is %s; this build knows NFC, a Replace "
                    "of \" \" by U+2581 and a Prepend of U+2581, or none", SHOW(bytes_of(type)));
    json_array_foreach(parts, i, part)
        if (!read_normalizer(t, part, depth + 1, err))
            return false;
    return true;
}

/* bytes: tokens spelled <0xNN> stand for bytes. */
static bool read_vocab(struct tokenizer *t, const json_t *vocab, bool bytes, struct err *err)
{
    const char *text;
    json_t *id;
    if (!json_is_object(vocab) || !json_object_size(vocab))
        return fail(err, ERR_FORMAT, "model.vocab is not an object of \"token\": id");
    json_object_foreach((json_t *)vocab, text, id) {
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return fail(err, ERR_FORMAT, "model.vocab: the id of \"%s\" is not a whole "
                        "number from 0", SHOW(bytes_of(text)));
        if (!vocab_put(&t->vocab, (uint64_t)json_integer_value(id), bytes_of(text),
                       TOKEN_NORMAL, true, err))
            return false;
        if (bytes)
            vocab_make_byte(&t->vocab, (uint32_t)json_integer_value(id));
    }
    return true;
}

static unsigned flags_of(const json_t *v)
{
    return (is_true(v, "lstrip") ? ADDED_LSTRIP : 0) | (is_true(v, "rstrip") ? ADDED_RSTRIP : 0) |
           (is_true(v, "single_word") ? ADDED_SINGLE_WORD : 0) |
           (is_true(v, "special") ? ADDED_CONTROL : 0);
}

/* Tokens with "normalized" are looked for in normalised text, themselves normalised. */
static bool put_added(struct tokenizer *t, const json_t *v, struct bytes text, uint32_t id,
                      struct err *err)
{
    struct added_token tok = { id, flags_of(v) };
    struct buf nfc = { 0 }, spaced = { 0 };
    bool ok = true;
    if (!is_true(v, "normalized"))
        return added_put(&t->raw, text, tok, err);
    if (t->nfc) {
        ok = unicode_to_nfc(text, &nfc, err);
        text = (struct bytes){ (const uint8_t *)nfc.at, nfc.len };
    }
    if (ok && t->vocab.chars) {
        buf_text(&spaced, t->space_prefix ? " " : "");
        vocab_put_spaces(&spaced, text);
        ok = buf_ok(&spaced, err);
        text = (struct bytes){ (const uint8_t *)spaced.at, spaced.len };
    }
    ok = ok && added_put(&t->normal, text, tok, err);
    buf_release(&nfc);
    buf_release(&spaced);
    return ok;
}

static bool read_added(struct tokenizer *t, const json_t *list, struct err *err)
{
    const json_t *v;
    size_t i;
    json_array_foreach(list, i, v) {
        const json_t *id = json_object_get(v, "id"), *content = json_object_get(v, "content");
        if (!json_is_integer(id) || json_integer_value(id) < 0 || !json_is_string(content))
            return fail(err, ERR_FORMAT, "added_tokens, element %zu: it needs a whole number "
                        "\"id\" and a text \"content\"", i);
        enum token_kind kind = is_true(v, "special") ? TOKEN_CONTROL : TOKEN_USER;
        struct bytes text = bytes_of_json(content);
        if (!vocab_put(&t->vocab, (uint64_t)json_integer_value(id), text, kind,
                       t->vocab.chars && kind == TOKEN_USER, err) ||
            !put_added(t, v, text, (uint32_t)json_integer_value(id), err))
            return false;
    }
    return true;
}

/* A merge is "left right" or ["left", "right"]. */
static bool split_merge(const json_t *v, struct bytes *left, struct bytes *right)
{
    if (json_is_array(v)) {
        const json_t *l = json_array_get(v, 0), *r = json_array_get(v, 1);
        if (json_array_size(v) != 2 || !json_is_string(l) || !json_is_string(r))
            return false;
        *left = bytes_of_json(l);
        *right = bytes_of_json(r);
        return true;
    }
    struct bytes line = bytes_of_json(v);
    const uint8_t *space = line.at ? memchr(line.at, ' ', line.len) : NULL;
    if (!space)
        return false;
    *left = (struct bytes){ line.at, (size_t)(space - line.at) };
    *right = (struct bytes){ space + 1, line.len - left->len - 1 };
    return !memchr(right->at, ' ', right->len);
}

static bool read_merges(struct tokenizer *t, const json_t *merges, struct err *err)
{
    const json_t *v;
    size_t i;
    if (!json_is_array(merges) || json_array_size(merges) > MAX_VOCAB)
        return fail(err, ERR_FORMAT, "model.merges is not a list of at most %d merges",
                    MAX_VOCAB);
    if (!bpe_init(&t->bpe, &t->vocab, json_array_size(merges), err))
        return false;
    json_array_foreach(merges, i, v) {
        struct bytes left, right;
        char prefix[60];
        snprintf(prefix, sizeof prefix, "model.merges, element %zu", i);
        if (!split_merge(v, &left, &right))
            return fail(err, ERR_FORMAT, "%s: it must be \"left right\" or [\"left\", "
                        "\"right\"]", prefix);
        if (!bpe_add_merge(&t->bpe, left, right, err))
            return fail_in(err, prefix);
    }
    return t->vocab.chars || bpe_finish(&t->bpe, err);
}

/* Settings of model that change what comes out, beyond vocab and merges. */
static bool read_settings(struct tokenizer *t, const json_t *model, struct err *err)
{
    const char *unk = text_or(model, "unk_token", NULL);
    bool whole = true;
    if (*text_or(model, "continuing_subword_prefix", "") ||
        *text_or(model, "end_of_word_suffix", ""))
        return fail(err, ERR_UNSUPPORTED, "model.continuing_subword_prefix or "
                    "end_of_word_suffix is set; byte-level BPE has neither");
    if (json_number_value(json_object_get(model, "dropout")) > 0)
        return fail(err, ERR_UNSUPPORTED, "model.dropout is set; set it to null");
    for (int byte = 0; byte < 256; byte++)
        whole = whole && t->vocab.byte_id[byte] != NO_TOKEN;
    if (!t->vocab.chars && !whole &&
        (is_true(model, "byte_fallback") || (unk && is_true(model, "fuse_unk"))))
        return fail(err, ERR_UNSUPPORTED, "model.byte_fallback or fuse_unk is set and some of "
                    "the 256 bytes have no token of their own; this build cannot do both");
    t->bpe.ignore_merges = is_true(model, "ignore_merges");
    t->unk = unk ? tokenizer_find(t, unk) : NO_TOKEN;
    t->bpe.unk = t->unk;
    t->bpe.fuse_unk = is_true(model, "fuse_unk");
    if (t->vocab.chars)
        bpe_finish_chars(&t->bpe);
    return true;
}

static bool read_model(struct tokenizer *t, const json_t *root, struct err *err)
{
    const json_t *model = json_object_get(root, "model");
    const char *type = text_or(model, "type", "BPE");
    if (!json_is_object(model))
        return fail(err, ERR_FORMAT, "it has no object \"model\"; is it a tokenizer.json?");
    if (strcmp(type, "BPE"))
        return fail(err, ERR_UNSUPPORTED, "model.type is %s; this build reads BPE",
                    SHOW(bytes_of(type)));
    bool bytes = t->vocab.chars && is_true(model, "byte_fallback");
    return read_vocab(t, json_object_get(model, "vocab"), bytes, err) &&
           read_added(t, json_object_get(root, "added_tokens"), err) &&
           vocab_index(&t->vocab, err) &&
           read_merges(t, json_object_get(model, "merges"), err) &&
           read_settings(t, model, err);
}

/* A special token of a TemplateProcessing: its ids, from its own table. */
static bool put_around(struct tokenizer *t, const json_t *post, const char *name,
                       struct ids *out, struct err *err)
{
    const json_t *entry = json_object_get(json_object_get(post, "special_tokens"), name);
    const json_t *ids = json_object_get(entry, "ids"), *id;
    size_t i;
    if (!json_array_size(ids) || json_array_size(ids) > MAX_SPECIALS_AROUND)
        return fail(err, ERR_FORMAT, "post_processor: special token \"%s\" has no ids",
                    SHOW(bytes_of(name)));
    json_array_foreach(ids, i, id) {
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= t->vocab.n)
            return fail(err, ERR_FORMAT, "post_processor: special token \"%s\" has an id "
                        "outside the vocabulary of %u", SHOW(bytes_of(name)), t->vocab.n);
        ids_put(out, (uint32_t)json_integer_value(id));
    }
    return true;
}

/* {"single": [{"SpecialToken": {"id": TEXT}}, {"Sequence": {"id": "A"}}, ...]} */
static bool read_template(struct tokenizer *t, const json_t *post, struct err *err)
{
    const json_t *single = json_object_get(post, "single"), *part;
    struct ids *side = &t->prefix;
    size_t i;
    if (json_array_size(single) > MAX_SPECIALS_AROUND)
        return fail(err, ERR_LIMIT, "post_processor: more than %d parts", MAX_SPECIALS_AROUND);
    json_array_foreach(single, i, part) {
        const json_t *special = json_object_get(part, "SpecialToken");
        if (special) {
            if (!put_around(t, post, text_or(special, "id", "?"), side, err))
                return false;
        } else if (side == &t->prefix && json_object_get(part, "Sequence")) {
            side = &t->suffix;
        } else {
            return fail(err, ERR_UNSUPPORTED, "post_processor: its template must have the text "
                        "once, with special tokens around it");
        }
    }
    return true;
}

static bool read_post(struct tokenizer *t, const json_t *v, int depth, struct err *err)
{
    const char *type = text_or(v, "type", "?");
    const json_t *part;
    size_t i;
    if (!v || json_is_null(v) || !strcmp(type, "ByteLevel"))
        return true;                      /* ByteLevel there only trims offsets */
    if (!strcmp(type, "TemplateProcessing"))
        return read_template(t, v, err);
    if (strcmp(type, "Sequence") || depth > 4)
        return fail(err, ERR_UNSUPPORTED, "its post_processor is %s; this build knows "
                    "TemplateProcessing and ByteLevel", SHOW(bytes_of(type)));
    json_array_foreach(json_object_get(v, "processors"), i, part)
        if (!read_post(t, part, depth + 1, err))
            return false;
    return true;
}

static bool read_root(struct tokenizer *t, const json_t *root, struct err *err)
{
    if (!read_normalizer(t, json_object_get(root, "normalizer"), 0, err))
        return false;
    if (t->space_prefix && !t->vocab.chars)
        return fail(err, ERR_UNSUPPORTED, "its normalizer has a Prepend without a Replace of \" \" "
                    "by U+2581");
    const json_t *pre = json_object_get(root, "pre_tokenizer");
    if (t->vocab.chars && !pretok_splits_nothing(pre))
        return fail(err, ERR_UNSUPPORTED, "its normalizer spells spaces as U+2581, but its "
                    "pre_tokenizer is not null or a Split at \" \"");
    t->pre = t->vocab.chars ? &pretok_spm : pretok_of_json(pre, &t->pattern, err);
    if (!t->pre || !read_model(t, root, err) ||
        !read_post(t, json_object_get(root, "post_processor"), 0, err))
        return false;
    t->add_bos = t->prefix.n > 0;
    t->add_eos = t->suffix.n > 0;
    return true;
}

static bool read_all(struct tokenizer *t, const char *file, const char *folder, struct err *err)
{
    json_t *root = json_load_path(file, MAX_TOKENIZER_JSON, err);
    bool ok = root && (read_root(t, root, err) || fail_in(err, file));
    json_decref(root);
    return ok && tokenizer_read_folder(t, folder, err) && tokenizer_finish(t, err);
}

struct tokenizer *tokenizer_open_hf(const char *path, struct err *err)
{
    struct buf file = { 0 }, folder = { 0 };
    const char *slash = strrchr(path, '/');
    bool is_dir = file_is_dir(path);
    buf_printf(&file, "%s%s", path, is_dir ? "/tokenizer.json" : "");
    if (is_dir)
        buf_text(&folder, path);
    else
        buf_printf(&folder, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    struct tokenizer *t = NULL;
    if (buf_ok(&file, err) && buf_ok(&folder, err))
        t = tokenizer_new(err);
    if (t && !read_all(t, file.at, folder.at, err)) {
        tokenizer_close(t);
        t = NULL;
    }
    buf_release(&file);
    buf_release(&folder);
    return t;
}
