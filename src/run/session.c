#include "run/run.h"

#include <inttypes.h>

uint32_t session_default_context(const struct plan *p)
{
    return p->context < 8192 ? p->context : 8192;
}

static bool take_buffers(struct session *s, uint32_t context, uint32_t chunk, struct err *err)
{
    const struct plan *p = &s->m->plan;
    s->ids = mem_take(context, sizeof *s->ids);
    s->logits = mem_take(p->vocab, sizeof *s->logits);
    s->hidden = mem_take(chunk + 1ull, p->hidden * sizeof *s->hidden);
    return (s->ids && s->logits && s->hidden && sampler_work_init(&s->work, p->vocab, err))
           || fail(err, ERR_MEMORY, "out of memory for a session of %u tokens", context);
}

static bool check_options(const struct model *m, const struct session_options *o, uint32_t chunk,
                          struct err *err)
{
    if (o->context < 1 || o->context > m->plan.context)
        return fail(err, ERR_LIMIT, "a context of %u tokens was asked for; %s takes 1 to %u",
                    o->context, m->path, m->plan.context);
    if (o->mtp && !m->plan.n_mtp)
        return fail(err, ERR_USAGE, "this model has no multi-token prediction (MTP) weights");
    if (o->kv_type == KV_Q8_0 && m->plan.head_dim % KV_Q8_BLOCK)
        return fail(err, ERR_UNSUPPORTED, "q8_0 keys and values need heads of a multiple of %d "
                    "elements, and those of %s have %u; use f16", KV_Q8_BLOCK, m->path,
                    m->plan.head_dim);
    return (chunk >= 1 && chunk <= SESSION_CHUNK_MAX)
           || fail(err, ERR_USAGE, "the chunk must be 1 to %d tokens", SESSION_CHUNK_MAX);
}

struct session *session_open(struct model *m, const struct session_options *o, struct err *err)
{
    uint32_t chunk = o->chunk < o->context ? o->chunk : o->context;
    if (!check_options(m, o, chunk, err))
        return NULL;
    struct session *s = mem_take(1, sizeof *s);
    if (!s) {
        fail(err, ERR_MEMORY, "out of memory for a session");
        return NULL;
    }
    struct sampler_options greedy;
    sampler_options_init(&greedy);
    s->m = m;
    s->mtp = o->mtp;
    s->options = *o;
    if (!kv_init(&s->kv, &m->plan, o->kv_type, o->context, chunk, o->mtp, err)
        || !take_buffers(s, o->context, chunk, err)
        || !snapshots_init(s, o->snapshot_budget, o->snapshot_every, err)
        || !workspace_reserve(&m->ws, &m->plan, chunk, pool_threads(m->pool), err)
        || !sampler_init(&s->sampler, &greedy, m->plan.vocab, err)) {
        session_close(s);
        return NULL;
    }
    return s;
}

void session_close(struct session *s)
{
    if (!s)
        return;
    kv_release(&s->kv);
    snapshots_release(&s->snapshots);
    sampler_work_release(&s->work);
    mem_give(s->ids);
    mem_give(s->logits);
    mem_give(s->hidden);
    mem_give(s);
}

struct session *session_fork(const struct session *s, struct err *err)
{
    struct session *to = session_open(s->m, &s->options, err);
    if (!to)
        return NULL;
    to->n = s->n;
    to->top = s->top;
    to->base = s->base;
    to->sampler = s->sampler;
    memcpy(to->ids, s->ids, s->n * sizeof *s->ids);
    memcpy(to->logits, s->logits, s->m->plan.vocab * sizeof *s->logits);
    memcpy(to->hidden, s->hidden, s->m->plan.hidden * sizeof *s->hidden);
    kv_copy(&to->kv, &s->kv, &s->m->plan, s->n, s->top);
    snapshots_copy(&to->snapshots, &s->snapshots);
    return to;
}

static bool check_feed(const struct feed *f, struct err *err)
{
    const struct session *s = f->s;
    uint32_t vocab = s->m->plan.vocab;
    if (f->n > s->kv.context - s->n)
        return fail(err, ERR_LIMIT, "the context is full: it holds %u of %u tokens and %zu more "
                    "were to be added; open a larger one (--ctx, this model takes %u)", s->n,
                    s->kv.context, f->n, s->m->plan.context);
    for (size_t i = 0; i < f->n; i++)
        if (f->ids[i] >= vocab)
            return fail(err, ERR_USAGE, "token id %u at place %zu; the vocabulary ends at %u",
                        f->ids[i], i, vocab - 1);
    return true;
}

