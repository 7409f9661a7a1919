/* packing, permutation, mixture: the orders a loader is made of. */
#include "data/data.h"
#include "../../harness.h"

#include <math.h>
#include <stdlib.h>

/* ---- permutation --------------------------------------------------------------------- */

static void expect_bijection(uint64_t n, uint64_t key)
{
    struct permutation p = permutation_make(n, key);
    uint8_t *seen = calloc(n, 1);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t x = permutation_at(&p, i);
        EXPECTF(x < n && !seen[x], "n %llu: %llu at %llu", (unsigned long long)n,
                (unsigned long long)x, (unsigned long long)i);
        if (x < n)
            seen[x] = 1;
    }
    free(seen);
}

static void test_bijection(void)
{
    for (uint64_t n = 1; n <= 300; n++)
        expect_bijection(n, n * 7);
    for (uint64_t n = 1021; n < 70000; n = n * 2 + 1)
        expect_bijection(n, 5);
    expect_bijection(65536, 0);
    expect_bijection(65537, UINT64_MAX);
    struct permutation wide = permutation_make(UINT64_MAX, 3);
    EXPECT(wide.half_bits == 32 && permutation_at(&wide, 0) != permutation_at(&wide, 1));
}

/* Each place should get each number equally often over keys: chi-square of n - 1 = 15. */
static void test_spread(void)
{
    enum { N = 16, KEYS = 4000 };
    for (uint64_t place = 0; place < N; place += 5) {
        double count[N] = { 0 }, chi = 0;
        for (uint64_t key = 0; key < KEYS; key++) {
            struct permutation p = permutation_make(N, key_mix(1, key));
            count[permutation_at(&p, place)]++;
        }
        for (int i = 0; i < N; i++)
            chi += (count[i] - KEYS / N) * (count[i] - KEYS / N) / (KEYS / N);
        EXPECTF(chi < 37.7, "chi-square %g at place %d", chi, (int)place);  /* p = 0.001 */
    }
}

/* Neighbours should not stay neighbours. */
static void test_neighbours(void)
{
    enum { N = 10000 };
    int near = 0;
    struct permutation p = permutation_make(N, 9);
    for (uint64_t i = 0; i + 1 < N; i++)
        near += llabs((long long)permutation_at(&p, i) - (long long)permutation_at(&p, i + 1)) < 10;
    EXPECTF(near < 40, "%d of 9999 neighbours within 10", near);  /* 18 expected */
}

/* ---- packing ------------------------------------------------------------------------- */

struct docs {
    uint32_t *length;
};

static struct packing_doc doc_at(const void *arg, uint64_t i)
{
    const struct docs *d = arg;
    return (struct packing_doc){ (uint32_t)i, d->length[i] };
}

/* Every token of every document in one piece of one row, and no row over its context. */
static void expect_whole(const struct packing *p, const struct docs *d, uint32_t n_docs)
{
    uint64_t n_pieces = 0, n_tokens = 0;
    uint8_t **seen = calloc(n_docs, sizeof *seen);
    for (uint32_t i = 0; i < n_docs; i++) {
        seen[i] = calloc(d->length[i] / p->context + 1, 1);
        n_pieces += (d->length[i] + p->context - 1) / p->context;
        n_tokens += d->length[i];
    }
    EXPECT(p->n_pieces == n_pieces && p->n_tokens == n_tokens && p->first[0] == 0
           && p->first[p->n_rows] == n_pieces);
    for (uint64_t r = 0; r < p->n_rows; r++) {
        uint64_t used = 0;
        for (uint64_t i = p->first[r]; i < p->first[r + 1]; i++) {
            struct piece x = p->piece[i];
            uint64_t begin = (uint64_t)x.part * p->context;
            bool inside = x.doc < n_docs && begin < d->length[x.doc];
            EXPECT(inside && !seen[x.doc][x.part]++);
            if (inside && d->length[x.doc] - begin < p->context)
                used += d->length[x.doc] - begin;
            else
                used += p->context;
        }
        EXPECTF(used > 0 && used <= p->context, "row %d of %d", (int)used, (int)p->context);
    }
    for (uint32_t i = 0; i < n_docs; i++)
        free(seen[i]);
    free(seen);
}

