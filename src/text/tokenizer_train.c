#include "text/tokenizer_train.h"

#include "text/learnt_extend.h"
#include "text/span_table.h"
#include "text/special_tokens.h"
#include "text/tokenizer_parts.h"
#include "text/word_table.h"

enum { MAX_OVERHEAD = 1 << 28 };          /* of batches, decoders, filters */

struct trainer {
    const struct train_options *o;
    struct train_report *report;
    struct pool *pool;
    const struct pretok *pre;             /* of stage one */
    const struct pretok *across;          /* of stage two, and of what is made */
    struct text_chunk chunk[TRAIN_CHUNKS];
    struct piece_count count[TRAIN_CHUNKS];
    _Atomic bool chunk_failed;
    enum piece_kind kind;
    double share;                         /* of the documents, in this pass */
    struct learnt learnt;
    struct tokenizer *base;               /* of the kept merges, or stage one's; or NULL */
    struct word_table words;
    struct spans spans;                   /* after stage one: of the words */
    struct span_table pieces;
    size_t max_tables;                    /* bytes */
    struct progress progress;
};

static void count_chunks(void *arg, size_t begin, size_t end, int worker)
{
    struct trainer *t = arg;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        if (!piece_count_chunk(&t->count[i], &t->chunk[i],
                               t->kind == PIECE_WORD ? t->pre : t->across, t->kind))
            t->chunk_failed = true;
}

static void put_bytes(const struct learnt *l, struct bytes b, struct ids *out)
{
    for (size_t i = 0; i < b.len; i++)
        ids_put(out, l->byte_id[b.at[i]]);
}

/* By what stage one learnt, word by word. */
static bool segment_by_words(const void *arg, struct bytes piece, struct ids *out)
{
    const struct trainer *t = arg;
    const uint8_t *at = piece.at, *end = at + piece.len;
    for (const uint8_t *stop; at < end; at = stop) {
        stop = word_end(at, end);
        struct bytes word = { at, (size_t)(stop - at) };
        const uint32_t *id = word_table_tokens(&t->words, &t->spans, word);
        if (!id)
            put_bytes(&t->learnt, word, out);
        for (; id && *id != SPAN_END; id++)
            ids_put(out, *id);
    }
    return !out->failed;
}

/* By the merges of t->base; without it, one token a byte. */
static bool segment_by_base(const void *arg, struct bytes piece, struct ids *out)
{
    const struct trainer *t = arg;
    struct bpe_scratch scratch = { 0 };
    if (!t->base) {
        put_bytes(&t->learnt, piece, out);
        return !out->failed;
    }
    bpe_begin(&scratch, NULL);
    bool ok = bpe_encode(&t->base->bpe, piece, &scratch, out, NULL) &&
              bpe_flush(&t->base->bpe, &scratch, out, NULL);
    bpe_scratch_release(&scratch);
    return ok && !out->failed;
}

static void fill_shards(void *arg, size_t begin, size_t end, int worker)
{
    struct trainer *t = arg;
    segment_fn *segment = t->spans.sym ? segment_by_words : segment_by_base;
    (void)worker;
    for (size_t s = begin; s < end; s++) {
        for (size_t i = 0; i < TRAIN_CHUNKS; i++) {
            const struct piece_count *c = &t->count[i];
            if (!t->chunk[i].n)
                continue;
            if (t->kind == PIECE_WORD)
                word_table_add(&t->words, (unsigned)s, c);
            else
                span_table_add(&t->pieces, (unsigned)s, c, &t->learnt, segment, t);
        }
    }
}

/* Bytes that the tables take and that learning from them will take. */
static size_t tables_need(const struct trainer *t)
{
    size_t words = word_table_memory(&t->words);
    if (t->kind == PIECE_WORD)
        return words + word_table_key_bytes(&t->words) * 8 + word_table_words(&t->words) * 16;
    size_t stage_one = words + (size_t)t->spans.n * sizeof(uint32_t);
    size_t reading = stage_one + span_table_memory(&t->pieces);
    size_t learning = span_table_slots(&t->pieces) * 12;
    return reading > learning ? reading : learning;
}

