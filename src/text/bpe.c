#include "text/bpe.h"

#include "format/format.h"
#include "text/bpe_cache_words.h"

static struct bytes bytes_of_whole(const struct bpe *b, const struct whole *w)
{
    return (struct bytes){ (const uint8_t *)b->vocab->blob.at + w->at, w->len };
}

/* The slot of the vocabulary token with these bytes, or a free one. */
static struct whole *find_whole(const struct bpe *b, struct bytes piece, uint64_t hash)
{
    struct whole *w = &b->whole[hash & b->whole_mask];
    while (w->id1 && !(w->hash == (uint32_t)(hash >> 32) &&
                       bytes_eq(bytes_of_whole(b, w), piece)))
        w = &b->whole[(size_t)(w - b->whole + 1) & b->whole_mask];
    return w;
}

bool bpe_init(struct bpe *b, const struct vocab *v, size_t n_merges, struct err *err)
{
    size_t n_slots = 64;
    while (n_slots < (size_t)v->n * 2)
        n_slots *= 2;
    *b = (struct bpe){ .vocab = v, .whole_mask = n_slots - 1, .unk = NO_TOKEN };
    b->stage_two = UINT32_MAX;
    b->whole = mem_take(n_slots, sizeof *b->whole);
    if (!b->whole || !pair_map_init(&b->merges, n_merges)) {
        bpe_release(b);
        return fail(err, ERR_MEMORY, "no memory for %zu merges", n_merges);
    }
    for (uint32_t id = 0; id < v->n; id++) {
        const struct token *t = &v->tok[id];
        if (!t->used || t->added || t->byte || !t->bytes_len)
            continue;
        uint64_t hash = hash_bytes(vocab_bytes(v, id), 0);
        struct whole *w = find_whole(b, vocab_bytes(v, id), hash);
        *w = (struct whole){ (uint32_t)(hash >> 32), id + 1, t->bytes_at, t->bytes_len };
    }
    return true;
}

void bpe_release(struct bpe *b)
{
    mem_give(b->whole);
    mem_give(b->start);
    bpe_ranks_release(&b->ranks);
    pair_map_release(&b->merges);
    pair_map_release(&b->later);
    bpe_cuts_release(&b->word_cuts);
    bpe_cuts_release(&b->later_cuts);
    spm_release(&b->spm);
    *b = (struct bpe){ 0 };
}

static bool missing(const char *what, struct bytes text, struct err *err)
{
    return fail(err, ERR_FORMAT, "its %s \"%s\" is not in the vocabulary", what, SHOW(text));
}

bool bpe_add_merge(struct bpe *b, struct bytes left, struct bytes right, struct err *err)
{
    uint8_t both[2 * MAX_TOKEN_BYTES];
    int64_t l = vocab_find(b->vocab, left), r = vocab_find(b->vocab, right);
    if (l == NO_TOKEN)
        return missing("left part", left, err);
    if (r == NO_TOKEN)
        return missing("right part", right, err);
    memcpy(both, left.at, left.len);      /* a token's text, so within the limit */
    memcpy(both + left.len, right.at, right.len);
    struct bytes joined = { both, left.len + right.len };
    int64_t id = vocab_find(b->vocab, joined);
    if (id == NO_TOKEN)
        return missing("result", joined, err);
    if (!pair_map_put(&b->merges, (uint32_t)l, (uint32_t)r, b->n_merges++, (uint32_t)id))
        return fail(err, ERR_MEMORY, "no memory for %u merges", b->n_merges);
    return true;
}

bool bpe_score(struct bpe *b, const float *score, struct err *err)
{
    return spm_init(&b->spm, b->vocab, score, err);
}

struct pair_slot *bpe_take_merges(const struct bpe *b)
{
    struct pair_slot *all = mem_take(b->n_merges + 1, sizeof *all);
    for (uint32_t i = 0; all && i < b->n_merges; i++)
        all[i].key = PAIR_EMPTY;
    for (uint64_t i = 0; all && i <= b->merges.mask; i++)
        if (b->merges.slot[i].key != PAIR_EMPTY)
            all[b->merges.slot[i].a] = b->merges.slot[i];
    return all;
}

