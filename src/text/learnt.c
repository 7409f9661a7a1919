#include "text/learnt.h"

#include "text/vocab.h"

struct bytes learnt_bytes(const struct learnt *l, uint32_t id)
{
    const struct learnt_token *t = &l->tok[id - l->n_special];
    return (struct bytes){ (const uint8_t *)l->bytes.at + t->at, t->len };
}

/* Where these bytes are or belong. */
static uint32_t *slot_of(const struct learnt *l, struct bytes b)
{
    uint64_t i = hash_bytes(b, 0) & l->mask;
    while (l->by_bytes[i] && !bytes_eq(learnt_bytes(l, l->n_special + l->by_bytes[i] - 1), b))
        i = (i + 1) & l->mask;
    return &l->by_bytes[i];
}

int64_t learnt_find(const struct learnt *l, struct bytes b)
{
    uint32_t k = *slot_of(l, b);
    return k ? (int64_t)l->n_special + k - 1 : -1;
}

static bool widen_index(struct learnt *l)
{
    uint64_t n = (l->mask + 1) * 2;
    uint32_t *wide = mem_take(n, sizeof *wide);
    if (!wide)
        return false;
    mem_give(l->by_bytes);
    l->by_bytes = wide;
    l->mask = n - 1;
    for (uint32_t k = 0; k < l->n; k++)
        *slot_of(l, learnt_bytes(l, l->n_special + k)) = k + 1;
    return true;
}

static bool reach_token(struct learnt *l)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 1024;
        struct learnt_token *tok = mem_grow(l->tok, cap, sizeof *tok);
        if (!tok)
            return false;
        l->tok = tok;
        l->cap = cap;
    }
    return (uint64_t)l->n * 2 <= l->mask || widen_index(l);
}

/* Adds a token that is not there; its bytes are copied. */
static bool add_token(struct learnt *l, struct bytes b, unsigned words, uint32_t *id,
                      struct err *err)
{
    uint32_t at = (uint32_t)l->bytes.len;
    if (reach_token(l))
        buf_put(&l->bytes, b.at, b.len);
    else
        l->bytes.failed = true;
    if (l->bytes.failed || l->bytes.len > UINT32_MAX)
        return fail(err, ERR_MEMORY, "no memory for a vocabulary of %u tokens", l->n);
    uint32_t *slot = slot_of(l, b);
    l->tok[l->n] = (struct learnt_token){ at, (uint16_t)b.len, (uint16_t)words };
    *id = l->n_special + l->n++;
    *slot = *id - l->n_special + 1;
    l->n_superwords += words > 1;
    return true;
}

bool learnt_init(struct learnt *l, uint32_t n_special, struct err *err)
{
    uint8_t alphabet[256];
    *l = (struct learnt){ .n_special = n_special, .mask = 1023 };
    l->by_bytes = mem_take(l->mask + 1, sizeof *l->by_bytes);
    if (!l->by_bytes || !pair_map_init(&l->rank, 1024)) {
        learnt_release(l);
        return fail(err, ERR_MEMORY, "no memory for a vocabulary");
    }
    vocab_alphabet(alphabet);
    for (int i = 0; i < 256; i++) {
        if (!add_token(l, (struct bytes){ &alphabet[i], 1 }, 1, &l->byte_id[alphabet[i]], err)) {
            learnt_release(l);
            return false;
        }
    }
    return true;
}

void learnt_release(struct learnt *l)
{
    mem_give(l->tok);
    mem_give(l->merge);
    mem_give(l->by_bytes);
    pair_map_release(&l->rank);
    buf_release(&l->bytes);
    buf_release(&l->never);
    *l = (struct learnt){ 0 };
}

bool learnt_meet_at_word(const struct learnt *l, uint32_t left, uint32_t right)
{
    struct bytes a = learnt_bytes(l, left), b = learnt_bytes(l, right);
    return b.at[0] == ' ' && a.at[a.len - 1] > ' ';
}

unsigned learnt_words(const struct learnt *l, uint32_t left, uint32_t right)
{
    return l->tok[left - l->n_special].words + l->tok[right - l->n_special].words -
           (learnt_meet_at_word(l, left, right) ? 0u : 1u);
}

bool learnt_forbid(struct learnt *l, struct bytes b, struct err *err)
{
    uint16_t n = (uint16_t)b.len;
    check(b.len >= 2 && b.len <= MAX_LEARNT_BYTES);
    buf_put(&l->never, &n, sizeof n);
    buf_put(&l->never, b.at, b.len);
    l->never_first[b.at[0]] = true;
    return buf_ok(&l->never, err);
}

bool learnt_is_forbidden(const struct learnt *l, struct bytes left, struct bytes right)
{
    size_t len = left.len + right.len;
    uint16_t n;
    if (!l->never_first[left.at[0]])
        return false;
    for (size_t i = 0; i < l->never.len; i += sizeof n + n) {
        const char *at = l->never.at + i + sizeof n;
        memcpy(&n, l->never.at + i, sizeof n);
        if (n == len && !memcmp(at, left.at, left.len)
            && !memcmp(at + left.len, right.at, right.len))
            return true;
    }
    return false;
}

static bool reach_merge(struct learnt *l)
{
    if (l->n_merges < l->cap_merges)
        return true;
    uint32_t cap = l->cap_merges ? l->cap_merges * 2 : 1024;
    struct learnt_merge *merge = mem_grow(l->merge, cap, sizeof *merge);
    if (!merge)
        return false;
    l->merge = merge;
    l->cap_merges = cap;
    return true;
}

bool learnt_merge(struct learnt *l, uint32_t left, uint32_t right, uint32_t *id,
                  struct err *err)
{
    uint8_t both[2 * MAX_LEARNT_BYTES];
    const struct pair_slot *made = pair_map_find(&l->rank, left, right);
    if (made) {
        *id = made->b;
        return true;
    }
    struct bytes a = learnt_bytes(l, left), b = learnt_bytes(l, right);
    memcpy(both, a.at, a.len);
    memcpy(both + a.len, b.at, b.len);
    struct bytes joined = { both, a.len + b.len };
    check(joined.len <= MAX_LEARNT_BYTES);
    int64_t known = learnt_find(l, joined);
    if (!reach_merge(l))
        return fail(err, ERR_MEMORY, "no memory for %u merges", l->n_merges);
    *id = (uint32_t)known;
    if (known < 0 && !add_token(l, joined, learnt_words(l, left, right), id, err))
        return false;
    if (!pair_map_put(&l->rank, left, right, l->n_merges, *id))
        return fail(err, ERR_MEMORY, "no memory for %u merges", l->n_merges);
    l->merge[l->n_merges++] = (struct learnt_merge){ left, right, *id };
    return true;
}
