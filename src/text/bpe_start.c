/*
 * bpe_start: the symbols that merging a word may start from.
 *
 * Some bytes are one symbol from the start where they merge to one token by themselves, and no
 * merge that takes a part of them to the outside, or takes the whole, ranks before the last of
 * those merges.  Merges inside them can be done from the beginning; so until they are whole,
 * nothing of a rank above that last one happens.  Three kinds of bytes are looked at:
 *
 * A character of two or three bytes.  What could come before joins its first bytes or its last
 * with what ends or begins with the byte next to it: the least rank of such merges is known for
 * each pair of bytes.
 *
 * The space that begins a word, and such a character.  Many vocabularies join the space with
 * the first byte, so that the character is no symbol at any time.
 *
 * Two bytes below 0x80, between any two neighbours.  What could come before takes the first of
 * them alone to the left, or the second alone to the right.  Both depend on two bytes next to
 * each other, as does the merge itself, so one table is asked once for each byte of a word, and
 * no step waits for another; half of the merges of such words are done then.  Two such pairs
 * never overlap: each would have to rank before the other.
 */
#include "text/bpe.h"

#include "text/unicode.h"

enum { LEAD = 0xC0, TAIL = 0x80, N_BYTES = 256 };

/* Where the ranks of struct bpe_starts.pair are. */
enum { PAIR_BEFORE = 16, PAIR_AFTER = 32 };

/* What only the first bytes of a character are: how many more there must be; 0: it is not. */
static size_t missing_bytes(struct bytes b)
{
    size_t len = b.at[0] >= 0xF0 ? 4 : b.at[0] >= 0xE0 ? 3 : b.at[0] >= LEAD ? 2 : 1;
    return b.len < len ? len - b.len : 0;
}

static bool is_tail(struct bytes b)
{
    for (size_t i = 0; i < b.len; i++)
        if ((b.at[i] & 0xC0) != TAIL)
            return false;
    return true;
}

static void lower(uint32_t *rank, uint32_t by)
{
    *rank = by < *rank ? by : *rank;
}

/* Lowers the rank at bit `at`; one that has no place in 16 bits stands for none. */
static void lower_16(uint64_t *ranks, unsigned at, uint32_t by)
{
    if (by < (uint16_t)(*ranks >> at))
        *ranks = (*ranks & ~((uint64_t)UINT16_MAX << at)) | (uint64_t)by << at;
}

/* used: for each token the least rank of a merge that takes it. */
static void find_crossing(struct bpe *b, uint32_t *used)
{
    struct bpe_starts *s = b->start;
    memset(used, 255, b->vocab->n * sizeof *used);
    for (uint64_t i = 0; i <= b->merges.mask; i++) {
        struct pair_slot m = b->merges.slot[i];
        if (m.key == PAIR_EMPTY || m.a >= b->stage_two)
            continue;
        struct bytes left = vocab_bytes(b->vocab, (uint32_t)(m.key >> 32));
        struct bytes right = vocab_bytes(b->vocab, (uint32_t)m.key);
        lower(&used[m.key >> 32], m.a);
        lower(&used[m.key & UINT32_MAX], m.a);
        if (!left.len || !right.len)
            continue;
        uint8_t last = left.at[left.len - 1], first = right.at[0];
        if (right.len == 1)
            lower_16(&s->pair[last][first], PAIR_BEFORE, m.a);
        if (left.len == 1)
            lower_16(&s->pair[last][first], PAIR_AFTER, m.a);
        if (missing_bytes(right))
            lower(&s->before[last][first - LEAD], m.a);
        if (is_tail(left))
            lower(&s->after[last - TAIL][first], m.a);
    }
}

/* The least merge inside id[0..n): its place; n if there is none. */
static unsigned next_merge(const struct bpe *b, const uint32_t *id, unsigned n,
                           struct pair_slot *m)
{
    unsigned best = n;
    for (unsigned i = 0; i + 1 < n; i++) {
        const struct pair_slot *s = pair_map_find(&b->merges, id[i], id[i + 1]);
        if (s && s->a < b->stage_two && (best == n || s->a < m->a)) {
            *m = *s;
            best = i;
        }
    }
    return best;
}

