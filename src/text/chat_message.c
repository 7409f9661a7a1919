#include "text/chat_message.h"

void chat_put_bytes(struct chat_text *out, struct bytes b)
{
    buf_put(&out->text, b.at, b.len);
}

/* Length of the white space character at the front of b as Python's str.strip() sees it;
 * 0 if there is none. */
static size_t space_at(struct bytes b)
{
    static const char *const wide[] = {
        "\xc2\x85", "\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf",
        "\xe2\x81\x9f", "\xe3\x80\x80",
    };
    if (b.len && ((b.at[0] >= 9 && b.at[0] <= 13) || (b.at[0] >= 28 && b.at[0] <= 32)))
        return 1;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        size_t n = strlen(wide[i]);
        if (b.len >= n && !memcmp(b.at, wide[i], n))
            return n;
    }
    /* U+2000 to U+200A */
    if (b.len >= 3 && b.at[0] == 0xe2 && b.at[1] == 0x80 && b.at[2] >= 0x80 && b.at[2] <= 0x8a)
        return 3;
    return 0;
}

struct bytes chat_trim(struct bytes b)
{
    for (size_t n; (n = space_at(b)) > 0; b.at += n, b.len -= n)
        continue;
    for (bool found = true; found;) {
        found = false;
        for (size_t n = 1; n <= 3 && n <= b.len && !found; n++) {
            struct bytes tail = { b.at + b.len - n, n };
            found = space_at(tail) == n;
            b.len -= found ? n : 0;
        }
    }
    return b;
}

void chat_split_thinking(const struct chat_message *m, struct bytes *reasoning,
                         struct bytes *answer)
{
    static const char begin[] = "<think>", end[] = "</think>";
    *reasoning = bytes_of("");
    *answer = bytes_of(m->content);
    const char *close = strstr(m->content, end);
    if (close) {
        *reasoning = chat_trim((struct bytes){ (const uint8_t *)m->content,
                                             (size_t)(close - m->content) });
        if (reasoning->len >= strlen(begin) && !memcmp(reasoning->at, begin, strlen(begin))) {
            reasoning->at += strlen(begin);
            reasoning->len -= strlen(begin);
        }
        for (const char *next = close; next; next = strstr(close, end))
            close = next + strlen(end);
        *answer = bytes_of(close);
    }
    if (m->reasoning && m->reasoning[0])
        *reasoning = bytes_of(m->reasoning);
    *reasoning = chat_trim(*reasoning);
    *answer = chat_trim(*answer);
}

void chat_put_thinking(struct chat_text *out, struct bytes reasoning)
{
    chat_text_special(out, "<think>");
    buf_text(&out->text, "\n");
    chat_put_bytes(out, reasoning);
    buf_text(&out->text, "\n");
    chat_text_special(out, "</think>");
    buf_text(&out->text, "\n\n");
}

bool chat_put_call(struct chat_text *out, const struct chat_call *call, struct err *err)
{
    chat_text_special(out, "<tool_call>");
    buf_text(&out->text, "{\"name\": ");
    chat_json_quote(call->name, &out->text);
    buf_text(&out->text, ", \"arguments\": ");
    if (!chat_json_normal(call->arguments, "the arguments of a tool call", &out->text, err))
        return false;
    buf_text(&out->text, "}");
    chat_text_special(out, "</tool_call>");
    return true;
}

bool chat_refuse_tools(const struct chat_prompt *p, const char *format, struct err *err)
{
    if (p->n_tools)
        return fail(err, ERR_UNSUPPORTED,
                    "the chat format %s has no tools, but %zu were declared; leave them out or "
                    "use a model with a tool format (k-exaone)", format, p->n_tools);
    for (size_t i = 0; i < p->n_messages; i++)
        if (p->messages[i].n_calls)
            return fail(err, ERR_UNSUPPORTED,
                        "the chat format %s has no tool calls, but message %zu has %zu; leave "
                        "them out or use a model with a tool format (k-exaone)",
                        format, i, p->messages[i].n_calls);
    return true;
}
