#include "text/text.h"

/*
 * K-EXAONE 1.0.  Every turn is <|role|>, newline, body, <|endofturn|>, newline; no BOS.
 * Tool declarations are a turn of their own at the very beginning.  An assistant's turn
 * always has a think block; its reasoning is kept only after the last user message, as the
 * template's skip_think does by default.  docs/chat.md says what this was written from.
 */
static const char *const stops[] = { "<|endofturn|>", NULL };

static void put_bytes(struct chat_text *out, struct bytes b)
{
    buf_put(&out->text, b.at, b.len);
}

static void begin_turn(struct chat_text *out, const char *role_token)
{
    chat_text_special(out, role_token);
    buf_text(&out->text, "\n");
}

static void end_turn(struct chat_text *out)
{
    chat_text_special(out, "<|endofturn|>");
    buf_text(&out->text, "\n");
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

static struct bytes trimmed(struct bytes b)
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

/* Reasoning and answer of an assistant's message: given apart, or together in the content
 * with </think> between them. */
static void split_thinking(const struct chat_message *m, struct bytes *reasoning,
                           struct bytes *answer)
{
    static const char begin[] = "<think>", end[] = "</think>";
    *reasoning = bytes_of("");
    *answer = bytes_of(m->content);
    const char *close = strstr(m->content, end);
    if (close) {
        *reasoning = trimmed((struct bytes){ (const uint8_t *)m->content,
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
    *reasoning = trimmed(*reasoning);
    *answer = trimmed(*answer);
}

static void put_thinking(struct chat_text *out, struct bytes reasoning)
{
    chat_text_special(out, "<think>");
    buf_text(&out->text, "\n");
    put_bytes(out, reasoning);
    buf_text(&out->text, "\n");
    chat_text_special(out, "</think>");
    buf_text(&out->text, "\n\n");
}

static bool put_call(struct chat_text *out, const struct chat_call *call, struct err *err)
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

static bool put_assistant(struct chat_text *out, const struct chat_message *m, bool keep,
                          struct err *err)
{
    struct bytes reasoning, answer;
    split_thinking(m, &reasoning, &answer);
    begin_turn(out, "<|assistant|>");
    put_thinking(out, keep ? reasoning : bytes_of(""));
    put_bytes(out, answer);
    for (size_t i = 0; i < m->n_calls; i++) {
        if (answer.len || i)
            buf_text(&out->text, "\n");
        if (!put_call(out, &m->calls[i], err))
            return false;
    }
    end_turn(out);
    return true;
}

/* Tool results in a row share one turn. */
static void put_result(struct chat_text *out, const struct chat_prompt *p, size_t i)
{
    if (i == 0 || p->messages[i - 1].role != CHAT_TOOL)
        begin_turn(out, "<|tool|>");
    else
        buf_text(&out->text, "\n");
    chat_text_special(out, "<tool_result>");
    buf_text(&out->text, p->messages[i].content);
    chat_text_special(out, "</tool_result>");
    if (i + 1 == p->n_messages || p->messages[i + 1].role != CHAT_TOOL)
        end_turn(out);
}

static bool put_tools(struct chat_text *out, const struct chat_prompt *p, struct err *err)
{
    begin_turn(out, "<|tool_declare|>");
    buf_text(&out->text, "# Tools\n");
    for (size_t i = 0; i < p->n_tools; i++) {
        chat_text_special(out, "<tool>");
        if (!chat_json_normal(p->tools[i], "a tool declaration", &out->text, err))
            return false;
        chat_text_special(out, "</tool>");
        buf_text(&out->text, "\n");
    }
    end_turn(out);
    return true;
}

static bool put_message(struct chat_text *out, const struct chat_prompt *p, size_t i,
                        size_t after_user, struct err *err)
{
    const struct chat_message *m = &p->messages[i];
    switch (m->role) {
    case CHAT_ASSISTANT:
        return put_assistant(out, m, i >= after_user, err);
    case CHAT_TOOL:
        put_result(out, p, i);
        return true;
    case CHAT_SYSTEM:
    case CHAT_USER:
        begin_turn(out, m->role == CHAT_USER ? "<|user|>" : "<|system|>");
        buf_text(&out->text, m->content);
        end_turn(out);
    }
    return true;
}

static bool render_k_exaone(const struct chat_prompt *p, struct chat_text *out,
                            struct err *err)
{
    size_t after_user = 0;                /* index after the last user message */
    for (size_t i = 0; i < p->n_messages; i++)
        if (p->messages[i].role == CHAT_USER)
            after_user = i + 1;
    if (p->n_tools && !put_tools(out, p, err))
        return false;
    for (size_t i = 0; i < p->n_messages; i++)
        if (!put_message(out, p, i, after_user, err))
            return false;
    if (p->add_generation) {
        begin_turn(out, "<|assistant|>");
        if (p->think) {
            chat_text_special(out, "<think>");
            buf_text(&out->text, "\n");
        } else {
            put_thinking(out, bytes_of(""));
        }
    }
    return true;
}

/* Sarvam's template has <|tool_declare|> too, but ends its turns with <|end_of_turn|>. */
static bool is_k_exaone(const char *chat_template)
{
    return strstr(chat_template, "<|tool_declare|>") && !strstr(chat_template, "<|end_of_turn|>");
}

const struct chat_format chat_k_exaone = {
    .name = "k-exaone",
    .about = "K-EXAONE 1.0: <|user|> ... <|endofturn|>, thinking and tools",
    .recognise = is_k_exaone,
    .render = render_k_exaone,
    .tools = true,
    .thinks = true,
    .think_default = true,
    .opens_thinking = true,
    .think_end = "</think>",
    .tool_call_begin = "<tool_call>",
    .tool_call_end = "</tool_call>",
    .stops = stops,
};
