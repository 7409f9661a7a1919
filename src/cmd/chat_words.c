#include "cmd/chat_state.h"

#include <stdlib.h>

/* The commands inside a chat: one list for running them and for /help. */
typedef bool word_fn(struct chat *c, const char *rest, struct err *err);

struct word {
    const char *name, *arg, *help;
    word_fn *run;
};

static bool run_help(struct chat *c, const char *rest, struct err *err);

static bool run_think(struct chat *c, const char *rest, struct err *err)
{
    if (!c->format->thinks)
        return fail(err, ERR_USAGE, "the chat format %s has no thinking mode", c->format->name);
    if (*rest && !chat_set_thinking(c, rest, err))
        return false;
    if (c->think && c->most_thinking != SIZE_MAX)
        printf("Thinking is on, for at most %zu tokens.\n", c->most_thinking);
    else
        printf("Thinking is %s.\n", c->think ? "on" : "off");
    return true;
}

static bool run_retry(struct chat *c, const char *rest, struct err *err)
{
    (void)rest;
    return chat_retry(c, err);
}

static bool run_undo(struct chat *c, const char *rest, struct err *err)
{
    (void)rest;
    return chat_undo(c, err);
}

static bool run_edit(struct chat *c, const char *rest, struct err *err)
{
    return chat_edit(c, rest, err);
}

static bool run_system(struct chat *c, const char *rest, struct err *err)
{
    if (!chat_turns_system(&c->turns, *rest ? rest : NULL, err))
        return false;
    if (*rest)
        printf("The system message is now: %s\n", rest);
    else
        printf("The system message is the chat format's own.\n");
    return true;
}

static bool run_new(struct chat *c, const char *rest, struct err *err)
{
    const char *system = chat_turns_system_text(&c->turns);
    struct chat_turns fresh = { 0 };
    (void)rest;
    if (system && !chat_turns_system(&fresh, system, err))
        return false;
    chat_turns_release(&c->turns);
    c->turns = fresh;
    printf("A new conversation%s.\n", system ? " with the same system message" : "");
    return true;
}

/* "~/x" as the shell would read it. */
static bool expand_path(const char *rest, struct buf *path, const char *word, struct err *err)
{
    const char *home = getenv("HOME");
    if (!*rest)
        return fail(err, ERR_USAGE, "/%s needs the name of a file", word);
    if (rest[0] == '~' && rest[1] == '/' && home)
        buf_printf(path, "%s%s", home, rest + 1);
    else
        buf_text(path, rest);
    return buf_ok(path, err);
}

static bool run_save(struct chat *c, const char *rest, struct err *err)
{
    struct buf path = { 0 };
    bool ok = expand_path(rest, &path, "save", err) && chat_turns_save(&c->turns, path.at, err);
    if (ok)
        printf("Saved %zu messages to %s.\n", c->turns.n, path.at);
    buf_release(&path);
    return ok;
}

static bool run_load(struct chat *c, const char *rest, struct err *err)
{
    struct buf path = { 0 };
    bool ok = expand_path(rest, &path, "load", err) && chat_turns_load(&c->turns, path.at, err);
    if (ok)
        printf("Loaded %zu messages from %s; they are read with your next one.\n", c->turns.n,
               path.at);
    buf_release(&path);
    return ok;
}

static double per_second(size_t n, uint64_t ns)
{
    return ns ? (double)n * 1e9 / (double)ns : 0;
}

static void print_speed(const char *what, const struct chat_speed *s)
{
    printf("%s\n  prompt  %8zu tokens  %7.2f s  %8.1f tokens/s  (%zu more were held already)\n",
           what, s->prompt_tokens, (double)s->prompt_ns * 1e-9,
           per_second(s->prompt_tokens, s->prompt_ns), s->kept_tokens);
    printf("  answer  %8zu tokens  %7.2f s  %8.1f tokens/s\n", s->answer_tokens,
           (double)s->answer_ns * 1e-9, per_second(s->answer_tokens, s->answer_ns));
}

static bool run_stats(struct chat *c, const char *rest, struct err *err)
{
    uint32_t used = kexa_session_position(c->session), room = kexa_session_context(c->session);
    (void)rest, (void)err;
    printf("%s (%s), chat format %s%s\n", c->info.name, c->info.family, c->format->name,
           !c->format->thinks ? "" : c->think ? ", thinking on" : ", thinking off");
    printf("context: %u of %u tokens used (%.1f%%), %zu messages\n", used, room,
           100.0 * used / room, c->turns.n);
    if (c->last.n_answers)
        print_speed("the last answer", &c->last);
    if (c->all.n_answers > 1) {
        char what[60];
        snprintf(what, sizeof what, "all %zu answers", c->all.n_answers);
        print_speed(what, &c->all);
    }
    return true;
}

static bool run_quit(struct chat *c, const char *rest, struct err *err)
{
    (void)rest, (void)err;
    c->quit = true;
    return true;
}

static const struct word words[] = {
    { "help", "", "this list", run_help },
    { "retry", "", "another answer to your last message", run_retry },
    { "undo", "", "take back your last message and its answer", run_undo },
    { "edit", "[TEXT]", "ask TEXT instead; without TEXT change what you asked", run_edit },
    { "think", "[on|off|N]", "let the model think first, or not, or N tokens at most", run_think },
    { "system", "[TEXT]", "set the system message; without TEXT the format's own", run_system },
    { "new", "", "begin a new conversation", run_new },
    { "save", "FILE", "write the conversation as JSON", run_save },
    { "load", "FILE", "go on with a saved conversation", run_load },
    { "stats", "", "tokens, speeds and how full the context is", run_stats },
    { "quit", "", "leave (also Ctrl-D, or Ctrl-C twice)", run_quit },
};
enum { N_WORDS = sizeof words / sizeof *words };

static bool run_help(struct chat *c, const char *rest, struct err *err)
{
    (void)c, (void)rest, (void)err;
    for (size_t i = 0; i < N_WORDS; i++)
        printf("  /%-7s%-11s%s\n", words[i].name, words[i].arg, words[i].help);
    printf("Anything else is a message.  // at its beginning sends one slash; a backslash at the "
           "end of\na line goes on to the next; Ctrl-C stops an answer; up and down recall "
           "lines.\n");
    return true;
}

static const char *next_word(size_t i, const void *arg)
{
    (void)arg;
    return i < N_WORDS ? words[i].name : NULL;
}

bool chat_word(struct chat *c, const char *line, struct err *err)
{
    char name[20];
    size_t n = strcspn(line + 1, " \t\n");
    const char *rest = line + 1 + n + strspn(line + 1 + n, " \t\n");
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), line + 1);
    for (size_t i = 0; i < N_WORDS; i++)
        if (!strcmp(name, words[i].name))
            return words[i].run(c, rest, err);
    const char *near = nearest_word(name, next_word, NULL);
    return fail(err, ERR_USAGE, "there is no command /%s%s%s%s (/help lists them, and // sends a "
                "message that begins with a slash)", name, near ? "; did you mean /" : "",
                near ? near : "", near ? "?" : "");
}
