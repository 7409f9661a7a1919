#include "data/packing.h"

#include <stdlib.h>

/* ---- rows by free space -------------------------------------------------------------- */

enum { LEVELS = 5 };                      /* 64^5 is beyond PACKING_CONTEXT_MAX */
#define NO_ROW UINT32_MAX

struct spaces {
    uint32_t n;                           /* free spaces are below this */
    uint32_t *head;                       /* of each list; NO_ROW: empty */
    uint64_t *bits[LEVELS];               /* bit i of level k: something in 64^k spaces */
};

static void spaces_release(struct spaces *s)
{
    mem_give(s->head);
    for (int k = 0; k < LEVELS; k++)
        mem_give(s->bits[k]);
}

/* On failure too spaces_release() is due. */
static bool spaces_init(struct spaces *s, uint32_t context)
{
    *s = (struct spaces){ .n = context + 1 };
    s->head = mem_take(s->n, sizeof *s->head);
    bool ok = s->head != NULL;
    uint32_t n = s->n;
    for (int k = 0; ok && k < LEVELS; k++) {
        n = n / 64 + 1;
        s->bits[k] = mem_take(n, sizeof *s->bits[k]);
        ok = s->bits[k] != NULL;
    }
    for (uint32_t i = 0; ok && i < s->n; i++)
        s->head[i] = NO_ROW;
    return ok;
}

static void spaces_mark(struct spaces *s, uint32_t at)
{
    for (int k = 0; k < LEVELS; k++, at /= 64)
        s->bits[k][at / 64] |= (uint64_t)1 << at % 64;
}

static void spaces_clear(struct spaces *s, uint32_t at)
{
    for (int k = 0; k < LEVELS; k++, at /= 64) {
        s->bits[k][at / 64] &= ~((uint64_t)1 << at % 64);
        if (s->bits[k][at / 64])
            return;
    }
}

/* The least space >= at that some row has; s->n if none. */
static uint32_t spaces_next(const struct spaces *s, uint32_t at)
{
    uint32_t n = s->n;
    int k = 0;
    for (; k < LEVELS; k++, at = at / 64 + 1, n = (n + 63) / 64) {
        if (at >= n)
            return s->n;
        uint64_t word = s->bits[k][at / 64] & UINT64_MAX << at % 64;
        if (word) {
            at = at / 64 * 64 + (uint32_t)__builtin_ctzll(word);
            break;
        }
    }
    if (k == LEVELS)
        return s->n;
    for (; k > 0; k--)
        at = at * 64 + (uint32_t)__builtin_ctzll(s->bits[k - 1][at]);
    return at;
}

/* ---- packing ------------------------------------------------------------------------- */

struct packer {
    uint32_t context;
    struct spaces spaces;
    struct piece *piece;                  /* in the order of packing */
    uint32_t *row_of;                     /* the same */
    uint64_t n, cap;
    uint32_t *next;                       /* of each row: the next in its list */
    uint64_t n_rows, rows_cap;
    uint64_t *window;                     /* (context - length) << 32 | place in rest */
    struct piece *rest;
    uint32_t n_window;
    uint64_t n_tokens;
};

static bool out_of_memory(struct err *err)
{
    return fail(err, ERR_MEMORY, "out of memory while packing documents into rows");
}

static bool put_piece(struct packer *p, struct piece piece, uint32_t row, struct err *err)
{
    if (p->n == p->cap) {
        uint64_t cap = p->cap ? 2 * p->cap : 4096;
        struct piece *more = mem_grow(p->piece, cap, sizeof *more);
        p->piece = more ? more : p->piece;
        uint32_t *rows = more ? mem_grow(p->row_of, cap, sizeof *rows) : NULL;
        if (!rows)
            return out_of_memory(err);
        p->row_of = rows;
        p->cap = cap;
    }
    if (p->n >= UINT32_MAX - 1)
        return fail(err, ERR_LIMIT, "more than 4,294,967,294 pieces of documents in one source: "
                    "divide it, or use a longer context");
    p->piece[p->n] = piece;
    p->row_of[p->n++] = row;
    return true;
}

static bool begin_row(struct packer *p, uint32_t *row, struct err *err)
{
    if (p->n_rows == p->rows_cap) {
        uint64_t cap = p->rows_cap ? 2 * p->rows_cap : 4096;
        uint32_t *more = mem_grow(p->next, cap, sizeof *more);
        if (!more)
            return out_of_memory(err);
        p->next = more;
        p->rows_cap = cap;
    }
    *row = (uint32_t)p->n_rows++;         /* there are no more rows than pieces */
    return true;
}

