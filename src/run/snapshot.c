#include "run/run.h"

#include <math.h>

uint64_t snapshot_bytes(const struct plan *p, const struct kv_bytes *kv, bool mtp)
{
    uint64_t rows = kv->wrapping + (mtp ? kv->mtp_wrapping : 0);
    return rows ? rows + 4ull * p->vocab + 4ull * p->hidden : 0;
}

uint32_t snapshot_room(uint64_t each, uint64_t budget)
{
    uint64_t most = budget ? SNAPSHOT_SLOTS_MAX : SNAPSHOT_SLOTS;
    uint64_t n = each ? (budget ? budget : SNAPSHOT_BUDGET) / each : 0;
    return (uint32_t)(n < most ? n : most);
}

bool snapshots_init(struct session *s, uint64_t budget, uint32_t every, struct err *err)
{
    struct snapshots *x = &s->snapshots;
    struct kv_bytes bytes;
    kv_count(&s->m->plan, s->kv.type, s->kv.context, s->kv.chunk, &bytes);
    x->each = snapshot_bytes(&s->m->plan, &bytes, s->mtp);
    x->room = snapshot_room(x->each, budget);
    x->every = every ? every : SNAPSHOT_EVERY;
    for (uint32_t i = 0; i < x->room; i++)
        x->at[i].place = i;
    if (x->room)
        x->memory = space_take((size_t)(x->room * x->each));
    return !x->room || x->memory
           || fail(err, ERR_MEMORY, "cannot reserve address space for %u snapshots of a session",
                   x->room);
}

void snapshots_release(struct snapshots *x)
{
    if (x->memory)
        space_give(x->memory, (size_t)(x->room * x->each));
    *x = (struct snapshots){ 0 };
}

void snapshots_copy(struct snapshots *to, const struct snapshots *from)
{
    check(to->room == from->room && to->each == from->each);
    to->n = from->n;
    memcpy(to->at, from->at, sizeof to->at);
    for (uint32_t i = 0; i < from->n; i++) {
        uint64_t at = from->at[i].place * from->each;
        memcpy(to->memory + at, from->memory + at, (size_t)from->each);
    }
}

bool snapshot_due(const struct snapshots *x, uint32_t n)
{
    return x->room && n - (x->n ? x->at[x->n - 1].n : 0) >= x->every;
}

/* The one to give up: of the widths between neighbours over the distance from n, the least. */
static uint32_t least_missed(const struct snapshots *x, uint32_t n)
{
    uint32_t least = 0;
    double best = INFINITY;
    for (uint32_t i = 0; i < x->n; i++) {
        double before = i ? x->at[i - 1].n : 0, after = i + 1 < x->n ? x->at[i + 1].n : n;
        double value = (after - before) / (n - x->at[i].n);
        if (value < best) {
            best = value;
            least = i;
        }
    }
    return least;
}

/* Moves the place of at[i] to the free ones. */
static void forget(struct snapshots *x, uint32_t i)
{
    struct snapshot_at gone = x->at[i];
    x->n--;
    memmove(x->at + i, x->at + i + 1, (x->n - i) * sizeof *x->at);
    x->at[x->n] = gone;
}

/* Logits, hidden row, ring rows. */
void snapshot_take(struct session *s)
{
    struct snapshots *x = &s->snapshots;
    size_t logits = s->m->plan.vocab * sizeof(float), hidden = s->m->plan.hidden * sizeof(float);
    if (!x->room || !s->n || (x->n && x->at[x->n - 1].n == s->n))
        return;
    if (x->n == x->room)
        forget(x, least_missed(x, s->n));
    x->at[x->n].n = s->n;
    uint8_t *to = x->memory + x->at[x->n++].place * x->each;
    memcpy(to, s->logits, logits);
    if (s->mtp)
        memcpy(to + logits, s->hidden, hidden);
    kv_part_read(&s->kv, &s->m->plan, KV_PART_RINGS, s->n, to + logits + hidden);
}

void snapshots_drop(struct snapshots *x, uint32_t n)
{
    while (x->n && x->at[x->n - 1].n > n)
        x->n--;
}

void snapshot_restore(struct session *s)
{
    struct snapshots *x = &s->snapshots;
    size_t logits = s->m->plan.vocab * sizeof(float), hidden = s->m->plan.hidden * sizeof(float);
    s->n = s->top = s->base = x->n ? x->at[x->n - 1].n : 0;
    if (!s->n)
        return;
    const uint8_t *from = x->memory + x->at[x->n - 1].place * x->each;
    memcpy(s->logits, from, logits);
    if (s->mtp)
        memcpy(s->hidden, from + logits, hidden);
    kv_part_write(&s->kv, &s->m->plan, KV_PART_RINGS, s->n, from + logits + hidden);
}
