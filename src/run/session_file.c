#include "run/run.h"

#include <inttypes.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* As the table in session_file.h; every member lies at its natural place. */
struct head {
    char magic[8];
    uint32_t version, numerics;
    uint64_t model;
    uint32_t kv_type, context, chunk, mtp, n, layers, vocab, hidden;
    uint64_t kv_bytes;
    double temperature, top_p, min_p, presence, frequency, repeat;
    uint64_t seed, rng_seed, rng_stream, rng_at;
    uint32_t top_k, repeat_last, n_bias, zero;
};

_Static_assert(sizeof(struct head) == 160 && sizeof(struct sampler_bias) == 8,
               "the tables are written as they lie in memory");

enum { VERSION = 1, SUM_BYTES = 8 };
static const char magic[8] = { 'K', 'E', 'X', 'A', 'S', 'E', 'S', 'S' };

static void head_make(struct head *h, const struct session *s, uint64_t model)
{
    const struct sampler_options *o = &s->sampler.o;
    *h = (struct head){
        .version = VERSION, .numerics = s->m->numerics == NUMERICS_F32, .model = model,
        .kv_type = (uint32_t)s->kv.type, .context = s->kv.context, .chunk = s->kv.chunk,
        .mtp = s->mtp, .n = s->n, .layers = s->kv.n_layers, .vocab = s->m->plan.vocab,
        .hidden = s->m->plan.hidden,
        .kv_bytes = kv_part_bytes(&s->kv, &s->m->plan, KV_PART_ALL, s->n),
        .temperature = o->temperature, .top_p = o->top_p, .min_p = o->min_p,
        .presence = o->presence, .frequency = o->frequency, .repeat = o->repeat,
        .seed = o->seed, .rng_seed = s->sampler.rng.seed, .rng_stream = s->sampler.rng.stream,
        .rng_at = s->sampler.rng.at, .top_k = o->top_k, .repeat_last = o->repeat_last,
        .n_bias = o->n_bias,
    };
    memcpy(h->magic, magic, sizeof magic);
}

/* ---- writing ------------------------------------------------------------------------- */

struct writer {
    struct file_out file;
    XXH3_state_t sum;
    struct err *err;
};

static bool put(void *arg, const void *at, size_t n_bytes)
{
    struct writer *w = arg;
    XXH3_64bits_update(&w->sum, at, n_bytes);
    return file_out_put(&w->file, at, n_bytes, w->err);
}

static bool put_all(struct writer *w, const struct session *s, const struct head *h)
{
    size_t hidden = s->mtp ? h->hidden : 0;
    return put(w, h, sizeof *h)
           && put(w, s->sampler.o.bias, h->n_bias * sizeof *s->sampler.o.bias)
           && put(w, s->ids, s->n * sizeof *s->ids)
           && put(w, s->logits, h->vocab * sizeof *s->logits)
           && put(w, s->hidden, hidden * sizeof *s->hidden)
           && kv_part_each(&s->kv, &s->m->plan, KV_PART_ALL, s->n, put, w);
}

bool session_save(const struct session *s, const char *path, struct err *err)
{
    struct writer w = { .err = err };
    struct head h;
    uint64_t model = s->model_hash;
    if ((!model && !model_hash(s->m, &model, err)) || !file_out_begin(&w.file, path, err))
        return false;
    head_make(&h, s, model);
    XXH3_64bits_reset(&w.sum);
    bool ok = put_all(&w, s, &h);
    uint64_t sum = XXH3_64bits_digest(&w.sum);
    ok = ok && file_out_put(&w.file, &sum, sizeof sum, err);
    if (ok)
        return file_out_end(&w.file, err);
    file_out_drop(&w.file);
    return false;
}

/* ---- reading ------------------------------------------------------------------------- */

static bool differs(const char *name, const char *what, uint64_t found, uint64_t expected,
                    struct err *err)
{
    return fail(err, ERR_FORMAT, "%s: the session was saved with %s %" PRIu64 ", this one has %"
                PRIu64 "; it is not used", name, what, found, expected);
}