/* Puts a row into the list of its free space; a full one is in none. */
static void keep_row(struct packer *p, uint32_t row, uint32_t space)
{
    if (!space)
        return;
    p->next[row] = p->spaces.head[space];
    p->spaces.head[space] = row;
    spaces_mark(&p->spaces, space);
}

static bool place(struct packer *p, struct piece piece, uint32_t length, struct err *err)
{
    uint32_t row = 0, space = spaces_next(&p->spaces, length);
    if (space < p->spaces.n) {
        row = p->spaces.head[space];
        p->spaces.head[space] = p->next[row];
        if (p->spaces.head[space] == NO_ROW)
            spaces_clear(&p->spaces, space);
    } else {
        space = p->context;
        if (!begin_row(p, &row, err))
            return false;
    }
    keep_row(p, row, space - length);
    return put_piece(p, piece, row, err);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool place_window(struct packer *p, struct err *err)
{
    if (p->n_window)
        qsort(p->window, p->n_window, sizeof *p->window, by_number);
    for (uint32_t i = 0; i < p->n_window; i++) {
        uint32_t length = p->context - (uint32_t)(p->window[i] >> 32);
        if (!place(p, p->rest[(uint32_t)p->window[i]], length, err))
            return false;
    }
    p->n_window = 0;
    return true;
}

static bool add_doc(struct packer *p, struct packing_doc d, struct err *err)
{
    uint64_t n_full = d.n_tokens / p->context, rest = d.n_tokens % p->context;
    uint32_t row = 0;
    if (n_full >= UINT32_MAX - 1)
        return fail(err, ERR_LIMIT, "a document of %llu tokens has too many pieces of %u",
                    (unsigned long long)d.n_tokens, p->context);
    for (uint32_t part = 0; part < n_full; part++)
        if (!begin_row(p, &row, err) || !put_piece(p, (struct piece){ d.doc, part }, row, err))
            return false;
    p->n_tokens += d.n_tokens;
    if (!rest)
        return true;
    p->rest[p->n_window] = (struct piece){ d.doc, (uint32_t)n_full };
    p->window[p->n_window] = (p->context - rest) << 32 | p->n_window;
    return ++p->n_window < PACKING_WINDOW || place_window(p, err);
}

/* Pieces by rows, in each row as they were placed. */
static bool sort_by_rows(const struct packer *p, struct packing *out, struct err *err)
{
    uint64_t *first = mem_take(p->n_rows + 1, sizeof *first);
    struct piece *piece = mem_take(p->n + 1, sizeof *piece);
    if (!first || !piece) {
        mem_give(first);
        mem_give(piece);
        return out_of_memory(err);
    }
    for (uint64_t i = 0; i < p->n; i++)
        first[p->row_of[i] + 1]++;
    for (uint64_t r = 0; r < p->n_rows; r++)
        first[r + 1] += first[r];
    for (uint64_t i = 0; i < p->n; i++)
        piece[first[p->row_of[i]]++] = p->piece[i];
    for (uint64_t r = p->n_rows; r > 0; r--)
        first[r] = first[r - 1];          /* each had moved to its row's end */
    first[0] = 0;
    *out = (struct packing){ .context = p->context, .piece = piece, .first = first,
                             .n_rows = p->n_rows, .n_pieces = p->n, .n_tokens = p->n_tokens };
    return true;
}

static bool packer_init(struct packer *p, uint32_t context, struct err *err)
{
    *p = (struct packer){ .context = context };
    p->window = mem_take(PACKING_WINDOW, sizeof *p->window);
    p->rest = mem_take(PACKING_WINDOW, sizeof *p->rest);
    return (p->window && p->rest && spaces_init(&p->spaces, context)) || out_of_memory(err);
}

static void packer_release(struct packer *p)
{
    spaces_release(&p->spaces);
    mem_give(p->piece);
    mem_give(p->row_of);
    mem_give(p->next);
    mem_give(p->window);
    mem_give(p->rest);
}

bool packing_init(struct packing *out, uint32_t context, uint64_t n_docs, packing_doc_fn *doc,
                  const void *arg, struct err *err)
{
    struct packer p;
    check(context >= 1 && context <= PACKING_CONTEXT_MAX);
    bool ok = packer_init(&p, context, err);
    for (uint64_t i = 0; ok && i < n_docs; i++)
        ok = add_doc(&p, doc(arg, i), err);
    ok = ok && place_window(&p, err) && sort_by_rows(&p, out, err);
    packer_release(&p);
    return ok;
}

void packing_release(struct packing *p)
{
    mem_give(p->piece);
    mem_give(p->first);
    *p = (struct packing){ 0 };
}

double packing_fill(const struct packing *p)
{
    return p->n_rows ? (double)p->n_tokens / ((double)p->n_rows * p->context) : 1;
}
