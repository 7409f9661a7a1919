#include "text/tokenizer_parts.h"

#include "text/unicode.h"

#include <stdlib.h>

struct tokenizer *tokenizer_new(struct err *err)
{
    struct tokenizer *t = mem_take(1, sizeof *t);
    if (!t) {
        fail(err, ERR_MEMORY, "no memory for a tokenizer");
        return NULL;
    }
    t->bos = t->eos = t->eot = t->pad = t->unk = NO_TOKEN;
    t->pool = mem_take(1, sizeof *t->pool);
    if (!t->pool) {
        mem_give(t);
        fail(err, ERR_MEMORY, "no memory for a tokenizer");
        return NULL;
    }
    return t;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    vocab_release(&t->vocab);
    bpe_pool_release(t->pool);
    mem_give(t->pool);
    bpe_release(&t->bpe);
    added_release(&t->raw);
    added_release(&t->normal);
    ids_release(&t->prefix);
    ids_release(&t->suffix);
    ids_release(&t->ends);
    pretok_pattern_close(t->pattern);
    mem_give(t->chat_template);
    mem_give(t);
}

/* One call of tokenizer_encode(). */
struct encoder {
    const struct tokenizer *t;
    struct encode_options o;
    struct ids *out;
    struct bpe_scratch *scratch;
    struct buf nfc, spaced;
};

static bool encode_piece(void *arg, struct bytes piece, struct err *err)
{
    struct encoder *e = arg;
    return bpe_encode(&e->t->bpe, piece, e->scratch, e->out, err);
}

/* Text between added tokens. */
static bool encode_plain(struct encoder *e, struct bytes text, struct err *err)
{
    const struct bpe *b = &e->t->bpe;
    struct pretok_cut c = { text.at, text.at + text.len, b->by_word, NULL };
    struct piece_word w[QUEUE_WORDS];
    bool ok = true;
    bpe_begin(e->scratch, c.end);
    if (e->t->pattern)
        ok = pretok_pattern_split(e->t->pattern, text, encode_piece, e, err);
    else if (e->t->vocab.chars)
        for (size_t n; ok && c.at < c.end; c.at += n) {
            n = bpe_next_word(b, c.at, c.end);
            ok = bpe_encode(b, (struct bytes){ c.at, n }, e->scratch, e->out, err);
        }
    else
        for (size_t n; ok && (n = e->t->pre->cut(&c, w, QUEUE_WORDS)) > 0;)
            ok = bpe_encode_words(b, w, n, e->scratch, e->out, err);
    return ok && bpe_flush(b, e->scratch, e->out, err);
}

/* Vocabularies of characters: U+2581 in a text is a space like any other. */
static bool put_spaces(struct encoder *e, struct bytes *text, struct err *err)
{
    bool prefix = e->t->space_prefix;
    if (!prefix && !memmem(text->at, text->len, SPM_SPACE, strlen(SPM_SPACE)))
        return true;
    buf_clear(&e->spaced);
    buf_text(&e->spaced, prefix ? " " : "");
    vocab_put_spaces(&e->spaced, *text);
    *text = (struct bytes){ (const uint8_t *)e->spaced.at, e->spaced.len };
    return buf_ok(&e->spaced, err);
}

/* Text between raw added tokens: normalises it and looks for the other added tokens. */
static bool encode_segment(struct encoder *e, struct bytes text, struct err *err)
{
    struct bytes before;
    int64_t id;
    if (e->t->nfc && !unicode_is_nfc(text)) {
        buf_clear(&e->nfc);
        if (!unicode_to_nfc(text, &e->nfc, err))
            return false;
        text = (struct bytes){ (const uint8_t *)e->nfc.at, e->nfc.len };
    }
    if (e->t->vocab.chars && !put_spaces(e, &text, err))
        return false;
    if (!e->t->normal.n)
        return encode_plain(e, text, err);
    struct added_walk w = { .text = text, .parse_control = e->o.parse_special };
    while (added_next(&e->t->normal, &w, &before, &id)) {
        if (!encode_plain(e, before, err))
            return false;
        if (id != NO_TOKEN)
            ids_put(e->out, (uint32_t)id);
    }
    return true;
}

