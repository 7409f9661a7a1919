/* include/kexa.h on top of model/ and run/. */
#include "kexa.h"
#include "run/run.h"

#include <stdio.h>

struct kexa_model {
    struct model m;
    char name[256];
    const struct chat_format *format;
    struct feed *feeds;                   /* room for kexa_add_many, kept between calls */
    size_t feeds_cap;
};

struct kexa_session {
    struct session *s;
    struct kexa_model *model;
};

/* Turns our error into the public one; returns ok. */
static bool give(bool ok, const struct err *err, struct kexa_error *error)
{
    if (!ok && error) {
        error->exit_status = err_exit_status(err->code);
        error->http_status = err_http_status(err->code);
        snprintf(error->message, sizeof error->message, "%s", err->msg);
    }
    return ok;
}

void kexa_model_options_init(struct kexa_model_options *o)
{
    *o = (struct kexa_model_options){ 0 };
}

void kexa_session_options_init(struct kexa_session_options *o)
{
    *o = (struct kexa_session_options){ .kv_type = KEXA_KV_F16 };
}

static const enum kv_type kv_types[] = {
    [KEXA_KV_F16] = KV_F16, [KEXA_KV_BF16] = KV_BF16, [KEXA_KV_F32] = KV_F32,
    [KEXA_KV_Q8_0] = KV_Q8_0,
};

/* The options with the defaults filled in for this model. */
static bool session_fill(const struct kexa_session_options *in, const struct plan *p,
                         struct session_options *out, struct err *err)
{
    struct kexa_session_options o;
    kexa_session_options_init(&o);
    if (in)
        o = *in;
    if ((unsigned)o.kv_type > KEXA_KV_Q8_0)
        return fail(err, ERR_USAGE, "unknown KV type %u", (unsigned)o.kv_type);
    *out = (struct session_options){
        .context = o.context ? o.context : session_default_context(p),
        .chunk = o.chunk ? o.chunk : SESSION_CHUNK,
        .kv_type = kv_types[o.kv_type],
        .mtp = o.mtp,
        .snapshot_budget = o.snapshot_bytes,
    };
    out->chunk = out->chunk < out->context ? out->chunk : out->context;
    return true;
}

static bool check_memory(const struct model *m, const struct kexa_model_options *o, int n_threads,
                         struct err *err)
{
    struct session_options so;
    struct memory_plan mp;
    struct buf line = { 0 };
    if (!session_fill(o->session, &m->plan, &so, err))
        return false;
    memory_plan_make(&mp, &m->plan, m->weight_bytes, so.context, so.chunk, so.kv_type, n_threads,
                     so.mtp);
    memory_plan_snapshots(&mp, so.snapshot_budget);
    if (o->on_plan) {
        memory_plan_line(&line, &mp);
        bool ok = buf_ok(&line, err);
        if (ok)
            o->on_plan(o->plan_arg, line.at);
        buf_release(&line);
        if (!ok)
            return false;
    }
    return o->skip_memory_check || memory_plan_check(&mp, m->path, err);
}

static bool open_model(struct kexa_model *m, const char *path, const struct kexa_model_options *o,
                       struct err *err)
{
    int n_threads = o->threads > 0 ? o->threads : sys_cpus();
    if (!model_open_plan(&m->m, path, err))
        return false;
    if (!check_memory(&m->m, o, n_threads, err)
        || !model_bind(&m->m, n_threads,
                       o->numerics == KEXA_NUMERICS_F32 ? NUMERICS_F32 : NUMERICS_NATIVE, err)) {
        model_close(&m->m);
        return false;
    }
    model_name(&m->m, m->name, sizeof m->name);
    if (m->m.tokenizer)
        m->format = chat_format_recognise(tokenizer_info(m->m.tokenizer).chat_template);
    return true;
}

struct kexa_model *kexa_model_open(const char *path, const struct kexa_model_options *options,
                                   struct kexa_error *error)
{
    struct err err = { 0 };
    struct kexa_model_options o;
    kexa_model_options_init(&o);
    struct kexa_model *m = mem_take(1, sizeof *m);
    bool ok = m || fail(&err, ERR_MEMORY, "out of memory");
    if (options)
        o = *options;
    if (ok && (o.threads < 0 || o.threads > 4096))
        ok = fail(&err, ERR_USAGE, "%d threads were asked for; expected 0 to 4096", o.threads);
    ok = ok && open_model(m, path, &o, &err);
    give(ok, &err, error);
    if (ok)
        return m;
    mem_give(m);
    return NULL;
}

void kexa_model_close(struct kexa_model *m)
{
    if (m) {
        model_close(&m->m);
        mem_give(m->feeds);
    }
    mem_give(m);
}

