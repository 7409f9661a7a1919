/* Rows of keys and values out of a session and back: snapshots, forks, files. */
#include "model/model.h"

/* What one walk over the rows does with each run of bytes: out of the rings, or into them. */
struct row_walk {
    kv_run_fn *fn;                        /* out; NULL: in */
    void *arg;
    const uint8_t *in;
    bool stopped;
};

static void move(struct row_walk *w, uint8_t *rows, size_t n_bytes)
{
    if (w->fn) {
        w->stopped = w->stopped || !w->fn(w->arg, rows, n_bytes);
    } else {
        memcpy(rows, w->in, n_bytes);
        w->in += n_bytes;
    }
}

/* Positions first .. n - 1 of one head, which are one run in the ring or two. */
static void walk_head(struct row_walk *w, uint8_t *head, uint64_t ring, size_t row_bytes,
                      uint64_t first, uint64_t n)
{
    while (first < n) {
        uint64_t slot = first % ring, run = n - first < ring - slot ? n - first : ring - slot;
        move(w, head + slot * row_bytes, run * row_bytes);
        first += run;
    }
}

static void walk_part(struct row_walk *w, const struct kv *kv, const struct plan *p,
                      enum kv_part part, uint32_t n)
{
    size_t row_bytes = kv_row_bytes(kv->type, p->head_dim);
    for (uint32_t i = 0; i < kv->n_layers; i++) {
        const struct kv_layer *l = &kv->layer[i];
        uint32_t window = p->layer[i].window, first = l->wraps && n > window ? n - window : 0;
        if (part == KV_PART_RINGS && !l->wraps)
            continue;
        for (size_t side = 0; side < 2; side++)
            for (size_t h = 0; h < p->n_kv_heads; h++)
                walk_head(w, (uint8_t *)(side ? l->v : l->k) + h * l->ring * row_bytes, l->ring,
                          row_bytes, first, n);
    }
}

uint64_t kv_part_bytes(const struct kv *kv, const struct plan *p, enum kv_part part, uint32_t n)
{
    size_t row_bytes = kv_row_bytes(kv->type, p->head_dim);
    uint64_t rows = 0;
    for (uint32_t i = 0; i < kv->n_layers; i++) {
        uint32_t window = p->layer[i].window;
        if (kv->layer[i].wraps)
            rows += n > window ? window : n;
        else if (part == KV_PART_ALL)
            rows += n;
    }
    return 2 * rows * p->n_kv_heads * row_bytes;
}

bool kv_part_each(const struct kv *kv, const struct plan *p, enum kv_part part, uint32_t n,
                  kv_run_fn *fn, void *arg)
{
    struct row_walk w = { .fn = fn, .arg = arg };
    walk_part(&w, kv, p, part, n);
    return !w.stopped;
}

static bool copy_run(void *arg, const void *at, size_t n_bytes)
{
    uint8_t **out = arg;
    memcpy(*out, at, n_bytes);
    *out += n_bytes;
    return true;
}

void kv_part_read(const struct kv *kv, const struct plan *p, enum kv_part part, uint32_t n,
                  uint8_t *out)
{
    kv_part_each(kv, p, part, n, copy_run, &out);
}

void kv_part_write(struct kv *kv, const struct plan *p, enum kv_part part, uint32_t n,
                   const uint8_t *in)
{
    struct row_walk w = { .in = in };
    walk_part(&w, kv, p, part, n);
}

void kv_copy(struct kv *to, const struct kv *from, const struct plan *p, uint32_t n, uint32_t top)
{
    size_t row_bytes = kv_row_bytes(from->type, p->head_dim);
    for (uint32_t i = 0; i < from->n_layers; i++) {
        const struct kv_layer *a = &from->layer[i], *b = &to->layer[i];
        uint64_t used = a->wraps ? top : n, rows = used < a->ring ? used : a->ring;
        for (size_t h = 0; h < p->n_kv_heads; h++) {
            size_t at = h * a->ring * row_bytes;
            memcpy((uint8_t *)b->k + at, (const uint8_t *)a->k + at, rows * row_bytes);
            memcpy((uint8_t *)b->v + at, (const uint8_t *)a->v + at, rows * row_bytes);
        }
    }
}
