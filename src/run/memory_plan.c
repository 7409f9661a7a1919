#include "run/run.h"

const char *kv_type_name(enum kv_type t)
{
    static const char *const names[] = {
        [KV_F32] = "f32", [KV_F16] = "f16", [KV_BF16] = "bf16", [KV_Q8_0] = "q8_0"
    };
    return names[t];
}

bool kv_type_find(const char *name, enum kv_type *out)
{
    for (int t = KV_F32; t <= KV_Q8_0; t++)
        if (!strcmp(name, kv_type_name((enum kv_type)t))) {
            *out = (enum kv_type)t;
            return true;
        }
    return false;
}

void memory_plan_make(struct memory_plan *out, const struct plan *p, uint64_t weight_bytes,
                      uint32_t context, uint32_t chunk, enum kv_type kv_type, int n_threads,
                      bool mtp)
{
    struct memory_plan mp = { .weights = weight_bytes, .context = context, .chunk = chunk,
                              .kv_type = kv_type, .mtp = mtp };
    mp.step = workspace_bytes(p, chunk, n_threads);
    mp.session = 4ull * context + 20ull * p->vocab + 4ull * (chunk + 1ull) * p->hidden;
    kv_count(p, kv_type, context, chunk, &mp.kv);
    mp.total = mp.session + mp.kv.global + mp.kv.rings + (mtp ? mp.kv.mtp : 0);
    if (!add_u64(mp.total, mp.weights, &mp.total) || !add_u64(mp.total, mp.step, &mp.total))
        mp.total = UINT64_MAX;
    mp.available = sys_memory_available();
    mp.limit = sys_memory_limit();
    mp.snapshot = snapshot_bytes(p, &mp.kv, mtp);
    memory_plan_snapshots(&mp, 0);
    *out = mp;
}

void memory_plan_snapshots(struct memory_plan *mp, uint64_t budget)
{
    uint64_t before = mp->n_snapshots * mp->snapshot;
    mp->n_snapshots = snapshot_room(mp->snapshot, budget);
    if (mp->total != UINT64_MAX
        && !add_u64(mp->total - before, mp->n_snapshots * mp->snapshot, &mp->total))
        mp->total = UINT64_MAX;
}

void memory_plan_line(struct buf *out, const struct memory_plan *mp)
{
    put_size(out, mp->weights);
    buf_text(out, " weights (mapped) + ");
    put_size(out, mp->kv.global + mp->kv.rings + (mp->mtp ? mp->kv.mtp : 0));
    buf_printf(out, " KV (%u tokens, %s%s) + ", mp->context, kv_type_name(mp->kv_type),
               mp->mtp ? ", with MTP" : "");
    if (mp->n_snapshots) {
        put_size(out, mp->n_snapshots * mp->snapshot);
        buf_printf(out, " for %u snapshots + ", mp->n_snapshots);
    }
    put_size(out, mp->step);
    buf_printf(out, " for steps of %u tokens = ", mp->chunk);
    put_size(out, mp->total);
    if (mp->available != UINT64_MAX) {
        buf_text(out, " of ");
        put_size(out, mp->available);
        buf_text(out, " available");
    }
}

bool memory_plan_check(const struct memory_plan *mp, const char *file, struct err *err)
{
    struct buf line = { 0 };
    if (mp->total <= mp->available)
        return true;
    memory_plan_line(&line, mp);
    fail(err, ERR_MEMORY, "%s does not fit in memory: %s%s. Use a smaller --ctx, a smaller "
         "--kv-type or a more strongly quantised file", file, line.at ? line.at : "",
         mp->limit != UINT64_MAX && mp->limit <= mp->available ? " (a limit of this process)" : "");
    buf_release(&line);
    return false;
}