void kexa_model_info(const struct kexa_model *m, struct kexa_model_info *out)
{
    struct weight_counts counts;
    plan_count(&m->m.plan, &counts);
    *out = (struct kexa_model_info){
        .family = m->m.plan.family->name, .name = m->name,
        .chat_format = m->format ? m->format->name : NULL,
        .vocab = m->m.plan.vocab, .layers = m->m.plan.n_layers, .context = m->m.plan.context,
        .has_mtp = m->m.plan.n_mtp > 0,
        .parameters = counts.main + counts.mtp, .active_parameters = counts.touched,
        .weight_bytes = m->m.weight_bytes,
    };
}

static const struct tokenizer *need_tokenizer(const struct kexa_model *m, struct err *err)
{
    if (!m->m.tokenizer)
        fail(err, m->m.no_tokenizer.code, "this model has no usable tokenizer: %s",
             m->m.no_tokenizer.msg);
    return m->m.tokenizer;
}

static bool encode(const struct kexa_model *m, const char *text, size_t len, int flags,
                   struct ids *ids, struct err *err)
{
    const struct tokenizer *t = need_tokenizer(m, err);
    struct encode_options o = { .parse_special = flags & KEXA_PARSE_SPECIAL,
                                .add_special = flags & KEXA_ADD_SPECIAL };
    return t && tokenizer_encode(t, (struct bytes){ (const uint8_t *)text, len }, o, ids, err);
}

bool kexa_tokenize(const struct kexa_model *m, const char *text, size_t len, int flags,
                   uint32_t *ids, size_t cap, size_t *n, struct kexa_error *error)
{
    struct err err = { 0 };
    struct ids got = { 0 };
    bool ok = encode(m, text, len, flags, &got, &err);
    if (ok) {
        size_t copy = got.n < cap ? got.n : cap;
        if (copy)
            memcpy(ids, got.at, copy * sizeof *ids);
        *n = got.n;
    }
    ids_release(&got);
    return give(ok, &err, error);
}

const char *kexa_model_token(const struct kexa_model *m, uint32_t id, size_t *n_bytes)
{
    struct bytes b = { (const uint8_t *)"", 0 };
    if (m->m.tokenizer)
        b = tokenizer_token_bytes(m->m.tokenizer, id);
    *n_bytes = b.len;
    return (const char *)b.at;
}

bool kexa_model_is_control(const struct kexa_model *m, uint32_t id)
{
    return m->m.tokenizer && tokenizer_token_kind(m->m.tokenizer, id) == TOKEN_CONTROL;
}

bool kexa_model_is_end(const struct kexa_model *m, uint32_t id)
{
    size_t n = 0;
    const uint32_t *end = m->m.tokenizer ? tokenizer_end_ids(m->m.tokenizer, &n) : NULL;
    for (size_t i = 0; i < n; i++)
        if (end[i] == id)
            return true;
    return false;
}

struct kexa_session *kexa_session_open(struct kexa_model *m,
                                       const struct kexa_session_options *options,
                                       struct kexa_error *error)
{
    struct err err = { 0 };
    struct session_options o;
    struct kexa_session *s = mem_take(1, sizeof *s);
    bool ok = s || fail(&err, ERR_MEMORY, "out of memory");
    ok = ok && session_fill(options, &m->m.plan, &o, &err);
    if (ok) {
        *s = (struct kexa_session){ session_open(&m->m, &o, &err), m };
        ok = s->s != NULL;
    }
    give(ok, &err, error);
    if (ok)
        return s;
    mem_give(s);
    return NULL;
}

struct kexa_session *kexa_session_fork(const struct kexa_session *s, struct kexa_error *error)
{
    struct err err = { 0 };
    struct kexa_session *to = mem_take(1, sizeof *to);
    bool ok = to || fail(&err, ERR_MEMORY, "out of memory");
    if (ok) {
        *to = (struct kexa_session){ session_fork(s->s, &err), s->model };
        ok = to->s != NULL;
    }
    give(ok, &err, error);
    if (ok)
        return to;
    mem_give(to);
    return NULL;
}

bool kexa_session_save(const struct kexa_session *s, const char *path, struct kexa_error *error)
{
    struct err err = { 0 };
    return give(session_save(s->s, path, &err), &err, error);
}

bool kexa_session_load(struct kexa_session *s, const char *path, struct kexa_error *error)
{
    struct err err = { 0 };
    return give(session_load(s->s, path, &err), &err, error);
}

void kexa_session_close(struct kexa_session *s)
{
    if (s)
        session_close(s->s);
    mem_give(s);
}

uint32_t kexa_session_context(const struct kexa_session *s)
{
    return s->s->kv.context;
}

uint32_t kexa_session_position(const struct kexa_session *s)
{
    return s->s->n;
}

const uint32_t *kexa_session_tokens(const struct kexa_session *s)
{
    return s->s->ids;
}

