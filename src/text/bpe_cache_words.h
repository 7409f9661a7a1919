/*
 * bpe_cache_words: words into the queue, out of the cache and into it (bpe_cache.h).  In a header,
 * for it happens for every word of a text: calls took a tenth of the time.
 */
#ifndef KEXA_TEXT_BPE_CACHE_WORDS_H
#define KEXA_TEXT_BPE_CACHE_WORDS_H

#include "text/bpe_cache.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
enum { LAST_BYTE = 56 };                  /* where the last byte of eight is in the number */
#else
enum { LAST_BYTE = 0 };
#endif

#define COUNT_BITS ((uint64_t)0xF0 << LAST_BYTE)

/* The bytes of a word, then zeros, n * 8 in all, and its length in the last. */
static inline void load_key(const struct bpe_scratch *s, struct bytes word, uint64_t *key,
                            size_t n)
{
    static const uint8_t mask[2 * sizeof(uint64_t[4])] = {
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 };
    if (s->text_end && (size_t)(s->text_end - word.at) >= n * sizeof *key) {
        for (size_t i = 0; i < n; i++) {
            uint64_t x, keep;
            memcpy(&x, word.at + i * sizeof x, sizeof x);
            memcpy(&keep, mask + sizeof mask / 2 - word.len + i * sizeof keep, sizeof keep);
            key[i] = x & keep;
        }
    } else {
        memset(key, 0, n * sizeof *key);
        memcpy(key, word.at, word.len);
    }
    key[n - 1] |= (uint64_t)word.len << LAST_BYTE;
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t h = a * 0x9E3779B97F4A7C15u, g = b * 0xC2B2AE3D27D4EB4Fu;
    return h ^ (g << 32 | g >> 32);
}

static inline size_t top_bits(uint64_t h, unsigned n)
{
    return (size_t)((h ^ h >> 32) * 0xD6E8FEB86659FD93u >> (64 - n));
}

/* Puts a word into the queue, which has room, and has its line fetched. */
static inline void bpe_cache_queue(struct bpe_scratch *s, struct piece_word word)
{
    struct bpe_word *w = &s->word[s->n_words++];
    struct bytes text = word.text;
    w->word = word;
    w->set = NULL;
    w->line = NULL;
    if (!s->set || text.len > LONG_BYTES)
        return;
    if (text.len <= SHORT_BYTES) {
        load_key(s, text, w->key, 2);
        w->set = &s->set[top_bits(mix(w->key[0], w->key[1]), SETS_LOG2)];
        __builtin_prefetch(w->set);
        return;
    }
    load_key(s, text, w->key, 4);
    w->line = &s->line[top_bits(mix(w->key[0], w->key[1]) + mix(w->key[3], w->key[2]),
                                LINES_LOG2)];
    __builtin_prefetch(w->line);
}

/* Tokens as they are kept: of 16 bits or of 32. */
static inline void put_ids(uint32_t *to, const uint16_t *kept, bool narrow, int n)
{
    if (narrow)
        for (int i = 0; i < n; i++)
            to[i] = kept[i];
    else
        memcpy(to, kept, (size_t)n / 2 * sizeof *to);
}

static inline void keep_ids(uint16_t *kept, const uint32_t *id, bool narrow, size_t n)
{
    if (narrow)
        for (size_t i = 0; i < n; i++)
            kept[i] = (uint16_t)id[i];
    else
        memcpy(kept, id, n * sizeof *id);
}

static inline unsigned way_ids(const struct bpe_scratch *s)
{
    return s->narrow ? WAY_NARROW : WAY_WIDE;
}

static inline bool has_key(const struct bpe_way *w, const uint64_t key[2])
{
    return !((w->key[0] ^ key[0]) | ((w->key[1] ^ key[1]) & ~COUNT_BITS));
}

static inline unsigned count_of(const struct bpe_way *w)
{
    return (unsigned)(w->key[1] >> (LAST_BYTE + 4) & 15) + 1;
}

static inline bool find_in_set(const struct bpe_scratch *s, const struct bpe_word *w,
                               struct ids *out)
{
    struct bpe_set *set = w->set;
    bool first = has_key(&set->way[0], w->key);
    if (!first && !has_key(&set->way[1], w->key))
        return false;
    if (out->cap - out->n < 2 * WAY_NARROW && !ids_reach(out, 2 * WAY_NARROW))
        return true;                      /* out->failed says it */
    uint32_t *to = out->at + out->n;      /* what is written after n is overwritten next */
    const struct bpe_way *way = &set->way[!first];
    unsigned n = count_of(way);
    put_ids(to, way->narrow, s->narrow, WAY_NARROW);
    if (n > way_ids(s))
        put_ids(to + way_ids(s), set->way[1].narrow, s->narrow, WAY_NARROW);
    out->n += n;
    if (!first) {
        struct bpe_way was = set->way[0];
        set->way[0] = set->way[1];
        set->way[1] = was;
    }
    return true;
}

/* Appends the tokens of a queued word, if the cache has them. */
static inline bool bpe_cache_find(const struct bpe_scratch *s, const struct bpe_word *w,
                                  struct ids *out)
{
    const struct bpe_line *line = w->line;
    if (w->set)
        return find_in_set(s, w, out);
    if (!line)
        return false;
    const uint64_t *l = line->key, *k = w->key;
    if ((l[0] ^ k[0]) | (l[1] ^ k[1]) | (l[2] ^ k[2]) | (l[3] ^ k[3]))
        return false;
    if (out->cap - out->n < LINE_NARROW && !ids_reach(out, LINE_NARROW))
        return true;
    put_ids(out->at + out->n, line->narrow + !s->narrow, s->narrow, LINE_NARROW);
    out->n += line->n;
    return true;
}

static inline void keep_in_set(const struct bpe_scratch *s, const struct bpe_word *w,
                               const uint32_t *id, size_t n)
{
    size_t room = way_ids(s), first = n < room ? n : room;
    struct bpe_way *way = w->set->way;
    if (n == 0 || n > 2 * room)
        return;
    if (n > room) {
        way[1] = (struct bpe_way){ 0 };
        keep_ids(way[1].narrow, id + first, s->narrow, n - first);
    } else {
        if (count_of(way) > room)
            way[0] = (struct bpe_way){ 0 };
        way++;
    }
    way->key[0] = w->key[0];
    way->key[1] = w->key[1] | (uint64_t)(n - 1) << (LAST_BYTE + 4);
    keep_ids(way->narrow, id, s->narrow, first);
}

/* Keeps out->at[from, n) as the tokens of a queued word. */
static inline void bpe_cache_keep(const struct bpe_scratch *s, const struct bpe_word *w,
                                  const struct ids *out, size_t from)
{
    size_t n = out->n - from;
    struct bpe_line *line = w->line;
    if (out->failed)
        return;
    if (w->set)
        keep_in_set(s, w, out->at + from, n);
    if (!line || n > (s->narrow ? LINE_NARROW : LINE_WIDE))
        return;
    memcpy(line->key, w->key, sizeof line->key);
    line->n = (uint16_t)n;
    keep_ids(line->narrow + !s->narrow, out->at + from, s->narrow, n);
}

#endif
