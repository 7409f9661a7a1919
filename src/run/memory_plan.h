/*
 * memory_plan: what a model and one session need, from the plan alone, before loading.
 */
#ifndef KEXA_RUN_MEMORY_PLAN_H
#define KEXA_RUN_MEMORY_PLAN_H

#include "model/model.h"

struct memory_plan {
    uint64_t weights;                     /* mapped file bytes, read as they are */
    uint64_t step;                        /* workspace of one forward pass */
    uint64_t session;                     /* logits, ids, hidden rows, sampler */
    struct kv_bytes kv;
    uint64_t snapshot;                    /* bytes of one; 0: the model needs none */
    uint32_t n_snapshots;                 /* at most so many are kept */
    uint64_t total;
    uint64_t available, limit;            /* of this machine; UINT64_MAX: unknown, none */
    uint32_t context, chunk;
    enum kv_type kv_type;
    bool mtp;
};

void memory_plan_make(struct memory_plan *out, const struct plan *p, uint64_t weight_bytes,
                      uint32_t context, uint32_t chunk, enum kv_type kv_type, int n_threads,
                      bool mtp);
/* Another budget for snapshots than the default (bytes; 0: the default). */
void memory_plan_snapshots(struct memory_plan *mp, uint64_t budget);
/* Refuses with the numbers when total > available. */
bool memory_plan_check(const struct memory_plan *mp, const char *file, struct err *err);
/* One line for people: "94 MiB weights + 90 MiB KV (8192 tokens, f16) + ..." */
void memory_plan_line(struct buf *out, const struct memory_plan *mp);

const char *kv_type_name(enum kv_type t);
bool kv_type_find(const char *name, enum kv_type *out);

#endif