bool kexa_session_add(struct kexa_session *s, const uint32_t *ids, size_t n,
                      struct kexa_error *error)
{
    struct err err = { 0 };
    return give(session_add(s->s, ids, n, &err), &err, error);
}

bool kexa_session_add_text(struct kexa_session *s, const char *text, int flags,
                           struct kexa_error *error)
{
    struct err err = { 0 };
    struct ids ids = { 0 };
    bool ok = encode(s->model, text, strlen(text), flags, &ids, &err)
              && session_add(s->s, ids.at, ids.n, &err);
    ids_release(&ids);
    return give(ok, &err, error);
}

static bool feeds_room(struct kexa_model *m, size_t n, struct err *err)
{
    if (n <= m->feeds_cap)
        return true;
    struct feed *f = mem_grow(m->feeds, n, sizeof *f);
    if (!f)
        return fail(err, ERR_MEMORY, "out of memory for a step of %zu sessions", n);
    m->feeds = f;
    m->feeds_cap = n;
    return true;
}

static bool feeds_fill(struct feed *out, const struct kexa_feed *in, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!in[i].session)
            return fail(err, ERR_USAGE, "the session at place %zu is NULL", i);
        if (in[i].session->model != in[0].session->model)
            return fail(err, ERR_USAGE, "sessions of two models in one call");
        out[i] = (struct feed){ .s = in[i].session->s, .ids = in[i].ids, .n = in[i].n };
    }
    return true;
}

bool kexa_add_many(struct kexa_feed *feeds, size_t n_feeds, struct kexa_error *error)
{
    struct err err = { 0 };
    if (!n_feeds)
        return true;
    if (!feeds || !feeds[0].session)
        return give(fail(&err, ERR_USAGE, "the session at place 0 is NULL"), &err, error);
    struct kexa_model *m = feeds[0].session->model;
    bool ok = feeds_room(m, n_feeds, &err) && feeds_fill(m->feeds, feeds, n_feeds, &err)
              && session_add_many(m->feeds, n_feeds, &err);
    return give(ok, &err, error);
}

const float *kexa_session_logits(const struct kexa_session *s)
{
    return s->s->n ? s->s->logits : NULL;
}

bool kexa_session_truncate(struct kexa_session *s, uint32_t n, struct kexa_error *error)
{
    struct err err = { 0 };
    return give(session_truncate(s->s, n, &err), &err, error);
}

bool kexa_session_mtp_logits(struct kexa_session *s, uint32_t next, float *logits,
                             struct kexa_error *error)
{
    struct err err = { 0 };
    return give(session_mtp_logits(s->s, next, logits, &err), &err, error);
}

void kexa_session_cancel(struct kexa_session *s)
{
    s->s->cancelled = 1;
}

void kexa_session_on_progress(struct kexa_session *s,
                              void (*fn)(void *arg, size_t done, size_t total), void *arg)
{
    s->s->on_progress = fn;
    s->s->progress_arg = arg;
}

void kexa_sampling_init(struct kexa_sampling *p)
{
    *p = (struct kexa_sampling){ .top_p = 1, .repeat = 1 };
}

bool kexa_session_sampling(struct kexa_session *s, const struct kexa_sampling *p,
                           struct kexa_error *error)
{
    struct err err = { 0 };
    struct sampler_options o;
    sampler_options_init(&o);
    o.temperature = p->temperature;
    o.top_k = p->top_k;
    o.top_p = p->top_p;
    o.min_p = p->min_p;
    o.presence = p->presence;
    o.frequency = p->frequency;
    o.repeat = p->repeat;
    o.seed = p->seed;
    bool ok = p->n_bias <= SAMPLER_MAX_BIAS
              || fail(&err, ERR_LIMIT, "%zu logit biases; at most %d", p->n_bias,
                      SAMPLER_MAX_BIAS);
    for (size_t i = 0; ok && i < p->n_bias; i++)
        o.bias[o.n_bias++] = (struct sampler_bias){ p->bias_ids[i], p->bias[i] };
    return give(ok && session_sampling(s->s, &o, &err), &err, error);
}

bool kexa_session_sample(struct kexa_session *s, uint32_t *id, float *logprob,
                         struct kexa_error *error)
{
    struct err err = { 0 };
    double lp = 0;
    bool ok = session_sample(s->s, id, logprob ? &lp : NULL, &err);
    if (ok && logprob)
        *logprob = (float)lp;
    return give(ok, &err, error);
}

bool kexa_session_next(struct kexa_session *s, uint32_t *id, struct kexa_error *error)
{
    struct err err = { 0 };
    uint32_t got = 0;
    bool ok = session_sample(s->s, &got, NULL, &err) && session_add(s->s, &got, 1, &err);
    if (ok)
        *id = got;
    return give(ok, &err, error);
}
