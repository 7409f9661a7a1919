#include "text/train_batch.h"

#include "format/format.h"

enum { LONGEST_PART = 1 << 20, HELD_OUT_SEED = 0, SHARE_SEED = 1 };

struct train_reader {
    struct train_source s;
    struct jsonl **file;                  /* one for each path, opened together */
    bool *met;                            /* whether a document had the language of weight i */
    size_t at;
    struct bytes rest;                    /* of the document that is being given */
    bool part_given;                      /* something of it was */
    bool is_file;                         /* it is a whole file */
    uint32_t weight;
    struct train_read state;
    uint64_t closed_bytes;                /* of paths that are done */
};

static bool hash_below(struct bytes text, uint64_t seed, double share)
{
    return (double)(hash_bytes(text, seed) >> 11) * 0x1p-53 < share;
}

bool document_is_held_out(struct bytes text, double held_out)
{
    return hash_below(text, HELD_OUT_SEED, held_out);
}

void train_reader_close(struct train_reader *r)
{
    if (!r)
        return;
    for (size_t i = 0; r->file && i < r->s.n_paths; i++)
        jsonl_close(r->file[i]);
    mem_give(r->file);
    mem_give(r->met);
    mem_give(r);
}

struct train_reader *train_reader_open(const struct train_source *s, struct err *err)
{
    struct train_reader *r = mem_take(1, sizeof *r);
    if (r) {
        r->s = *s;
        r->file = mem_take(s->n_paths + 1, sizeof *r->file);
        r->met = mem_take(s->n_weights + 1, sizeof *r->met);
    }
    bool ok = (r && r->file && r->met) || fail(err, ERR_MEMORY, "no memory to read texts");
    for (size_t i = 0; ok && i < s->n_paths; i++) {
        r->file[i] = jsonl_open(s->paths[i], err);
        ok = r->file[i] != NULL;
        r->state.total_bytes += ok ? jsonl_total_bytes(r->file[i]) : 0;
        r->state.n_beside += ok ? jsonl_beside(r->file[i]) : 0;
    }
    if (ok)
        return r;
    train_reader_close(r);
    return NULL;
}

struct train_read train_reader_state(const struct train_reader *r)
{
    struct train_read state = r->state;
    state.read_bytes = r->closed_bytes;
    if (r->at < r->s.n_paths)
        state.read_bytes += jsonl_read_bytes(r->file[r->at]) - (r->is_file ? r->rest.len : 0);
    return state;
}

const char *train_reader_unmet(const struct train_reader *r)
{
    for (size_t i = 0; i < r->s.n_weights; i++)
        if (!r->met[i])
            return r->s.weights[i].lang;
    return NULL;
}

/* Without weights every document is one. */
uint64_t train_weight_units(const struct train_source *s, uint64_t times)
{
    return s->n_weights ? TRAIN_WEIGHT_UNIT * times : times;
}

/* In units. */
static uint32_t weight_of(struct train_reader *r, const char *lang)
{
    for (size_t i = 0; i < r->s.n_weights; i++) {
        double w = r->s.weights[i].weight * TRAIN_WEIGHT_UNIT;
        if (strcmp(r->s.weights[i].lang, lang))
            continue;
        r->met[i] = true;
        return w <= 0 ? 0 : w < 1 ? 1 : (uint32_t)(w + 0.5);
    }
    return (uint32_t)train_weight_units(&r->s, 1);
}

/* The next document, in r->rest; none: *end. */
static bool next_document(struct train_reader *r, bool *end, struct err *err)
{
    struct jsonl_record doc;
    *end = false;
    while (r->at < r->s.n_paths) {
        if (!jsonl_next(r->file[r->at], &doc, err))
            return false;
        if (!doc.path) {
            r->closed_bytes += jsonl_total_bytes(r->file[r->at++]);
            continue;
        }
        if (!jsonl_check_utf8(&doc, err))
            return false;
        r->weight = weight_of(r, doc.lang);
        if (!doc.text.len || !r->weight)
            continue;
        if (!document_is_held_out(doc.text, r->s.held_out)) {
            r->rest = doc.text;
            r->part_given = false;
            r->is_file = !doc.object;
            return true;
        }
        r->state.n_held_out++;
    }
    *end = true;
    return true;
}

/* How much of a long text to give: to after the last line break that is followed by no white
 * space, or else to before the last character. */
static size_t part_length(struct bytes text)
{
    if (text.len <= LONGEST_PART)
        return text.len;
    for (size_t n = LONGEST_PART; n > LONGEST_PART / 2; n--)
        if (text.at[n - 1] == '\n' && text.at[n] > ' ' && text.at[n] < 0x80)
            return n;
    for (size_t n = LONGEST_PART; n > LONGEST_PART - 4; n--)
        if ((text.at[n] & 0xC0) != 0x80)
            return n;
    return LONGEST_PART;
}

static bool put_part(struct text_chunk *c, struct bytes text, uint32_t weight, struct err *err)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 64;
        struct chunk_text *part = mem_grow(c->part, cap, sizeof *part);
        if (!part)
            return fail(err, ERR_MEMORY, "no memory for a batch of texts");
        c->part = part;
        c->cap = cap;
    }
    c->part[c->n++] = (struct chunk_text){ c->text.len, text.len, weight };
    buf_put(&c->text, text.at, text.len);
    return buf_ok(&c->text, err);
}

/* The next part of the document, in *part; false: the share leaves it out. */
static bool take_part(struct train_reader *r, struct bytes *part)
{
    *part = (struct bytes){ r->rest.at, part_length(r->rest) };
    r->rest.at += part->len;
    r->rest.len -= part->len;
    bool used = r->s.share >= 1 || hash_below(*part, SHARE_SEED, r->s.share);
    if (used) {
        r->state.n_text_bytes += part->len;
        r->state.n_documents += !r->part_given;
        r->part_given = true;
    }
    return used;
}

static bool fill_chunk(struct train_reader *r, struct text_chunk *c, struct err *err)
{
    bool end = false;
    buf_clear(&c->text);
    c->n = 0;
    while (c->text.len < TRAIN_CHUNK_BYTES) {
        if (!r->rest.len && !next_document(r, &end, err))
            return false;
        if (end)
            return true;
        struct bytes part;
        if (take_part(r, &part) && !put_part(c, part, r->weight, err))
            return false;
    }
    return true;
}

bool train_reader_next(struct train_reader *r, struct text_chunk chunk[TRAIN_CHUNKS], size_t *n,
                       struct err *err)
{
    for (*n = 0; *n < TRAIN_CHUNKS; ++*n) {
        if (!fill_chunk(r, &chunk[*n], err))
            return false;
        if (!chunk[*n].n)
            break;
    }
    return true;
}

void text_chunk_release(struct text_chunk *c)
{
    buf_release(&c->text);
    mem_give(c->part);
    *c = (struct text_chunk){ 0 };
}
