/*
 * commands: the one list of commands.  Each is `const struct command NAME_command` in
 * src/cmd/NAME.c (or beside its sibling).  A new command is one file and one line here.
 *
 * A command's name may be two words, "tokenizer train": the first is its family's.  Commands
 * of one family stand together in the list.
 */
#ifndef KEXA_CMD_COMMANDS_H
#define KEXA_CMD_COMMANDS_H

#include "cmd/options.h"

#define COMMANDS(X) \
    X(chat) \
    X(run) \
    X(pull) \
    X(inspect) \
    X(logits) \
    X(quantize) \
    X(synth) \
    X(ppl) \
    X(bench) \
    X(tokenize) \
    X(detokenize) \
    X(tokenizer_train) \
    X(tokenizer_stats) \
    X(convert) \
    X(data) \
    X(pretrain) \
    X(report) \
    X(doctor) \
    X(help)

#define X(name) extern const struct command name##_command;
COMMANDS(X)
#undef X

extern const struct command *const commands[];  /* NULL-terminated, in the list's order */
const struct command *command_find(const char *name);         /* NULL if none */
/* By the first one or two words; *used is how many; NULL if none. */
const struct command *command_find_words(int n, char **words, int *used);
/* Length of the first word of a name of two; 0: the name is one word. */
size_t command_family(const struct command *c);
/* Whether commands[i] is a name of one word, or the first of its family. */
bool command_leads(size_t i);
bool command_unknown(const char *typed, struct err *err);     /* false, with the nearest name */

#endif
