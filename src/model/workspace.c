#include "model/carve.h"
#include "model/model.h"

#include <inttypes.h>

static struct acts_buf carve_acts(struct carver *c, uint64_t rows, uint64_t k)
{
    uint64_t blocks = k / 32 + 1;
    return (struct acts_buf){
        .f32 = carve(c, rows * k, sizeof(float)),
        .q = carve(c, rows * k, 1),
        .d = carve(c, rows * blocks, sizeof(float)),
        .sum = carve(c, rows * blocks, sizeof(int32_t)),
        .b16 = carve(c, rows * k, sizeof(bf16)),
    };
}

struct widths {
    uint64_t q, kv, ffn, widest;
};

static struct widths widths_of(const struct plan *p)
{
    struct widths w = { (uint64_t)p->n_heads * p->head_dim,
                        (uint64_t)p->n_kv_heads * p->head_dim, p->hidden, 2ull * p->hidden };
    for (uint32_t i = 0; i < plan_all_layers(p); i++) {
        const struct layer_plan *l = &p->layer[i];
        uint64_t dense = l->sparse ? l->shared_ffn : l->ffn;
        w.ffn = dense > w.ffn ? dense : w.ffn;
        w.widest = l->ffn > w.widest ? l->ffn : w.widest;
    }
    w.widest = w.ffn > w.widest ? w.ffn : w.widest;
    w.widest = w.q > w.widest ? w.q : w.widest;
    return w;
}

static void carve_moe(struct carver *c, struct workspace *ws, const struct plan *p, uint64_t rows)
{
    uint64_t n = p->router.n, pairs = rows * p->router.top_k;
    ws->jobs = carve(c, 2 * n + 4, sizeof(struct linear_job));
    if (!n)
        return;
    ws->router = carve(c, rows * n, sizeof(float));
    ws->expert = carve(c, pairs, sizeof(uint32_t));
    ws->mixing = carve(c, pairs, sizeof(float));
    ws->pair = carve(c, pairs, sizeof(uint32_t));
    ws->first = carve(c, n + 1, sizeof(uint32_t));
    ws->slot = carve(c, pairs, sizeof(uint32_t));
    ws->pair_z = carve_acts(c, pairs, p->hidden);
    ws->pair_gate = carve(c, pairs * p->expert_ffn, sizeof(float));
    ws->pair_up = carve(c, pairs * p->expert_ffn, sizeof(float));
    ws->pair_act = carve_acts(c, pairs, p->expert_ffn);
    ws->pair_out = carve(c, pairs * p->hidden, sizeof(float));
}

static void carve_all(struct carver *c, struct workspace *ws, const struct plan *p, uint64_t rows,
                      int n_threads)
{
    struct widths w = widths_of(p);
    ws->rows = (size_t)rows;
    ws->step = carve(c, rows, sizeof *ws->step);
    ws->x = carve(c, rows * p->hidden, sizeof(float));
    ws->z = carve_acts(c, rows, 2ull * p->hidden);
    ws->q = carve(c, rows * w.q, sizeof(float));
    ws->k = carve(c, rows * w.kv, sizeof(float));
    ws->v = carve(c, rows * w.kv, sizeof(float));
    ws->mix = carve_acts(c, rows, w.q);
    ws->t = carve(c, rows * p->hidden, sizeof(float));
    for (uint32_t i = 0; i < p->n_ropes; i++) {
        ws->cs[i] = carve(c, rows * p->rope[i].dims / 2, sizeof(float));
        ws->sn[i] = carve(c, rows * p->rope[i].dims / 2, sizeof(float));
    }
    ws->gate = carve(c, rows * w.ffn, sizeof(float));
    ws->shared_out = ws->gate;
    ws->up = carve(c, rows * w.ffn, sizeof(float));
    ws->act = carve_acts(c, rows, w.ffn);
    carve_moe(c, ws, p, rows);
    ws->logits = carve(c, HEAD_ROWS * (uint64_t)p->vocab, sizeof(float));
    ws->panel_stride = (size_t)(PANEL_ROWS * w.widest);
    ws->panel = carve(c, (uint64_t)n_threads * ws->panel_stride, sizeof(float));
}

uint64_t workspace_bytes(const struct plan *p, size_t rows, int n_threads)
{
    struct carver c = { 0 };
    struct workspace ws;
    memset(&ws, 0, sizeof ws);
    carve_all(&c, &ws, p, rows, n_threads);
    return c.overflow || c.at > UINT64_MAX / 4 ? UINT64_MAX : c.at;
}

bool workspace_reserve(struct workspace *ws, const struct plan *p, size_t rows, int n_threads,
                       struct err *err)
{
    if (ws->memory && rows <= ws->rows)
        return true;
    uint64_t n = workspace_bytes(p, rows, n_threads);
    void *memory = n < SIZE_MAX / 2 ? space_take_whole((size_t)n) : NULL;
    if (!memory)
        return fail(err, ERR_MEMORY, "cannot reserve %" PRIu64 " bytes to evaluate %zu tokens at "
                    "a time; use a smaller chunk", n, rows);
    workspace_release(ws);
    struct carver c = { .base = memory };
    carve_all(&c, ws, p, rows, n_threads);
    ws->memory = memory;
    ws->n_bytes = n;
    return true;
}

void workspace_release(struct workspace *ws)
{
    space_give(ws->memory, (size_t)ws->n_bytes);
    *ws = (struct workspace){ 0 };
}
