#include "text/chat_message.h"
#include "text/text.h"

/*
 * gemma 2 and 3.  Every turn is <start_of_turn>, "user" or "model", newline, content without
 * white space around it, <end_of_turn>, newline; the tokenizer adds BOS.  There is no
 * system turn: a system message stands before the first user message, as it is, with an
 * empty line between.  Turns alternate, the user's first.
 */
static const char *const stops[] = { "<end_of_turn>", NULL };

static void begin_turn(struct chat_text *out, const char *role)
{
    chat_text_special(out, "<start_of_turn>");
    buf_text(&out->text, role);
    buf_text(&out->text, "\n");
}

static bool render_gemma(const struct chat_prompt *p, struct chat_text *out, struct err *err)
{
    bool has_system = p->n_messages && p->messages[0].role == CHAT_SYSTEM;
    if (!chat_refuse_tools(p, "gemma", err))
        return false;
    for (size_t i = has_system; i < p->n_messages; i++) {
        const struct chat_message *m = &p->messages[i];
        bool users = (i - has_system) % 2 == 0;
        if (m->role != (users ? CHAT_USER : CHAT_ASSISTANT))
            return fail(err, ERR_UNSUPPORTED, "message %zu is not the %s's; in the chat format "
                        "gemma user and assistant take turns, after at most one system message", i,
                        users ? "user" : "assistant");
        begin_turn(out, users ? "user" : "model");
        if (has_system && i == 1) {
            buf_text(&out->text, p->messages[0].content);
            buf_text(&out->text, "\n\n");
        }
        chat_put_bytes(out, chat_trim(bytes_of(m->content)));
        chat_text_special(out, "<end_of_turn>");
        buf_text(&out->text, "\n");
    }
    if (p->add_generation)
        begin_turn(out, "model");
    return true;
}

static bool is_gemma(const char *chat_template)
{
    return strstr(chat_template, "<start_of_turn>") && strstr(chat_template, "<end_of_turn>") &&
           !strstr(chat_template, "<start_function");
}

const struct chat_format chat_gemma = {
    .name = "gemma",
    .about = "gemma 2 and 3: <start_of_turn>user ... <end_of_turn>",
    .recognise = is_gemma,
    .render = render_gemma,
    .stops = stops,
    .temperature = 1.0f,
    .top_p = 0.95f,
    .top_k = 64,
};
