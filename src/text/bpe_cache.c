#include "text/bpe_cache.h"

#include <stdatomic.h>
#include <sys/mman.h>

enum { CACHE_ALIGN = 2 << 20, MAX_KEPT_SYMBOLS = 1 << 16 };

void bpe_scratch_release(struct bpe_scratch *s)
{
    mem_give(s->sym);
    mem_give(s->heap);
    mem_give(s->cache_block);
    *s = (struct bpe_scratch){ 0 };
}

/* A word may be anywhere in the cache, so its memory is asked for in large pages: looking up
 * where a small one is costs as much as the word. */
static void take_cache(struct bpe_scratch *s)
{
    size_t sets = sizeof *s->set << SETS_LOG2, size = sets + (sizeof *s->line << LINES_LOG2);
    s->cache_block = mem_take(size + CACHE_ALIGN, 1);
    if (!s->cache_block)
        return;
    uintptr_t at = (uintptr_t)s->cache_block;
    at = (at + CACHE_ALIGN - 1) & ~(uintptr_t)(CACHE_ALIGN - 1);
    s->set = (struct bpe_set *)at;
    s->line = (struct bpe_line *)(at + sets);
    madvise(s->set, size, MADV_HUGEPAGE);             /* small ones do as well */
}

static struct bpe_scratch *scratch_new(bool narrow)
{
    struct bpe_scratch *s = mem_take(1, sizeof *s);
    if (!s)
        return NULL;
    take_cache(s);
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
