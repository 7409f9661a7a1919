/*
 * commands: the one list of commands.  Each is `const struct command NAME_command` in
 * src/cmd/NAME.c (or beside its sibling).  A new command is one file and one line here.
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
    X(convert) \
    X(doctor) \
    X(help)

#define X(name) extern const struct command name##_command;
COMMANDS(X)
#undef X

extern const struct command *const commands[];  /* NULL-terminated, in the list's order */
const struct command *command_find(const char *name);         /* NULL if none */
bool command_unknown(const char *typed, struct err *err);     /* false, with the nearest name */

#endif
