/* kexa: the program.  Finds the command, parses its options, runs it, reports failure. */
#include "cmd/commands.h"
#include "format/format.h"
#include "kexa.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

const struct command *const commands[] = {
#define X(name) &name##_command,
    COMMANDS(X)
#undef X
    NULL
};

const struct command *command_find(const char *name)
{
    for (size_t i = 0; commands[i]; i++)
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    return NULL;
}

size_t command_family(const struct command *c)
{
    const char *space = strchr(c->name, ' ');
    return space ? (size_t)(space - c->name) : 0;
}

bool command_leads(size_t i)
{
    size_t n = command_family(commands[i]);
    return !n || !i || strncmp(commands[i - 1]->name, commands[i]->name, n + 1) != 0;
}

const struct command *command_find_words(int n, char **words, int *used)
{
    char both[80];
    *used = 1;
    const struct command *c = command_find(words[0]);
    if (c || n < 2)
        return c;
    *used = 2;
    snprintf(both, sizeof both, "%.38s %.38s", words[0], words[1]);
    return command_find(both);
}

static const char *command_word(size_t i, const void *arg)
{
    (void)arg;
    return commands[i] ? commands[i]->name : NULL;
}

/* The first word of a family alone, or with a second that is not one of its commands. */
static bool family_unknown(const char *typed, struct err *err)
{
    struct buf list = { 0 };
    for (size_t i = 0; commands[i]; i++)
        if (command_family(commands[i]) == strlen(typed) &&
            !strncmp(commands[i]->name, typed, strlen(typed)))
            buf_printf(&list, "%s%s", list.len ? ", " : "", commands[i]->name);
    if (list.len && buf_ok(&list, err))
        fail(err, ERR_USAGE, "%s is the first word of: %s", typed, list.at);
    bool found = list.len > 0;
    buf_release(&list);
    return found;
}

bool command_unknown(const char *typed, struct err *err)
{
    if (family_unknown(typed, err))
        return false;
    const char *near = nearest_word(typed, command_word, NULL);
    if (near)
        return fail(err, ERR_USAGE, "there is no command \"%.80s\"; did you mean %s?  "
                    "`kexa` lists them all", typed, near);
    return fail(err, ERR_USAGE, "there is no command \"%.80s\"; `kexa` lists them all", typed);
}

static void print_overview(FILE *out)
{
    fprintf(out, "kexa %s: language models of the K-EXAONE kind, on your own machine\n\n"
            "Usage: kexa COMMAND [OPTION]... [OPERAND]...\n\n", KEXA_VERSION);
    for (size_t i = 0; commands[i]; i++)
        fprintf(out, "  %-16s %s\n", commands[i]->name, commands[i]->about);
    fprintf(out, "\n`kexa COMMAND --help` explains one command with examples.\n");
}

/* What was typed or read may be in the sentence: nothing of it may move the cursor. */
static int report(const struct err *err)
{
    struct buf text = { 0 };
    fflush(stdout);
    show_text(&text, bytes_of(err->msg));
    fprintf(stderr, "kexa: %s\n", text.at && !text.failed ? text.at : err->msg);
    buf_release(&text);
    int status = err_exit_status(err->code);
    return status ? status : err_exit_status(ERR_INTERNAL);
}

static bool call_command(const struct command *c, int argc, char **argv, struct err *err)
{
    struct operands rest;
    bool help, ok;
    void *args = mem_take(1, c->args_size ? c->args_size : 1);
    if (!args)
        return fail(err, ERR_MEMORY, "no memory for the options of %s", c->name);
    ok = options_parse(c, argc, argv, args, &rest, &help, err);
    if (ok && help)
        options_help(stdout, c);
    else if (ok)
        ok = c->run(args, &rest, err);
    options_release(c, args);
    mem_give(args);
    return ok;
}

/* A reader that went away (`kexa run | head`) ends the program without a word. */
static void quit_quietly(int sig)
{
    (void)sig;
    _exit(3);
}

/*
 * Model files are mapped: if one is cut short, or its disk fails, while it is read, the system
 * sends SIGBUS.  Only what may be called in a signal handler is called here.
 */
static void quit_on_lost_file(int sig)
{
    static const char text[] = "\nkexa: a file in use was cut short or can no longer be read; "
                               "while kexa runs, replace a model by renaming a new file to its "
                               "name\n";
    (void)sig;
    ssize_t n = write(STDERR_FILENO, text, sizeof text - 1);
    (void)n;
    _exit(3);
}

/* Closed standard streams would be given out again, and a model written to or read as text. */
static void hold_standard_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            open("/dev/null", fd ? O_RDONLY : O_WRONLY);
}

static int find_and_run(int argc, char **argv)
{
    struct err err = { 0 };
    const char *name = argv[1];
    if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
        printf("kexa %s\n", KEXA_VERSION);
        return 0;
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
        print_overview(stdout);
        return 0;
    }
    int used;
    const struct command *c = command_find_words(argc - 1, argv + 1, &used);
    if (!c) {
        command_unknown(name, &err);
        return report(&err);
    }
    return call_command(c, argc - 1 - used, argv + 1 + used, &err) ? 0 : report(&err);
}

int main(int argc, char **argv)
{
    hold_standard_streams();
    signal(SIGPIPE, quit_quietly);
    signal(SIGBUS, quit_on_lost_file);
    struct err err;
    int status = 0;
    if (!stack_reserve(&err))
        return report(&err);
    if (argc < 2)
        print_overview(stdout);
    else
        status = find_and_run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fail_errno(&err, ERR_IO, "cannot write to standard output");
        status = report(&err);
    }
    return status;
}
