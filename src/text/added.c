#include "text/added.h"

#include "text/tokenizer.h"
#include "text/unicode.h"

#define NO_INDEX UINT32_MAX

static bool out_of_memory(struct err *err)
{
    return fail(err, ERR_MEMORY, "no memory for the added tokens");
}

static bool keep_token(struct added *a, struct added_token tok)
{
    if (a->n == a->cap) {
        uint32_t cap = a->cap ? a->cap * 2 : 64;
        struct added_token *grown = mem_grow(a->tok, cap, sizeof *grown);
        if (!grown)
            return false;
        a->tok = grown;
        a->cap = cap;
    }
    a->tok[a->n++] = tok;
    return true;
}

bool added_put(struct added *a, struct bytes text, struct added_token tok, struct err *err)
{
    if (!text.len)
        return true;                      /* matches nowhere */
    if (text.len > MAX_ADDED_BYTES)
        return fail(err, ERR_LIMIT, "added token %u is %zu bytes long; the most is %d",
                    tok.id, text.len, MAX_ADDED_BYTES);
    if (!a->trie.slot && !pair_map_init(&a->trie, 256))
        return out_of_memory(err);
    if (!keep_token(a, tok))
        return out_of_memory(err);
    a->first[text.at[0]] = true;
    a->any_user |= !(tok.flags & ADDED_CONTROL);
    uint32_t node = 0;
    for (size_t i = 0; i < text.len; i++) {
        const struct pair_slot *s = pair_map_find(&a->trie, node, text.at[i]);
        uint32_t next = s ? s->a : ++a->n_nodes, ends = s ? s->b : NO_INDEX;
        if (i + 1 == text.len)
            ends = a->n - 1;
        if (!pair_map_put(&a->trie, node, text.at[i], next, ends))
            return out_of_memory(err);
        node = next;
    }
    return true;
}

void added_release(struct added *a)
{
    pair_map_release(&a->trie);
    mem_give(a->tok);
    *a = (struct added){ 0 };
}

/* The longest token that starts at text[at]: its index and length, or NO_INDEX. */
static uint32_t longest_at(const struct added *a, struct bytes text, size_t at, size_t *len)
{
    uint32_t node = 0, found = NO_INDEX;
    for (size_t i = at; i < text.len; i++) {
        const struct pair_slot *s = pair_map_find(&a->trie, node, text.at[i]);
        if (!s)
            break;
        node = s->a;
        if (s->b != NO_INDEX) {
            found = s->b;
            *len = i + 1 - at;
        }
    }
    return found;
}

static bool stands_alone(struct bytes text, size_t start, size_t stop)
{
    const uint8_t *low = text.at, *end = low + text.len;
    bool joined_before = start > 0 && unit_before(low, low + start).class & UC_WORD;
    return !joined_before && !(unit_at(low + stop, end).class & UC_WORD);
}

static size_t strip_left(struct bytes text, size_t start)
{
    while (start > 0) {
        struct unit u = unit_before(text.at, text.at + start);
        if (!(u.class & UC_SPACE))
            break;
        start -= u.len;
    }
    return start;
}

static size_t strip_right(struct bytes text, size_t stop)
{
    const uint8_t *end = text.at + text.len;
    for (struct unit u = unit_at(text.at + stop, end); u.class & UC_SPACE;
         u = unit_at(text.at + stop, end))
        stop += u.len;
    return stop;
}

/* Whether the match counts; spaces that belong to it are taken in. */
static bool accept(const struct added_walk *w, struct added_token tok, size_t *start,
                   size_t *stop)
{
    if ((tok.flags & ADDED_CONTROL) && !w->parse_control)
        return false;
    if ((tok.flags & ADDED_SINGLE_WORD) && !stands_alone(w->text, *start, *stop))
        return false;
    if (tok.flags & ADDED_LSTRIP)
        *start = strip_left(w->text, *start);
    if (*start < w->given)
        *start = w->given;                /* the token before took those spaces */
    if (tok.flags & ADDED_RSTRIP)
        *stop = strip_right(w->text, *stop);
    return true;
}

bool added_next(const struct added *a, struct added_walk *w, struct bytes *before,
                int64_t *id)
{
    size_t n = w->text.len;
    if (w->given > n || (w->given == n && w->given > 0))
        return false;
    *id = NO_TOKEN;
    bool any = w->parse_control ? a->n > 0 : a->any_user;
    for (size_t at = w->looked, len = 0; any && at < n; at++) {
        while (at < n && !a->first[w->text.at[at]])
            at++;
        uint32_t k = at < n ? longest_at(a, w->text, at, &len) : NO_INDEX;
        if (k == NO_INDEX)
            continue;
        size_t start = at, stop = at + len;
        w->looked = stop;
        at = stop - 1;
        if (!accept(w, a->tok[k], &start, &stop))
            continue;
        *before = (struct bytes){ w->text.at + w->given, start - w->given };
        w->given = stop > start ? stop : start;
        *id = a->tok[k].id;
        return true;
    }
    *before = (struct bytes){ w->text.at + w->given, n - w->given };
    w->given = n + 1;
    return true;
}
