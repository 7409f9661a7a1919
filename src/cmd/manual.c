/*
 * manual: the help command.  Besides the screen, it writes every other form of the option
 * tables: docs/cli.md, the man page and the shells' completions.
 */
#include "cmd/commands.h"
#include "kexa.h"

#include <ctype.h>

struct help_args {
    const char *as;
};

static const char *choice_as(size_t i)
{
    static const char *const words[] = { "text", "markdown", "man", "bash", "zsh", "fish" };
    return i < sizeof words / sizeof *words ? words[i] : NULL;
}

static const struct opt help_opts[] = {
    O_CHOICE("as", 0, offsetof(struct help_args, as), choice_as, "text",
             "text for the screen, docs/cli.md, a man page, or completions for a shell"),
    O_END
};

/* Calls visit for every option of a command. */
typedef void visit_fn(const struct command *c, const struct opt *o);

static void each_option(const struct command *c, visit_fn *visit)
{
    for (const struct opt_group *g = c->groups; g && g->title; g++)
        for (const struct opt *o = g->opts; o->name; o++)
            visit(c, o);
}

static void markdown_option(const struct opt *o)
{
    char value[200], range[200];
    option_value_name(o, value, sizeof value);
    option_range_text(o, range, sizeof range);
    printf("- `");
    if (o->letter)
        printf("-%c`, `", o->letter);
    printf("--%s%s%s`: %s%s%s%s\n", o->name, *value ? " " : "", value, o->help,
           *range ? " (" : "", range, *range ? ")" : "");
}

static void write_markdown(void)
{
    printf("# The command line\n\nWritten by `make docs` from the option tables in src/cmd; "
           "do not edit.\n");
    for (size_t i = 0; commands[i]; i++) {
        const struct command *c = commands[i];
        printf("\n## kexa %s\n\n%s.\n\n    kexa %s [OPTION]...%s%s\n\n%s\n", c->name, c->about,
               c->name, c->operands ? " " : "", c->operands ? c->operands : "", c->text);
        for (const struct example *e = c->examples; e && e->line; e++)
            printf("\n    %s\n\n%s\n", e->line, e->what);
        for (const struct opt_group *g = c->groups; g && g->title; g++) {
            printf("\n%s:\n\n", g->title);
            for (const struct opt *o = g->opts; o->name; o++)
                markdown_option(o);
        }
    }
}

/* Text in a roff line: backslashes and dashes escaped, no leading dot or quote. */
static void roff(const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
        if (*text == '\n' && (text[1] == '.' || text[1] == '\''))
            fputs("\\&", stdout);
    }
}

static void man_option(const struct command *c, const struct opt *o)
{
    (void)c;
    char value[200], range[200];
    option_value_name(o, value, sizeof value);
    option_range_text(o, range, sizeof range);
    printf(".TP\n\\fB");
    if (o->letter)
        printf("\\-%c\\fR, \\fB", o->letter);
    printf("\\-\\-");
    roff(o->name);
    printf("\\fR \\fI");
    roff(value);
    printf("\\fR\n");
    roff(o->help);
    if (*range) {
        printf(" (");
        roff(range);
        printf(")");
    }
    putchar('\n');
}

static void man_command(const struct command *c)
{
    printf(".SS kexa %s [OPTION]...", c->name);
    if (c->operands)
        printf(" %s", c->operands);
    printf("\n");
    roff(c->text);
    putchar('\n');
    for (const struct example *e = c->examples; e && e->line; e++) {
        printf(".PP\n.RS\n.nf\n");
        roff(e->line);
        printf("\n.fi\n.RE\n");
        roff(e->what);
        putchar('\n');
    }
    each_option(c, man_option);
}

static void write_man(void)
{
    printf(".TH KEXA 1 \"\" \"kexa %s\" \"User Commands\"\n.SH NAME\nkexa \\- language models "
           "of the K\\-EXAONE kind on your own machine\n.SH SYNOPSIS\n.B kexa\n"
           "COMMAND [OPTION]... [OPERAND]...\n.SH COMMANDS\n", KEXA_VERSION);
    for (size_t i = 0; commands[i]; i++)
        man_command(commands[i]);
    printf(".SH ENVIRONMENT\n.TP\n.B KEXA_MODEL\nthe model when \\-m is not given\n"
           ".TP\n.B KEXA_CPU\nthe highest CPU level to use: c, avx2, avx512 or amx\n"
           ".TP\n.B XDG_CACHE_HOME\nwhere the folder kexa with the default model is; "
           "without it ~/.cache\n.SH EXIT STATUS\n");
#define X(code, exit_status, http, word) printf(".TP\n.B %d\n%s\n", exit_status, word);
    ERR_CODES(X)
#undef X
}

