#include "run/run.h"

#include "kern/kern.h"

#include <inttypes.h>
#include <stdatomic.h>

struct requant {
    const struct gguf *from;
    const struct requant_options *o;
    struct requant_report *report;
    struct gguf_writer w;
    struct tensor_stream stream;
    float *rows;                          /* [threads][widest row] */
    size_t row_cap;
    float *importance;                    /* [matrices][cols] of the present tensor */
    size_t importance_cap;
};

/* One tensor on its way from one type to another. */
struct passage {
    struct requant *q;
    const struct tensor *from;
    const struct qtype *to;
    encode_fn *encode;
    const float *importance;              /* or NULL */
    size_t row_in, row_out;
    _Atomic uint64_t refused;             /* the first row the encoder refused, or UINT64_MAX */
};

static void copy_range(void *arg, uint64_t begin, uint64_t end, uint8_t *out, int worker)
{
    const struct passage *p = arg;
    (void)worker;
    memcpy(out, p->from->data + begin, end - begin);
}

static void refuse(struct passage *p, uint64_t row)
{
    uint64_t seen = p->refused;
    while (row < seen && !atomic_compare_exchange_weak(&p->refused, &seen, row))
        ;
}

static void encode_range(void *arg, uint64_t begin, uint64_t end, uint8_t *out, int worker)
{
    struct passage *p = arg;
    uint64_t cols = p->from->ne[0], rows = p->from->ne[1];
    float *x = p->q->rows + (size_t)worker * p->q->row_cap;
    for (uint64_t r = begin / p->row_out; r < end / p->row_out; r++, out += p->row_out) {
        const float *w = p->importance ? p->importance + r / rows * cols : NULL;
        p->from->qtype->dequant(x, p->from->data + r * p->row_in, cols);
        if (!p->encode(out, x, w, cols))
            refuse(p, r);
    }
}

static bool take_importance(struct requant *q, const struct tensor *t, const float **out,
                            struct err *err)
{
    uint64_t matrices = t->ne[2] * t->ne[3], need = matrices * t->ne[0];
    *out = NULL;
    if (!q->o->importance || !imatrix_has(q->o->importance, t->name, matrices, t->ne[0]))
        return true;
    if (need > q->importance_cap) {
        mem_give(q->importance);
        q->importance = mem_take(need, sizeof *q->importance);
        q->importance_cap = q->importance ? need : 0;
    }
    if (!q->importance)
        return fail(err, ERR_MEMORY, "out of memory for the importance of %s", t->name);
    imatrix_weights(q->o->importance, t->name, q->importance);
    *out = q->importance;
    q->report->with_importance++;
    return true;
}

static bool put_tensor(struct requant *q, const struct tensor *t, struct err *err)
{
    struct passage p = { .q = q, .from = t, .refused = UINT64_MAX };
    p.to = recipe_type(&q->o->recipe, t->name, t->n_dims, t->ne[0]);
    p.encode = encoder_find(p.to);
    p.row_in = qtype_row_bytes(t->qtype, t->ne[0]);
    p.row_out = qtype_row_bytes(p.to, t->ne[0]);
    uint64_t rows = t->ne[1] * t->ne[2] * t->ne[3];
    struct stream_job job = { rows * p.row_out, p.row_out, copy_range, &p };
    if (p.to != t->qtype) {
        job.make = encode_range;
        if (p.to->block > 1 && !take_importance(q, t, &p.importance, err))
            return false;
    }
    if (job.n_bytes && !stream_put(&q->stream, &job, err))
        return false;
    return p.refused == UINT64_MAX
           || fail(err, ERR_FORMAT, "tensor %s, row %" PRIu64 ": a value cannot be stored as %s "
                   "(it is NaN, infinite or too large)", t->name, (uint64_t)p.refused,
                   p.to->name);
}

static bool own_key(const struct gguf_kv *kv)
{
    return bytes_eq(kv->key, bytes_of("general.file_type"))
           || bytes_eq(kv->key, bytes_of("general.quantization_version"));
}

static void count(struct requant_report *r, const struct tensor *t, const struct qtype *to,
                  uint64_t bytes)
{
    size_t i = 0;
    while (r->types[i].type && r->types[i].type != to)
        i++;
    r->types[i].type = to;
    r->types[i].n++;
    r->types[i].bytes += bytes;
    r->weights += t->n_bytes / t->qtype->block_bytes * t->qtype->block;
    r->bytes_in += t->n_bytes;
    r->bytes_out += bytes;
}

/* Metadata and the list of tensors; the widest row. */
static bool announce(struct requant *q, struct err *err)
{
    const struct tensors *list = &q->from->tensors;
    for (size_t i = 0; i < q->from->n_kv; i++)
        if (!own_key(&q->from->kv[i]))
            gguf_put_kv(&q->w, &q->from->kv[i]);
    gguf_put_u32(&q->w, "general.file_type", recipe_file_type(&q->o->recipe));
    gguf_put_u32(&q->w, "general.quantization_version", 2);
    for (size_t i = 0; i < list->n; i++) {
        const struct tensor *t = &list->at[i];
        if (!t->qtype)
            return fail(err, ERR_UNSUPPORTED, "%s: tensor %s is stored as %s, which this build "
                        "cannot read", t->file, t->name, t->type_name);
        const struct qtype *to = recipe_type(&q->o->recipe, t->name, t->n_dims, t->ne[0]);
        if (!gguf_writer_add(&q->w, t->name, to, t->n_dims, t->ne, err))
            return false;
        count(q->report, t, to, t->ne[1] * t->ne[2] * t->ne[3] * qtype_row_bytes(to, t->ne[0]));
        q->row_cap = t->ne[0] > q->row_cap ? t->ne[0] : q->row_cap;
    }
    return true;
}

static bool write_all(struct requant *q, const char *to, struct err *err)
{
    q->stream.to = &q->w;
    q->stream.stop = q->o->stop;
    q->stream.pool = pool_open(q->o->n_threads, err);
    bool ok = q->stream.pool != NULL;
    q->rows = ok ? mem_take((size_t)q->o->n_threads, q->row_cap * sizeof(float) + 1) : NULL;
    if (ok && !q->rows)
        ok = fail(err, ERR_MEMORY, "out of memory for rows of %zu weights", q->row_cap);
    ok = ok && stream_begin(&q->stream, to, q->report->bytes_out, err)
         && gguf_writer_begin(&q->w, to, 0, err);
    for (size_t i = 0; ok && i < q->from->tensors.n; i++)
        ok = put_tensor(q, &q->from->tensors.at[i], err);
    ok = ok && gguf_writer_end(&q->w, err);
    stream_release(&q->stream);
    pool_close(q->stream.pool);
    mem_give(q->rows);
    mem_give(q->importance);
    return ok;
}

bool requant_file(const struct gguf *from, const char *to, const struct requant_options *o,
                  struct requant_report *report, struct err *err)
{
    struct requant q = { .from = from, .o = o, .report = report };
    *report = (struct requant_report){ 0 };
    bool ok = announce(&q, err) && write_all(&q, to, err);
    gguf_writer_release(&q.w);
    return ok;
}