static bool check_same(const struct head *h, const struct head *want, const char *name,
                       struct err *err)
{
    if (h->model != want->model)
        return fail(err, ERR_FORMAT, "%s: the session was saved with another model (hash %016"
                    PRIx64 ", this model's is %016" PRIx64 "); it is not used", name, h->model,
                    want->model);
    if (h->kv_type != want->kv_type)
        return fail(err, ERR_FORMAT, "%s: the session was saved with keys and values in %s, this "
                    "one has %s; it is not used", name, h->kv_type > KV_Q8_0 ? "an unknown type"
                    : kv_type_name((enum kv_type)h->kv_type),
                    kv_type_name((enum kv_type)want->kv_type));
    const struct { const char *what; uint64_t found, expected; } same[] = {
        { "numerics (0 native, 1 f32)", h->numerics, want->numerics },
        { "a context of", h->context, want->context },
        { "steps of", h->chunk, want->chunk },
        { "multi-token prediction (0 or 1)", h->mtp, want->mtp },
        { "layers", h->layers, want->layers },
        { "a vocabulary of", h->vocab, want->vocab },
        { "a hidden size of", h->hidden, want->hidden },
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (same[i].found != same[i].expected)
            return differs(name, same[i].what, same[i].found, same[i].expected, err);
    return true;
}

static bool read_head(struct head *h, struct bytes file, const char *name, struct err *err)
{
    uint64_t sum;
    if (file.len < sizeof magic || memcmp(file.at, magic, sizeof magic))
        return fail(err, ERR_FORMAT, "%s: no saved session (it does not begin with KEXASESS)",
                    name);
    if (file.len < sizeof *h + SUM_BYTES)
        return fail(err, ERR_FORMAT, "%s: cut short: %zu bytes", name, file.len);
    memcpy(h, file.at, sizeof *h);
    if (h->version != VERSION)
        return fail(err, ERR_UNSUPPORTED, "%s: a saved session of version %u; this build reads "
                    "version %d", name, h->version, VERSION);
    memcpy(&sum, file.at + file.len - SUM_BYTES, sizeof sum);
    if (sum != XXH3_64bits(file.at, file.len - SUM_BYTES))
        return fail(err, ERR_FORMAT, "%s: cut short or damaged: its checksum is wrong; remove it",
                    name);
    return true;
}

/* Where in the file the parts lie, once their lengths are known to fit. */
struct parts {
    size_t bias, ids, logits, hidden, kv;
};

static bool find_parts(struct parts *x, const struct session *s, const struct head *h,
                       struct bytes file, const char *name, struct err *err)
{
    if (h->n > h->context || h->n_bias > SAMPLER_MAX_BIAS || h->zero)
        return fail(err, ERR_FORMAT, "%s: %u tokens in a context of %u and %u logit biases make "
                    "no sense", name, h->n, h->context, h->n_bias);
    uint64_t kv = kv_part_bytes(&s->kv, &s->m->plan, KV_PART_ALL, h->n);
    x->bias = sizeof *h;
    x->ids = x->bias + h->n_bias * sizeof(struct sampler_bias);
    x->logits = x->ids + h->n * sizeof(uint32_t);
    x->hidden = x->logits + h->vocab * sizeof(float);
    x->kv = x->hidden + (h->mtp ? h->hidden * sizeof(float) : 0);
    uint64_t n_bytes = x->kv + kv + SUM_BYTES;
    if (h->kv_bytes != kv || n_bytes != file.len)
        return fail(err, ERR_FORMAT, "%s: %zu bytes with %" PRIu64 " of keys and values; %u tokens "
                    "take %" PRIu64 " with %" PRIu64, name, file.len, h->kv_bytes, h->n, n_bytes,
                    kv);
    for (uint32_t i = 0, id; i < h->n; i++) {
        memcpy(&id, file.at + x->ids + i * sizeof id, sizeof id);
        if (id >= h->vocab)
            return fail(err, ERR_FORMAT, "%s: token %u is %u; the vocabulary ends at %u", name, i,
                        id, h->vocab - 1);
    }
    return true;
}

/* The sampler, through the same checks as one that a user asks for. */
static bool read_sampler(struct sampler *to, const struct head *h, const uint8_t *bias,
                         const char *name, struct err *err)
{
    struct sampler_options o = {
        .temperature = h->temperature, .top_k = h->top_k, .top_p = h->top_p, .min_p = h->min_p,
        .presence = h->presence, .frequency = h->frequency, .repeat = h->repeat,
        .repeat_last = h->repeat_last, .seed = h->seed, .n_bias = h->n_bias,
    };
    memcpy(o.bias, bias, h->n_bias * sizeof *o.bias);
    if (!sampler_init(to, &o, h->vocab, err))
        return fail_in(err, name);
    to->rng = (struct rng){ h->rng_seed, h->rng_stream, h->rng_at };
    return true;
}

bool session_read(struct session *s, struct bytes file, const char *name, struct err *err)
{
    struct head h, want;
    struct parts x = { 0 };
    struct sampler sampler;
    if (!read_head(&h, file, name, err)
        || (!s->model_hash && !model_hash(s->m, &s->model_hash, err)))
        return false;
    head_make(&want, s, s->model_hash);
    if (!check_same(&h, &want, name, err) || !find_parts(&x, s, &h, file, name, err)
        || !read_sampler(&sampler, &h, file.at + x.bias, name, err))
        return false;
    snapshots_drop(&s->snapshots, 0);
    s->sampler = sampler;
    s->n = s->top = s->base = h.n;
    memcpy(s->ids, file.at + x.ids, h.n * sizeof *s->ids);
    memcpy(s->logits, file.at + x.logits, h.vocab * sizeof *s->logits);
    if (s->mtp)
        memcpy(s->hidden, file.at + x.hidden, h.hidden * sizeof *s->hidden);
    kv_part_write(&s->kv, &s->m->plan, KV_PART_ALL, h.n, file.at + x.kv);
    snapshot_take(s);
    return true;
}

bool session_load(struct session *s, const char *path, struct err *err)
{
    struct bytes file;
    if (!file_map_open(&file, path, err))
        return false;
    bool ok = session_read(s, file, path, err);
    file_map_close(&file);
    return ok;
}
