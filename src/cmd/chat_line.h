/*
 * chat_line: the next line a person types, edited with libedit, or the next line of a
 * pipe or file.
 */
#ifndef KEXA_CMD_CHAT_LINE_H
#define KEXA_CMD_CHAT_LINE_H

#include "base/base.h"

struct chat_line;

enum chat_line_end { LINE_READ, LINE_CLOSED, LINE_INTERRUPTED };

/* edit: standard input and output are a terminal.  NULL without memory. */
struct chat_line *chat_line_open(bool edit, struct err *err);
void chat_line_close(struct chat_line *l);
/*
 * Reads one line into *out, without its line break.  On a terminal it shows the prompt,
 * goes on to a next line after a backslash at the end, and remembers the line in
 * ~/.local/state/kexa/history ($XDG_STATE_HOME if set).  LINE_INTERRUPTED: Ctrl-C.
 */
enum chat_line_end chat_line_next(struct chat_line *l, const char *prompt, struct buf *out);

/* On a terminal: the next line begins as if text had been typed. */
void chat_line_put(struct chat_line *l, const char *text);

#endif
