#include "cmd/chat_state.h"
#include "cmd/commands.h"

#include <stdlib.h>
#include <unistd.h>

enum { MOST_THINKING = 1 << 24 };

/* ---- opening ---------------------------------------------------------------------------- */

static bool choose_format(struct chat *c, struct err *err)
{
    const char *asked = c->args->chat.format;
    struct buf names = { 0 };
    c->format = chat_format_find(asked ? asked : c->info.chat_format);
    if (c->format)
        return true;
    chat_format_names(&names);
    if (!buf_ok(&names, err))
        return false;
    if (asked)
        fail(err, ERR_USAGE, "--format is \"%.60s\", but must be one of %s", asked, names.at);
    else
        fail(err, ERR_UNSUPPORTED, "the model's chat template is none that this build knows (%s); "
             "name the nearest with --format, or use `kexa run`, which needs none", names.at);
    buf_release(&names);
    return false;
}

bool chat_set_thinking(struct chat *c, const char *text, struct err *err)
{
    char *end;
    bool on = !strcmp(text, "on"), off = !strcmp(text, "off");
    unsigned long long n = strtoull(text, &end, 10);
    bool number = text[0] >= '0' && text[0] <= '9' && !*end && n <= MOST_THINKING;
    if (!on && !off && !number)
        return fail(err, ERR_USAGE, "thinking can be on, off or a number of tokens up to %d, not "
                    "\"%.40s\"", MOST_THINKING, text);
    if (!off && !c->format->thinks)
        return fail(err, ERR_USAGE, "the chat format %s has no thinking mode; leave out --think "
                    "%.40s", c->format->name, text);
    c->think = !off;
    c->most_thinking = number ? (size_t)n : SIZE_MAX;
    return true;
}

static bool choose_thinking(struct chat *c, struct err *err)
{
    const char *asked = c->args->chat.think;
    c->think = c->format->think_default;
    c->most_thinking = SIZE_MAX;
    return !asked || chat_set_thinking(c, asked, err);
}

/* What was not asked for is as the format recommends. */
static struct sampling_args sampling_of(const struct chat *c)
{
    struct sampling_args a = c->args->sampling;
    if (isnan(a.temp))
        a.temp = c->format->temperature;
    if (isnan(a.top_p))
        a.top_p = c->format->top_p;
    if (a.top_k == OPT_UNSET)
        a.top_k = c->format->top_k;
    return a;
}

static bool collect_stops(struct chat *c, struct err *err)
{
    const struct opt_list *given = &c->args->sampling.stop;
    size_t n = 0;
    while (c->format->stops[n])
        n++;
    c->stops = mem_take(n + given->n + 1, sizeof *c->stops);
    if (!c->stops)
        return fail(err, ERR_MEMORY, "no memory for %zu stop texts", n + given->n);
    memcpy(c->stops, c->format->stops, n * sizeof *c->stops);
    for (size_t i = 0; i < given->n; i++)
        c->stops[n + i] = given->at[i];
    return true;
}

static bool open_chat(struct chat *c, struct err *err)
{
    const char *term = getenv("TERM"), *plain = getenv("NO_COLOR");
    c->terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    c->dim = !(plain && *plain) && term && strcmp(term, "dumb");
    c->at_line_start = true;
    if (c->args->chat.format && !choose_format(c, err))
        return false;                     /* before a long load */
    c->model = model_args_open(&c->args->model, err);
    if (!c->model)
        return false;
    kexa_model_info(c->model, &c->info);
    if (!choose_format(c, err) || !choose_thinking(c, err) || !collect_stops(c, err))
        return false;
    c->session = model_args_session(&c->args->model, c->model, err);
    struct sampling_args sampling = sampling_of(c);
    if (!c->session || !sampling_args_set(&sampling, c->session, err))
        return false;
    const char *system = c->args->chat.system ? c->args->chat.system : c->format->system;
    if (system && !chat_turns_system(&c->turns, system, err))
        return false;
    c->line = chat_line_open(c->terminal, err);
    return c->line;
}

static void close_chat(struct chat *c)
{
    chat_line_close(c->line);
    kexa_session_close(c->session);
    kexa_model_close(c->model);
    chat_turns_release(&c->turns);
    chat_text_release(&c->prompt);
    ids_release(&c->ids);
    mem_give(c->stops);
}

