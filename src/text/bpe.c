#include "text/bpe.h"

#include "format/format.h"

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
    b->whole = mem_take(n_slots, sizeof *b->whole);
    b->whole_state = mem_take(v->n + 1, sizeof *b->whole_state);
    if (!b->whole || !b->whole_state || !pair_map_init(&b->merges, n_merges)) {
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
    mem_give((void *)b->whole_state);
    pair_map_release(&b->merges);
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

enum { MIN_CACHED_TEXT = 2048, MAX_CACHE_LINES = 1 << 15 };

void bpe_scratch_init(struct bpe_scratch *s, size_t text_len)
{
    size_t n = 256;
    *s = (struct bpe_scratch){ 0 };
    if (text_len < MIN_CACHED_TEXT)
        return;
    while (n < MAX_CACHE_LINES && n < text_len / 8)
        n *= 2;
    s->cache = mem_take(n, sizeof *s->cache);
    s->cache_mask = n - 1;
}

void bpe_scratch_release(struct bpe_scratch *s)
{
    mem_give(s->sym);
    mem_give(s->heap);
    mem_give(s->cache);
    *s = (struct bpe_scratch){ 0 };
}

/*
 * Tokens that hold the end of one word and the start of the next have in their bytes a
 * space after something that is no space.  So does a text where it may be cut.
 */
static bool is_cut(const uint8_t *at)
{
    return at[0] == ' ' && at[-1] > ' ';
}

static bool crosses_words(struct bytes b)
{
    for (size_t i = 1; i < b.len; i++)
        if (is_cut(b.at + i))
            return true;
    return false;
}

/*
 * Whether no merge of rank below `stage_two` uses what a later merge makes.  An added
 * token is never taken for what merges make: its bytes are not those of its parts.
 */
static bool stages_apart(const struct bpe *b, uint32_t stage_two, uint8_t *late)
{
    const struct pair_map *m = &b->merges;
    for (uint64_t i = 0; i <= m->mask; i++) {
        if (m->slot[i].key == PAIR_EMPTY)
            continue;
        if (b->vocab->tok[m->slot[i].b].added)
            return false;
        late[m->slot[i].b] |= m->slot[i].a >= stage_two;
    }
    for (uint64_t i = 0; i <= m->mask; i++) {
        uint64_t key = m->slot[i].key;
        if (key != PAIR_EMPTY && m->slot[i].a < stage_two &&
            (late[key >> 32] || late[key & UINT32_MAX]))
            return false;
    }
    return true;
}

bool bpe_finish(struct bpe *b, struct err *err)
{
    const struct pair_map *m = &b->merges;
    uint32_t stage_two = UINT32_MAX;
    for (uint64_t i = 0; i <= m->mask; i++)
        if (m->slot[i].key != PAIR_EMPTY && m->slot[i].a < stage_two &&
            crosses_words(vocab_bytes(b->vocab, m->slot[i].b)))
            stage_two = m->slot[i].a;
    if (stage_two == UINT32_MAX || stage_two < b->n_merges / 2)
        return true;
    for (int byte = 0; byte < 256; byte++)
        if (b->vocab->byte_id[byte] == NO_TOKEN)
            return true;
    uint8_t *late = mem_take(b->vocab->n, 1);
    if (!late)
        return fail(err, ERR_MEMORY, "no memory to look at %u merges", b->n_merges);
    if (stages_apart(b, stage_two, late))
        b->stage_two = stage_two;
    mem_give(late);
    return true;
}

/* Appends one symbol for each byte that has a token, or for each character. */
static bool put_symbols(const struct bpe *b, struct bytes piece, struct ids *out,
                        struct err *err)
{
    if (!ids_reach(out, piece.len))
        return fail(err, ERR_MEMORY, "no memory for the tokens of %zu bytes", piece.len);
    if (b->vocab->chars) {
        bpe_put_chars(b, piece, out);
        return true;
    }
    for (size_t i = 0; i < piece.len; i++) {
        int64_t k = b->vocab->byte_id[piece.at[i]];
        if (k == NO_TOKEN)
            k = b->unk;
        if (k != NO_TOKEN)
            out->at[out->n++] = (uint32_t)k;
    }
    return true;
}

/* Where the word that starts at `at` ends. */
static const uint8_t *end_of_word(const uint8_t *at, const uint8_t *end)
{
    for (at++; at < end && !is_cut(at); at++)
        ;
    return at;
}

static void put_line(struct ids *out, const struct bpe_line *line)
{
    if (out->cap - out->n < 8) {
        for (unsigned i = 0; i < line->n; i++)
            ids_put(out, line->id[i]);
        return;
    }
    memcpy(out->at + out->n, line->id, sizeof line->id);   /* the tail is overwritten next */
    out->n += line->n;
}

static void keep_line(struct bpe_line *line, uint8_t tag, struct bytes piece,
                      const struct ids *out, size_t before)
{
    size_t n = out->n - before;
    if (out->failed || !n || n > sizeof line->id / sizeof *line->id)
        return;
    line->n = (uint8_t)n;
    line->tag = tag;
    memcpy(line->id, out->at + before, n * sizeof *line->id);
    memcpy(line->key, piece.at, piece.len);
}

/* The line where the piece belongs, or NULL for a long one; *hit: it is there. */
static struct bpe_line *find_line(const struct bpe_scratch *s, struct bytes piece,
                                  uint64_t hash, uint8_t tag, bool *hit)
{
    *hit = false;
    if (!s->cache || piece.len > sizeof s->cache->key)
        return NULL;
    struct bpe_line *line = &s->cache[(hash >> 40 ^ tag) & s->cache_mask];
    *hit = line->tag == tag && !memcmp(line->key, piece.at, piece.len);
    return line;
}

/* The first stage: one word, by the merges that stay inside words. */
static bool encode_word(const struct bpe *b, struct bytes word, struct bpe_scratch *s,
                        struct ids *out, struct err *err)
{
    bool hit;
    size_t before = out->n;
    uint8_t tag = (uint8_t)(word.len | LINE_STAGE_ONE);
    struct bpe_line *line = find_line(s, word, hash_bytes(word, 0), tag, &hit);
    if (hit) {
        put_line(out, line);
        return true;
    }
    if (!put_symbols(b, word, out, err) || !bpe_merge(b, b->stage_two, out, before, s, err))
        return false;
    if (line)
        keep_line(line, tag, word, out, before);
    return true;
}

/* By merging; whole: the token with these bytes, if there is one. */
static bool encode_by_merges(const struct bpe *b, struct bytes piece, const struct whole *whole,
                             struct bpe_scratch *s, struct ids *out, struct err *err)
{
    size_t before = out->n;
    const uint8_t *at = piece.at, *end = at + piece.len, *stop;
    for (; b->stage_two && at < end; at = stop) {
        stop = end_of_word(at, end);
        if (!encode_word(b, (struct bytes){ at, (size_t)(stop - at) }, s, out, err))
            return false;
    }
    if (!b->stage_two && !put_symbols(b, piece, out, err))
        return false;
    if (!bpe_merge(b, UINT32_MAX, out, before, s, err))
        return false;
    if (b->vocab->chars && !bpe_place_loose(b, out, before, err))
        return false;
    if (whole->id1) {
        bool alone = out->n == before + 1 && out->at[before] == whole->id1 - 1;
        b->whole_state[whole->id1 - 1] = alone ? WHOLE_YES : WHOLE_NO;
    }
    return true;
}

bool bpe_encode(const struct bpe *b, struct bytes piece, struct bpe_scratch *s,
                struct ids *out, struct err *err)
{
    uint64_t hash = hash_bytes(piece, 0);
    uint8_t tag = (uint8_t)piece.len;
    size_t before = out->n;
    bool hit;
    struct bpe_line *line = find_line(s, piece, hash, tag, &hit);
    if (hit) {
        put_line(out, line);
        return true;
    }
    const struct whole *whole = find_whole(b, piece, hash);
    if (whole->id1 && (b->ignore_merges || b->whole_state[whole->id1 - 1] == WHOLE_YES))
        ids_put(out, whole->id1 - 1);
    else if (!encode_by_merges(b, piece, whole, s, out, err))
        return false;
    if (line)
        keep_line(line, tag, piece, out, before);
    return true;
}
