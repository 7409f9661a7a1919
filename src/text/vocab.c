#include "text/vocab.h"

#include "text/unicode.h"

/* The code point that spells a byte. */
static uint32_t spelling_of_byte(unsigned byte)
{
    if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174)
        return byte;
    if (byte <= 32)
        return 0x100 + byte;
    return byte == 173 ? 0x100 + 67 : 0x100 + 33 + (byte - 127);
}

/* The byte a code point spells, or -1. */
static int byte_of_spelling(uint32_t cp)
{
    if (cp < 0x100)
        return spelling_of_byte(cp) == cp ? (int)cp : -1;
    if (cp <= 0x100 + 32)
        return (int)(cp - 0x100);
    if (cp < 0x100 + 67)
        return (int)(cp - 0x100 - 33 + 127);
    return cp == 0x100 + 67 ? 173 : -1;
}

void vocab_spell(struct buf *out, struct bytes b)
{
    uint8_t utf8[4];
    for (size_t i = 0; i < b.len; i++)
        buf_put(out, utf8, utf8_encode(spelling_of_byte(b.at[i]), utf8));
}

void vocab_alphabet(uint8_t out[256])
{
    size_t n = 0;
    for (uint32_t cp = 0; cp < 0x144; cp++)
        if (byte_of_spelling(cp) >= 0)
            out[n++] = (uint8_t)byte_of_spelling(cp);
    check(n == 256);
}

static bool is_spelled(struct bytes text)
{
    const uint8_t *at = text.at, *end = at + text.len;
    while (at < end) {
        struct unit u = unit_at(at, end);
        if (byte_of_spelling(u.cp) < 0)
            return false;
        at += u.len;
    }
    return true;
}

static void put_spelled_bytes(struct buf *blob, struct bytes text)
{
    const uint8_t *at = text.at, *end = at + text.len;
    while (at < end) {
        struct unit u = unit_at(at, end);
        uint8_t byte = (uint8_t)byte_of_spelling(u.cp);
        buf_put(blob, &byte, 1);
        at += u.len;
    }
}

bool vocab_unspell(struct buf *out, struct bytes text)
{
    bool spelled = is_spelled(text);
    if (spelled)
        put_spelled_bytes(out, text);
    return spelled;
}

/* Whether text has U+2581 at `at`. */
static bool has_space(struct bytes text, size_t at)
{
    return text.len - at >= 3 && !memcmp(text.at + at, SPM_SPACE, 3);
}

void vocab_put_spaces(struct buf *out, struct bytes text)
{
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] != 0xE2 || !has_space(text, i))
            continue;
        buf_put(out, text.at + from, i - from);
        buf_put(out, " ", 1);
        i += 2;
        from = i + 1;
    }
    buf_put(out, text.at + from, text.len - from);
}

/* Makes ids up to and with `id` addressable. */
static bool reach(struct vocab *v, uint32_t id)
{
    if (id >= v->cap) {
        uint32_t cap = v->cap ? v->cap : 256;
        while (cap <= id)
            cap *= 2;
        struct token *tok = mem_grow(v->tok, cap, sizeof *tok);
        if (!tok)
            return false;
        memset(tok + v->cap, 0, (cap - v->cap) * sizeof *tok);
        v->tok = tok;
        v->cap = cap;
    }
    if (id >= v->n)
        v->n = id + 1;
    return true;
}