/* The start of two to four bytes. */
static struct bpe_start start_of(const struct bpe *b, const uint32_t *used, struct bytes c)
{
    const struct bpe_start none = { BPE_NO_START, 0 };
    uint32_t id[4], most = 0;
    unsigned n = (unsigned)c.len;
    for (unsigned i = 0; i < n; i++) {
        if (b->vocab->byte_id[c.at[i]] == NO_TOKEN)
            return none;
        id[i] = (uint32_t)b->vocab->byte_id[c.at[i]];
    }
    while (n > 1) {
        struct pair_slot m = { 0 };
        unsigned at = next_merge(b, id, n, &m);
        if (at == n)
            return none;
        struct bytes right = vocab_bytes(b->vocab, id[at + 1]);
        if (right.at[0] >= LEAD && !missing_bytes(right) && used[id[at + 1]] < m.a)
            return none;                  /* the character behind a space goes elsewhere */
        most = m.a > most ? m.a : most;
        id[at] = m.b;
        n--;
        for (unsigned i = at + 1; i < n; i++)
            id[i] = id[i + 1];
    }
    return (struct bpe_start){ used[id[0]] > most ? b->ranks.number[id[0]] : BPE_NO_START, most };
}

/* The characters that are tokens, and those with a space before them. */
static void put_characters(struct bpe *b, const uint32_t *used)
{
    const struct vocab *v = b->vocab;
    for (uint32_t id = 0; id < v->n; id++) {
        struct bytes c = vocab_bytes(v, id);
        if (!v->tok[id].used || v->tok[id].added || c.len < 2 || c.len > 4)
            continue;
        unsigned space = c.at[0] == ' ';
        struct unit u = unit_at(c.at + space, c.at + c.len);
        if (u.cp < BPE_N_START && u.len > 1 && u.len + space == c.len)
            (space ? b->start->spaced : b->start->of)[u.cp] = start_of(b, used, c);
    }
}

/* Two bytes; there is one merge that makes them, so the number of their token follows from it. */
static void put_pairs(struct bpe *b, const uint32_t *used)
{
    for (unsigned i = 0; i < TAIL * TAIL; i++) {
        uint8_t c[2] = { (uint8_t)(i / TAIL), (uint8_t)(i % TAIL) };
        struct bpe_start s = start_of(b, used, (struct bytes){ c, 2 });
        if (s.number != BPE_NO_START)
            lower_16(&b->start->pair[c[0]][c[1]], 0, s.rank);
    }
}

bool bpe_start_build(struct bpe *b)
{
    const struct vocab *v = b->vocab;
    uint32_t *used = mem_take(v->n + 1u, sizeof *used);
    b->start = used ? mem_take(1, sizeof *b->start) : NULL;
    if (!b->start) {
        mem_give(used);
        return false;
    }
    memset(b->start, 255, sizeof *b->start);
    b->start->some_missing = false;
    for (int c = 0; c < N_BYTES; c++)
        b->start->some_missing |= v->byte_id[c] == NO_TOKEN;
    find_crossing(b, used);
    put_characters(b, used);
    put_pairs(b, used);
    mem_give(used);
    return true;
}

/* Whether the character at `at` can start as one symbol between its neighbours. */
static inline bool starts_whole(const struct bpe_starts *s, struct bytes word, const uint8_t *at,
                                unsigned len, uint32_t rank)
{
    const uint8_t *next = at + len;
    return (at == word.at || s->before[at[-1]][at[0] - LEAD] > rank) &&
           (next == word.at + word.len || s->after[next[-1] - TAIL][next[0]] > rank);
}