/* ---- talking ----------------------------------------------------------------------------- */

static bool take_line(struct chat *c, const char *line, struct err *err)
{
    if (line[0] == '/' && line[1] != '/')
        return chat_word(c, line, err);
    return chat_turns_add(&c->turns, CHAT_USER, line + (line[0] == '/'), NULL, err)
        && chat_reply(c, err);
}

static void greet(const struct chat *c)
{
    printf("%s, %u tokens of context, chat format %s%s.\n/help lists the commands; Ctrl-C stops "
           "an answer, Ctrl-D leaves.\n", c->info.name, kexa_session_context(c->session),
           c->format->name, c->think ? ", thinking" : "");
}

/* The gauge: "[ 12% of 8192] > ". */
static const char *prompt_text(const struct chat *c)
{
    static char text[40];
    uint32_t used = kexa_session_position(c->session), room = kexa_session_context(c->session);
    snprintf(text, sizeof text, "[%3.0f%% of %u] > ", 100.0 * used / room, room);
    return text;
}

/* A failure is shown and the talk goes on. */
static void talk(struct chat *c)
{
    struct buf line = { 0 };
    enum chat_line_end end = LINE_READ;
    bool warned = false;
    greet(c);
    chat_catch_interrupt(c->session);
    while (!c->quit && end != LINE_CLOSED) {
        struct err err = { 0 };
        end = chat_line_next(c->line, prompt_text(c), &line);
        if (end == LINE_INTERRUPTED) {
            c->quit = warned;
            warned = true;
            if (!c->quit)
                printf("Ctrl-C once more leaves.\n");
            continue;
        }
        warned = false;
        if (end == LINE_READ && buf_ok(&line, &err) && line.len && !take_line(c, line.at, &err))
            fprintf(stderr, "kexa: %s\n", err.msg);
    }
    chat_catch_interrupt(NULL);
    buf_release(&line);
}

/* One message per line; the first failure ends it, also one of the output (kexa.c says so). */
static bool read_all(struct chat *c, struct err *err)
{
    struct buf line = { 0 };
    bool ok = true;
    for (size_t n = 1; ok && !c->quit && !ferror(stdout)
                       && chat_line_next(c->line, "", &line) == LINE_READ; n++) {
        ok = buf_ok(&line, err);
        if (ok && strlen(line.at) != line.len)
            ok = fail(err, ERR_FORMAT, "line %zu of standard input has a zero byte; messages are "
                      "lines of text", n);
        ok = ok && (!line.len || take_line(c, line.at, err));
    }
    if (ok && ferror(stdin))
        ok = fail(err, ERR_IO, "standard input: cannot read any further");
    buf_release(&line);
    return ok;
}

static bool run_chat(const void *args, const struct operands *rest, struct err *err)
{
    struct chat c = { .args = args };
    (void)rest;
    bool ok = open_chat(&c, err);
    if (ok && c.terminal)
        talk(&c);
    else if (ok)
        ok = read_all(&c, err);
    close_chat(&c);
    return ok;
}

static const struct opt_group groups[] = {
    { "Model", model_opts, offsetof(struct chat_command_args, model) },
    { "Chat", chat_opts, offsetof(struct chat_command_args, chat) },
    { "Answers", chat_sampling_opts, offsetof(struct chat_command_args, sampling) },
    { NULL, NULL, 0 }
};

static const struct example examples[] = {
    { "kexa chat", "talk with the default model" },
    { "kexa chat -m model.gguf --temp 0 --system 'Answer in Korean.'",
      "the likeliest answers, in Korean" },
    { "printf 'Hello!\\nAnd again.\\n' | kexa chat", "two messages from a pipe" },
    { NULL, NULL }
};

const struct command chat_command = {
    .name = "chat",
    .about = "talk with a model",
    .text = "Reads messages and streams the model's answers.  On a terminal lines are edited and "
            "kept in a history file, and the prompt shows how full the context is.  A line that "
            "begins with a slash is a command: /help lists them.  Without a terminal every line "
            "of standard input is one message, and standard output holds the answers alone.  "
            "Between turns only what is new is evaluated.  Control tokens written in a message "
            "stay plain text.",
    .examples = examples,
    .groups = groups,
    .args_size = sizeof(struct chat_command_args),
    .run = run_chat,
};
