/*
 * bpe_start: the characters from which merging may start instead of from their bytes.
 *
 * Most characters of three bytes become one token before anything else can happen to them.
 * That is so for a character c if, in every state on the way from its bytes to its token,
 * with r the rank of the next merge inside c,
 *   - each merge of c's first symbol with one on its left, and of its last with one on its
 *     right, ranks after r, and
 *   - so does, for the greatest r on the way, each merge of c's token.
 * Then plain merging never does anything across c's ends before c is one symbol, nor would
 * the symbol have been used earlier had it been there: starting from it gives the same.
 * Tokens that begin with a space and go on with the first byte of a character are common; so
 * left neighbours that end in a space are looked at apart.
 */
#include "text/bpe.h"

#include "text/unicode.h"

/* For each token the least rank of a merge that uses it. */
struct edges {
    uint32_t *as_left;
    uint32_t *as_right[2];                /* of a left neighbour that ends in no space; in one */
};

static void find_edges(const struct bpe *b, struct edges *e)
{
    for (uint64_t i = 0; i <= b->merges.mask; i++) {
        struct pair_slot m = b->merges.slot[i];
        if (m.key == PAIR_EMPTY || m.a >= b->stage_two)
            continue;
        uint32_t left = (uint32_t)(m.key >> 32), right = (uint32_t)m.key;
        struct bytes t = vocab_bytes(b->vocab, left);
        uint32_t *r = &e->as_right[t.len && t.at[t.len - 1] == ' '][right];
        *r = m.a < *r ? m.a : *r;
        if (m.a < e->as_left[left])
            e->as_left[left] = m.a;
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

/* The start of a character by its bytes, with BPE_AFTER_SPACE; or BPE_NO_START. */
static uint32_t start_of(const struct bpe *b, const struct edges *e, struct bytes c)
{
    uint32_t id[4], most = 0;
    bool after_space = true;
    unsigned n = (unsigned)c.len;
    for (unsigned i = 0; i < n; i++) {
        id[i] = (uint32_t)b->vocab->byte_id[c.at[i]];
        if (b->vocab->byte_id[c.at[i]] == NO_TOKEN)
            return BPE_NO_START;
    }
    while (n > 1) {
        struct pair_slot m = { 0 };
        unsigned at = next_merge(b, id, n, &m);
        if (at == n || e->as_left[id[n - 1]] <= m.a || e->as_right[0][id[0]] <= m.a)
            return BPE_NO_START;
        after_space = after_space && e->as_right[1][id[0]] > m.a;
        most = m.a > most ? m.a : most;
        id[at] = m.b;
        n--;
        for (unsigned i = at + 1; i < n; i++)
            id[i] = id[i + 1];
    }
    if (e->as_left[id[0]] <= most || e->as_right[0][id[0]] <= most)
        return BPE_NO_START;
    after_space = after_space && e->as_right[1][id[0]] > most;
    return id[0] | (after_space ? BPE_AFTER_SPACE : 0);
}

static void fill(struct bpe *b, const struct edges *e)
{
    const struct vocab *v = b->vocab;
    for (uint32_t id = 0; id < v->n; id++) {
        struct bytes c = vocab_bytes(v, id);
        if (!v->tok[id].used || v->tok[id].added || c.len < 2 || c.len > 3)
            continue;
        struct unit u = unit_at(c.at, c.at + c.len);
        if (u.cp < BPE_N_START && u.len == c.len)
            b->start[u.cp] = start_of(b, e, c);
    }
}

bool bpe_start_build(struct bpe *b)
{
    size_t n = b->vocab->n;
    uint32_t *all = mem_take(3 * n + 1, sizeof *all);
    b->start = mem_take(BPE_N_START, sizeof *b->start);
    if (all && b->start) {
        struct edges e = { all, { all + n, all + 2 * n } };
        memset(all, 255, 3 * n * sizeof *all);
        memset(b->start, 255, BPE_N_START * sizeof *b->start);
        find_edges(b, &e);
        fill(b, &e);
    }
    bool ok = all && b->start;
    mem_give(all);
    return ok;
}

void bpe_start_number(struct bpe *b)
{
    for (uint32_t cp = 0; cp < BPE_N_START; cp++) {
        uint32_t s = b->start[cp];
        if (s != BPE_NO_START)
            b->start[cp] = b->ranks.number[s & ~BPE_AFTER_SPACE] | (s & BPE_AFTER_SPACE);
    }
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
        uint32_t s = cp < BPE_N_START && len > 1 ? b->start[cp] : BPE_NO_START;
        bool after_space = at > word.at && at[-1] == ' ';
        if (s != BPE_NO_START && (!after_space || (s & BPE_AFTER_SPACE))) {
            *to++ = s & ~BPE_AFTER_SPACE;
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
