#include "mutate.h"

#include <stdio.h>

enum { LONGEST = 1 << 16 };

static size_t below(struct rng *rng, size_t n)
{
    return n ? (size_t)(rng_u64(rng) % n) : 0;
}

static uint64_t awkward(struct rng *rng, size_t len)
{
    uint64_t shift = below(rng, 64), near = below(rng, 5);
    switch (below(rng, 6)) {
    case 0: return below(rng, 17);
    case 1: return (1ull << shift) + near - 2;
    case 2: return ~(uint64_t)below(rng, 65);
    case 3: return below(rng, len + 2);
    case 4: return len + near - 2;
    default: return (uint64_t)INT64_MAX + near - 2;
    }
}

/* A little-endian number of 1, 2, 4 or 8 bytes over what is there. */
static void set_number(struct buf *b, struct rng *rng)
{
    size_t n = (size_t)1 << below(rng, 4), at = below(rng, b->len);
    uint64_t v = awkward(rng, b->len);
    for (size_t i = 0; i < n && at + i < b->len; i++)
        b->at[at + i] = (char)(v >> (8 * i));
}

/* A small change to the number that is there: counts off by one. */
static void add_number(struct buf *b, struct rng *rng)
{
    size_t at = below(rng, b->len);
    b->at[at] = (char)(b->at[at] + (int)below(rng, 9) - 4);
}

static void flip_bit(struct buf *b, struct rng *rng)
{
    size_t at = below(rng, b->len);
    b->at[at] = (char)(b->at[at] ^ (1 << below(rng, 8)));
}

static void set_byte(struct buf *b, struct rng *rng)
{
    static const char likely[] = "\0\xff\"{}[],:\\0919-.eE \n\x80\xc0\xed\x7f";
    b->at[below(rng, b->len)] = likely[below(rng, sizeof likely - 1)];
}

/* b[0, at) + piece + b[from, end). */
static void replace_run(struct buf *b, size_t at, size_t from, const char *piece, size_t len)
{
    struct buf whole = { 0 };
    buf_put(&whole, b->at, at);
    buf_put(&whole, piece, len);
    buf_put(&whole, b->at + from, b->len - from);
    check(!whole.failed);
    buf_release(b);
    *b = whole;
}

static void cut_run(struct buf *b, struct rng *rng)
{
    size_t at = below(rng, b->len), n = below(rng, b->len - at) + 1;
    replace_run(b, at, at + (below(rng, 2) ? n : n % 16), "", 0);
}

static void double_run(struct buf *b, struct rng *rng)
{
    size_t from = below(rng, b->len), n = below(rng, b->len - from) + 1, at = below(rng, b->len);
    char *piece = mem_copy_text(b->at + from, n);
    check(piece != NULL);
    replace_run(b, at, at, piece, n);
    mem_give(piece);
}

/* A decimal number over a run of digits, as JSON has them. */
static void set_digits(struct buf *b, struct rng *rng)
{
    char text[32];
    size_t at = below(rng, b->len), end;
    while (at < b->len && (b->at[at] < '0' || b->at[at] > '9'))
        at++;
    for (end = at; end < b->len && b->at[end] >= '0' && b->at[end] <= '9'; end++)
        ;
    int n = snprintf(text, sizeof text, "%lld", (long long)awkward(rng, b->len));
    if (at < b->len)
        replace_run(b, at, end, text, (size_t)n);
}

static void splice(struct buf *b, const struct buf *other, struct rng *rng)
{
    size_t from = below(rng, other->len), n = below(rng, other->len - from) + 1;
    size_t at = below(rng, b->len), over = below(rng, 2) ? n : 0;
    if (other->len)
        replace_run(b, at, over < b->len - at ? at + over : b->len, other->at + from, n);
}

/* A safetensors file's header length made right again, so that edits inside count. */
static void mend_length(struct buf *b, size_t old_len)
{
    uint64_t n = 0;
    if (b->len < 9 || b->at[8] != '{')
        return;
    memcpy(&n, b->at, sizeof n);
    n += b->len - old_len;
    memcpy(b->at, &n, sizeof n);
}

void mutate(struct buf *out, const struct buf *files, size_t n_files, size_t n_good,
            struct rng *rng)
{
    const struct buf *base = &files[below(rng, n_good && below(rng, 2) ? n_good : n_files)];
    buf_clear(out);
    buf_put(out, base->at ? base->at : "", base->len);
    for (size_t edits = 1 + below(rng, 4); edits && out->len && out->len < LONGEST; edits--) {
        size_t len = out->len;
        switch (below(rng, 10)) {
        case 0: flip_bit(out, rng); break;
        case 1: set_byte(out, rng); break;
        case 2: case 3: set_number(out, rng); break;
        case 4: add_number(out, rng); break;
        case 5: cut_run(out, rng); break;
        case 6: double_run(out, rng); break;
        case 7: set_digits(out, rng); break;
        case 8: out->len = below(rng, 4) ? out->len : below(rng, out->len); break;
        default: splice(out, &files[below(rng, n_files)], rng); break;
        }
        if (below(rng, 2))
            mend_length(out, len);
    }
}
