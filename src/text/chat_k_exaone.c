#include "text/chat_message.h"
#include "text/text.h"

/*
 * K-EXAONE 1.0.  Every turn is <|role|>, newline, body, <|endofturn|>, newline; no BOS.
 * Tool declarations are a turn of their own at the very beginning.  An assistant's turn
 * always has a think block; its reasoning is kept only after the last user message, as the
 * template's skip_think does by default.  docs/chat.md says what this was written from.
 */
static const char *const stops[] = { "<|endofturn|>", NULL };

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

static bool put_assistant(struct chat_text *out, const struct chat_message *m, bool keep,
                          struct err *err)
{
    struct bytes reasoning, answer;
    chat_split_thinking(m, &reasoning, &answer);
    begin_turn(out, "<|assistant|>");
    chat_put_thinking(out, keep ? reasoning : bytes_of(""));
    chat_put_bytes(out, answer);
    for (size_t i = 0; i < m->n_calls; i++) {
        if (answer.len || i)
            buf_text(&out->text, "\n");
        if (!chat_put_call(out, &m->calls[i], err))
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
            chat_put_thinking(out, bytes_of(""));
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
    .temperature = 1.0f,
    .top_p = 0.95f,
};
