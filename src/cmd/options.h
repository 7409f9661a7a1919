/*
 * options: a command line from one table.
 *
 * A command is a table of options and a function.  The same table is the parser, the
 * text of --help, docs/cli.md, the man page and the shell completions; there is no second
 * list to forget.  Options several commands share are groups (shared_options.h), each with
 * its own struct that the command's struct embeds.
 *
 *   --name VALUE, --name=VALUE, -x VALUE, -xVALUE; flags take no value; options and
 *   operands may be mixed; "--" ends the options; "-" is an operand.
 */
#ifndef KEXA_CMD_OPTIONS_H
#define KEXA_CMD_OPTIONS_H

#include "base/base.h"

#include <math.h>
#include <stdio.h>

/* The kind fixes the type of the field that receives the value. */
enum opt_kind {
    OPT_FLAG,                             /* bool */
    OPT_INT,                              /* int64_t; OPT_UNSET when not given and no preset */
    OPT_FLOAT,                            /* double; NaN when not given and no preset */
    OPT_TEXT,                             /* const char *; NULL when not given and no preset */
    OPT_CHOICE,                           /* const char *, one of the choices; else as TEXT */
    OPT_LIST                              /* struct opt_list: may be given several times */
};

#define OPT_UNSET INT64_MIN

struct opt_list {
    const char **at;                      /* borrowed from argv */
    size_t n;
};

/* The i-th word a choice may take; NULL after the last. */
typedef const char *choice_fn(size_t i);

struct opt {
    const char *name;                     /* without dashes; NULL ends a table */
    char letter;                          /* 0 if there is no short form */
    enum opt_kind kind;
    size_t at;                            /* offset of the field in its struct */
    double low, high;                     /* INT, FLOAT: inclusive */
    const char *preset;                   /* the default as one would type it; or NULL */
    choice_fn *choice;
    const char *arg;                      /* what the value is called, "FILE" */
    const char *help;                     /* a phrase: small first letter, no full stop */
};

#define O_FLAG(name, letter, at, help) \
    { name, letter, OPT_FLAG, at, 0, 0, NULL, NULL, NULL, help }
#define O_INT(name, letter, at, low, high, preset, arg, help) \
    { name, letter, OPT_INT, at, low, high, preset, NULL, arg, help }
#define O_FLOAT(name, letter, at, low, high, preset, arg, help) \
    { name, letter, OPT_FLOAT, at, low, high, preset, NULL, arg, help }
#define O_TEXT(name, letter, at, preset, arg, help) \
    { name, letter, OPT_TEXT, at, 0, 0, preset, NULL, arg, help }
#define O_CHOICE(name, letter, at, choice, preset, help) \
    { name, letter, OPT_CHOICE, at, 0, 0, preset, choice, NULL, help }
#define O_LIST(name, letter, at, arg, help) \
    { name, letter, OPT_LIST, at, 0, 0, NULL, NULL, arg, help }
#define O_END { NULL, 0, OPT_FLAG, 0, 0, 0, NULL, NULL, NULL, NULL }

struct opt_group {
    const char *title;                    /* heading in --help; NULL ends the list */
    const struct opt *opts;
    size_t at;                            /* offset of the group's struct in the command's */
};

struct operands {
    char **at;
    int n;
};

struct example {
    const char *line;                     /* a command one can paste; NULL ends the list */
    const char *what;                     /* what it does, a phrase */
};

struct command {
    const char *name;
    const char *about;                    /* one line in the list of commands, a phrase */
    const char *operands;                 /* for the usage line, "[TEXT]..."; NULL: takes none */
    int min_operands, max_operands;
    const char *text;                     /* what it does and how it behaves, sentences */
    const struct example *examples;
    const struct opt_group *groups;
    size_t args_size;                     /* of the struct the tables fill */
    /* true: exit 0.  false: main prints err and exits with its code's status. */
    bool (*run)(const void *args, const struct operands *rest, struct err *err);
};

/*
 * Fills args (args_size bytes) with presets, then from argv[0..argc), and rest with the
 * operands (argv is permuted).  *help is set when -h or --help is met; then nothing else
 * counts.  Release args with options_release() whatever the result.
 */
bool options_parse(const struct command *c, int argc, char **argv, void *args,
                   struct operands *rest, bool *help, struct err *err);
void options_release(const struct command *c, void *args);

/* --help of one command. */
void options_help(FILE *out, const struct command *c);

/* What stands after an option's name: "FILE", "on|off", or "" for a flag. */
void option_value_name(const struct opt *o, char *out, size_t size);
/* "0 to 2; default 0.7", or "" when there is nothing to say. */
void option_range_text(const struct opt *o, char *out, size_t size);

#endif
