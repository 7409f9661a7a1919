/* What a sparse layer's router did in a pass: loads, entropy, balance loss. */
#include "model/train/tape.h"

/* The entropy is a figure to watch: every ENTROPY_STEP-th token is enough. */
enum { ENTROPY_STEP = 8 };

struct router_task {
    struct tape *t;
    const struct batch *b;
    const struct objective *o;
    const struct workspace *ws;
    float *dlogits;
};

static double entropy_of(const float *scores, size_t used, uint32_t n)
{
    double sum = 0;
    size_t seen = 0;
    for (size_t i = 0; i < used; i += ENTROPY_STEP, seen++)
        sum += moe_entropy(scores + i * n, n);
    return seen ? sum * (double)used / (double)seen : 0;
}

/* One sequence without its padding. */
static void sequence_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct router_task *k = arg;
    struct tape *t = k->t;
    const struct moe_router *r = &t->m->plan.router;
    (void)worker;
    for (size_t s = begin; s < end; s++) {
        size_t first = s * k->b->context, used = k->b->used[s];
        const float *scores = k->ws->router + first * r->n;
        const uint32_t *ids = k->ws->expert + first * r->top_k;
        uint64_t *load = t->seq_load + s * r->n;
        float *d = k->dlogits && k->o->balance != 0 ? k->dlogits + first * r->n : NULL;
        memset(load, 0, r->n * sizeof *load);
        for (size_t i = 0; i < used * r->top_k; i++)
            load[ids[i]]++;
        t->seq_entropy[s] = entropy_of(scores, used, r->n);
        double alpha = d ? k->o->balance : 1;
        t->seq_balance[s] = moe_balance(d, scores, r->n, ids, used, alpha, r) / alpha;
    }
}

static size_t sparse_index(const struct plan *p, uint32_t layer)
{
    size_t n = 0;
    for (uint32_t i = 0; i < layer; i++)
        n += p->layer[i].sparse;
    return n;
}

void router_sums(struct tape *t, const struct batch *b, const struct objective *o,
                 uint32_t layer, float *dlogits, struct pass_sums *sums)
{
    struct router_task k = { t, b, o, &t->ffn[layer], dlogits };
    size_t n = t->m->plan.router.n, at = sparse_index(&t->m->plan, layer);
    pool_run(t->m->pool, b->n_rows, 1, sequence_range, &k);
    for (size_t s = 0; s < b->n_rows; s++) {
        sums->balance += t->seq_balance[s];
        if (sums->entropy)
            sums->entropy[at] += t->seq_entropy[s];
        for (size_t e = 0; sums->load && e < n; e++)
            sums->load[at * n + e] += t->seq_load[s * n + e];
    }
}
