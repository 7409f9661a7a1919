/* bpe over characters: their symbols, what has no token, and where words end. */
#include "text/bpe.h"

#include "text/unicode.h"

enum { BROKEN_BYTE = MAX_VOCAB + 0x110000 };          /* + the byte: its loose symbol */

/* The symbol of a character spelled as the vocabulary spells it. */
static uint32_t symbol_of(const struct bpe *b, struct bytes spelled, uint32_t cp)
{
    int64_t id = vocab_find(b->vocab, spelled);
    bool control = id != NO_TOKEN && b->vocab->tok[id].kind == TOKEN_CONTROL;
    return id == NO_TOKEN || control ? MAX_VOCAB + cp : (uint32_t)id;
}

void bpe_put_chars(const struct bpe *b, struct bytes piece, struct ids *out)
{
    const uint8_t *at = piece.at, *end = at + piece.len;
    while (at < end) {
        unsigned len;
        uint32_t cp = utf8_decode(at, end, &len), id;
        if (cp < 128)
            id = (uint32_t)b->ascii_id[cp];
        else if (cp == UTF8_BROKEN)
            id = BROKEN_BYTE + *at;
        else
            id = symbol_of(b, (struct bytes){ at, len }, cp);
        out->at[out->n++] = id;
        at += len;
    }
}

/* Appends the byte tokens of a loose symbol; false if one is missing. */
static bool put_bytes(const struct bpe *b, uint32_t loose, struct ids *v)
{
    uint8_t bytes[4];
    unsigned n = 1;
    if (loose >= BROKEN_BYTE)
        bytes[0] = (uint8_t)(loose - BROKEN_BYTE);
    else
        n = utf8_encode(loose - MAX_VOCAB, bytes);
    for (unsigned i = 0; i < n; i++)
        if (b->vocab->byte_id[bytes[i]] == NO_TOKEN)
            return false;
    for (unsigned i = 0; i < n; i++)
        ids_put(v, (uint32_t)b->vocab->byte_id[bytes[i]]);
    return true;
}

bool bpe_place_loose(const struct bpe *b, struct ids *v, size_t from, struct err *err)
{
    size_t first = from, n = v->n;
    bool unknown = false;                 /* the symbol before became the unknown token */
    while (first < n && v->at[first] < MAX_VOCAB)
        first++;
    if (first == n)
        return true;
    for (size_t i = first; i < n && !v->failed; i++) {
        uint32_t id = v->at[i];
        bool loose = id >= MAX_VOCAB;
        if (!loose)
            ids_put(v, id);
        bool missing = loose && !put_bytes(b, id, v);
        if (missing && b->unk != NO_TOKEN && !(unknown && b->fuse_unk))
            ids_put(v, (uint32_t)b->unk);
        unknown = missing;
    }
    if (v->failed)
        return fail(err, ERR_MEMORY, "no memory for %zu tokens", n - from);
    memmove(v->at + first, v->at + n, (v->n - n) * sizeof *v->at);
    v->n -= n - first;
    return true;
}

/* Marks what stands before a space inside the token. */
static void mark_inner_spaces(struct bpe *b, struct bytes token)
{
    for (size_t i = 1; i < token.len; i++)
        if (token.at[i] == ' ')
            b->inner_space[token.at[i - 1]] = true;
}

void bpe_finish_chars(struct bpe *b)
{
    const struct vocab *v = b->vocab;
    bool whole = true;
    for (unsigned c = 0; c < 128; c++) {
        uint8_t text = (uint8_t)c;
        struct bytes spelled = { &text, 1 };
        b->ascii_id[c] = (int32_t)symbol_of(b, c == ' ' ? bytes_of(SPM_SPACE) : spelled, c);
    }
    for (unsigned byte = 0; byte < 256; byte++)
        whole = whole && v->byte_id[byte] != NO_TOKEN;
    for (uint32_t id = 0; id < v->n; id++)
        if (v->tok[id].used)
            mark_inner_spaces(b, vocab_bytes(v, id));
    b->inner_space[' '] = true;
    b->words_apart = whole && !b->ignore_merges;
}

size_t bpe_next_word(const struct bpe *b, const uint8_t *at, const uint8_t *end)
{
    const uint8_t *p = at + 1;
    if (!b->words_apart)
        return (size_t)(end - at);
    while (p < end && (*p != ' ' || b->inner_space[p[-1]]))
        p++;
    return (size_t)(p - at);
}
