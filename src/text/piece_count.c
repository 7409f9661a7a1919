#include "text/piece_count.h"

#include "text/bpe.h"
#include "text/unicode.h"

void piece_count_release(struct piece_count *t)
{
    mem_give(t->piece);
    mem_give(t->slot);
    buf_release(&t->nfc);
    *t = (struct piece_count){ 0 };
}

static bool widen(struct piece_count *t)
{
    uint32_t n = t->slot ? (t->mask + 1) * 2 : 1 << 15;
    uint32_t *slot = mem_take(n, sizeof *slot);
    struct counted_piece *piece = slot ? mem_grow(t->piece, n / 2, sizeof *piece) : NULL;
    if (!piece) {
        mem_give(slot);
        return false;
    }
    mem_give(t->slot);
    t->slot = slot;
    t->mask = n - 1;
    t->piece = piece;
    t->cap = n / 2;
    for (uint32_t k = 0; k < t->n; k++) {
        uint32_t i = (uint32_t)piece[k].hash & t->mask;
        while (slot[i])
            i = (i + 1) & t->mask;
        slot[i] = k + 1;
    }
    return true;
}

/* Appends a piece that is not there yet to its shard. */
static void append(struct piece_count *t, struct counted_piece p)
{
    unsigned s = shard_of_hash(p.hash);
    uint32_t k = t->n++;
    t->piece[k] = p;
    if (t->last[s])
        t->piece[t->last[s] - 1].next = k + 1;
    else
        t->first[s] = k + 1;
    t->last[s] = k + 1;
}

static bool count(struct piece_count *t, const uint8_t *at, size_t len, uint32_t weight)
{
    struct bytes b = { at, len };
    uint64_t hash = hash_bytes(b, 0);
    if (t->n == t->cap && !widen(t))
        return false;
    for (uint32_t i = (uint32_t)hash & t->mask;; i = (i + 1) & t->mask) {
        struct counted_piece *p = t->slot[i] ? &t->piece[t->slot[i] - 1] : NULL;
        if (p && !(p->hash == hash && p->len == len && !memcmp(p->at, at, len)))
            continue;
        if (p) {
            p->weight += weight;
        } else {
            t->slot[i] = t->n + 1;
            append(t, (struct counted_piece){ hash, at, (uint32_t)len, 0, weight });
        }
        return true;
    }
}

static bool count_words(struct piece_count *t, const uint8_t *at, const uint8_t *end,
                        uint32_t weight)
{
    for (const uint8_t *stop; at < end; at = stop) {
        stop = word_end(at, end);
        if (!count(t, at, (size_t)(stop - at), weight))
            return false;
    }
    return true;
}

static bool count_part(struct piece_count *t, struct bytes text, uint32_t weight,
                       const struct pretok *pre, enum piece_kind kind)
{
    const uint8_t *at = text.at, *end = at + text.len;
    for (size_t n; at < end; at += n) {
        n = pre->next(at, end);
        if (kind == PIECE_WORD ? !count_words(t, at, at + n, weight)
                               : n > 1 && !count(t, at, n, weight))
            return false;
    }
    return true;
}

/* The chunk's text in NFC; its parts' places follow. */
static bool normalise(struct piece_count *t, struct text_chunk *c)
{
    bool is_nfc = true;
    for (size_t i = 0; is_nfc && i < c->n; i++)
        is_nfc = unicode_is_nfc((struct bytes){ (const uint8_t *)c->text.at + c->part[i].at,
                                                c->part[i].len });
    if (is_nfc)
        return true;
    buf_clear(&t->nfc);
    for (size_t i = 0; i < c->n; i++) {
        struct chunk_text *p = &c->part[i];
        size_t at = t->nfc.len;
        if (!unicode_to_nfc((struct bytes){ (const uint8_t *)c->text.at + p->at, p->len },
                            &t->nfc, NULL))
            return false;
        *p = (struct chunk_text){ at, t->nfc.len - at, p->weight };
    }
    struct buf old = c->text;
    c->text = t->nfc;
    t->nfc = old;
    return true;
}

bool piece_count_chunk(struct piece_count *t, struct text_chunk *c, const struct pretok *pre,
                       enum piece_kind kind)
{
    if (t->slot)
        memset(t->slot, 0, ((size_t)t->mask + 1) * sizeof *t->slot);
    memset(t->first, 0, sizeof t->first);
    memset(t->last, 0, sizeof t->last);
    t->n = 0;
    if (!normalise(t, c))
        return false;
    for (size_t i = 0; i < c->n; i++) {
        struct bytes text = { (const uint8_t *)c->text.at + c->part[i].at, c->part[i].len };
        if (!count_part(t, text, c->part[i].weight, pre, kind))
            return false;
    }
    return true;
}
