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
    if (f->n && !f->ids)
        return fail(err, ERR_USAGE, "%zu tokens were to be added, but their ids are NULL", f->n);
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

static void rows_of(struct feed *f, struct fwd_row *rows)
{
    struct session *s = f->s;
    bool end = f->now && f->done + f->now == f->n;
    f->snapshot = f->now && ((end && f->n >= SNAPSHOT_MESSAGE)
                             || snapshot_due(&s->snapshots, s->n + (uint32_t)f->now));
    size_t vocab = s->m->plan.vocab, hidden = s->m->plan.hidden;
    for (size_t i = 0; i < f->now; i++) {
        bool last = i + 1 == f->now;
        float *all = f->logits ? f->logits + (f->done + i) * vocab : NULL;
        rows[i] = (struct fwd_row){ .kv = &s->kv, .token = f->ids[f->done + i],
                                    .pos = s->n + (uint32_t)i, .logits = all };
        if (last && !all && (end || f->snapshot))
            rows[i].logits = s->logits;
        if (s->mtp)
            rows[i].hidden = s->hidden + (i + 1) * hidden;
    }
}

/* Fills the MTP slots that the new tokens complete: from that of the token before them. */
static size_t mtp_rows_of(const struct feed *f, struct fwd_row *rows)
{
    struct session *s = f->s;
    size_t vocab = s->m->plan.vocab, hidden = s->m->plan.hidden, n = 0;
    for (size_t i = 0; s->mtp && i < f->now; i++) {
        if (i == 0 && !s->n)
            continue;
        float *all = f->mtp_logits ? f->mtp_logits + (f->done + i) * vocab : NULL;
        rows[n++] = (struct fwd_row){ .kv = &s->kv, .token = f->ids[f->done + i],
                                      .pos = s->n + (uint32_t)i - 1,
                                      .from = s->hidden + i * hidden, .logits = all };
    }
    return n;
}

static void commit(const struct feed *f)
{
    struct session *s = f->s;
    size_t vocab = s->m->plan.vocab, hidden = s->m->plan.hidden;
    memmove(s->ids + s->n, f->ids + f->done, f->now * sizeof *s->ids);
    s->n += (uint32_t)f->now;
    s->top = s->n > s->top ? s->n : s->top;
    if (s->mtp)
        memmove(s->hidden, s->hidden + f->now * hidden, hidden * sizeof *s->hidden);
    if (f->logits)
        memcpy(s->logits, f->logits + (f->done + f->now - 1) * vocab, vocab * sizeof *s->logits);
    if (f->snapshot)
        snapshot_take(s);
    if (s->on_progress)
        s->on_progress(s->progress_arg, f->done + f->now, f->n);
}

/* One forward pass: as many tokens of as many feeds as the workspace takes. */
static void step(struct feed *feeds, size_t n_feeds)
{
    struct model *m = feeds[0].s->m;
    struct fwd_row *rows = m->ws.step;
    size_t room = m->ws.rows, n = 0;
    for (size_t i = 0; i < n_feeds; i++) {
        struct feed *f = &feeds[i];
        size_t left = f->n - f->done, chunk = f->s->kv.chunk;
        f->now = left < chunk ? left : chunk;
        f->now = f->now < room - n ? f->now : room - n;
        rows_of(f, rows + n);
        n += f->now;
    }
    model_forward(m, rows, n);
    n = 0;
    for (size_t i = 0; i < n_feeds; i++)
        n += mtp_rows_of(&feeds[i], rows + n);
    if (n)
        model_forward_mtp(m, rows, n);
    for (size_t i = 0; i < n_feeds; i++) {
        if (feeds[i].now)
            commit(&feeds[i]);
        feeds[i].done += feeds[i].now;
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
static void refresh_unfinished(const struct feed *feeds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (feeds[i].done && feeds[i].done < feeds[i].n && !feeds[i].logits)
            refresh(feeds[i].s);
}

static bool anything_left(const struct feed *feeds, size_t n, bool *cancelled)
{
    bool left = false;
    for (size_t i = 0; i < n; i++) {
        left = left || feeds[i].done < feeds[i].n;
        *cancelled = *cancelled || feeds[i].s->cancelled;
    }
    return left;
}

static bool check_feeds(const struct feed *feeds, size_t n_feeds, struct err *err)
{
    for (size_t i = 0; i < n_feeds; i++) {
        for (size_t k = 0; k < i; k++)
            if (feeds[k].s == feeds[i].s)
                return fail(err, ERR_USAGE, "the sessions at places %zu and %zu are the same "
                            "one; a session may be in a call once", k, i);
        if (!check_feed(&feeds[i], err))
            return false;
    }
    return true;
}

bool session_add_many(struct feed *feeds, size_t n_feeds, struct err *err)
{
    bool cancelled = false;
    if (!check_feeds(feeds, n_feeds, err))
        return false;
    for (size_t i = 0; i < n_feeds; i++) {
        feeds[i].done = feeds[i].now = 0;
        feeds[i].s->cancelled = 0;
        if (feeds[i].n >= SNAPSHOT_MESSAGE)
            snapshot_take(feeds[i].s);
    }
    while (anything_left(feeds, n_feeds, &cancelled)) {
        if (cancelled) {
            refresh_unfinished(feeds, n_feeds);
            return fail(err, ERR_CANCELLED, "stopped after %zu of %zu tokens", feeds[0].done,
                        feeds[0].n);
        }
        step(feeds, n_feeds);
    }
    return true;
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