static bool tables_full(const struct trainer *t, struct err *err)
{
    if (t->chunk_failed || word_table_full(&t->words) || span_table_full(&t->pieces)) {
        fail(err, ERR_MEMORY, "no memory for the different words of the text; give less "
             "--memory to train on a part of it");
        return true;
    }
    return false;
}

static bool go_on(const struct trainer *t, struct err *err)
{
    return !t->o->stop || !*t->o->stop
           || fail(err, ERR_CANCELLED, "stopped; no tokenizer was made");
}

/* A weight that counts for nothing is a mistake in its name. */
static bool weights_met(const struct train_reader *r, struct err *err)
{
    const char *lang = train_reader_unmet(r);
    return !lang || fail(err, ERR_USAGE, "a weight is given for \"%s\", but no document has that "
                         "\"lang\"", lang);
}

/* Reads all of the source; *over: the tables grew too large, after that share of the bytes. */
static bool read_all(struct trainer *t, struct train_read *read, double *over, struct err *err)
{
    struct train_source source = t->o->source;
    size_t n = 1;
    source.share = t->share;
    struct train_reader *r = train_reader_open(&source, err);
    if (!r)
        return false;
    *over = 0;
    *read = train_reader_state(r);
    progress_begin(&t->progress, t->kind == PIECE_WORD ? "reading words" : "reading pieces", "B",
                   read->total_bytes);
    bool ok = true;
    while (ok && n && !*over) {
        ok = train_reader_next(r, t->chunk, &n, err);
        for (size_t i = n; i < TRAIN_CHUNKS; i++)
            t->chunk[i].n = 0;
        if (!ok || !n)
            break;
        pool_run(t->pool, n, 1, count_chunks, t);
        pool_run(t->pool, COUNT_SHARDS, 1, fill_shards, t);
        *read = train_reader_state(r);
        progress_at(&t->progress, read->read_bytes);
        ok = !tables_full(t, err) && go_on(t, err);
        if (tables_need(t) > t->max_tables)
            *over = (double)read->read_bytes / (double)(read->total_bytes + 1);
    }
    ok = ok && (*over || weights_met(r, err));
    *read = train_reader_state(r);
    progress_end(&t->progress);
    train_reader_close(r);
    return ok;
}

/* Reads, with less of the source until the tables fit the memory. */
static bool fill_tables(struct trainer *t, enum piece_kind kind, struct train_read *read,
                        struct err *err)
{
    double over = 1;
    uint64_t start = now_ns();
    t->kind = kind;
    while (over) {
        if (kind == PIECE_WORD)
            word_table_release(&t->words);
        else
            span_table_release(&t->pieces);
        if (!read_all(t, read, &over, err))
            return false;
        if (over)
            t->share *= over < 0.95 ? 0.9 * over : 0.5;
        if (t->share < 1e-6 || (t->share < 1 && !over && !read->n_documents))
            return fail(err, ERR_MEMORY, "%zu MiB of --memory is too little to train on any of "
                        "the text", t->o->max_bytes >> 20);
    }
    t->report->read_ns[kind == PIECE_WHOLE] = now_ns() - start;
    if (!read->n_documents)
        return fail(err, ERR_USAGE, "there is no text to train on: every document is empty, "
                    "held out, or of a language with weight 0");
    return true;
}

static bool after_merge(void *arg, uint32_t n_ids, struct err *err)
{
    struct trainer *t = arg;
    progress_at(&t->progress, n_ids);
    return go_on(t, err);
}