static double pack_random(uint32_t context, uint32_t n_docs, uint32_t longest, uint64_t seed)
{
    struct docs d = { calloc(n_docs + 1, sizeof *d.length) };
    struct rng rng = { .seed = seed };
    struct packing p;
    struct err err;
    for (uint32_t i = 0; i < n_docs; i++)
        d.length[i] = (uint32_t)(rng_u64(&rng) % (longest + 1));
    bool ok = packing_init(&p, context, n_docs, doc_at, &d, &err);
    EXPECTF(ok, "%s", err.msg);
    double fill = ok ? packing_fill(&p) : 0;
    if (ok)
        expect_whole(&p, &d, n_docs);
    packing_release(&p);
    free(d.length);
    return fill;
}

static void test_whole(void)
{
    static const uint32_t contexts[] = { 1, 2, 3, 7, 8, 63, 64, 65, 130, 4096, 5000 };
    for (size_t c = 0; c < sizeof contexts / sizeof *contexts; c++)
        for (uint32_t n = 0; n < 40; n++)
            pack_random(contexts[c], n * n, 3 * contexts[c] + n, 100 * c + n);
    pack_random(7, PACKING_WINDOW * 3 + 1, 9, 1);
    double fill = pack_random(512, PACKING_WINDOW * 2 + 77, 600, 2);
    EXPECTF(fill > 0.99, "random lengths: fill %.4f", fill);
}

/* Best fit by looking at every row; the lists by free space must do the same. */
static void test_best_fit(void)
{
    enum { N = 400, CONTEXT = 97 };
    uint32_t length[N], sorted[N], free_of[N];
    struct docs d = { length };
    struct rng rng = { .seed = 4 };
    struct packing p;
    struct err err;
    size_t n_rows = 0;
    for (int i = 0; i < N; i++)
        length[i] = sorted[i] = 1 + (uint32_t)(rng_u64(&rng) % (CONTEXT - 1));
    for (int i = 1; i < N; i++)            /* longest first */
        for (int k = i; k > 0 && sorted[k] > sorted[k - 1]; k--) {
            uint32_t x = sorted[k];
            sorted[k] = sorted[k - 1];
            sorted[k - 1] = x;
        }
    for (int i = 0; i < N; i++) {
        size_t best = n_rows;
        for (size_t r = 0; r < n_rows; r++)
            if (free_of[r] >= sorted[i] && (best == n_rows || free_of[r] < free_of[best]))
                best = r;
        if (best == n_rows)
            free_of[n_rows++] = CONTEXT;
        free_of[best] -= sorted[i];
    }
    EXPECT(packing_init(&p, CONTEXT, N, doc_at, &d, &err));
    EXPECTF(p.n_rows == n_rows, "%d rows, %d expected", (int)p.n_rows, (int)n_rows);
    packing_release(&p);
}

static void test_known(void)
{
    uint32_t length[] = { 10, 3, 7, 4, 25, 6, 0 };
    struct docs d = { length };
    struct packing p;
    struct err err;
    EXPECT(packing_init(&p, 10, 7, doc_at, &d, &err));
    /* rows: [10] [25: 0..10] [25: 10..20] [7 3] [6 4] [25: 20..25] */
    EXPECT(p.n_rows == 6 && p.n_pieces == 8 && p.n_tokens == 55);
    EXPECT(packing_fill(&p) == 55.0 / 60);
    EXPECT(p.piece[0].doc == 0 && p.piece[1].doc == 4 && p.piece[2].doc == 4
           && p.piece[2].part == 1);
    EXPECT(p.piece[3].doc == 2 && p.piece[4].doc == 1 && p.first[4] == 5);
    EXPECT(p.piece[5].doc == 5 && p.piece[6].doc == 3 && p.piece[7].part == 2);
    packing_release(&p);
}

