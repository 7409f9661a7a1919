#include "train/flops.h"

static double attention_weights(const struct plan *p)
{
    double q = (double)p->n_heads * p->head_dim, kv = (double)p->n_kv_heads * p->head_dim;
    return p->hidden * (2 * q + 2 * kv);
}

static double ffn_weights(const struct plan *p, const struct layer_plan *l)
{
    double one = 3.0 * p->hidden;
    if (!l->sparse)
        return one * l->ffn;
    return one * ((double)p->router.top_k * l->ffn + l->shared_ffn)
           + (double)p->router.n * p->hidden;
}

void train_flops_init(struct train_flops *f, const struct plan *p)
{
    struct weight_counts c;
    double head = (double)p->hidden * p->vocab;
    plan_count(p, &c);
    *f = (struct train_flops){ .trunk = 2 * head, .active = (double)c.touched,
                               .key = 4.0 * p->n_heads * p->head_dim };
    for (uint32_t i = 0; i < plan_all_layers(p); i++) {
        double *to = plan_is_mtp(p, i) ? &f->mtp : &f->trunk;
        *to += 2 * (attention_weights(p) + ffn_weights(p, &p->layer[i]));
    }
    f->mtp += p->n_mtp * 2 * (2.0 * p->hidden * p->hidden + head);
}

/* 1 + 2 + ... up to the window, then the window. */
static double keys_of(uint64_t n, uint32_t window)
{
    double all = (double)n, w = window && window < n ? window : all;
    return w * (w + 1) / 2 + (all - w) * w;
}

double train_flops_keys(const struct plan *p, uint64_t n, bool mtp)
{
    double keys = 0;
    for (uint32_t i = 0; i < plan_all_layers(p); i++)
        if (plan_is_mtp(p, i) == mtp)
            keys += keys_of(n, p->layer[i].window);
    return keys;
}

double train_flops_batch(const struct train_flops *f, const struct plan *p,
                         const struct batch *b)
{
    double sum = f->mtp * (double)b->n_targets2;
    for (size_t row = 0; row < b->n_rows; row++) {
        const uint32_t *pos = b->pos + row * b->context;
        size_t used = b->used[row];
        sum += f->trunk * (double)used;
        for (size_t i = 0; i < used; i++)
            if (i + 1 == used || !pos[i + 1])
                sum += f->key * (train_flops_keys(p, pos[i] + 1ull, false)
                                 + (pos[i] ? train_flops_keys(p, pos[i], true) : 0));
    }
    return 3 * sum;
}

double train_flops_token(const struct train_flops *f, const struct plan *p, uint32_t context)
{
    double keys = train_flops_keys(p, context, false) + train_flops_keys(p, context, true);
    return 3 * (f->trunk + f->mtp + f->key * keys / context);
}
