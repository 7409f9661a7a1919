#include "data/pack.h"
#include "data/pack_docs.h"
#include "data/pack_out.h"
#include "text/text.h"

/* One batch is encoded while the next is read. */
struct pack {
    const struct pack_options *o;
    struct pack_docs docs;
    struct pack_out out;
    struct pack_report report;
    struct pool *pool;
    struct pack_batch *now, *next;
    bool read_ok;
    struct err read_err;
    struct progress bar;
};

static bool encode(const struct pack *p, struct pack_doc *d, struct err *err)
{
    struct encode_options o = { .parse_special = false, .add_special = false };
    struct bytes text = { (const uint8_t *)p->now->text.at + d->text_at, d->text_len };
    d->ids.n = 0;
    if (!tokenizer_encode(p->o->tokenizer, text, o, &d->ids, err))
        return false;
    if (p->o->eos >= 0)
        ids_put(&d->ids, (uint32_t)p->o->eos);
    return !d->ids.failed || fail(err, ERR_MEMORY, "out of memory for the tokens of a document");
}

/* Piece 0 reads the next batch, piece i + 1 encodes document i. */
static void run_piece(void *arg, size_t begin, size_t end, int worker)
{
    struct pack *p = arg;
    struct err err;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        if (i == 0)
            p->read_ok = pack_docs_next(&p->docs, p->next, &p->read_err);
        else
            p->now->doc[i - 1].encoded = encode(p, &p->now->doc[i - 1], &err);
}

static void count(struct pack_count *c, const struct pack_doc *d)
{
    c->n_docs++;
    c->n_tokens += d->ids.n;
    c->n_bytes += d->text_len;
}

/* A document that could not be encoded is tried again, for the reason. */
static bool encode_again(struct pack *p, struct pack_doc *d, bool *good, struct err *err)
{
    struct err why;
    char where[600];
    ids_release(&d->ids);
    *good = encode(p, d, &why);
    if (*good)
        return true;
    const char *path = p->now->paths.at + d->path_at;
    snprintf(where, sizeof where, d->line ? "%s, line %llu" : "%s", path,
             (unsigned long long)d->line);
    fail_in(&why, where);
    if (why.code != ERR_MEMORY && pack_docs_pass_over(&p->docs, &why))
        return true;
    *err = why;
    return false;
}

static bool put_batch(struct pack *p, struct err *err)
{
    enum { MOST_KEPT = 1 << 16 };         /* room for tokens kept for the next document */
    for (size_t i = 0; i < p->now->n; i++) {
        struct pack_doc *d = &p->now->doc[i];
        bool good = d->encoded;
        if (!good && !encode_again(p, d, &good, err))
            return false;
        if (good) {
            struct pack_source *s = &p->docs.sources.at[d->source];
            count(d->held_out ? &p->report.held_out : &p->report.train, d);
            count(d->held_out ? &s->held_out : &s->train, d);
            if (!pack_out_put(&p->out, d, err))
                return false;
        }
        if (d->ids.cap > MOST_KEPT)
            ids_release(&d->ids);
    }
    return true;
}

static bool pack_all(struct pack *p, struct err *err)
{
    if (!pack_docs_next(&p->docs, p->now, err))
        return false;
    while (p->now->n) {
        if (p->o->stop && *p->o->stop)
            return fail(err, ERR_CANCELLED, "stopped; %s was not finished and nothing is left of "
                        "it", p->o->out);
        size_t grain = p->now->n / (16 * (size_t)p->o->threads) + 1;
        pool_run(p->pool, p->now->n + 1, grain, run_piece, p);
        if (!put_batch(p, err))
            return false;
        if (!p->read_ok) {
            *err = p->read_err;
            return false;
        }
        struct pack_batch *done = p->now;
        p->now = p->next;
        p->next = done;
        progress_at(&p->bar, pack_docs_read_bytes(&p->docs) / 1000);
    }
    return true;
}

static bool open_rooms(struct pack *p, struct err *err)
{
    p->now = mem_take(1, sizeof *p->now);
    p->next = mem_take(1, sizeof *p->next);
    if (!p->now || !p->next)
        return fail(err, ERR_MEMORY, "out of memory for documents to pack");
    p->pool = pool_open(p->o->threads, err);
    return p->pool != NULL;
}

static void report_counts(struct pack *p)
{
    p->report.n_empty = p->docs.n_empty;
    p->report.n_bad = p->docs.n_bad;
    p->report.n_beside = p->docs.n_beside;
    p->report.first_bad = p->docs.first_bad;
    p->report.n_shards = p->out.n_train;
}

bool pack_run(const struct pack_options *o, struct pack_report *r, struct err *err)
{
    struct pack p = { .o = o, .out = { .o = o } };
    bool ok = pack_docs_open(&p.docs, o, err) && open_rooms(&p, err)
              && pack_out_begin(&p.out, o, err);
    progress_begin(&p.bar, "packing", "kB", p.docs.total_bytes / 1000);
    ok = ok && pack_all(&p, err);
    progress_end(&p.bar);
    report_counts(&p);
    ok = ok && pack_out_end(&p.out, &p.docs, &p.report, err);
    if (ok)
        *r = p.report;
    pack_out_drop(&p.out);
    pack_docs_close(&p.docs);
    pack_batch_release(p.now);
    pack_batch_release(p.next);
    pool_close(p.pool);
    return ok;
}
