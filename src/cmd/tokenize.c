/* tokenize and detokenize: what text is to a model, and back, byte for byte. */
#include "cmd/commands.h"
#include "cmd/shared_options.h"
#include "cmd/vocabulary.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_INPUT ((size_t)1 << 30)      /* bytes of text read at once */

struct tokenize_args {
    struct model_args model;
    const char *file, *special;
    bool add_special, ids, json;
};

struct detokenize_args {
    struct model_args model;
    const char *file, *special;
    bool json;
};

/* The operand if there is one, else the file, else standard input. */
static bool read_input(struct buf *out, const char *file, const struct operands *rest,
                       struct err *err)
{
    if (rest->n && file)
        return fail(err, ERR_USAGE, "give either a text or -f FILE, not both");
    if (rest->n) {
        for (int i = 0; i < rest->n; i++)
            buf_printf(out, "%s%s", i ? " " : "", rest->at[i]);
        return buf_ok(out, err);
    }
    return file_read(out, file ? file : "-", MOST_INPUT, err);
}

static const char *kind_name(enum token_kind k)
{
    static const char *const names[] = { "normal", "control", "user", "unused" };
    return names[k];
}

/* Bytes in double quotes: printable ASCII and whole UTF-8 characters as they are. */
static void put_quoted(struct buf *out, struct bytes b)
{
    buf_text(out, "\"");
    for (size_t i = 0; i < b.len; ) {
        uint8_t c = b.at[i];
        size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;
        bool whole = n > 0 && i + n <= b.len;
        for (size_t k = 1; whole && k < n; k++)
            whole = (b.at[i + k] & 0xc0) == 0x80;
        if (c == '\n')
            buf_text(out, "\\n");
        else if (c == '\t')
            buf_text(out, "\\t");
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f || !whole)
            buf_printf(out, "\\x%02x", c);
        else
            buf_put(out, b.at + i, n);
        i += c < 0x80 || !whole ? 1 : n;
    }
    buf_text(out, "\"");
}

static void put_table(struct buf *out, const struct tokenizer *t, const struct ids *ids)
{
    for (size_t i = 0; i < ids->n; i++) {
        enum token_kind kind = tokenizer_token_kind(t, ids->at[i]);
        buf_printf(out, "%8u  ", ids->at[i]);
        put_quoted(out, tokenizer_token_bytes(t, ids->at[i]));
        buf_printf(out, "%s%s\n", kind == TOKEN_NORMAL ? "" : "  ",
                   kind == TOKEN_NORMAL ? "" : kind_name(kind));
    }
}

/* A JSON text of bytes; broken UTF-8 becomes U+FFFD. */
static json_t *json_text(struct bytes b, struct buf *room)
{
    struct detok d = { 0 };
    buf_clear(room);
    detok_put(&d, b, room);
    detok_end(&d, room);
    return room->failed ? NULL : json_stringn(room->len ? room->at : "", room->len);
}

static json_t *json_tokens(const struct tokenizer *t, const struct ids *ids)
{
    json_t *list = json_array(), *tokens = json_array();
    struct buf room = { 0 };
    bool ok = list && tokens;
    for (size_t i = 0; ok && i < ids->n; i++) {
        struct bytes b = tokenizer_token_bytes(t, ids->at[i]);
        json_t *bytes = json_array();
        for (size_t k = 0; k < b.len; k++)
            json_array_append_new(bytes, json_integer(b.at[k]));
        ok = !json_array_append_new(list, json_integer(ids->at[i])) &&
             !json_array_append_new(tokens, json_pack("{s:i, s:o, s:o, s:s}", "id",
                 (int)ids->at[i], "text", json_text(b, &room), "bytes", bytes, "kind",
                 kind_name(tokenizer_token_kind(t, ids->at[i]))));
    }
    buf_release(&room);
    if (ok)
        return json_pack("{s:i, s:o, s:o}", "n_tokens", (int)ids->n, "ids", list, "tokens", tokens);
    json_decref(list);
    json_decref(tokens);
    return NULL;
}

static bool print_json(json_t *value, struct err *err)
{
    if (!value)
        return fail(err, ERR_MEMORY, "no memory for the JSON output");
    json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(value);
    return true;
}

static bool print_tokens(const struct tokenize_args *a, const struct tokenizer *t,
                         const struct ids *ids, struct err *err)
{
    if (a->json)
        return print_json(json_tokens(t, ids), err);
    struct buf out = { 0 };
    for (size_t i = 0; a->ids && i < ids->n; i++)
        buf_printf(&out, "%s%u", i ? " " : "", ids->at[i]);
    if (a->ids)
        buf_text(&out, "\n");
    else
        put_table(&out, t, ids);
    bool ok = buf_ok(&out, err);
    if (ok && out.len)
        fwrite(out.at, 1, out.len, stdout);
    buf_release(&out);
    return ok;
}

static bool run_tokenize(const void *args, const struct operands *rest, struct err *err)
{
    const struct tokenize_args *a = args;
    struct vocabulary v;
    const char *path;
    struct buf text = { 0 };
    struct ids ids = { 0 };
    struct encode_options o = { !strcmp(a->special, "on"), a->add_special };
    if (!model_path_find(a->model.model, &path, err) || !vocabulary_open(&v, path, err))
        return false;
    bool ok = read_input(&text, a->file, rest, err) &&
              tokenizer_encode(v.t, (struct bytes){ (const uint8_t *)text.at, text.len }, o, &ids,
                               err) &&
              print_tokens(a, v.t, &ids, err);
    if (ok && !a->json && isatty(STDERR_FILENO))
        fprintf(stderr, "%zu tokens for %zu bytes\n", ids.n, text.len);
    ids_release(&ids);
    buf_release(&text);
    vocabulary_close(&v);
    return ok;
}

