/*
 * bpe_cache: what it finds is what was kept.
 *
 * Words of few letters come again and again, and share their places; the tokens of a word
 * follow from its bytes, so each find can be judged.
 */
#include "text/bpe_cache_words.h"
#include "../../harness.h"

enum { N_LOOKS = 300000, MAX_WORD = 36, MAX_IDS = 40 };

/* At most as many tokens as bytes, rarely none. */
static size_t tokens_of(struct bytes word, bool narrow, uint32_t *id)
{
    uint64_t hash = hash_bytes(word, 7);
    size_t n = hash % 16 == 0 ? word.len : hash / 16 % (word.len < 4 ? word.len + 1 : 5);
    for (size_t i = 0; i < n; i++)
        id[i] = (uint32_t)(hash_bytes(word, i) >> (narrow ? 48 : 40));
    return n;
}

static struct bytes next_word(struct rng *r, const uint8_t *text, size_t len)
{
    size_t n = 1 + rng_u64(r) % (rng_u64(r) % 4 ? 12 : MAX_WORD);
    return (struct bytes){ text + rng_u64(r) % (len - n), n };
}

/* How often a word was found; what is wrong is counted. */
static unsigned look(struct bpe_scratch *s, struct bytes word, unsigned *n_wrong)
{
    static struct ids out;
    uint32_t want[MAX_IDS];
    size_t n = tokens_of(word, s->narrow, want), from = rng_u64_at(1, 2, word.len) % 3;
    out.n = from;
    s->n_words = 0;
    bpe_cache_queue(s, (struct piece_word){ word, true });
    bool found = bpe_cache_find(s, &s->word[0], &out);
    if (found) {
        *n_wrong += out.n != from + n || memcmp(out.at + from, want, n * sizeof *want) != 0;
        return 1;
    }
    *n_wrong += out.n != from;
    for (size_t i = 0; i < n; i++)
        ids_put(&out, want[i]);
    bpe_cache_keep(s, &s->word[0], &out, from);
    return 0;
}

static void finds_what_was_kept(void)
{
    static uint8_t text[4000];
    struct rng r = { 5, 6, 0 };
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i % 7 ? 'a' + rng_u64(&r) % 2 : rng_u64(&r));
    for (int narrow = 0; narrow < 2; narrow++) {
        struct bpe_pool pool = { { NULL } };
        struct bpe_scratch own = { 0 }, *s = bpe_pool_take(&pool, narrow, &own);
        unsigned n_found[3] = { 0 }, n_wrong = 0;
        EXPECT(s != &own && s->set);
        for (int i = 0; i < N_LOOKS; i++) {
            struct bytes word = next_word(&r, text, sizeof text);
            s->text_end = i % 2 ? text + sizeof text : NULL;
            n_found[(word.len > SHORT_BYTES) + (word.len > LONG_BYTES)] += look(s, word, &n_wrong);
        }
        EXPECTF(!n_wrong && n_found[0] > N_LOOKS / 4 && n_found[1] > N_LOOKS / 100 && !n_found[2],
                "%u wrong; found %u, %u, %u", n_wrong, n_found[0], n_found[1], n_found[2]);
        bpe_pool_give(&pool, s, &own);
        bpe_pool_release(&pool);
    }
}

/* In one set: a word met again stays though others come once; one of many tokens has it all. */
static void words_met_again_stay(void)
{
    struct bpe_pool pool = { { NULL } };
    struct bpe_scratch own = { 0 }, *s = bpe_pool_take(&pool, true, &own);
    struct ids out = { 0 };
    struct bpe_word w[4];
    const char *text[] = { "again", "once", "other", "many tokens" };
    const size_t n_ids[] = { 1, 2, 8, 16 };
    for (int i = 0; i < 4; i++) {
        s->n_words = 0;
        bpe_cache_queue(s, (struct piece_word){ bytes_of(text[i]), true });
        w[i] = s->word[0];
        w[i].set = w[0].set;
    }
    for (uint32_t i = 0; i < 100; i++)
        ids_put(&out, i);
    bpe_cache_keep(s, &w[0], &out, out.n - n_ids[0]);
    EXPECT(bpe_cache_find(s, &w[0], &out) && out.at[out.n - 1] == 99);
    for (int i = 1; i < 3; i++) {
        bpe_cache_keep(s, &w[i], &out, out.n - n_ids[i]);
        EXPECT(bpe_cache_find(s, &w[0], &out));
    }
    EXPECT(!bpe_cache_find(s, &w[1], &out) && bpe_cache_find(s, &w[2], &out));
    bpe_cache_keep(s, &w[3], &out, out.n - n_ids[3]);
    EXPECT(!bpe_cache_find(s, &w[0], &out) && !bpe_cache_find(s, &w[2], &out));
    EXPECT(bpe_cache_find(s, &w[3], &out));
    bpe_cache_keep(s, &w[0], &out, out.n - n_ids[0]);
    EXPECT(bpe_cache_find(s, &w[0], &out) && !bpe_cache_find(s, &w[3], &out));
    ids_release(&out);
    bpe_pool_give(&pool, s, &own);
    bpe_pool_release(&pool);
}

const struct test tests[] = {
    { "finds_what_was_kept", finds_what_was_kept },
    { "words_met_again_stay", words_met_again_stay },
    { 0 }
};
