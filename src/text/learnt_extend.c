#include "text/learnt_extend.h"

#include "format/format.h"
#include "text/tokenizer_parts.h"

static bool adopt_merge(struct learnt *l, const struct tokenizer *t, const struct pair_slot *m,
                        uint32_t rank, struct err *err)
{
    struct bytes a = vocab_bytes(&t->vocab, (uint32_t)(m->key >> 32));
    struct bytes b = vocab_bytes(&t->vocab, (uint32_t)m->key);
    int64_t left = learnt_find(l, a), right = learnt_find(l, b);
    uint32_t id;
    if (left < 0 || right < 0)
        return fail(err, ERR_UNSUPPORTED, "merge %u of the tokenizer to extend uses \"%s\", which "
                    "no merge before it makes", rank, SHOW(left < 0 ? a : b));
    if (a.len + b.len > MAX_LEARNT_BYTES)
        return fail(err, ERR_LIMIT, "merge %u of the tokenizer to extend makes a token of %zu "
                    "bytes; at most %d are accepted", rank, a.len + b.len, MAX_LEARNT_BYTES);
    if (learnt_is_forbidden(l, a, b))
        return fail(err, ERR_USAGE, "merge %u of the tokenizer to extend makes what is spelled "
                    "like a special token, from \"%s\" and \"%s\"; keep fewer merges, or leave out "
                    "that --special", rank, SHOW(a), SHOW(b));
    return learnt_merge(l, (uint32_t)left, (uint32_t)right, &id, err);
}

bool learnt_extend(struct learnt *l, const struct tokenizer *t, uint32_t n_keep, struct err *err)
{
    if (t->vocab.chars)
        return fail(err, ERR_UNSUPPORTED, "the tokenizer to extend is SentencePiece; only "
                    "byte-level BPE can be extended");
    if (n_keep > t->bpe.n_merges)
        return fail(err, ERR_USAGE, "the tokenizer to extend has %u merges, not %u to keep",
                    t->bpe.n_merges, n_keep);
    struct pair_slot *merge = bpe_take_merges(&t->bpe);
    bool ok = merge || fail(err, ERR_MEMORY, "no memory for %u merges", t->bpe.n_merges);
    for (uint32_t i = 0; ok && i < n_keep; i++)
        if (merge[i].key != PAIR_EMPTY)
            ok = adopt_merge(l, t, &merge[i], i, err);
    mem_give(merge);
    return ok;
}
