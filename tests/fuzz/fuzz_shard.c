/*
 * Any bytes as a token shard: refused, or every document's tokens can be read and packed into
 * rows.  Most mutations break a checksum; so that the other checks are met too, inputs are also
 * tried with both sums made right.
 */
#include "fuzz.h"

#include "data/data.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t fuzz_accepted, fuzz_sum;

static struct packing_doc doc_at(const void *arg, uint64_t i)
{
    const struct shard *s = arg;
    return (struct packing_doc){ (uint32_t)i, s->end[i] - shard_doc_begin(s, i) };
}

static void walk(const struct shard *s)
{
    struct packing p;
    struct err err;
    for (uint64_t i = 0; i < s->n_tokens; i++) {
        check(s->token[i] < s->kind.vocab);
        fuzz_sum += s->token[i];
    }
    if (s->n_docs > 10000)
        return;
    check(packing_init(&p, 16, s->n_docs, doc_at, s, &err));
    check(p.n_tokens == s->n_tokens && p.first[p.n_rows] == p.n_pieces);
    for (uint64_t i = 0; i < p.n_pieces; i++)
        check((uint64_t)p.piece[i].part * 16 < doc_at(s, p.piece[i].doc).n_tokens);
    packing_release(&p);
}

static bool try_read(uint8_t *at, size_t size)
{
    struct shard s;
    struct err err;
    if (!shard_read(&s, (struct bytes){ at, size }, "fuzz.kxs", NULL, &err)) {
        check(err.code != ERR_NONE && err.msg[0]);
        return false;
    }
    walk(&s);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = mem_take(size ? size : 1, 1);  /* at a multiple of 8 */
    check(copy != NULL);
    if (size)
        memcpy(copy, data, size);
    fuzz_accepted += try_read(copy, size);
    if (size >= SHARD_HEAD_BYTES) {
        uint64_t sum = XXH3_64bits(copy + SHARD_HEAD_BYTES, size - SHARD_HEAD_BYTES);
        memcpy(copy + 56, &sum, 8);
        sum = XXH3_64bits(copy, 64);
        memcpy(copy + 64, &sum, 8);
        fuzz_sum += try_read(copy, size);
    }
    mem_give(copy);
    return 0;
}