bool vocab_put(struct vocab *v, uint64_t id, struct bytes text, enum token_kind kind,
               bool spelled, struct err *err)
{
    if (id >= MAX_VOCAB)
        return fail(err, ERR_LIMIT, "token id %llu; ids must be below %d",
                    (unsigned long long)id, MAX_VOCAB);
    if (text.len > MAX_TOKEN_BYTES)
        return fail(err, ERR_LIMIT, "token %llu is %zu bytes long; the most is %d",
                    (unsigned long long)id, text.len, MAX_TOKEN_BYTES);
    if (v->blob.len > MAX_VOCAB_BYTES)
        return fail(err, ERR_LIMIT, "the tokens up to %llu have more than %d bytes together",
                    (unsigned long long)id, MAX_VOCAB_BYTES);
    if (!reach(v, (uint32_t)id))
        return fail(err, ERR_MEMORY, "no memory for a vocabulary of %llu tokens",
                    (unsigned long long)id + 1);
    struct token *t = &v->tok[id];
    v->n_used += !t->used;
    uint32_t at = (uint32_t)v->blob.len, len = (uint32_t)text.len;
    *t = (struct token){ .text_at = at, .text_len = len, .bytes_at = at, .bytes_len = len,
                         .kind = (uint8_t)kind, .used = true,
                         .added = kind == TOKEN_CONTROL || kind == TOKEN_USER };
    buf_put(&v->blob, text.at, text.len);
    if (spelled && (v->chars || is_spelled(text))) {
        t->bytes_at = (uint32_t)v->blob.len;
        if (v->chars)
            vocab_put_spaces(&v->blob, text);
        else
            put_spelled_bytes(&v->blob, text);
        t->bytes_len = (uint32_t)(v->blob.len - t->bytes_at);
    }
    return buf_ok(&v->blob, err);
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool vocab_make_byte(struct vocab *v, uint32_t id)
{
    struct token *t = &v->tok[id];
    struct bytes text = vocab_text(v, id);
    if (text.len != 6 || memcmp(text.at, "<0x", 3) || text.at[5] != '>' ||
        hex_digit(text.at[3]) < 0 || hex_digit(text.at[4]) < 0 || !t->bytes_len)
        return false;
    v->blob.at[t->bytes_at] = (char)(hex_digit(text.at[3]) << 4 | hex_digit(text.at[4]));
    t->bytes_len = 1;
    t->byte = true;
    return true;
}

static void index_bytes(struct vocab *v)
{
    uint8_t spelled[4];
    for (unsigned byte = 0; byte < 256; byte++) {
        struct bytes s = { spelled, utf8_encode(spelling_of_byte(byte), spelled) };
        v->byte_id[byte] = v->chars ? NO_TOKEN : (int32_t)vocab_find(v, s);
    }
    for (uint32_t id = 0; id < v->n; id++)
        if (v->tok[id].byte)
            v->byte_id[vocab_bytes(v, id).at[0]] = (int32_t)id;
}

bool vocab_index(struct vocab *v, struct err *err)
{
    if (v->n / 2 > v->n_used + 1024)
        return fail(err, ERR_FORMAT, "token ids go up to %u but only %u of them are given; "
                    "at most half may be missing", v->n - 1, v->n_used);
    for (uint32_t id = 0; id < v->n; id++) {
        if (!v->tok[id].used)
            v->tok[id].kind = TOKEN_UNUSED;
        else if (!map_put(&v->by_text, vocab_text(v, id), id))
            return fail(err, ERR_MEMORY, "no memory to index %u tokens", v->n);
    }
    index_bytes(v);
    return true;
}

void vocab_release(struct vocab *v)
{
    mem_give(v->tok);
    buf_release(&v->blob);
    map_release(&v->by_text);
    *v = (struct vocab){ 0 };
}

struct bytes vocab_text(const struct vocab *v, uint32_t id)
{
    const struct token *t = &v->tok[id];
    return (struct bytes){ (const uint8_t *)v->blob.at + t->text_at, t->text_len };
}

struct bytes vocab_bytes(const struct vocab *v, uint32_t id)
{
    const struct token *t = &v->tok[id];
    return (struct bytes){ (const uint8_t *)v->blob.at + t->bytes_at, t->bytes_len };
}

int64_t vocab_find(const struct vocab *v, struct bytes text)
{
    uint32_t id;
    return map_find(&v->by_text, text, &id) ? (int64_t)id : NO_TOKEN;
}
