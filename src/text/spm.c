#include "text/spm.h"

#include "text/unicode.h"

#define BASE 0x0B4E0EF37BC32123u          /* any odd number */

static uint64_t hash_of(struct bytes b)
{
    uint64_t h = 0;
    for (size_t i = 0; i < b.len; i++)
        h = h * BASE + b.at[i] + 1;
    return h;
}

static uint64_t first_slot(const struct spm *m, uint64_t hash)
{
    return hash * 0x9E3779B97F4A7C15u >> 16 & m->mask;
}

/* The greater the score, the lower the rank; equal scores have equal ranks. */
static uint32_t rank_of_score(float score)
{
    uint32_t bits;
    score += 0.0f;                        /* -0 is 0 */
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? bits : ~bits & INT32_MAX;
}

static bool can_merge(const struct vocab *v, uint32_t id)
{
    const struct token *t = &v->tok[id];
    return t->used && t->kind == TOKEN_NORMAL && !t->byte && t->bytes_len;
}

static void put(struct spm *m, uint32_t id, uint32_t rank)
{
    uint64_t i = first_slot(m, m->hash[id]);
    while (m->slot[i].id1)
        i = (i + 1) & m->mask;
    m->slot[i] = (struct spm_slot){ m->hash[id], id + 1, rank };
}

bool spm_init(struct spm *m, const struct vocab *v, const float *score, struct err *err)
{
    size_t n_slots = 64;
    while (n_slots < (size_t)v->n * 2)
        n_slots *= 2;
    *m = (struct spm){ .vocab = v, .mask = n_slots - 1, .power = { 1 } };
    m->slot = mem_take(n_slots, sizeof *m->slot);
    m->hash = mem_take((size_t)v->n + 1, sizeof *m->hash);
    if (!m->slot || !m->hash) {
        spm_release(m);
        return fail(err, ERR_MEMORY, "no memory for the scores of %u tokens", v->n);
    }
    for (size_t i = 1; i <= MAX_SPM_BYTES; i++)
        m->power[i] = m->power[i - 1] * BASE;
    for (uint32_t id = 0; id < v->n; id++) {
        struct bytes b = vocab_bytes(v, id);
        if (!can_merge(v, id))
            continue;
        if (b.len > MAX_SPM_BYTES)
            return fail(err, ERR_LIMIT, "token %u is %zu bytes long; among tokens with scores "
                        "the most is %d", id, b.len, MAX_SPM_BYTES);
        m->hash[id] = hash_of(b);
        if (!memchr(vocab_text(v, id).at, ' ', vocab_text(v, id).len))
            put(m, id, rank_of_score(score[id]));
    }
    return true;
}

void spm_release(struct spm *m)
{
    mem_give(m->slot);
    mem_give(m->hash);
    *m = (struct spm){ 0 };
}

struct symbol {
    struct bytes text;
    uint64_t hash;
    uint8_t own[4];                       /* of a code point without a token */
};

/* false: a symbol that nothing merges with. */
static bool read_symbol(const struct spm *m, uint32_t id, struct symbol *s)
{
    if (id < MAX_VOCAB) {
        s->text = vocab_bytes(m->vocab, id);
        s->hash = m->hash[id];
        return m->vocab->tok[id].kind == TOKEN_NORMAL;
    }
    if (id - MAX_VOCAB >= 0x110000)
        return false;                     /* a broken byte */
    s->text = (struct bytes){ s->own, utf8_encode(id - MAX_VOCAB, s->own) };
    s->hash = hash_of(s->text);
    return true;
}

static bool is_joined(struct bytes both, struct bytes left, struct bytes right)
{
    return both.len == left.len + right.len && !memcmp(both.at, left.at, left.len) &&
           !memcmp(both.at + left.len, right.at, right.len);
}

uint32_t spm_rank(const struct spm *m, uint32_t left, uint32_t right, uint32_t *merged)
{
    struct symbol l, r;
    if (!read_symbol(m, left, &l) || !read_symbol(m, right, &r) ||
        l.text.len + r.text.len > MAX_SPM_BYTES)
        return NO_RANK;
    uint64_t hash = l.hash * m->power[r.text.len] + r.hash;
    for (uint64_t i = first_slot(m, hash); m->slot[i].id1; i = (i + 1) & m->mask) {
        const struct spm_slot *s = &m->slot[i];
        if (s->hash != hash || !is_joined(vocab_bytes(m->vocab, s->id1 - 1), l.text, r.text))
            continue;
        *merged = s->id1 - 1;
        return s->rank;
    }
    return NO_RANK;
}
