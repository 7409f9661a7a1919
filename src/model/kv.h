/*
 * kv: keys and values of one sequence.
 *
 * Layout per layer: k and v each [n_kv_heads][ring][head_dim] of the KV type; position p
 * stands in row p % ring.  A window layer's ring holds window - 1 + chunk rows (rounded up
 * to ATTN_BLOCK), so a step that appends up to `chunk` rows overwrites nothing its oldest
 * row still sees.  A global layer's ring is the whole context: its address space is
 * reserved at open and pages are touched as they are written.
 *
 * The MTP block's own layer comes after the main layers; its slots are counted apart.
 */
#ifndef KEXA_MODEL_KV_H
#define KEXA_MODEL_KV_H

#include "model/plan.h"

struct kv_layer {
    void *k, *v;
    uint64_t ring;
    uint64_t n_bytes;                     /* of k, and of v */
    bool wraps;                           /* a ring shorter than the context */
};

struct kv {
    enum kv_type type;
    uint32_t context, chunk;
    uint32_t n_layers;                    /* allocated: with or without the MTP layers */
    struct kv_layer *layer;
};

/* with_mtp: also the MTP blocks' layers. */
bool kv_init(struct kv *kv, const struct plan *p, enum kv_type type, uint32_t context,
             uint32_t chunk, bool with_mtp, struct err *err);
void kv_release(struct kv *kv);

/* Rows of layer i's ring. */
uint64_t kv_ring(const struct plan *p, uint32_t layer, uint32_t context, uint32_t chunk);

/*
 * How far back the newest position can be taken when positions below `top` were once
 * written and the rings were last restored at `base` tokens (0: never): the smallest
 * position n whose evaluation sees only rows that all rings still hold.
 */
uint32_t kv_oldest(const struct kv *kv, const struct plan *p, uint32_t base, uint32_t top);

/*
 * Rows that n tokens leave for what follows, as one run of bytes: layer by layer k then v,
 * head by head, positions ascending.  All of them, or of wrapping layers only: the last
 * `window` positions, which later tokens overwrite.  In a layer that does not wrap every
 * position from 0 counts.
 */
enum kv_part { KV_PART_ALL, KV_PART_RINGS };
uint64_t kv_part_bytes(const struct kv *kv, const struct plan *p, enum kv_part part, uint32_t n);
/* Each run of bytes in turn, until fn returns false; whether it never did. */
typedef bool kv_run_fn(void *arg, const void *at, size_t n_bytes);
bool kv_part_each(const struct kv *kv, const struct plan *p, enum kv_part part, uint32_t n,
                  kv_run_fn *fn, void *arg);
void kv_part_read(const struct kv *kv, const struct plan *p, enum kv_part part, uint32_t n,
                  uint8_t *out);
void kv_part_write(struct kv *kv, const struct plan *p, enum kv_part part, uint32_t n,
                   const uint8_t *in);

/* All that `from` holds of n tokens (rings: of positions below top) into the fresh `to` of the
 * same shape.  Pages of a global layer are touched only as far as they are used. */
void kv_copy(struct kv *to, const struct kv *from, const struct plan *p, uint32_t n,
             uint32_t top);

struct kv_bytes {
    uint64_t per_token_global;            /* all global layers, one token */
    uint64_t global;                      /* at the full context */
    uint64_t windows;                     /* exactly `window` rows of every window layer */
    uint64_t rings;                       /* what the rings really take */
    uint64_t mtp;                         /* the MTP layers at the full context */
    uint64_t wrapping;                    /* `window` rows of every layer whose ring wraps */
    uint64_t mtp_wrapping;                /* the same of the MTP layers */
};
void kv_count(const struct plan *p, enum kv_type type, uint32_t context, uint32_t chunk,
              struct kv_bytes *out);

#endif
