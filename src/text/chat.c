#include "text/text.h"

const struct chat_format *const chat_formats[] = {
    &chat_k_exaone,
    &chat_exaone4,
    &chat_gemma,
    &chat_smollm2,
    &chat_chatml,                         /* after smollm2: it recognises that too */
    NULL,
};

const struct chat_format *chat_format_find(const char *name)
{
    for (const struct chat_format *const *f = chat_formats; name && *f; f++)
        if (!strcmp((*f)->name, name))
            return *f;
    return NULL;
}

const struct chat_format *chat_format_recognise(const char *chat_template)
{
    for (const struct chat_format *const *f = chat_formats; chat_template && *f; f++)
        if ((*f)->recognise(chat_template))
            return *f;
    return NULL;
}

void chat_format_names(struct buf *out)
{
    for (size_t i = 0; chat_formats[i]; i++)
        buf_printf(out, "%s%s", i ? ", " : "", chat_formats[i]->name);
}

bool chat_render(const struct chat_format *f, const struct chat_prompt *p,
                 struct chat_text *out, struct err *err)
{
    size_t len = out->text.len, n = out->n_special;
    if (f->render(p, out, err) && buf_ok(&out->text, err))
        return true;
    out->text.len = len;
    out->n_special = n;
    if (out->text.at)
        out->text.at[len] = 0;
    return false;
}

void chat_text_clear(struct chat_text *x)
{
    buf_clear(&x->text);
    x->n_special = 0;
}

void chat_text_release(struct chat_text *x)
{
    buf_release(&x->text);
    mem_give(x->special);
    *x = (struct chat_text){ 0 };
}

void chat_text_special(struct chat_text *x, const char *token)
{
    if (x->n_special == x->cap_special) {
        size_t cap = x->cap_special ? x->cap_special * 2 : 32;
        struct chat_span *p = mem_grow(x->special, cap, sizeof *p);
        if (!p) {
            x->text.failed = true;
            return;
        }
        x->special = p;
        x->cap_special = cap;
    }
    x->special[x->n_special++] = (struct chat_span){ x->text.len, strlen(token) };
    buf_text(&x->text, token);
}

static bool encode_plain(const struct chat_text *x, size_t begin, size_t end,
                         chat_encode_fn *fn, void *arg, struct ids *out, struct err *err)
{
    struct bytes run = { (const uint8_t *)x->text.at + begin, end - begin };
    return begin == end || fn(arg, run, false, out, err);
}

/*
 * plain: where the text not yet encoded begins.  A special text is tried first into `one`;
 * only if it is a token is the plain text before it closed.
 */
bool chat_text_encode(const struct chat_text *x, chat_encode_fn *fn, void *arg,
                      struct ids *out, struct err *err)
{
    struct ids one = { 0 };
    size_t plain = 0;
    bool ok = buf_ok(&x->text, err);
    for (size_t i = 0; ok && i < x->n_special; i++) {
        const struct chat_span *s = &x->special[i];
        struct bytes token = { (const uint8_t *)x->text.at + s->at, s->len };
        one.n = 0;
        ok = fn(arg, token, true, &one, err);
        if (!ok || one.n != 1)
            continue;
        ok = encode_plain(x, plain, s->at, fn, arg, out, err);
        ids_put(out, one.at[0]);
        plain = s->at + s->len;
    }
    ok = ok && encode_plain(x, plain, x->text.len, fn, arg, out, err);
    if (ok && (out->failed || one.failed))
        ok = fail(err, ERR_MEMORY, "out of memory while encoding a prompt of %zu bytes",
                  x->text.len);
    ids_release(&one);
    return ok;
}
