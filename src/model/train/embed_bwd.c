/* Gradients of the embedding: rows of one token meet in their order, tokens in parallel. */
#include "model/train/tape.h"

struct embed_task {
    const struct tape *t;
    const float *dx, *dmtp;
    float *grad;
};

/* Rows by token: trunk row r is r, MTP row r is n + r. */
static void sort_rows(struct tape *t, const struct batch *b, bool mtp)
{
    uint32_t vocab = t->m->plan.vocab, *first = t->token_first;
    memset(first, 0, (vocab + 1ull) * sizeof *first);
    for (size_t r = 0; r < t->n; r++)
        first[b->token[r] + 1]++;
    for (size_t r = 0; mtp && r < t->n; r++)
        if (b->target[r] != NO_TARGET)
            first[b->target[r] + 1]++;
    for (uint32_t v = 0; v < vocab; v++)
        first[v + 1] += first[v];
    for (size_t r = 0; r < t->n; r++)
        t->order[first[b->token[r]]++] = (uint32_t)r;
    for (size_t r = 0; mtp && r < t->n; r++)
        if (b->target[r] != NO_TARGET)
            t->order[first[b->target[r]]++] = (uint32_t)(t->n + r);
    memmove(first + 1, first, vocab * sizeof *first);
    first[0] = 0;
}

static void embed_range(void *arg, size_t begin, size_t end, int worker)
{
    const struct embed_task *k = arg;
    const struct tape *t = k->t;
    size_t hidden = t->m->plan.hidden;
    (void)worker;
    for (size_t v = begin; v < end; v++)
        for (uint32_t i = t->token_first[v]; i < t->token_first[v + 1]; i++) {
            size_t r = t->order[i];
            const float *d = r < t->n ? k->dx + r * hidden : k->dmtp + (r - t->n) * 2 * hidden;
            t->m->kern->scale_add_fwd(k->grad + v * hidden, t->m->plan.embed_scale, d, hidden);
        }
}

void embed_backward(struct tape *t, const struct batch *b, const float *dx, const float *dmtp,
                    struct weights *grads)
{
    struct embed_task k = { t, dx, dmtp, grad_f32(&grads->embed) };
    if (!k.grad)
        return;
    sort_rows(t, b, dmtp != NULL);
    pool_run(t->m->pool, t->m->plan.vocab, 64, embed_range, &k);
}