/* One feed's share of a step: tokens at .. at + n - 1 of its list. */
struct share {
    struct feed *f;
    size_t at, n;
    bool snapshot;                        /* one is taken after this step */
};

static void rows_of(struct share *h, struct fwd_row *rows)
{
    struct session *s = h->f->s;
    bool end = h->n && h->at + h->n == h->f->n;
    h->snapshot = h->n && ((end && h->f->n >= SNAPSHOT_MESSAGE)
                           || snapshot_due(&s->snapshots, s->n + (uint32_t)h->n));
    size_t vocab = s->m->plan.vocab, hidden = s->m->plan.hidden;
    for (size_t i = 0; i < h->n; i++) {
        bool last = i + 1 == h->n;
        float *all = h->f->logits ? h->f->logits + (h->at + i) * vocab : NULL;
        rows[i] = (struct fwd_row){ .kv = &s->kv, .token = h->f->ids[h->at + i],
                                    .pos = s->n + (uint32_t)i, .logits = all };
        if (last && !all && (end || h->snapshot))
            rows[i].logits = s->logits;
        if (s->mtp)
            rows[i].hidden = s->hidden + (i + 1) * hidden;
    }
}

/* Fills the MTP slots that the new tokens complete: from that of the token before them. */
static size_t mtp_rows_of(const struct share *h, struct fwd_row *rows)
{
    struct session *s = h->f->s;
    size_t vocab = s->m->plan.vocab, hidden = s->m->plan.hidden, n = 0;
    for (size_t i = 0; s->mtp && i < h->n; i++) {
        if (i == 0 && !s->n)
            continue;
        float *all = h->f->mtp_logits ? h->f->mtp_logits + (h->at + i) * vocab : NULL;
        rows[n++] = (struct fwd_row){ .kv = &s->kv, .token = h->f->ids[h->at + i],
                                      .pos = s->n + (uint32_t)i - 1,
                                      .from = s->hidden + i * hidden, .logits = all };
    }
    return n;
}

static void commit(const struct share *h)
{
    struct session *s = h->f->s;
    size_t vocab = s->m->plan.vocab, hidden = s->m->plan.hidden;
    memmove(s->ids + s->n, h->f->ids + h->at, h->n * sizeof *s->ids);
    s->n += (uint32_t)h->n;
    s->top = s->n > s->top ? s->n : s->top;
    if (s->mtp)
        memmove(s->hidden, s->hidden + h->n * hidden, hidden * sizeof *s->hidden);
    if (h->f->logits)
        memcpy(s->logits, h->f->logits + (h->at + h->n - 1) * vocab, vocab * sizeof *s->logits);
    if (h->snapshot)
        snapshot_take(s);
    if (s->on_progress)
        s->on_progress(s->progress_arg, h->at + h->n, h->f->n);
}

/* One forward pass: as many tokens of as many feeds as the workspace takes. */
static void step(struct share *shares, size_t n_shares, struct fwd_row *rows)
{
    struct model *m = shares[0].f->s->m;
    size_t room = m->ws.rows, n = 0;
    for (size_t i = 0; i < n_shares; i++) {
        struct share *h = &shares[i];
        size_t left = h->f->n - h->at, chunk = h->f->s->kv.chunk;
        h->n = left < chunk ? left : chunk;
        h->n = h->n < room - n ? h->n : room - n;
        rows_of(h, rows + n);
        n += h->n;
    }
    model_forward(m, rows, n);
    n = 0;
    for (size_t i = 0; i < n_shares; i++)
        n += mtp_rows_of(&shares[i], rows + n);
    if (n)
        model_forward_mtp(m, rows, n);
    for (size_t i = 0; i < n_shares; i++) {
        if (shares[i].n)
            commit(&shares[i]);
        shares[i].at += shares[i].n;
    }
}