static void test_no_memory(void)
{
    uint32_t length[50];
    struct docs d = { length };
    struct packing p;
    struct err err;
    bool ok = false;
    for (uint32_t i = 0; i < 50; i++)
        length[i] = i;
    for (long k = 0; !ok && k < 50; k++) {
        long live = mem_live;
        mem_fail_after = k;
        ok = packing_init(&p, 16, 50, doc_at, &d, &err);
        mem_fail_after = -1;
        if (ok)
            packing_release(&p);
        EXPECTF(ok || err.code == ERR_MEMORY, "%ld: %s", k, err.msg);
        EXPECTF(mem_live == live, "%ld: %ld blocks", k, mem_live - live);
    }
    EXPECT(ok);
}

/* ---- mixture ------------------------------------------------------------------------- */

static void follow(struct mixture *m, uint64_t n, double most)
{
    uint64_t taken[MIXTURE_MAX] = { 0 };
    double sum = 0;
    for (size_t s = 0; s < m->n; s++)
        sum += m->weight[s];
    for (uint64_t k = 1; k <= n; k++) {
        taken[mixture_next(m, taken)]++;
        for (size_t s = 0; s < m->n; s++) {
            double off = (double)taken[s] - (double)k * m->weight[s] / sum;
            EXPECTF(off < most && off > -most, "%zu sources, row %d: source %zu is off by %g",
                    m->n, (int)k, s, off);
        }
    }
}

static void test_mixture(void)
{
    struct rng rng = { .seed = 3 };
    for (size_t n = 1; n <= MIXTURE_MAX; n++) {
        struct mixture m = { .n = n };
        for (size_t s = 0; s < n; s++) {
            m.weight[s] = 0.01 + rng_unit(&rng);
            m.limit[s] = UINT64_MAX;
        }
        follow(&m, 2000, n < 3 ? 1 : 1.6);
    }
    struct mixture two = { .n = 2, .weight = { 3, 1 }, .limit = { UINT64_MAX, UINT64_MAX } };
    follow(&two, 100, 0.76);
    struct mixture small_first = { .n = 2, .weight = { 1, 3 }, .limit = { 9, 9 } };
    uint64_t none[2] = { 0 };
    EXPECT(mixture_next(&small_first, none) == 1);  /* behind by 3/4; the other by 1/4 */
}

/* One source ends; the others keep their ratio, and in the end nothing is left. */
/* As many of each source as taking them one by one gives, also beyond all limits. */
static void test_mixture_rows(void)
{
    struct rng rng = { .seed = 11 };
    for (int round = 0; round < 200; round++) {
        struct mixture m = { .n = 1 + (size_t)round % 5 };
        uint64_t taken[MIXTURE_MAX] = { 0 }, n_rows = rng_u64(&rng) % 600;
        for (size_t s = 0; s < m.n; s++) {
            m.weight[s] = 0.01 + rng_unit(&rng);
            m.limit[s] = rng_u64(&rng) % 3 ? rng_u64(&rng) % 300 : UINT64_MAX;
        }
        for (uint64_t k = 0; k < n_rows; k++) {
            size_t s = mixture_next(&m, taken);
            if (s < m.n)
                taken[s]++;
        }
        for (size_t s = 0; s < m.n; s++) {
            double off = mixture_rows(&m, s, (double)n_rows) - (double)taken[s];
            EXPECTF(fabs(off) <= (double)m.n, "round %d: source %zu is off by %g", round, s, off);
        }
    }
}

static void test_mixture_ends(void)
{
    struct mixture m = { .n = 3, .weight = { 5, 2, 1 }, .limit = { 10, 1000, 1000 } };
    uint64_t taken[MIXTURE_MAX] = { 0 };
    for (int i = 0; i < 10 + 600; i++)
        taken[mixture_next(&m, taken)]++;
    EXPECT(taken[0] == 10 && taken[1] == 400 && taken[2] == 200);
    for (int i = 0; i < 1400; i++)
        taken[mixture_next(&m, taken)]++;
    EXPECT(taken[1] == 1000 && taken[2] == 1000 && mixture_next(&m, taken) == 3);
}

const struct test tests[] = {
    { "bijection", test_bijection },
    { "spread", test_spread },
    { "neighbours", test_neighbours },
    { "whole", test_whole },
    { "best_fit", test_best_fit },
    { "known", test_known },
    { "no_memory", test_no_memory },
    { "mixture", test_mixture },
    { "mixture_rows", test_mixture_rows },
    { "mixture_ends", test_mixture_ends },
    { 0 }
};
