#include "cmd/chat_answer.h"

static void give_out(struct chat_answer *a, const char *at, size_t len)
{
    if (a->after_thinking) {
        while (len && (*at == '\n' || *at == '\r')) {
            at++;
            len--;
        }
        a->after_thinking = !len;
    }
    if (!len)
        return;
    buf_put(a->thinking ? &a->reasoning : &a->content, at, len);
    if (a->show)
        a->show(a->arg, (struct bytes){ (const uint8_t *)at, len }, a->thinking);
}

static void drop_front(struct buf *b, size_t n)
{
    memmove(b->at, b->at + n, b->len - n + 1);
    b->len -= n;
}

/* The i-th text to watch for; NULL after the last.  The first is the end of thinking. */
static const char *watched(const struct chat_answer *a, size_t i)
{
    if (a->thinking && a->think_end)
        return i ? a->stops[i - 1] : a->think_end;
    return a->stops[i];
}

/* The earliest whole watched text in what is held; SIZE_MAX if there is none. */
static size_t find_watched(const struct chat_answer *a, const char **found)
{
    size_t first = SIZE_MAX;
    const char *w;
    for (size_t i = 0; (w = watched(a, i)); i++) {
        const char *at = *w ? memmem(a->held.at, a->held.len, w, strlen(w)) : NULL;
        if (at && (size_t)(at - a->held.at) < first) {
            first = (size_t)(at - a->held.at);
            *found = w;
        }
    }
    return first;
}

/* Bytes at the end of what is held that may yet become a watched text. */
static size_t possible(const struct chat_answer *a)
{
    size_t longest = 0;
    const char *w;
    for (size_t i = 0; (w = watched(a, i)); i++) {
        size_t n = *w ? strlen(w) - 1 : 0;
        for (n = n < a->held.len ? n : a->held.len; n > longest; n--)
            if (!memcmp(a->held.at + a->held.len - n, w, n))
                longest = n;
    }
    return longest;
}

static void advance(struct chat_answer *a, bool last)
{
    const char *found = NULL;
    for (size_t at; a->held.len && (at = find_watched(a, &found)) != SIZE_MAX;) {
        give_out(a, a->held.at, at);
        if (!a->thinking || found != a->think_end) {
            a->ended = true;
            buf_clear(&a->held);
            return;
        }
        drop_front(&a->held, at + strlen(found));
        a->thinking = false;
        a->after_thinking = true;
    }
    size_t keep = last || !a->held.len ? 0 : possible(a), n = a->held.len - keep;
    if (n) {
        give_out(a, a->held.at, n);
        drop_front(&a->held, n);
    }
}

void chat_answer_put(struct chat_answer *a, struct bytes piece)
{
    if (a->ended)
        return;
    detok_put(&a->detok, piece, &a->held);
    advance(a, false);
}

void chat_answer_end(struct chat_answer *a)
{
    if (!a->ended)
        detok_end(&a->detok, &a->held);
    advance(a, true);
}

void chat_answer_release(struct chat_answer *a)
{
    buf_release(&a->held);
    buf_release(&a->reasoning);
    buf_release(&a->content);
}
