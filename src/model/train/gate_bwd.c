/*
 * Gates backward, a row at a time: from what was kept of gate and up, all else about the row is
 * made again in the first cache.
 */
#include "model/train/tape.h"

void gates_keep(const struct tape *t, struct acts_buf *kept_gate, struct acts_buf *kept_up,
                const float *gate, const float *up, size_t n)
{
    if (!t->shape.in_bf16)
        return;                           /* they were made where they are kept */
    t->m->kern->round_bf16(kept_gate->b16, gate, n);
    t->m->kern->round_bf16(kept_up->b16, up, n);
}

struct row {
    const float *gate, *up;
    float *a;
};

/* a times its mixing weight, whose gradient is taken; da becomes that of a. */
static void weigh(const struct tape *t, const struct gate_bwd *g, float *a, float *da,
                  uint32_t slot, float *scratch)
{
    const struct kernels *k = t->m->kern;
    float w = g->mixing[slot];
    k->scale_add_bwd(da, g->dmixing + slot, da, a, w, g->width);
    memset(scratch, 0, g->width * sizeof *scratch);
    k->scale_add_fwd(scratch, w, a, g->width);
    memcpy(a, scratch, g->width * sizeof *a);
}

static void row_backward(const struct tape *t, const struct gate_bwd *g, const struct row *r,
                         size_t at)
{
    const struct kernels *k = t->m->kern;
    bool gelu = t->m->plan.act == ACT_GELU;
    const float *da = g->da + at;
    if (t->shape.in_bf16 && gelu)
        k->geglu_bwd_bf16(g->dgate16 + at, g->dup16 + at, da, r->gate, r->up, g->width);
    else if (t->shape.in_bf16)
        k->swiglu_bwd_bf16(g->dgate16 + at, g->dup16 + at, da, r->gate, r->up, g->width, g->limit);
    else if (gelu)
        k->geglu_bwd(g->dgate + at, g->dup + at, da, r->gate, r->up, g->width);
    else
        k->swiglu_bwd(g->dgate + at, g->dup + at, da, r->gate, r->up, g->width, g->limit);
}

static struct row row_of(const struct tape *t, const struct gate_bwd *g, size_t at, float *scratch)
{
    if (!t->shape.in_bf16)
        return (struct row){ g->gate->f32 + at, g->up->f32 + at, g->a.f32 + at };
    t->m->kern->widen_bf16(scratch, g->gate->b16 + at, g->width);
    t->m->kern->widen_bf16(scratch + g->width, g->up->b16 + at, g->width);
    return (struct row){ scratch, scratch + g->width, scratch + 2 * g->width };
}

void gates_backward(const struct tape *t, const struct gate_bwd *g, struct scratch *s)
{
    for (size_t i = 0; i < g->n; i++) {
        size_t at = i * g->width;
        struct row r = row_of(t, g, at, s->row);
        gate_values(t->m, r.a, r.gate, r.up, g->width, g->limit);
        if (g->mixing)
            weigh(t, g, r.a, g->da + at, g->slot[i], s->row + 3 * g->width);
        if (t->shape.in_bf16)
            t->m->kern->round_bf16(g->a.b16 + at, r.a, g->width);
        row_backward(t, g, &r, at);
    }
}