static void print_option_words(const struct command *c, const struct opt *o)
{
    (void)c;
    printf(" --%s", o->name);
    if (o->letter)
        printf(" -%c", o->letter);
}

static void print_command_names(void)
{
    for (size_t i = 0; commands[i]; i++)
        if (command_leads(i))
            printf("%s%.*s", i ? " " : "", (int)strcspn(commands[i]->name, " "),
                   commands[i]->name);
}

/* The second words of the family that commands[i] leads. */
static void print_family(size_t i)
{
    size_t n = command_family(commands[i]);
    printf("%s", commands[i]->name + n + 1);
    for (i++; commands[i] && !command_leads(i); i++)
        printf(" %s", commands[i]->name + n + 1);
}

static void bash_choice(const struct command *c, const struct opt *o)
{
    if (o->kind != OPT_CHOICE)
        return;
    printf("    '%s:--%s') COMPREPLY=($(compgen -W \"", c->name, o->name);
    for (size_t i = 0; o->choice(i); i++)
        printf("%s%s", i ? " " : "", o->choice(i));
    printf("\" -- \"$cur\")); return;;\n");
}

static void write_bash(void)
{
    printf("# bash completion for kexa, from its option tables\n_kexa()\n{\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
           "    local cmd=${COMP_WORDS[1]} words=\n    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W \"");
    print_command_names();
    printf("\" -- \"$cur\")); return\n    fi\n    case $cmd in\n");
    for (size_t i = 0; commands[i]; i++) {
        int n = (int)command_family(commands[i]);
        if (!n || !command_leads(i))
            continue;
        printf("    %.*s) [ \"$COMP_CWORD\" -gt 2 ] || { COMPREPLY=($(compgen -W \"", n,
               commands[i]->name);
        print_family(i);
        printf("\" -- \"$cur\")); return; }\n        cmd=\"$cmd ${COMP_WORDS[2]}\";;\n");
    }
    printf("    esac\n    case $cmd:$prev in\n");
    for (size_t i = 0; commands[i]; i++)
        each_option(commands[i], bash_choice);
    printf("    help:help) COMPREPLY=($(compgen -W \"");
    print_command_names();
    printf("\" -- \"$cur\")); return;;\n    esac\n    case $cmd in\n");
    for (size_t i = 0; commands[i]; i++) {
        printf("    '%s') words=\"--help", commands[i]->name);
        each_option(commands[i], print_option_words);
        printf("\";;\n");
    }
    printf("    esac\n    case $cur in\n"
           "    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"));;\n"
           "    *) COMPREPLY=($(compgen -f -- \"$cur\"));;\n    esac\n}\n"
           "complete -o filenames -F _kexa kexa\n");
}

