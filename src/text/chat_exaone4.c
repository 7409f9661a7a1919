#include "text/chat_message.h"
#include "text/text.h"

/*
 * EXAONE 4.0.  Every turn is [|role|], newline, body, [|endofturn|], newline; no BOS.
 * Tools are declared at the end of the first system turn, or in one of their own.  A turn
 * of the assistant that says something begins with an empty think block: reasoning is never
 * kept, as the template's skip_think does by default.
 */
static const char *const stops[] = { "[|endofturn|]", NULL };

static void begin_turn(struct chat_text *out, const char *role_token)
{
    chat_text_special(out, role_token);
    buf_text(&out->text, "\n");
}

static void end_turn(struct chat_text *out)
{
    chat_text_special(out, "[|endofturn|]");
    buf_text(&out->text, "\n");
}

/* The format's own text, in which the names of tags are tags too. */
static void put_marked(struct chat_text *out, const char *text)
{
    static const char *const tags[] = { "<tool>", "</tool>", "<tool_call>", "</tool_call>" };
    while (*text) {
        const char *tag = NULL;
        for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
            if (!strncmp(text, tags[i], strlen(tags[i])))
                tag = tags[i];
        if (tag)
            chat_text_special(out, tag);
        else
            buf_put(&out->text, text, 1);
        text += tag ? strlen(tag) : 1;
    }
}

/* The sentences are part of what the model was trained on. */
static bool put_tools(struct chat_text *out, const struct chat_prompt *p, struct err *err)
{
    put_marked(out, "# Available Tools\nYou can use none, one, or multiple of the following tools "
               "by calling them as functions to help with the user\xe2\x80\x99s query.\nHere are "
               "the tools available to you in JSON format within <tool> and </tool> tags:\n");
    for (size_t i = 0; i < p->n_tools; i++) {
        chat_text_special(out, "<tool>");
        if (!chat_json_normal(p->tools[i], "a tool declaration", &out->text, err))
            return false;
        chat_text_special(out, "</tool>");
        buf_text(&out->text, "\n");
    }
    put_marked(out, "\nFor each function call you want to make, return a JSON object with function "
               "name and arguments within <tool_call> and </tool_call> tags, like:\n"
               "<tool_call>{\"name\": function_1_name, \"arguments\": {argument_1_name: "
               "argument_1_value, argument_2_name: argument_2_value}}</tool_call>\n"
               "<tool_call>{\"name\": function_2_name, \"arguments\": {...}}</tool_call>\n...\n"
               "Note that if no argument name is specified for a tool, you can just print the "
               "argument value directly, without the argument name or JSON formatting.");
    return true;
}

/* Content is trimmed only where thinking is cut off it; without content there is no think
 * block, unless a call follows. */
static bool put_assistant(struct chat_text *out, const struct chat_message *m, struct err *err)
{
    struct bytes reasoning, answer, content = bytes_of(m->content);
    begin_turn(out, "[|assistant|]");
    chat_split_thinking(m, &reasoning, &answer);
    if (content.len || m->n_calls)
        chat_put_thinking(out, bytes_of(""));
    chat_put_bytes(out, strstr(m->content, "</think>") ? answer : content);
    for (size_t i = 0; i < m->n_calls; i++) {
        if (content.len || i)
            buf_text(&out->text, "\n");
        if (!chat_put_call(out, &m->calls[i], err))
            return false;
    }
    end_turn(out);
    return true;
}

/* Results in a row share one turn. */
static void put_result(struct chat_text *out, const struct chat_prompt *p, size_t i)
{
    if (i == 0 || p->messages[i - 1].role != CHAT_TOOL)
        begin_turn(out, "[|tool|]");
    chat_text_special(out, "<tool_result>");
    buf_text(&out->text, "{\"result\": ");
    chat_json_quote(p->messages[i].content, &out->text);
    buf_text(&out->text, "}");
    chat_text_special(out, "</tool_result>");
    if (i + 1 == p->n_messages || p->messages[i + 1].role != CHAT_TOOL)
        end_turn(out);
    else
        buf_text(&out->text, "\n");
}

static bool put_message(struct chat_text *out, const struct chat_prompt *p, size_t i,
                        struct err *err)
{
    const struct chat_message *m = &p->messages[i];
    if (m->role == CHAT_ASSISTANT)
        return put_assistant(out, m, err);
    if (m->role == CHAT_TOOL) {
        put_result(out, p, i);
        return true;
    }
    begin_turn(out, m->role == CHAT_USER ? "[|user|]" : "[|system|]");
    buf_text(&out->text, m->content);
    if (i == 0 && m->role == CHAT_SYSTEM && p->n_tools) {
        buf_text(&out->text, "\n\n");
        if (!put_tools(out, p, err))
            return false;
    }
    end_turn(out);
    return true;
}

static bool render_exaone4(const struct chat_prompt *p, struct chat_text *out, struct err *err)
{
    if (p->n_tools && p->n_messages && p->messages[0].role != CHAT_SYSTEM) {
        begin_turn(out, "[|system|]");
        if (!put_tools(out, p, err))
            return false;
        end_turn(out);
    }
    for (size_t i = 0; i < p->n_messages; i++)
        if (!put_message(out, p, i, err))
            return false;
    if (p->add_generation) {
        begin_turn(out, "[|assistant|]");
        if (p->think) {
            chat_text_special(out, "<think>");
            buf_text(&out->text, "\n");
        } else {
            chat_put_thinking(out, bytes_of(""));
        }
    }
    return true;
}

/* EXAONE 3.5 has the same role tokens, but neither tools nor thinking. */
static bool is_exaone4(const char *chat_template)
{
    return strstr(chat_template, "[|endofturn|]") && strstr(chat_template, "# Available Tools");
}

const struct chat_format chat_exaone4 = {
    .name = "exaone4",
    .about = "EXAONE 4.0: [|user|] ... [|endofturn|], thinking and tools",
    .recognise = is_exaone4,
    .render = render_exaone4,
    .tools = true,
    .thinks = true,
    .opens_thinking = true,
    .think_end = "</think>",
    .tool_call_begin = "<tool_call>",
    .tool_call_end = "</tool_call>",
    .stops = stops,
    .temperature = 0.6f,
    .top_p = 0.95f,
};
