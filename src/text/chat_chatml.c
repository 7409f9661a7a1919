#include "text/chat_message.h"
#include "text/text.h"

/*
 * ChatML: <|im_start|>role, newline, content, <|im_end|>, newline.
 * SmolLM2's template puts a system turn of its own before a conversation that does not
 * begin with one; plain ChatML does not.  Neither has thinking or tools.
 */
static const char *const stops[] = { "<|im_end|>", NULL };
static const char smollm2_system[] =
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

static void put_turn(struct chat_text *out, const char *role, const char *content)
{
    chat_text_special(out, "<|im_start|>");
    buf_text(&out->text, role);
    buf_text(&out->text, "\n");
    buf_text(&out->text, content);
    chat_text_special(out, "<|im_end|>");
    buf_text(&out->text, "\n");
}

static bool render(const struct chat_prompt *p, const char *name, const char *default_system,
                   struct chat_text *out, struct err *err)
{
    static const char *const role[] = {
        [CHAT_SYSTEM] = "system", [CHAT_USER] = "user",
        [CHAT_ASSISTANT] = "assistant", [CHAT_TOOL] = "tool",
    };
    if (!chat_refuse_tools(p, name, err))
        return false;
    if (default_system && p->n_messages && p->messages[0].role != CHAT_SYSTEM)
        put_turn(out, "system", default_system);
    for (size_t i = 0; i < p->n_messages; i++)
        put_turn(out, role[p->messages[i].role], p->messages[i].content);
    if (p->add_generation) {
        chat_text_special(out, "<|im_start|>");
        buf_text(&out->text, "assistant\n");
    }
    return true;
}

static bool render_smollm2(const struct chat_prompt *p, struct chat_text *out, struct err *err)
{
    return render(p, "smollm2", smollm2_system, out, err);
}

static bool render_chatml(const struct chat_prompt *p, struct chat_text *out, struct err *err)
{
    return render(p, "chatml", NULL, out, err);
}

static bool is_chatml(const char *chat_template)
{
    return strstr(chat_template, "<|im_start|>");
}

static bool is_smollm2(const char *chat_template)
{
    return is_chatml(chat_template) && strstr(chat_template, smollm2_system);
}

const struct chat_format chat_smollm2 = {
    .name = "smollm2",
    .about = "ChatML with SmolLM2's own system turn when none is given",
    .recognise = is_smollm2,
    .render = render_smollm2,
    .stops = stops,
    .temperature = 0.2f,
    .top_p = 0.9f,
    .system = "You are a helpful assistant.",
};

const struct chat_format chat_chatml = {
    .name = "chatml",
    .about = "ChatML: <|im_start|>role ... <|im_end|>",
    .recognise = is_chatml,
    .render = render_chatml,
    .stops = stops,
    .temperature = 0.7f,
    .top_p = 0.95f,
};
