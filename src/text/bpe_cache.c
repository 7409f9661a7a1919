#include "text/bpe_cache.h"

#include <stdatomic.h>
#include <sys/mman.h>

enum { LINES_ALIGN = 2 << 20, MAX_KEPT_SYMBOLS = 1 << 16 };

void bpe_scratch_release(struct bpe_scratch *s)
{
    mem_give(s->sym);
    mem_give(s->heap);
    mem_give(s->line_block);
    *s = (struct bpe_scratch){ 0 };
}

/* The lines lie anywhere in the memory of the cache, so it is asked for in large pages: looking
 * up where a small one is costs as much as the line. */
static void take_lines(struct bpe_scratch *s)
{
    size_t size = sizeof *s->line << CACHE_LINES_LOG2;
    s->line_block = mem_take(size + LINES_ALIGN, 1);
    if (!s->line_block)
        return;
    uintptr_t at = (uintptr_t)s->line_block;
    at = (at + LINES_ALIGN - 1) & ~(uintptr_t)(LINES_ALIGN - 1);
    s->line = (struct bpe_line *)at;
    madvise(s->line, size, MADV_HUGEPAGE);            /* small ones do as well */
}

static struct bpe_scratch *scratch_new(bool narrow)
{
    struct bpe_scratch *s = mem_take(1, sizeof *s);
    if (!s)
        return NULL;
    take_lines(s);
    s->narrow = narrow;
    return s;
}

struct bpe_scratch *bpe_pool_take(struct bpe_pool *p, bool narrow, struct bpe_scratch *own)
{
    struct bpe_scratch *s = NULL;
    for (int i = 0; !s && i < MAX_IDLE; i++)
        if (atomic_load_explicit(&p->idle[i], memory_order_relaxed))
            s = atomic_exchange(&p->idle[i], NULL);
    if (!s)
        s = scratch_new(narrow);
    return s ? s : own;
}

void bpe_pool_give(struct bpe_pool *p, struct bpe_scratch *s, struct bpe_scratch *own)
{
    if (s != own && s->cap <= MAX_KEPT_SYMBOLS)
        for (int i = 0; i < MAX_IDLE; i++) {
            struct bpe_scratch *none = NULL;
            if (atomic_compare_exchange_strong(&p->idle[i], &none, s))
                return;
        }
    bpe_scratch_release(s);
    if (s != own)
        mem_give(s);
}

void bpe_pool_release(struct bpe_pool *p)
{
    for (int i = 0; i < MAX_IDLE; i++) {
        struct bpe_scratch *s = atomic_exchange(&p->idle[i], NULL);
        if (s)
            bpe_scratch_release(s);
        mem_give(s);
    }
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
enum { LAST_BYTE = 56 };                  /* where the last byte of eight is in the number */
#else
enum { LAST_BYTE = 0 };
#endif

/* The bytes of a word, then zeros, and its length in the last. */
static inline void load_key(const struct bpe_scratch *s, struct bytes word, uint64_t key[4])
{
    static const uint8_t mask[2 * sizeof(uint64_t[4])] = {
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 };
    uint64_t keep[4];
    if (s->text_end && (size_t)(s->text_end - word.at) >= sizeof keep) {
        memcpy(key, word.at, sizeof keep);
        memcpy(keep, mask + sizeof keep - word.len, sizeof keep);
        for (int i = 0; i < 4; i++)
            key[i] &= keep[i];
    } else {
        memset(key, 0, sizeof keep);
        memcpy(key, word.at, word.len);
    }
    key[3] |= (uint64_t)word.len << LAST_BYTE;
}

static inline size_t line_of(const uint64_t key[4])
{
    uint64_t a = (key[0] ^ key[2] << 1) * 0x9E3779B97F4A7C15u;
    uint64_t b = (key[1] ^ key[3] << 1) * 0xC2B2AE3D27D4EB4Fu;
    uint64_t h = a ^ (b << 32 | b >> 32) ^ key[3];
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
    return (size_t)(h >> (64 - CACHE_LINES_LOG2));
}

void bpe_cache_queue(struct bpe_scratch *s, struct bytes text, bool ends_piece)
{
    struct bpe_word *w = &s->word[s->n_words++];
    w->text = text;
    w->ends_piece = ends_piece;
    w->line = NULL;
    if (!s->line || text.len > LINE_BYTES)
        return;
    load_key(s, text, w->key);
    w->line = &s->line[line_of(w->key)];
    __builtin_prefetch(w->line);
}

/* How many tokens a line holds. */
static inline unsigned line_ids(const struct bpe_scratch *s)
{
    return s->narrow ? NARROW_IDS : WIDE_IDS;
}

bool bpe_cache_find(const struct bpe_scratch *s, const struct bpe_word *w, struct ids *out)
{
    const struct bpe_line *line = w->line;
    if (!line)
        return false;
    const uint64_t *l = line->key, *k = w->key;
    if ((l[0] ^ k[0]) | (l[1] ^ k[1]) | (l[2] ^ k[2]) | (l[3] ^ k[3]))
        return false;
    if (out->cap - out->n < NARROW_IDS && !ids_reach(out, NARROW_IDS))
        return true;                      /* out->failed says it */
    uint32_t *to = out->at + out->n;      /* what is written after n is overwritten next */
    if (s->narrow)
        for (int i = 0; i < NARROW_IDS; i++)
            to[i] = line->narrow[i];
    else
        memcpy(to, line->narrow + 1, WIDE_IDS * sizeof *to);
    out->n += line->n;
    return true;
}

void bpe_cache_keep(const struct bpe_scratch *s, const struct bpe_word *w,
                    const struct ids *out, size_t from)
{
    size_t n = out->n - from;
    struct bpe_line *line = w->line;
    if (!line || out->failed || n > line_ids(s))
        return;
    memcpy(line->key, w->key, sizeof line->key);
    line->n = (uint16_t)n;
    if (s->narrow)
        for (size_t i = 0; i < n; i++)
            line->narrow[i] = (uint16_t)out->at[from + i];
    else
        memcpy(line->narrow + 1, out->at + from, n * sizeof *out->at);
}