/* Help text inside single quotes; zsh also needs [ ] and : kept out of its syntax. */
static void print_quoted(const char *text, const char *escape)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (strchr(escape, *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void zsh_option(const struct command *c, const struct opt *o)
{
    (void)c;
    printf(" \\\n            '--%s[", o->name);
    print_quoted(o->help, "[]:\\");
    putchar(']');
    if (o->kind == OPT_CHOICE) {
        printf(":%s:(", o->name);
        for (size_t i = 0; o->choice(i); i++)
            printf("%s%s", i ? " " : "", o->choice(i));
        putchar(')');
    } else if (o->kind != OPT_FLAG) {
        printf(":%s:%s", o->name, strstr(o->arg, "FILE") ? "_files" : "");
    }
    putchar('\'');
}

/* The second word of a name: completed, or joined to the first. */
static void zsh_family(size_t i)
{
    printf("    %.*s)\n        if (( CURRENT == 2 )); then\n            compadd ",
           (int)command_family(commands[i]), commands[i]->name);
    print_family(i);
    printf("\n            return\n        fi\n        name=\"$name $words[2]\"\n"
           "        shift words\n        (( CURRENT-- ));;\n");
}

static void write_zsh(void)
{
    printf("#compdef kexa\n# zsh completion for kexa, from its option tables\n_kexa()\n{\n"
           "    local -a names\n    names=(\n");
    for (size_t i = 0; commands[i]; i++) {
        if (!command_leads(i))
            continue;
        printf("        '%.*s:", (int)strcspn(commands[i]->name, " "), commands[i]->name);
        print_quoted(commands[i]->about, ":\\");
        printf("'\n");
    }
    printf("    )\n    if (( CURRENT == 2 )); then\n        _describe command names\n"
           "        return\n    fi\n    local name=$words[2]\n    shift words\n"
           "    (( CURRENT-- ))\n    case $name in\n");
    for (size_t i = 0; commands[i]; i++)
        if (command_family(commands[i]) && command_leads(i))
            zsh_family(i);
    printf("    esac\n    case $name in\n");
    for (size_t i = 0; commands[i]; i++) {
        printf("    '%s')\n        _arguments '--help[show help]'", commands[i]->name);
        each_option(commands[i], zsh_option);
        printf(" '*:file:_files';;\n");
    }
    printf("    esac\n}\n_kexa \"$@\"\n");
}

static void fish_option(const struct command *c, const struct opt *o)
{
    size_t n = command_family(c);
    printf("complete -c kexa -n '__fish_seen_subcommand_from ");
    if (n)
        printf("%.*s; and __fish_seen_subcommand_from ", (int)n, c->name);
    printf("%s' -l %s", c->name + n + (n > 0), o->name);
    if (o->letter)
        printf(" -s %c", o->letter);
    if (o->kind == OPT_CHOICE) {
        printf(" -x -a '");
        for (size_t i = 0; o->choice(i); i++)
            printf("%s%s", i ? " " : "", o->choice(i));
        printf("'");
    } else if (o->kind != OPT_FLAG) {
        printf(" -r");
    }
    printf(" -d '");
    print_quoted(o->help, "\\");
    printf("'\n");
}

static void fish_command(size_t i)
{
    int n = (int)command_family(commands[i]);
    if (!n || command_leads(i)) {
        printf("complete -c kexa -n __fish_use_subcommand -f -a %.*s -d '",
               (int)strcspn(commands[i]->name, " "), commands[i]->name);
        print_quoted(commands[i]->about, "\\");
        printf("'\n");
    }
    if (n)
        printf("complete -c kexa -n '__fish_seen_subcommand_from %.*s' -f -a %s\n", n,
               commands[i]->name, commands[i]->name + n + 1);
}

static void write_fish(void)
{
    printf("# fish completion for kexa, from its option tables\n");
    for (size_t i = 0; commands[i]; i++) {
        fish_command(i);
        each_option(commands[i], fish_option);
    }
}

static const struct { const char *as; void (*write)(void); } writers[] = {
    { "markdown", write_markdown }, { "man", write_man }, { "bash", write_bash },
    { "zsh", write_zsh }, { "fish", write_fish },
};

static bool run_help(const void *args, const struct operands *rest, struct err *err)
{
    const struct help_args *a = args;
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) {
        if (!strcmp(a->as, writers[i].as)) {
            writers[i].write();
            return true;
        }
    }
    int used;
    const struct command *c = rest->n ? command_find_words(rest->n, rest->at, &used)
                                      : command_find("help");
    if (!c)
        return command_unknown(rest->at[0], err);
    options_help(stdout, c);
    return true;
}

static const struct example examples[] = {
    { "kexa help run", "explains the command run, as `kexa run --help` does" },
    { "kexa help --as bash > ~/.local/share/bash-completion/completions/kexa",
      "completes commands and options in bash" },
    { NULL, NULL }
};

static const struct opt_group groups[] = {
    { "Options", help_opts, 0 },
    { NULL, NULL, 0 }
};

const struct command help_command = {
    "help", "explain a command, or write the manual in other forms", "[COMMAND]", 0, 2,
    "Shows what a command does, examples and every option.  With --as, writes the whole "
    "manual to standard output as Markdown, as a man page, or as completions for a shell.",
    examples, groups, sizeof(struct help_args), run_help
};