/* Evaluates the last token again: its KV rows get the values they have. */
static void refresh(struct session *s)
{
    struct fwd_row row = { .kv = &s->kv, .token = s->ids[s->n - 1], .pos = s->n - 1,
                           .logits = s->logits, .hidden = s->mtp ? s->hidden : NULL };
    model_forward(s->m, &row, 1);
}

/* Chunks inside a call leave no logits behind; a cancelled one ends on such a chunk. */
static void refresh_unfinished(const struct share *shares, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (shares[i].at && shares[i].at < shares[i].f->n && !shares[i].f->logits)
            refresh(shares[i].f->s);
}

static bool anything_left(const struct share *shares, size_t n, bool *cancelled)
{
    bool left = false;
    for (size_t i = 0; i < n; i++) {
        left = left || shares[i].at < shares[i].f->n;
        *cancelled = *cancelled || shares[i].f->s->cancelled;
    }
    return left;
}

bool session_add_many(struct feed *feeds, size_t n_feeds, struct err *err)
{
    bool cancelled = false, ok = true;
    for (size_t i = 0; i < n_feeds; i++) {
        if (!check_feed(&feeds[i], err))
            return false;
        feeds[i].s->cancelled = 0;
        if (feeds[i].n >= SNAPSHOT_MESSAGE)
            snapshot_take(feeds[i].s);
    }
    if (!n_feeds)
        return true;
    struct share *shares = mem_take(n_feeds, sizeof *shares);
    struct fwd_row *rows = mem_take(feeds[0].s->m->ws.rows, sizeof *rows);
    if (!shares || !rows)
        ok = fail(err, ERR_MEMORY, "out of memory for a step of %zu sessions", n_feeds);
    for (size_t i = 0; ok && i < n_feeds; i++)
        shares[i].f = &feeds[i];
    while (ok && anything_left(shares, n_feeds, &cancelled)) {
        if (!cancelled) {
            step(shares, n_feeds, rows);
            continue;
        }
        ok = fail(err, ERR_CANCELLED, "stopped after %zu of %zu tokens", shares[0].at,
                  feeds[0].n);
        refresh_unfinished(shares, n_feeds);
    }
    mem_give(shares);
    mem_give(rows);
    return ok;
}

bool session_add(struct session *s, const uint32_t *ids, size_t n, struct err *err)
{
    struct feed f = { .s = s, .ids = ids, .n = n };
    return session_add_many(&f, 1, err);
}

bool session_truncate(struct session *s, uint32_t n, struct err *err)
{
    if (n >= s->n)
        return n == s->n || fail(err, ERR_USAGE, "cannot cut %u tokens down to %u", s->n, n);
    snapshots_drop(&s->snapshots, n);
    if (n && n - 1 >= kv_oldest(&s->kv, &s->m->plan, s->base, s->top)) {
        /* MTP slots up to n - 2 stay as they are; only logits and hidden row are wanted */
        s->n = n;
        refresh(s);
        return true;
    }
    if (n)
        snapshot_restore(s);
    else
        s->n = s->top = s->base = 0;
    return session_add(s, s->ids + s->n, n - s->n, err);
}

bool session_mtp_logits(struct session *s, uint32_t next, float *logits, struct err *err)
{
    if (!s->mtp || !s->n)
        return fail(err, ERR_USAGE, s->mtp ? "the session is empty" : "the session was opened "
                    "without multi-token prediction (MTP)");
    if (next >= s->m->plan.vocab)
        return fail(err, ERR_USAGE, "token id %u; the vocabulary ends at %u", next,
                    s->m->plan.vocab - 1);
    struct fwd_row row = { .kv = &s->kv, .token = next, .pos = s->n - 1, .from = s->hidden,
                           .logits = logits };
    model_forward_mtp(s->m, &row, 1);
    return true;
}

bool session_sampling(struct session *s, const struct sampler_options *o, struct err *err)
{
    return sampler_init(&s->sampler, o, s->m->plan.vocab, err);
}

bool session_sample(struct session *s, uint32_t *id, double *logprob, struct err *err)
{
    if (!s->n)
        return fail(err, ERR_USAGE, "the session is empty: add a prompt first");
    return sampler_choose(&s->sampler, &s->work, s->logits, s->ids, s->n, id, logprob, err);
}