static bool learn(struct trainer *t, uint32_t n_ids, unsigned max_words, struct err *err)
{
    uint64_t start = now_ns();
    size_t used = (size_t)t->spans.n * sizeof(uint32_t) + word_table_memory(&t->words);
    size_t left = t->o->max_bytes > used ? t->o->max_bytes - used : 0;
    struct merge_rules rules = {
        .n_ids = n_ids, .least = train_weight_units(&t->o->source, t->o->least),
        .max_words = max_words,
        .max_bytes = left > t->o->max_bytes / 4 ? left * 3 / 4 : t->o->max_bytes / 8 };
    progress_begin(&t->progress, max_words > 1 ? "learning superwords" : "learning words",
                   "tokens", n_ids);
    bool ok = merge_learn(&t->spans, &t->learnt, rules, after_merge, t, err);
    progress_end(&t->progress);
    t->report->learn_ns[max_words > 1] = now_ns() - start;
    if (ok && learnt_ids(&t->learnt) < n_ids)
        return fail(err, ERR_USAGE, "the text gives only %u tokens%s: no further pair of tokens "
                    "occurs %llu times; ask for a smaller --vocab or give more text",
                    learnt_ids(&t->learnt), max_words > 1 ? "" : " inside words",
                    (unsigned long long)t->o->least);
    return ok;
}

/* Words as the kept merges cut them, instead of bytes. */
static bool segment_words(struct trainer *t, struct err *err)
{
    struct spans *s = &t->spans;
    struct ids out = { 0 };
    struct buf word = { 0 };
    uint32_t run = 0;
    bool ok = true;
    for (uint32_t p = 0; ok && p + 1 < s->n;) {
        for (; run < s->n_runs && s->run[run].from <= p; run++)
            s->run[run].from = (uint32_t)out.n;
        ids_put(&out, SPAN_END);
        buf_clear(&word);
        for (p++; s->sym[p] != SPAN_END; p++) {
            struct bytes b = learnt_bytes(&t->learnt, s->sym[p]);
            buf_put(&word, b.at, b.len);
        }
        ok = buf_ok(&word, err) && segment_by_base(t, (struct bytes){ (const uint8_t *)word.at,
                                                                      word.len }, &out);
    }
    ids_put(&out, SPAN_END);
    buf_release(&word);
    if (!ok || out.failed) {
        ids_release(&out);
        return fail(err, ERR_MEMORY, "no memory to cut the words by the kept merges");
    }
    mem_give(s->sym);
    s->sym = out.at;
    s->n = (uint32_t)out.n;
    return true;
}

static bool stage_one(struct trainer *t, uint32_t n_ids, struct err *err)
{
    if (!fill_tables(t, PIECE_WORD, &t->report->words, err))
        return false;
    t->report->words_share = t->share;
    t->report->n_words = word_table_words(&t->words);
    return word_table_spans(&t->words, &t->learnt, &t->spans, err) &&
           (!t->base || segment_words(t, err)) && learn(t, n_ids, 1, err);
}

/* All merges so far, to cut pieces by. */
static bool make_base(struct trainer *t, struct err *err)
{
    tokenizer_close(t->base);
    t->base = tokenizer_of_learnt(&t->learnt, t->across, t->o->special, t->o->n_special, err);
    return t->base != NULL;
}

/* How stage two cuts pieces by what stage one learnt: a piece of K-EXAONE's pattern is its
 * words one after another; in a line, merges reach over the ends of such pieces. */
static bool between_stages(struct trainer *t, struct err *err)
{
    if (!t->o->lines)
        return word_table_place(&t->words, &t->spans, err);
    word_table_release(&t->words);
    spans_release(&t->spans);
    return make_base(t, err);
}

static bool stage_two(struct trainer *t, struct err *err)
{
    if (!fill_tables(t, PIECE_WHOLE, &t->report->spans, err))
        return false;
    t->report->spans_share = t->share;
    t->report->n_slots = span_table_slots(&t->pieces);
    word_table_release(&t->words);
    spans_release(&t->spans);
    return span_table_take(&t->pieces, &t->spans, err) &&
           learn(t, t->o->n_ids, t->o->max_words, err);
}