static bool encode_text(struct encoder *e, struct bytes text, struct err *err)
{
    struct added_walk w = { .text = text, .parse_control = e->o.parse_special };
    struct bytes before;
    int64_t id;
    while (added_next(&e->t->raw, &w, &before, &id)) {
        if (before.len && !encode_segment(e, before, err))
            return false;
        if (id != NO_TOKEN)
            ids_put(e->out, (uint32_t)id);
    }
    return true;
}

static void put_all(struct ids *out, const struct ids *more)
{
    for (size_t i = 0; i < more->n; i++)
        ids_put(out, more->at[i]);
}

bool tokenizer_encode(const struct tokenizer *t, struct bytes text, struct encode_options o,
                      struct ids *out, struct err *err)
{
    struct bpe_scratch own = { 0 };
    struct encoder e = { .t = t, .o = o, .out = out };
    e.scratch = bpe_pool_take(t->pool, t->vocab.n <= 1u << 16, &own);
    size_t n_before = out->n;
    if (o.add_special)
        put_all(out, &t->prefix);
    bool ok = !text.len || encode_text(&e, text, err);
    if (o.add_special)
        put_all(out, &t->suffix);
    if (ok && out->failed)
        ok = fail(err, ERR_MEMORY, "no memory for the tokens of %zu bytes of text", text.len);
    if (!ok)
        out->n = n_before;
    bpe_pool_give(t->pool, e.scratch, &own);
    buf_release(&e.nfc);
    buf_release(&e.spaced);
    return ok;
}

struct bytes tokenizer_token_bytes(const struct tokenizer *t, uint32_t id)
{
    return id < t->vocab.n ? vocab_bytes(&t->vocab, id) : (struct bytes){ 0 };
}

enum token_kind tokenizer_token_kind(const struct tokenizer *t, uint32_t id)
{
    return id < t->vocab.n ? (enum token_kind)t->vocab.tok[id].kind : TOKEN_UNUSED;
}

uint32_t tokenizer_size(const struct tokenizer *t)
{
    return t->vocab.n;
}

int64_t tokenizer_find(const struct tokenizer *t, const char *text)
{
    return vocab_find(&t->vocab, bytes_of(text));
}

struct tokenizer_info tokenizer_info(const struct tokenizer *t)
{
    return (struct tokenizer_info){
        .pre = t->pre->name, .nfc = t->nfc, .bos = t->bos, .eos = t->eos, .eot = t->eot,
        .pad = t->pad, .unk = t->unk, .add_bos = t->add_bos, .add_eos = t->add_eos,
        .chat_template = t->chat_template, .n_merges = t->bpe.n_merges };
}

const uint32_t *tokenizer_end_ids(const struct tokenizer *t, size_t *n)
{
    *n = t->ends.n;
    return t->ends.at;
}

/* Control tokens that end a turn, in the families seen so far. */
static const char *const end_texts[] = {
    "<|endofturn|>", "[|endofturn|]", "<|im_end|>", "<|endoftext|>", "<|eot_id|>",
    "<|eom_id|>", "<|end_of_text|>", "<|end_of_turn|>", "<end_of_turn>", "<turn|>", "<|end|>",
    "<|return|>", "<|stop|>"
};

void tokenizer_add_end(struct tokenizer *t, int64_t id)
{
    if (id >= 0 && id < t->vocab.n)
        ids_put(&t->ends, (uint32_t)id);
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

bool tokenizer_finish(struct tokenizer *t, struct err *err)
{
    for (size_t i = 0; i < sizeof end_texts / sizeof *end_texts; i++) {
        int64_t id = tokenizer_find(t, end_texts[i]);
        if (id != NO_TOKEN && t->vocab.tok[id].kind == TOKEN_CONTROL)
            tokenizer_add_end(t, id);
    }
    tokenizer_add_end(t, t->eos);
    tokenizer_add_end(t, t->eot);
    struct ids *e = &t->ends;
    if (e->failed || t->prefix.failed || t->suffix.failed)
        return fail(err, ERR_MEMORY, "no memory for the special tokens");
    size_t n = 0;
    if (e->n)
        qsort(e->at, e->n, sizeof *e->at, by_id);
    for (size_t i = 0; i < e->n; i++)
        if (!n || e->at[n - 1] != e->at[i])
            e->at[n++] = e->at[i];
    e->n = n;
    return true;
}