/* Appends one symbol for each byte that has a token, or for each character. */
static void put_symbols(const struct bpe *b, struct bytes piece, struct ids *out)
{
    if (b->vocab->chars) {
        bpe_put_chars(b, piece, out);
        return;
    }
    for (size_t i = 0; i < piece.len; i++) {
        int64_t k = b->vocab->byte_id[piece.at[i]];
        if (k == NO_TOKEN)
            k = b->unk;
        if (k != NO_TOKEN)
            out->at[out->n++] = (uint32_t)k;
    }
}

static bool reach(struct ids *out, struct bytes piece, struct err *err)
{
    return ids_reach(out, piece.len) ||
           fail(err, ERR_MEMORY, "no memory for the tokens of %zu bytes", piece.len);
}

/* Adds the token that has the bytes of the whole piece, if there is one. */
static bool put_whole(const struct bpe *b, struct bytes piece, struct ids *out)
{
    uint32_t id1 = find_whole(b, piece, hash_bytes(piece, 0))->id1;
    if (id1)
        ids_put(out, id1 - 1);
    return id1;
}

/* A word that is not in the cache. */
static bool merge_word(const struct bpe *b, struct bytes word, struct bpe_scratch *s,
                       struct ids *out, struct err *err)
{
    size_t from = out->n;
    if (b->ignore_merges && put_whole(b, word, out))
        return true;
    if (!reach(out, word, err))
        return false;
    if (b->ranks.slot && !bpe_merge_word(b, word, s, out, err))
        return false;
    if (out->n > from)
        return true;
    put_symbols(b, word, out);
    return bpe_merge(b, STAGE_WORD, out, from, s, err) &&
           (!b->vocab->chars || bpe_place_loose(b, out, from, err));
}

static bool encode_word(const struct bpe *b, const struct bpe_word *w, struct bpe_scratch *s,
                        struct ids *out, struct err *err)
{
    size_t from = out->n;
    if (bpe_cache_find(s, w, out))
        return true;
    if (!merge_word(b, w->word.text, s, out, err))
        return false;
    bpe_cache_keep(s, w, out, from);
    return true;
}

/* Whether merges may join any two neighbours. */
static inline bool some_joined(const struct bpe_cuts *c, const uint32_t *id, size_t n)
{
    uint64_t any = 0;
    for (size_t i = 1; i < n; i++) {
        uint64_t bit = bpe_cuts_bit(c, id[i - 1], id[i]);
        any |= c->joined[bit >> 6] >> (bit & 63);
    }
    return any & 1;
}

/* The last word of a piece is done: merges across its words. */
static bool end_piece(const struct bpe *b, struct bpe_scratch *s, struct ids *out,
                      struct err *err)
{
    size_t n = out->n - s->piece_from;
    s->inside = false;
    bool done = !b->later.slot || n < 2 || (s->piece_words == 1 && !b->later_inside);
    done = done || (b->later_cuts.joined &&
                    !some_joined(&b->later_cuts, out->at + s->piece_from, n));
    return done || bpe_merge(b, STAGE_LATER, out, s->piece_from, s, err);
}

bool bpe_flush(const struct bpe *b, struct bpe_scratch *s, struct ids *out, struct err *err)
{
    for (unsigned i = 0; i < s->n_words; i++) {
        if (!s->inside) {
            s->inside = true;
            s->piece_from = out->n;
            s->piece_words = 0;
        }
        s->piece_words++;
        if (!encode_word(b, &s->word[i], s, out, err) ||
            (s->word[i].word.ends_piece && !end_piece(b, s, out, err)))
            return false;
    }
    s->n_words = 0;
    return true;
}

void bpe_begin(struct bpe_scratch *s, const uint8_t *text_end)
{
    s->text_end = text_end;
    s->n_words = 0;
    s->inside = false;
}

bool bpe_encode_words(const struct bpe *b, const struct piece_word *w, size_t n,
                      struct bpe_scratch *s, struct ids *out, struct err *err)
{
    if (s->n_words + n > QUEUE_WORDS && !bpe_flush(b, s, out, err))
        return false;
    for (size_t i = 0; i < n; i++)
        bpe_cache_queue(s, w[i]);
    return true;
}

bool bpe_encode(const struct bpe *b, struct bytes piece, struct bpe_scratch *s,
                struct ids *out, struct err *err)
{
    const uint8_t *at = piece.at, *end = at + piece.len, *stop;
    for (; at < end; at = stop) {
        stop = b->by_word ? word_end(at, end) : end;
        struct piece_word w = { { at, (size_t)(stop - at) }, stop == end };
        if (!bpe_encode_words(b, &w, 1, s, out, err))
            return false;
    }
    return true;
}
