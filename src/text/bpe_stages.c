/*
 * bpe_stages: what the list of merges allows, found out when it is complete.
 *
 * Tokens that hold the end of one word and the start of the next (piece_words.h) have a space
 * that begins a word in their bytes, behind the first.  Where no merge makes such a token, words
 * can be merged one by one.  Where some do, those below the first of them can be, if they do not
 * need what it or a later one makes.
 */
#include "text/bpe.h"

enum { LEAST_SHARE = 8 };                 /* 1/8 of the merges must be below stage two */

static bool crosses_words(struct bytes b)
{
    for (size_t i = 1; i < b.len; i++)
        if (word_ends_at(b.at + i))
            return true;
    return false;
}

static bool has_all_bytes(const struct bpe *b)
{
    for (int byte = 0; byte < 256; byte++)
        if (b->vocab->byte_id[byte] == NO_TOKEN)
            return false;
    return true;
}

/* Whether merging works on bytes as they are: no merge takes or makes an added token, whose
 * bytes are not those of its parts. */
static bool is_clean(const struct bpe *b)
{
    const struct pair_map *m = &b->merges;
    const struct token *tok = b->vocab->tok;
    for (uint64_t i = 0; i <= m->mask; i++)
        if (m->slot[i].key != PAIR_EMPTY &&
            (tok[m->slot[i].b].added || tok[m->slot[i].key >> 32].added ||
             tok[m->slot[i].key & UINT32_MAX].added))
            return false;
    return true;
}

/* The rank of the first merge that crosses words; UINT32_MAX: none does. */
static uint32_t first_across(const struct bpe *b)
{
    const struct pair_map *m = &b->merges;
    uint32_t rank = UINT32_MAX;
    for (uint64_t i = 0; i <= m->mask; i++)
        if (m->slot[i].key != PAIR_EMPTY && m->slot[i].a < rank &&
            crosses_words(vocab_bytes(b->vocab, m->slot[i].b)))
            rank = m->slot[i].a;
    return rank;
}

/* Whether no merge of rank below `stage_two` uses what a later merge makes. */
static bool stages_apart(const struct bpe *b, uint32_t stage_two, uint8_t *late)
{
    const struct pair_map *m = &b->merges;
    for (uint64_t i = 0; i <= m->mask; i++)
        if (m->slot[i].key != PAIR_EMPTY)
            late[m->slot[i].b] |= m->slot[i].a >= stage_two;
    for (uint64_t i = 0; i <= m->mask; i++) {
        uint64_t key = m->slot[i].key;
        if (key != PAIR_EMPTY && m->slot[i].a < stage_two &&
            (late[key >> 32] || late[key & UINT32_MAX]))
            return false;
    }
    return true;
}

/* The table of the merges from stage_two. */
static bool put_later(struct bpe *b)
{
    const struct pair_map *m = &b->merges;
    if (!pair_map_init(&b->later, b->n_merges - b->stage_two))
        return false;
    for (uint64_t i = 0; i <= m->mask; i++) {
        struct pair_slot s = m->slot[i];
        if (s.key == PAIR_EMPTY || s.a < b->stage_two)
            continue;
        b->later_inside |= !crosses_words(vocab_bytes(b->vocab, s.b));
        if (!pair_map_put(&b->later, (uint32_t)(s.key >> 32), (uint32_t)s.key, s.a, s.b))
            return false;
    }
    return pair_map_seal(&b->later);
}

static bool find_stages(struct bpe *b)
{
    uint32_t rank = first_across(b);
    if (rank == UINT32_MAX) {
        b->by_word = true;
        return true;
    }
    if (rank < b->n_merges / LEAST_SHARE)
        return true;
    uint8_t *late = mem_take(b->vocab->n + 1u, 1);
    if (!late)
        return false;
    b->by_word = stages_apart(b, rank, late);
    mem_give(late);
    if (!b->by_word)
        return true;
    b->stage_two = rank;
    return put_later(b);
}

/* What bpe_merge_word() needs. */
static bool build_words(struct bpe *b)
{
    if (!bpe_ranks_build(&b->ranks, b->vocab, &b->merges, b->n_merges, b->stage_two))
        return false;
    if (!b->ranks.slot)
        return true;
    return bpe_start_build(b) && bpe_cuts_build(b, false, &b->word_cuts);
}

bool bpe_finish(struct bpe *b, struct err *err)
{
    bool clean = is_clean(b);
    bool by_word = clean && !b->ignore_merges && has_all_bytes(b);
    bool ok = pair_map_seal(&b->merges) && (!by_word || find_stages(b)) &&
              (!clean || build_words(b)) &&
              (!b->later.slot || bpe_cuts_build(b, true, &b->later_cuts));
    return ok || fail(err, ERR_MEMORY, "no memory to look at %u merges", b->n_merges);
}