/* Ids out of text: decimal numbers between blanks, commas and square brackets. */
static bool parse_ids(struct ids *out, const char *at, uint32_t size, struct err *err)
{
    for (at += strspn(at, " ,[]\t\r\n"); *at; at += strspn(at, " ,[]\t\r\n")) {
        char *end;
        if (*at < '0' || *at > '9')
            return fail(err, ERR_FORMAT, "\"%.20s\" is not a token id; expected whole numbers "
                        "separated by blanks or commas", at);
        unsigned long long id = strtoull(at, &end, 10);
        if (id >= size)
            return fail(err, ERR_FORMAT, "token id %.*s is not below %u, the size of the "
                        "vocabulary", (int)(end - at < 30 ? end - at : 30), at, size);
        ids_put(out, (uint32_t)id);
        at = end;
    }
    return out->failed ? fail(err, ERR_MEMORY, "no memory for the token ids") : true;
}

static bool print_text(const struct detokenize_args *a, const struct tokenizer *t,
                       const struct ids *ids, struct err *err)
{
    struct buf out = { 0 }, room = { 0 };
    for (size_t i = 0; i < ids->n; i++) {
        struct bytes b = tokenizer_token_bytes(t, ids->at[i]);
        if (!strcmp(a->special, "on") || tokenizer_token_kind(t, ids->at[i]) != TOKEN_CONTROL)
            buf_put(&out, b.at, b.len);
    }
    bool ok = buf_ok(&out, err);
    if (ok && a->json)
        ok = print_json(json_text((struct bytes){ (const uint8_t *)out.at, out.len }, &room), err);
    else if (ok && out.len)
        fwrite(out.at, 1, out.len, stdout);
    if (ok && !a->json && isatty(STDOUT_FILENO))
        putchar('\n');
    buf_release(&out);
    buf_release(&room);
    return ok;
}

static bool run_detokenize(const void *args, const struct operands *rest, struct err *err)
{
    const struct detokenize_args *a = args;
    struct vocabulary v;
    const char *path;
    struct buf text = { 0 };
    struct ids ids = { 0 };
    if (!model_path_find(a->model.model, &path, err) || !vocabulary_open(&v, path, err))
        return false;
    bool ok = read_input(&text, a->file, rest, err) &&
              parse_ids(&ids, text.len ? text.at : "", tokenizer_size(v.t), err) &&
              print_text(a, v.t, &ids, err);
    ids_release(&ids);
    buf_release(&text);
    vocabulary_close(&v);
    return ok;
}

#define AT(field) offsetof(struct tokenize_args, field)

static const struct opt tokenize_opts[] = {
    O_TEXT("file", 'f', AT(file), NULL, "FILE", "read the text from FILE; - is standard input"),
    O_CHOICE("special", 0, AT(special), choice_on_off, "on",
             "let control tokens written in the text become their ids"),
    O_FLAG("add-special", 0, AT(add_special),
           "also add what the model puts around a text (BOS, EOS)"),
    O_FLAG("ids", 0, AT(ids), "print only the ids, on one line"),
    O_FLAG("json", 0, AT(json), "print one JSON object: n_tokens, ids, tokens"),
    O_END
};

#undef AT
#define AT(field) offsetof(struct detokenize_args, field)

static const struct opt detokenize_opts[] = {
    O_TEXT("file", 'f', AT(file), NULL, "FILE", "read the ids from FILE; - is standard input"),
    O_CHOICE("special", 0, AT(special), choice_on_off, "on", "show control tokens as their text"),
    O_FLAG("json", 0, AT(json), "print one JSON string; broken UTF-8 becomes U+FFFD"),
    O_END
};

static const struct opt_group tokenize_groups[] = {
    { "Model", model_only_opts, offsetof(struct tokenize_args, model) },
    { "Options", tokenize_opts, 0 },
    { NULL, NULL, 0 }
};

static const struct opt_group detokenize_groups[] = {
    { "Model", model_only_opts, offsetof(struct detokenize_args, model) },
    { "Options", detokenize_opts, 0 },
    { NULL, NULL, 0 }
};

static const struct example tokenize_examples[] = {
    { "kexa tokenize \"The sea is deep.\"", "one line for each token: its id and its bytes" },
    { "kexa tokenize -m tokenizer.json --json -f essay.txt",
      "a tokenizer alone is enough; JSON for a script" },
    { "kexa tokenize --ids -f essay.txt | kexa detokenize", "gives back essay.txt" },
    { NULL, NULL }
};

static const struct example detokenize_examples[] = {
    { "kexa detokenize 504 3426 314", "the text of three tokens" },
    { NULL, NULL }
};

const struct command tokenize_command = {
    "tokenize", "show text as token ids", "[TEXT]", 0, 1,
    "Cuts a text into the tokens of a model.  The text is the operand, a file, or standard "
    "input; any bytes are accepted, and those a vocabulary has no token for are dropped.  "
    "Weights are not loaded, and -m may also name a tokenizer.json.",
    tokenize_examples, tokenize_groups, sizeof(struct tokenize_args), run_tokenize
};

const struct command detokenize_command = {
    "detokenize", "turn token ids back into text", "[ID]...", 0, 1 << 30,
    "Writes the bytes that token ids stand for, exactly.  The ids are operands, a file, or "
    "standard input, separated by blanks or commas; a JSON array is fine.",
    detokenize_examples, detokenize_groups, sizeof(struct detokenize_args), run_detokenize
};