static bool adopt(struct trainer *t, struct err *err)
{
    const struct train_options *o = t->o;
    if (!o->extend)
        return true;
    if (!learnt_extend(&t->learnt, o->extend, o->n_keep, err))
        return false;
    t->report->n_kept = t->learnt.n_merges;
    if (learnt_ids(&t->learnt) >= o->n_ids)
        return fail(err, ERR_USAGE, "the %u merges to keep make a vocabulary of %u already; "
                    "--vocab must be more", t->learnt.n_merges, learnt_ids(&t->learnt));
    return make_base(t, err);
}

static bool train(struct trainer *t, struct err *err)
{
    const struct train_options *o = t->o;
    uint32_t first = o->n_ids - (uint32_t)(o->superwords * o->n_ids);
    if (!learnt_init(&t->learnt, (uint32_t)(N_SPECIAL + o->n_special), err)
        || !special_tokens_forbid(&t->learnt, o->special, o->n_special, err) || !adopt(t, err))
        return false;
    bool words = !t->learnt.n_superwords && learnt_ids(&t->learnt) < first;
    if (!words && o->superwords == 0)
        return fail(err, ERR_USAGE, "the tokenizer to extend has superwords among the merges to "
                    "keep; give --superwords, or --keep fewer");
    if (words && !stage_one(t, first, err))
        return false;
    if (o->superwords == 0 || first == o->n_ids)
        return true;
    return (!words || between_stages(t, err)) && stage_two(t, err);
}

static bool options_fit(const struct train_options *o, struct err *err)
{
    uint32_t fewest = (uint32_t)(256 + N_SPECIAL + o->n_special);
    if (o->n_ids <= fewest || o->n_ids > MAX_VOCAB)
        return fail(err, ERR_USAGE, "a vocabulary of %u: it needs more than the %u of the bytes "
                    "and the special tokens, and at most %d", o->n_ids, fewest, MAX_VOCAB);
    return special_tokens_check(o->special, o->n_special, err);
}

static void trainer_release(struct trainer *t)
{
    for (size_t i = 0; i < TRAIN_CHUNKS; i++) {
        text_chunk_release(&t->chunk[i]);
        piece_count_release(&t->count[i]);
    }
    word_table_release(&t->words);
    span_table_release(&t->pieces);
    spans_release(&t->spans);
    learnt_release(&t->learnt);
    tokenizer_close(t->base);
    pool_close(t->pool);
    mem_give(t);
}

struct tokenizer *tokenizer_train(const struct train_options *o, struct train_report *report,
                                  struct err *err)
{
    struct tokenizer *made = NULL;
    struct trainer *t = NULL;
    *report = (struct train_report){ 0 };
    if (!options_fit(o, err))
        return NULL;
    t = mem_take(1, sizeof *t);
    if (!t) {
        fail(err, ERR_MEMORY, "no memory to train a tokenizer");
        return NULL;
    }
    size_t overhead = o->max_bytes / 2 < MAX_OVERHEAD ? o->max_bytes / 2 : MAX_OVERHEAD;
    *t = (struct trainer){ .o = o, .report = report, .share = 1,
                           .pre = pretok_find(bytes_of("exaone-moe")),
                           .across = pretok_find(bytes_of(o->lines ? "kexa-lines" : "exaone-moe")),
                           .max_tables = o->max_bytes - overhead };
    t->pool = pool_open(o->n_threads, err);
    if (t->pool && train(t, err))
        made = tokenizer_of_learnt(&t->learnt, t->across, o->special, o->n_special, err);
    report->n_ids = t->learnt.n ? learnt_ids(&t->learnt) : 0;
    report->n_merges = t->learnt.n_merges;
    report->n_superwords = t->learnt.n_superwords;
    trainer_release(t);
    return made;
}
