#include "run/run.h"

const char *kv_type_name(enum kv_type t)
{
    return t == KV_F32 ? "f32" : t == KV_F16 ? "f16" : "bf16";
}

void put_size(struct buf *out, uint64_t bytes)
{
    static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 1024 && u + 1 < sizeof unit / sizeof *unit; u++)
        v /= 1024;
    buf_printf(out, u && v < 100 ? "%.1f %s" : "%.0f %s", v, unit[u]);
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
    *out = mp;
}

void memory_plan_line(struct buf *out, const struct memory_plan *mp)
{
    put_size(out, mp->weights);
    buf_text(out, " weights (mapped) + ");
    put_size(out, mp->kv.global + mp->kv.rings + (mp->mtp ? mp->kv.mtp : 0));
    buf_printf(out, " KV (%u tokens, %s%s) + ", mp->context, kv_type_name(mp->kv_type),
               mp->mtp ? ", with MTP" : "");
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