/* As utf8_decode_wide(), but surrogates are characters. */
static inline uint32_t decode(const uint8_t *at, const uint8_t *end, unsigned *len)
{
    if (end - at > 2 && (at[0] & 0xF0) == 0xE0 && (at[1] & 0xC0) == TAIL &&
        (at[2] & 0xC0) == TAIL) {
        uint32_t cp = (at[0] & 15u) << 12 | (at[1] & 63u) << 6 | (at[2] & 63u);
        *len = 3;
        if (cp >= 0x800)
            return cp;
    }
    return utf8_decode_wide(at, end, len);
}

/* What is left of a word, and where its next symbol goes. */
struct todo {
    const uint8_t *at;
    uint32_t *to;
};

/* The space and the character that a word begins with, where they start as one symbol. */
static inline struct todo put_spaced(const struct bpe_starts *s, struct bytes word,
                                     struct todo t)
{
    const uint8_t *end = word.at + word.len;
    unsigned len;
    if (word.len < 3 || t.at[0] != ' ' || t.at[1] < LEAD)
        return t;
    uint32_t cp = decode(t.at + 1, end, &len);
    const uint8_t *next = t.at + 1 + len;
    struct bpe_start start = { BPE_NO_START, 0 };
    if (cp < BPE_N_START)
        start = s->spaced[cp];
    if (start.number == BPE_NO_START ||
        (next < end && s->after[next[-1] - TAIL][next[0]] <= start.rank))
        return t;
    *t.to = start.number;
    return (struct todo){ next, t.to + 1 };
}

/* The byte at t->at, with the next one where they start as one symbol; by what the table says
 * of the two, and of the pairs before and after.  second: it is that next one, and gone. */
static inline void put_plain(struct todo *t, uint64_t before, uint64_t now, uint64_t after,
                             bool *second)
{
    uint16_t rank = (uint16_t)now;
    bool joined = (rank < (uint16_t)(before >> PAIR_BEFORE)) &
                  (rank < (uint16_t)(after >> PAIR_AFTER));
    *t->to = joined ? N_BYTES + (uint32_t)rank : *t->at;
    t->to += !*second;                    /* else it is overwritten */
    t->at++;
    *second = joined;
}

/* The bytes below 0x80 from t.at on. */
static inline struct todo put_ascii(const struct bpe_starts *s, struct bytes word, struct todo t)
{
    const uint8_t *end = word.at + word.len;
    const uint64_t none = UINT64_MAX;
    uint64_t before = t.at > word.at ? s->pair[t.at[-1]][t.at[0]] : none;
    uint64_t now = t.at + 1 < end ? s->pair[t.at[0]][t.at[1]] : none;
    bool second = false;
    while (t.at + 2 < end && *t.at < TAIL) {
        uint64_t after = s->pair[t.at[1]][t.at[2]];
        put_plain(&t, before, now, after, &second);
        before = now;
        now = after;
    }
    while (t.at < end && *t.at < TAIL) {
        put_plain(&t, before, now, none, &second);
        before = now;
        now = none;
    }
    return t;
}

/* The character at t.at, or its bytes. */
static inline struct todo put_wide(const struct bpe_starts *s, struct bytes word, struct todo t)
{
    unsigned len;
    uint32_t cp = decode(t.at, word.at + word.len, &len);
    struct bpe_start start = { BPE_NO_START, 0 };
    if (cp < BPE_N_START)
        start = s->of[cp];
    if (start.number != BPE_NO_START && starts_whole(s, word, t.at, len, start.rank)) {
        *t.to = start.number;
        return (struct todo){ t.at + len, t.to + 1 };
    }
    for (; len > 0; len--)
        *t.to++ = *t.at++;
    return t;
}

size_t bpe_put_start(const struct bpe *b, struct bytes word, uint32_t *number)
{
    const struct bpe_starts *s = b->start;
    struct todo t = { word.at, number };
    for (size_t i = 0; s->some_missing && i < word.len; i++)
        if (b->vocab->byte_id[word.at[i]] == NO_TOKEN)
            return 0;
    t = put_spaced(s, word, t);
    while (t.at < word.at + word.len)
        t = *t.at < TAIL ? put_ascii(s, word, t) : put_wide(s, word, t);
    return (size_t)(t.to - number);
}
