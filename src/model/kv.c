#include "model/model.h"

#include <inttypes.h>

static uint64_t round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

uint64_t kv_ring(const struct plan *p, uint32_t layer, uint32_t context, uint32_t chunk)
{
    uint64_t all = round_up(context, ATTN_BLOCK), window = p->layer[layer].window;
    uint64_t ring = round_up(window + chunk, ATTN_BLOCK);
    return window && ring < all ? ring : all;
}

/* Bytes of one token's k and v in a layer. */
static uint64_t token_bytes(const struct plan *p, enum kv_type type)
{
    return 2ull * p->n_kv_heads * kv_row_bytes(type, p->head_dim);
}

static bool take_layer(struct kv_layer *l, uint64_t ring, uint64_t row_bytes, bool wraps,
                       struct err *err)
{
    uint64_t n;
    if (!mul_u64(ring, row_bytes, &n) || n > SIZE_MAX / 4)
        return fail(err, ERR_MEMORY, "a KV ring of %" PRIu64 " rows of %" PRIu64 " bytes is too "
                    "large", ring, row_bytes);
    *l = (struct kv_layer){ space_take((size_t)n), space_take((size_t)n), ring, n, wraps };
    return (l->k && l->v) || fail(err, ERR_MEMORY, "cannot reserve %" PRIu64 " bytes of address "
                                  "space for keys and values; use a smaller --ctx", 2 * n);
}

bool kv_init(struct kv *kv, const struct plan *p, enum kv_type type, uint32_t context,
             uint32_t chunk, bool with_mtp, struct err *err)
{
    struct kv got = { type, context, chunk, with_mtp ? plan_all_layers(p) : p->n_layers, NULL };
    got.layer = mem_take(got.n_layers, sizeof *got.layer);
    if (!got.layer)
        return fail(err, ERR_MEMORY, "out of memory for the KV cache's table");
    for (uint32_t i = 0; i < got.n_layers; i++) {
        uint64_t ring = kv_ring(p, i, context, chunk);
        if (!take_layer(&got.layer[i], ring, token_bytes(p, type) / 2, ring < context, err)) {
            kv_release(&got);
            return false;
        }
    }
    *kv = got;
    return true;
}

void kv_release(struct kv *kv)
{
    for (uint32_t i = 0; kv->layer && i < kv->n_layers; i++) {
        space_give(kv->layer[i].k, (size_t)kv->layer[i].n_bytes);
        space_give(kv->layer[i].v, (size_t)kv->layer[i].n_bytes);
    }
    mem_give(kv->layer);
    *kv = (struct kv){ 0 };
}

uint32_t kv_oldest(const struct kv *kv, const struct plan *p, uint32_t base, uint32_t top)
{
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < kv->n_layers; i++) {
        uint64_t window = p->layer[i].window, ring = kv->layer[i].ring, low = 0;
        if (!kv->layer[i].wraps)
            continue;
        /* rows low .. top - 1 are intact; position n sees n - window + 1 and on */
        if (top > ring)
            low = top - ring;
        if (base > window && base - window > low)
            low = base - window;
        uint64_t n = low ? low + window - 1 : 0;
        if (n > oldest)
            oldest = n < top ? (uint32_t)n : top;
    }
    return oldest;
}

void kv_count(const struct plan *p, enum kv_type type, uint32_t context, uint32_t chunk,
              struct kv_bytes *out)
{
    uint64_t each = token_bytes(p, type);
    *out = (struct kv_bytes){ 0 };
    for (uint32_t i = 0; i < plan_all_layers(p); i++) {
        uint64_t window = p->layer[i].window;
        if (window && kv_ring(p, i, context, chunk) < context)
            *(plan_is_mtp(p, i) ? &out->mtp_wrapping : &out->wrapping) += window * each;
        if (plan_is_mtp(p, i)) {
            out->mtp += kv_ring(p, i, context, chunk) * each;
        } else if (window) {
            out->windows += (window < context ? window : context) * each;
            out->rings += kv_ring(p, i, context, chunk) * each;
        } else {
            out->per_token_global += each;
            out->global += context * each;
        }
    }
}
