/*
 * bpe_start: the symbols that merging a word may start from.
 *
 * A character of two or three bytes is one symbol from the start where its bytes merge to one
 * token by themselves, and no merge that takes one of its bytes to the outside, or takes the
 * whole, ranks before the last of those merges.  Merges inside it can be done from the
 * beginning; so until it is whole, nothing of a rank above that last one happens.  What could
 * come before joins a part of it, its first bytes or its last, with what ends or begins with
 * the byte next to it: the least rank of such merges is known for each pair of bytes.
 */
#include "text/bpe.h"

#include "text/unicode.h"

enum { LEAD = 0xC0, TAIL = 0x80 };

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

/* The start of a character by its bytes. */
static struct bpe_start start_of(const struct bpe *b, const uint32_t *used, struct bytes c)
{
    uint32_t id[4], most = 0;
    unsigned n = (unsigned)c.len;
    for (unsigned i = 0; i < n; i++) {
        if (b->vocab->byte_id[c.at[i]] == NO_TOKEN)
            return (struct bpe_start){ BPE_NO_START, 0 };
        id[i] = (uint32_t)b->vocab->byte_id[c.at[i]];
    }
    while (n > 1) {
        struct pair_slot m = { 0 };
        unsigned at = next_merge(b, id, n, &m);
        if (at == n)
            return (struct bpe_start){ BPE_NO_START, 0 };
        most = m.a > most ? m.a : most;
        id[at] = m.b;
        n--;
        for (unsigned i = at + 1; i < n; i++)
            id[i] = id[i + 1];
    }
    return (struct bpe_start){ used[id[0]] > most ? b->ranks.number[id[0]] : BPE_NO_START, most };
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
    find_crossing(b, used);
    for (uint32_t id = 0; id < v->n; id++) {
        struct bytes c = vocab_bytes(v, id);
        if (!v->tok[id].used || v->tok[id].added || c.len < 2 || c.len > 3)
            continue;
        struct unit u = unit_at(c.at, c.at + c.len);
        if (u.cp < BPE_N_START && u.len == c.len)
            b->start->of[u.cp] = start_of(b, used, c);
    }
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

size_t bpe_put_start(const struct bpe *b, struct bytes word, uint32_t *number)
{
    const uint8_t *at = word.at, *end = at + word.len;
    uint32_t *to = number;
    bool missing = false;
    while (at < end) {
        unsigned len = 1;
        if (*at < 0x80) {
            missing |= b->vocab->byte_id[*at] == NO_TOKEN;
            *to++ = *at++;
            continue;
        }
        uint32_t cp = utf8_decode_wide(at, end, &len);
        struct bpe_start s = { BPE_NO_START, 0 };
        if (cp < BPE_N_START)
            s = b->start->of[cp];
        if (s.number != BPE_NO_START && starts_whole(b->start, word, at, len, s.rank)) {
            *to++ = s.number;
            at += len;
            continue;
        }
        for (; len > 0; len--) {
            missing |= b->vocab->byte_id[*at] == NO_TOKEN;
            *to++ = *at++;
        }
    }
    return missing ? 0 : (size_t)(to - number);
}
